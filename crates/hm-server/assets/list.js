// Lists: they ask for themselves again while somebody looks.
"use strict";

{
  const items = () => [...document.querySelectorAll("#list .build:not([hidden])")];
  const filter = document.getElementById("filter");
  const apply = () => hm.filter(filter, document.querySelectorAll("#list .build"));
  filter.addEventListener("input", apply);
  hm.keys.j = () => hm.move(items(), 1);
  hm.keys.k = () => hm.move(items(), -1);
  hm.keys.o = () => {
    const here = document.querySelector("#list .build.here .open");
    if (here) location.href = here.href;
  };

  // How often: a page of ended builds need not hurry.
  const soon = 4000;
  const later = 20000;
  let tag = null;
  const refresh = async () => {
    const answer = await fetch(location.href, { headers: tag ? { "if-none-match": tag } : {}, cache: "no-store" });
    if (answer.redirected) location.reload();
    if (answer.status !== 200) return;
    tag = answer.headers.get("etag");
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("list");
    const list = document.getElementById("list");
    if (!fresh) return;
    const here = document.querySelector("#list .build.here .open")?.href;
    const focused = list.contains(document.activeElement) ? document.activeElement.href : null;
    const before = new Map([...list.querySelectorAll("[data-build]")].map((row) => [row.dataset.build, row.dataset.state]));
    list.replaceWith(document.importNode(fresh, true));
    for (const link of document.querySelectorAll("#list a")) {
      if (link.href === here && link.classList.contains("open")) link.closest(".build").classList.add("here");
      if (link.href === focused && document.activeElement === document.body) link.focus({ preventScroll: true });
    }
    for (const row of document.querySelectorAll("#list [data-build]")) {
      const was = before.get(row.dataset.build);
      if (was && was !== row.dataset.state) {
        hm.say(`${row.querySelector(".open").textContent}: ${row.querySelector(".badge").textContent.trim()}`);
      }
    }
    apply();
    hm.tick();
  };
  const go = async () => {
    if (!document.hidden) {
      try {
        await refresh();
      } catch {
        // The server is away; the next time will tell.
      }
    }
    const live = document.getElementById("list").dataset.live === "true";
    setTimeout(go, live ? soon : later);
  };
  setTimeout(go, soon);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) refresh().catch(() => {});
  });
}
