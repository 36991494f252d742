import assert from "node:assert/strict";
import test from "node:test";

import slug from "../lib/slug.js";

test("a title becomes words with dashes", () => {
  assert.equal(slug("Hello, World!"), "hello-world");
});

test("nothing stays nothing", () => {
  assert.equal(slug("!?"), "");
});
