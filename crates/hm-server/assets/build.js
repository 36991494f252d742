// One build: its steps and logs as they happen.
"use strict";

{
  const build = document.getElementById("build");
  const path = build.dataset.path;
  // How many lines of a log the page holds; the server's pages hold as many.
  const LINES = 2000;
  let seq = Number(build.dataset.seq);
  let attempt = Number(build.dataset.attempt);
  let over = build.dataset.terminal === "true";
  let following = !over;
  let source = null;

  const steps = () => [...document.querySelectorAll("#steps .step")];
  const filter = document.getElementById("filter");
  const byJob = new Map(steps().map((step) => [step.dataset.job, step]));
  const nodes = new Map([...document.querySelectorAll("[data-node]")].map((node) => [node.dataset.node, node]));

  // --- Logs -------------------------------------------------------------------------------------------------

  // A log on the page: lines first..last of total, and links to what is before and behind.
  const logOf = (step) => step.querySelector(".log");
  const number = (log, name) => Number(log.dataset[name]);
  const atEnd = (log) => log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const toEnd = (log) => {
    log.scrollTop = log.scrollHeight;
  };

  const link = (step, kind, count) => {
    const log = logOf(step);
    let found = step.querySelector(`.${kind}`);
    if (count <= 0) {
      found?.remove();
      return;
    }
    if (!found) {
      found = document.createElement("a");
      found.className = kind;
      if (kind === "earlier") log.before(found);
      else log.after(found);
    }
    const key = encodeURIComponent(step.dataset.step);
    const where = kind === "earlier" ? `before=${log.dataset.first}` : `from=${number(log, "last") + 1}`;
    found.href = `${path}?step=${key}&${where}#step-${key}`;
    found.textContent = `${count.toLocaleString()} ${kind} line${count === 1 ? "" : "s"}`;
  };

  const counted = (step) => {
    const log = logOf(step);
    link(step, "earlier", number(log, "first") - 1);
    link(step, "later", number(log, "total") - number(log, "last"));
    const total = number(log, "total");
    step.querySelector(".count").textContent = `${total.toLocaleString()} line${total === 1 ? "" : "s"}`;
  };

  // Whatever is taken away is counted by the link that brings it back.
  const trim = (log, front) => {
    // Counting children takes as long as there are children.
    for (let over = log.childElementCount - LINES; over > 0; over -= 1) {
      (front ? log.firstElementChild : log.lastElementChild).remove();
    }
    if (log.firstElementChild) {
      log.dataset.first = log.firstElementChild.dataset.n;
      log.dataset.last = log.lastElementChild.dataset.n;
    }
  };

  const put = (step, part) => {
    let log = logOf(step);
    if (!log) {
      log = document.createElement("div");
      log.className = "log";
      log.tabIndex = 0;
      log.setAttribute("role", "group");
      log.setAttribute("aria-label", `Log of ${step.querySelector(".name").textContent}`);
      step.append(log);
      step.querySelector(".show")?.remove();
    }
    log.innerHTML = part.html;
    log.dataset.first = part.first;
    log.dataset.last = part.last;
    log.dataset.total = part.total;
    counted(step);
    return log;
  };

  // Lines by range, from the server.
  const fetchLines = async (step, where) => {
    const answer = await fetch(`${path}/jobs/${step.dataset.job}/lines${where}`);
    if (answer.redirected) location.reload();
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const window = page.querySelector(".window");
    const { first, last, total, attempt: of } = window.dataset;
    return { first: Number(first), last: Number(last), total: Number(total), attempt: Number(of), html: window.innerHTML.trim() };
  };

  const load = async (step, where = "") => {
    step.dataset.loading = "";
    try {
      const part = await fetchLines(step, where);
      return put(step, part);
    } finally {
      delete step.dataset.loading;
    }
  };

  const more = async (step, kind) => {
    const log = logOf(step);
    const early = kind === "earlier";
    const part = await fetchLines(step, early ? `?before=${log.dataset.first}` : `?from=${number(log, "last") + 1}`);
    if (part.first > part.last) return;
    const height = log.scrollHeight;
    log.insertAdjacentHTML(early ? "afterbegin" : "beforeend", part.html);
    if (early) log.scrollTop += log.scrollHeight - height;
    log.dataset.total = Math.max(part.total, number(log, "total"));
    // Twice as many for once, so that what was read stays in sight.
    for (let over = log.childElementCount - 2 * LINES; over > 0; over -= 1) {
      (early ? log.lastElementChild : log.firstElementChild).remove();
    }
    log.dataset.first = log.firstElementChild.dataset.n;
    log.dataset.last = log.lastElementChild.dataset.n;
    counted(step);
  };

  build.addEventListener("click", (event) => {
    const found = event.target.closest(".earlier, .later, .show");
    if (!found) return;
    event.preventDefault();
    const step = found.closest(".step");
    if (found.classList.contains("show")) load(step).catch(() => location.assign(found.href));
    else more(step, found.className).catch(() => location.assign(found.href));
  });

  const lines = (part) => {
    const step = byJob.get(part.job);
    const log = step && logOf(step);
    if (!log) return;
    const known = number(log, "total");
    if (part.last <= known) return;
    const end = number(log, "last") === known && part.first <= known + 1;
    const follow = atEnd(log);
    log.dataset.total = part.last;
    if (!end || (!follow && log.childElementCount > 2 * LINES)) {
      // Somebody reads an earlier piece, or there is a gap: the link says how much is missing.
      counted(step);
      return;
    }
    // What would be taken away at once is not even read.
    const pieces = part.pieces.filter((piece) => !follow || piece.last > part.last - LINES);
    if (pieces.length < part.pieces.length) log.replaceChildren();
    const holder = document.createElement("template");
    holder.innerHTML = pieces.map((piece) => piece.html).join("");
    for (const line of [...holder.content.children]) {
      if (Number(line.dataset.n) <= known) line.remove();
    }
    log.append(holder.content);
    log.dataset.last = part.last;
    if (follow) trim(log, true);
    counted(step);
    if (follow) toEnd(log);
  };

  // A flood of lines is laid out as one from time to time, so that the page is there for its reader meanwhile.
  const PAUSE = 50;
  const waiting = new Map();
  const flush = () => {
    const parts = [...waiting.values()];
    waiting.clear();
    parts.forEach(lines);
  };
  const gather = (part) => {
    const before = waiting.get(part.job);
    if (before && part.first === before.last + 1) {
      before.last = part.last;
      before.pieces.push(part);
      return;
    }
    if (before) flush();
    if (!waiting.size) setTimeout(flush, PAUSE);
    waiting.set(part.job, { ...part, pieces: [part] });
  };

  const tail = (part) => {
    const step = byJob.get(part.job);
    if (!step || !logOf(step)) return;
    toEnd(put(step, { ...part, total: part.last }));
  };

  // --- Steps ------------------------------------------------------------------------------------------------

  const open = (step, on) => {
    step.open = on;
    // What is open is to be seen.
    const fold = on && step.closest(".folded");
    if (fold) fold.open = true;
  };

  const change = (part) => {
    const step = byJob.get(part.job);
    if (!step) return;
    const was = step.dataset.state;
    const focused = step.contains(document.activeElement);
    step.querySelector("summary").innerHTML = part.summary;
    step.querySelector(".step-facts").innerHTML = part.facts;
    if (focused && document.activeElement === document.body) step.querySelector("summary").focus();
    step.dataset.state = part.state;
    step.dataset.ms = part.ms;
    step.toggleAttribute("data-bad", part.bad);
    const node = nodes.get(part.job);
    if (node) {
      node.dataset.state = part.state;
      node.querySelector(".sign").textContent = part.sign;
      node.setAttribute("aria-label", `${step.querySelector(".name").textContent}: ${part.label}`);
    }
    if (was !== part.state) {
      if (part.bad) hm.say(`${step.dataset.step}: ${part.label}`);
      if (part.bad || (following && part.state === "running")) show(step);
    }
    if (was !== part.state) failures();
    hm.tick();
  };

  // --- Which steps, and in which order ------------------------------------------------------------------------

  const list = document.getElementById("steps");
  const folded = document.getElementById("folded");
  const planned = [...list.children];
  const onlyFailed = document.getElementById("only-failed");
  const byTime = document.getElementById("by-time");
  const isOn = (button) => button.getAttribute("aria-pressed") === "true";
  const toggle = (button, act) => {
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(!isOn(button)));
      act();
    });
    button.hidden = steps().length < 2;
  };
  // What the filter shows of them is up to the filter.
  const choose = () => {
    hm.filter(filter, steps());
    if (isOn(onlyFailed)) for (const step of steps()) step.hidden ||= !step.hasAttribute("data-bad");
    if (!folded) return;
    const inside = [...folded.querySelectorAll(".step")];
    folded.hidden = inside.every((step) => step.hidden);
    if (filter.value) folded.open = true;
  };
  const order = () => {
    if (!isOn(byTime)) {
      list.append(...planned);
      return;
    }
    const slowest = (one, other) => Number(other.dataset.ms ?? 0) - Number(one.dataset.ms ?? 0);
    list.append(...planned.filter((item) => item !== folded).sort(slowest), ...(folded ? [folded] : []));
    if (folded) folded.append(...[...folded.querySelectorAll(".step")].sort(slowest));
  };
  toggle(onlyFailed, choose);
  toggle(byTime, order);

  // Links to the steps that failed, above everything else.
  const failures = () => {
    choose();
    const links = steps()
      .filter((step) => step.hasAttribute("data-bad"))
      .map((step) => {
        const link = document.createElement("a");
        link.href = `#step-${encodeURIComponent(step.dataset.step)}`;
        const exit = step.querySelector("summary .exit");
        link.append("✕ ", step.querySelector("summary .name").textContent);
        if (exit) link.append(" ", exit.cloneNode(true));
        return link;
      });
    document.getElementById("failures").replaceChildren(...links);
  };

  // Follows what runs: what was opened for that is closed for the next one.
  let shown = null;
  const show = (step) => {
    if (!step.hasAttribute("data-bad") && following) {
      const busy = shown && shown.open && shown.dataset.state === "running";
      if (busy) return;
      // Not what somebody has scrolled back in.
      const read = shown && logOf(shown) && !atEnd(logOf(shown));
      if (shown && shown !== step && !read && !shown.hasAttribute("data-bad")) open(shown, false);
      shown = step;
    }
    open(step, true);
  };

  document.addEventListener(
    "toggle",
    (event) => {
      const step = event.target;
      if (!step.matches?.(".step")) return;
      if (step.open && !logOf(step) && !("loading" in step.dataset)) {
        load(step).then(
          (log) => {
            if (!step.dataset.wanted) toEnd(log);
            listen();
          },
          () => {},
        );
      } else {
        listen();
      }
    },
    true,
  );

  const restart = (part) => {
    if (part.attempt <= attempt) return;
    const first = attempt === 0;
    attempt = part.attempt;
    for (const step of steps()) {
      const log = logOf(step);
      if (log) put(step, { html: "", first: 1, last: 0, total: 0 });
    }
    if (!first) hm.say(`The build starts over: attempt ${attempt}`);
  };

  const note = (part) => {
    const notes = document.getElementById("notes");
    if (notes.querySelector(`[data-seq="${Number(part.seq)}"]`)) return;
    const item = document.createElement("li");
    item.dataset.seq = part.seq;
    item.textContent = part.text;
    notes.append(item);
    hm.say(part.text);
  };

  const head = (part) => {
    const was = build.dataset.state;
    document.getElementById("head").innerHTML = part.html;
    build.dataset.state = part.state;
    document.title = `${part.title} · hm`;
    document.getElementById("icon").href = part.icon;
    if (was !== part.state) hm.say(`Build ${part.label}`);
    hm.tick();
  };

  // --- The stream -------------------------------------------------------------------------------------------

  // A browser keeps few connections to one server. A tab that nobody sees asks now and then, and no line is lost by that.
  const rest = () => {
    source?.close();
    source = null;
    setTimeout(() => !source && listen(), 10000);
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !source) listen();
  });

  // The login may have ended meanwhile.
  const again = async () => {
    try {
      const answer = await fetch(path, { method: "HEAD" });
      if (answer.redirected || answer.status === 404) location.reload();
    } catch {
      // The server is away still.
    }
    listen();
  };

  let asked = null;
  const listen = () => {
    if (over) return;
    const wanted = steps().filter((step) => step.open && logOf(step)).map((step) => step.dataset.job).slice(0, 32).join(",");
    if (source && asked === wanted && source.readyState !== EventSource.CLOSED) return;
    source?.close();
    asked = wanted;
    // What a log was fetched with may be ahead of the stream, and lines have numbers: nothing comes twice.
    const mine = new EventSource(`${path}/live?after=${seq}&open=${wanted}`);
    source = mine;
    const lost = document.getElementById("lost");
    const on = (name, act) =>
      mine.addEventListener(name, (event) => {
        if (source !== mine) return;
        lost.hidden = true;
        act(JSON.parse(event.data));
      });
    on("build", head);
    on("step", change);
    on("lines", gather);
    on("tail", tail);
    on("attempt", (part) => {
      flush();
      restart(part);
    });
    on("note", note);
    on("at", (part) => {
      seq = part.seq;
      if (document.hidden) rest();
    });
    on("done", (part) => {
      seq = part.seq;
      over = true;
      build.dataset.terminal = "true";
      follower.hidden = true;
      mine.close();
    });
    mine.addEventListener("error", () => {
      if (source !== mine || over) return;
      lost.hidden = false;
      // A browser gives up where the answer is no stream.
      if (mine.readyState === EventSource.CLOSED) setTimeout(() => source === mine && again(), 3000);
    });
  };

  // --- Links to lines ---------------------------------------------------------------------------------------

  const target = async () => {
    const hash = decodeURIComponent(location.hash.slice(1));
    if (!hash.startsWith("step-")) return;
    const whole = steps().find((step) => step.id === hash);
    const found = whole ? null : /^step-(.*)-L(\d+)$/.exec(hash);
    const step = whole ?? (found && steps().find((step) => step.dataset.step === found[1]));
    if (!step) return;
    if (found) step.dataset.wanted = found[2];
    open(step, true);
    if (!found) {
      step.scrollIntoView({ block: "start" });
      step.querySelector("summary").focus({ preventScroll: true });
      return;
    }
    let line = document.getElementById(hash);
    if (!line) {
      await load(step, `?from=${Math.max(1, Number(found[2]) - 20)}`);
      line = document.getElementById(hash);
    }
    delete step.dataset.wanted;
    for (const other of document.querySelectorAll(".line.here")) other.classList.remove("here");
    line?.classList.add("here");
    line?.scrollIntoView({ block: "center" });
    listen();
  };
  window.addEventListener("hashchange", () => target().catch(() => {}));

  // --- Keys -------------------------------------------------------------------------------------------------

  const visible = () => steps().filter((step) => !step.hidden && (step.closest(".folded")?.open ?? true));
  const current = () => document.querySelector(".step.here");
  hm.keys.j = () => hm.move(visible(), 1);
  hm.keys.k = () => hm.move(visible(), -1);
  hm.keys.o = () => current() && open(current(), !current().open);
  const expander = document.getElementById("expand");
  const bad = () => steps().filter((step) => step.hasAttribute("data-bad"));
  let stage = 0;
  const next = () => (stage === 0 && bad().every((step) => step.open) ? 1 : stage);
  const label = () => (expander.textContent = ["Expand failed", "Expand all", "Collapse all"][next()]);
  const expand = () => {
    stage = next();
    for (const step of visible()) {
      if (stage === 0) open(step, step.hasAttribute("data-bad"));
      // Each open one asks for its log: not for a thousand at once.
      else open(step, stage === 1 && visible().indexOf(step) < 32);
    }
    stage = (stage + 1) % 3;
    label();
  };
  hm.keys.e = expand;
  label();
  expander.hidden = false;
  expander.addEventListener("click", expand);

  const follower = document.getElementById("follow");
  const follow = () => {
    following = !following;
    follower.setAttribute("aria-pressed", String(following));
    if (!following) return;
    const step = steps().find((step) => step.dataset.state === "running");
    if (!step) return;
    show(step);
    step.scrollIntoView({ block: "nearest" });
    if (logOf(step)) toEnd(logOf(step));
  };
  follower.hidden = over;
  follower.setAttribute("aria-pressed", String(following));
  follower.addEventListener("click", follow);
  hm.keys.f = () => !over && follow();

  const press = (id) => {
    const button = document.getElementById(id);
    if (!button) return false;
    if (id === "cancel" && !confirm("Cancel this build?")) return true;
    button.click();
    return true;
  };
  hm.keys.c = () => press("cancel");
  hm.keys.r = () => press("retry");

  filter.addEventListener("input", choose);

  for (const step of steps()) {
    const log = logOf(step);
    if (log && step.open) toEnd(log);
  }
  shown = steps().find((step) => step.open && step.dataset.state === "running") ?? null;
  // The picture's first failed step, else the first that runs, in its middle.
  const picture = document.querySelector(".picture");
  const first = picture?.querySelector('[data-state="failed"] rect, [data-state="timed_out"] rect') ?? picture?.querySelector('[data-state="running"] rect');
  if (first) {
    picture.scrollTop = first.y.baseVal.value - picture.clientHeight / 2;
    picture.scrollLeft = first.x.baseVal.value - picture.clientWidth / 2;
  }
  target().catch(() => {});
  listen();
}
