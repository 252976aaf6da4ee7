// Which view is shown, and what all of them share: moving between places, the title, the focus, shortcuts.

import * as browse from "./browse.js";
import { connect, mayLeave, signOut } from "./connection.js";
import { closeDialogs, dialog, h, problem } from "./dom.js";
import * as document_ from "./document.js";
import * as figures from "./figures.js";
import * as operations from "./operations.js";
import { place } from "./places.js";
import * as tables from "./tables.js";
import * as watch from "./watch.js";

const VIEWS = {
  tables: tables.show, browse: browse.show, document: document_.show, new: document_.showNew,
  stats: figures.show, watch: watch.show, operations: operations.show,
};
const main = document.getElementById("main");
let shownHash = null, leaving = new AbortController(), isFirst = true;
/** Which of the browser's history's entries is shown: each has its number as its state. */
let entry = 0;
/** By these numbers: how far down one was, and at which link. */
const left = new Map();
history.scrollRestoration = "manual";

/** Shows the place of the hash anew. */
async function render() {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  shownHash = location.hash;
  if (history.state?.entry === undefined) history.replaceState({ entry: entry + 1 }, "");
  entry = history.state.entry;
  const where = place(location.hash);
  for (const link of document.querySelectorAll("nav a")) {
    const isHere = link.dataset.view === where.view || (link.dataset.view === "tables" && Boolean(where.table));
    if (isHere) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  const view = VIEWS[where.view];
  // A view that is slow, and left before it is there, writes to an element that nobody sees.
  const stage = h("div", {}, h("p", { className: "hint", textContent: "Loading …" }));
  main.replaceChildren(stage);
  main.setAttribute("aria-busy", "true");
  try {
    if (!view) throw new Error(`There is no view "${where.view}".`);
    await view(stage, { ...where, signal });
  } catch (error) {
    if (signal.aborted) return;
    stage.replaceChildren(h("h1", { textContent: where.table || "Console" }), problem(error,
      h("div", { className: "row" }, h("button", { type: "button", textContent: "Try again", onclick: render }))));
  }
  if (signal.aborted) return;
  main.removeAttribute("aria-busy");
  const heading = main.querySelector("h1");
  document.title = heading ? `${heading.textContent} – AtomKV` : "AtomKV console";
  if (heading && !isFirst && !main.contains(document.activeElement) && !document.querySelector("dialog[open]")) {
    const before = left.get(entry);
    left.delete(entry);
    const link = before?.href && [...main.querySelectorAll("a[href]")].find((a) => a.getAttribute("href") === before.href);
    heading.tabIndex = -1;
    (link || heading).focus({ preventScroll: true });
    scrollTo(0, before?.top ?? 0);
  }
  isFirst = false;
}

addEventListener("hashchange", async () => {
  if (location.hash === shownHash) return;
  closeDialogs();
  if (!mayLeave.isSafe()) {
    if (history.state?.entry === undefined) history.replaceState({ entry: entry + 1 }, "");
    const steps = history.state.entry - entry || 1;
    history.go(-steps);
    if (await mayLeave.ask()) history.go(steps);
    return;
  }
  // A new entry takes the place of those that were ahead.
  if (history.state?.entry === undefined) for (const number of left.keys()) if (number > entry) left.delete(number);
  left.set(entry, { top: scrollY, href: main.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null });
  document.activeElement?.blur();
  render();
});

// Not a place: it would be one more step back.
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });

// A view may change the hash by itself, for what it shows; and may be asked for again.
addEventListener("placed", () => { shownHash = location.hash; });
addEventListener("again", render);

addEventListener("beforeunload", (event) => {
  if (!mayLeave.isSafe()) event.preventDefault();
});

const SHORTCUTS = [
  ["/", "to the search of the view"], ["g t", "tables"], ["g w", "watch"], ["g s", "statistics"], ["g o", "operations"],
  ["↓ ↑", "from entry to entry of a list"], ["← →", "from tab to tab of a document"], ["Ctrl S", "save what is edited"], ["?", "this list"],
];
const showShortcuts = () => dialog("Keyboard", h("dl", { className: "facts keys" }, SHORTCUTS.map(([keys, what]) =>
  h("div", {}, h("dt", {}, h("kbd", { textContent: keys })), h("dd", { textContent: what })))), [["Close", "close"]]);

let isGoing = false;
addEventListener("keydown", (event) => {
  const isTyping = event.target.closest?.("input, textarea, select, dialog");
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  if (isGoing) {
    isGoing = false;
    const link = { t: "tables", w: "watch", s: "stats", o: "operations" }[event.key];
    if (link) { event.preventDefault(); location.hash = `#/${link}`; return; }
  }
  if (event.key === "g") isGoing = true;
  if (event.key === "?") { event.preventDefault(); showShortcuts(); }
  if (event.key === "/") {
    const search = main.querySelector("[data-search]");
    if (search) { event.preventDefault(); search.focus(); search.select?.(); }
  }
  if (event.key === "ArrowDown" || event.key === "ArrowUp") moveInList(event);
});

/** From entry to entry of the list that has the focus. */
function moveInList(event) {
  const entries = [...main.querySelectorAll("[data-entry]")];
  const at = entries.indexOf(document.activeElement);
  if (at < 0) return;
  event.preventDefault();
  entries[Math.min(Math.max(at + (event.key === "ArrowDown" ? 1 : -1), 0), entries.length - 1)].focus();
}

document.getElementById("keys").addEventListener("click", showShortcuts);
document.getElementById("sign-out").addEventListener("click", async () => {
  if (mayLeave.isSafe() || await mayLeave.ask()) signOut();
});

if (!location.hash) history.replaceState(null, "", "#/tables");
connect(render);
