// What every page does: the theme, times, keys. Pages work without it.
"use strict";

const hm = {
  keys: {},
  // Says something to those who cannot see the page change.
  say(text) {
    document.getElementById("said").textContent = text;
  },
  duration(ms) {
    const s = Math.floor(ms / 1000);
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
    return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  },
  ago(at, now) {
    const s = Math.floor((now - at) / 1000);
    if (s < 10) return "just now";
    if (s < 60) return `${s} s ago`;
    if (s < 3600) return `${Math.floor(s / 60)} min ago`;
    if (s < 86400) return `${Math.floor(s / 3600)} h ago`;
    if (s < 172800) return "yesterday";
    if (s < 2592000) return `${Math.floor(s / 86400)} days ago`;
    return new Date(at).toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" });
  },
  tick() {
    const now = Date.now();
    for (const time of document.querySelectorAll("time[datetime]")) {
      const at = Date.parse(time.dateTime);
      if (Number.isNaN(at)) continue;
      const text = time.dataset.since ? hm.duration(Math.max(0, now - at)) : hm.ago(at, now);
      if (time.textContent !== text) time.textContent = text;
      if (!time.title) time.title = new Date(at).toLocaleString();
    }
  },
  // Moves `here` among elements, as j and k do.
  move(items, by) {
    if (!items.length) return null;
    const at = items.findIndex((item) => item.classList.contains("here"));
    const next = items[Math.min(Math.max(at + by, 0), items.length - 1)];
    for (const item of items) item.classList.toggle("here", item === next);
    const target = next.querySelector("summary, .open");
    if (target) target.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
    return next;
  },
  // Shows those elements alone that hold every word of the filter.
  filter(input, items) {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const item of items) {
      const text = item.dataset.step ? `${item.dataset.step} ${item.querySelector("summary").textContent}` : item.textContent;
      item.hidden = !words.every((word) => text.toLowerCase().includes(word));
    }
  },
};

{
  const root = document.documentElement;
  const stored = () => {
    try {
      return localStorage.getItem("hm-theme");
    } catch {
      return null;
    }
  };
  if (stored() === "dark" || stored() === "light") root.dataset.theme = stored();
  hm.theme = () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try {
      localStorage.setItem("hm-theme", root.dataset.theme);
    } catch {
      // It holds for this page then.
    }
    hm.say(dark ? "Light" : "Dark");
  };
}

document.addEventListener("DOMContentLoaded", () => {
  const shown = (id) => {
    const element = document.getElementById(id);
    if (element) element.hidden = false;
    return element;
  };
  shown("theme").addEventListener("click", hm.theme);
  // Whoever was on the way to a line of a log goes on there after the login; the server never sees this part of an address.
  if (location.hash) {
    for (const next of document.querySelectorAll('form input[name="next"]')) next.value += location.hash;
  }
  const dialog = document.getElementById("keys");
  const help = () => (dialog.open ? dialog.close() : dialog.showModal());
  shown("keys-open").addEventListener("click", help);
  const filter = shown("filter");
  hm.keys["?"] = help;
  hm.keys.t = hm.theme;
  hm.keys["/"] = () => filter && filter.focus();
  let before = "";
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const typing = event.target.closest("input, textarea, select");
    if (typing) {
      if (event.key === "Escape") typing.blur();
      return;
    }
    if (dialog.open && event.key !== "?") return;
    const last = before;
    before = event.key;
    if (last === "g" && event.key === "b") {
      location.href = "/";
      return;
    }
    const act = Object.hasOwn(hm.keys, event.key) ? hm.keys[event.key] : null;
    if (act && act(event) !== false) event.preventDefault();
  });
  hm.tick();
  setInterval(hm.tick, 1000);
});
