// The change feed, live: what is written and deleted, the newest first.

import { Refused, events, get } from "./api.js";
import { encode, isBinary, keyOf, shown, shownPart, shownText, toPercent, toBase64url, typed } from "./bytes.js";
import { announce, checkbox, choice, count, explain, field, h, plural, problem, time } from "./dom.js";
import { documentHash, viewHash } from "./places.js";

/** So many changes are shown; older ones go. */
const SHOWN_MAX = 500;
const PREVIEW = 160;
const RETRY_MS = 1000, RETRY_MAX_MS = 15_000;
/** Changes that come close together are shown together, so that a fast stream costs no more than a slow one. */
const DRAW_MS = 100;

export async function show(main, { query, signal }) {
  const { tables } = await get("/v1/tables", { signal });
  const table = choice([["", "all tables"], ...tables.map(({ name }) => [name, shownText(name)])], "", { "data-search": "" });
  if (query.table && !tables.some(({ name }) => name === query.table)) table.append(h("option", { value: query.table, textContent: shownText(query.table) }));
  table.value = query.table || "";
  const prefix = h("input", { autocomplete: "off", spellcheck: false, value: query.prefix || "", placeholder: "every key" });
  const as = choice([["", "text"], ["hex", "hex"]], query.as || "", { "aria-label": "How the beginning is written" });
  const values = h("input", { type: "checkbox", checked: query.values === "true" });
  const state = h("input", { type: "checkbox", checked: query.state === "true" });
  const wrong = h("p", { className: "wrong", role: "alert" });
  const status = h("span", { className: "status", role: "status" });
  const body = h("tbody");
  const list = new List(body, values);
  const pause = h("button", { type: "button", "aria-pressed": "false", textContent: "Pause", onclick: () => {
    list.pause(!list.isPaused);
    pause.setAttribute("aria-pressed", String(list.isPaused));
    pause.textContent = list.isPaused ? "Go on" : "Pause";
  } });
  let ending = new AbortController();
  signal.addEventListener("abort", () => { ending.abort(); list.end(); });
  const begin = (event) => {
    event?.preventDefault();
    wrong.textContent = "";
    let beginning;
    try { beginning = typed(prefix.value, as.value); } catch (error) { wrong.textContent = `${error.message}.`; return; }
    ending.abort();
    ending = new AbortController();
    history.replaceState(history.state, "", viewHash("watch", { table: table.value, prefix: prefix.value, as: prefix.value && as.value, values: values.checked, state: state.checked }));
    dispatchEvent(new CustomEvent("placed"));
    const asked = {
      // A comma in a name is encoded once more.
      tables: table.value ? toPercent(encode(table.value)) : undefined,
      ...(beginning.length && { prefix: toBase64url(beginning), key_encoding: "base64url" }),
      values: values.checked || undefined, state: state.checked || undefined,
    };
    follow(asked, list, status, failed, ending.signal);
  };
  const failed = h("div");
  for (const input of [table, values, state]) input.addEventListener("change", () => begin());
  main.replaceChildren(h("div", { className: "title" }, h("h1", { textContent: "Watch" }), status),
    h("form", { className: "search", onsubmit: begin },
      h("div", { className: "row" }, field("Table", table), field("Key begins with", prefix), as, h("button", { className: "primary", textContent: "Watch" })),
      h("div", { className: "row small" }, checkbox("with values", values), checkbox("first what is there", state)), wrong),
    h("div", { className: "row" }, pause, h("button", { type: "button", textContent: "Clear", onclick: () => list.clear() }), list.told),
    failed,
    h("div", { className: "wide" }, h("table", { className: "changes" }, h("caption", { className: "unseen", textContent: "Changes, the newest first" }),
      h("thead", {}, h("tr", {}, ["Time", "Change", "Table", "Key", "Version", "Value"].map((textContent) => h("th", { scope: "col", textContent })))), body)));
  begin();
}

/** Follows the feed, and takes it up again where it broke off, until it is told to end. */
async function follow(asked, list, status, failed, signal) {
  let from, wait = RETRY_MS;
  const tell = (kind, text) => { status.className = `status ${kind}`; status.textContent = text; };
  failed.replaceChildren();
  while (!signal.aborted) {
    tell("waiting", "connecting …");
    try {
      // What was there is told anew.
      if (from === undefined && asked.state && list.all > 0) list.clear();
      const headers = from === undefined ? {} : { "Last-Event-ID": from };
      const query = from === undefined ? asked : { ...asked, state: undefined };
      const feed = events("/v1/watch", { query, headers, signal, opened: () => tell("live", "live") });
      for await (const event of feed) {
        if (event.name === "error") {
          const told = JSON.parse(event.data);
          throw new Refused(told.status, told);
        }
        wait = RETRY_MS;
        if (event.id !== undefined) from = event.id;
        if (event.data === undefined) continue;
        list.add(event.name, JSON.parse(event.data));
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 410) {
        failed.replaceChildren(problem({ ...error, title: "Changes were missed", detail: `${explain(error)}. The watch goes on from now` }));
        from = undefined;
        asked = { ...asked, state: undefined };
      } else if (error.status && error.status !== 429 && error.status !== 503) {
        tell("lost", "ended");
        failed.replaceChildren(problem(error));
        return;
      }
    }
    if (signal.aborted) return;
    tell("lost", `broken off; again in ${Math.round(wait / 1000)} s`);
    await new Promise((resolve) => { setTimeout(resolve, wait); });
    wait = Math.min(2 * wait, RETRY_MAX_MS);
  }
}

/** The changes that are shown, and those that wait while it is paused. */
class List {
  constructor(body) {
    Object.assign(this, { body, waiting: [], isPaused: false, all: 0, dropped: 0, timer: 0 });
    this.told = h("span", { className: "hint", role: "status", textContent: "Nothing has changed yet." });
  }

  add(name, change) {
    this.all += 1;
    this.waiting.push([name, change]);
    if (this.waiting.length > SHOWN_MAX) { this.waiting.shift(); this.dropped += 1; }
    this.timer ||= setTimeout(() => { this.timer = 0; this.draw(); }, DRAW_MS);
  }

  draw() {
    const all = plural(this.all, "change");
    if (this.isPaused) {
      this.told.textContent = `${all}, of which ${count(this.waiting.length + this.dropped)} are not shown yet`;
      return;
    }
    const rows = this.waiting.map(([name, change]) => row(name, change)).reverse();
    this.waiting = [];
    this.dropped = 0;
    this.body.prepend(...rows);
    while (this.body.rows.length > SHOWN_MAX) this.body.lastChild.remove();
    this.told.textContent = this.all === 0 ? "Nothing has changed yet." : `${all}${this.all > this.body.rows.length ? `, the last ${this.body.rows.length} shown` : ""}`;
  }

  pause(isPaused) {
    this.isPaused = isPaused;
    announce(isPaused ? "Paused" : "Going on");
    this.draw();
  }

  clear() {
    this.waiting = [];
    this.all = this.dropped = 0;
    this.body.replaceChildren();
    this.draw();
  }

  end() { clearTimeout(this.timer); }
}

function row(name, change) {
  const key = keyOf(change);
  const isDelete = name === "delete";
  return h("tr", { className: name }, h("td", {}, time(change.time_ms)), h("td", {}, h("span", { className: `badge ${name}`, textContent: name })),
    h("td", { textContent: shownText(change.table) }),
    h("td", {}, h("a", { className: "key", href: documentHash(change.table, key), textContent: shown(key), "data-entry": "" }), isBinary(key) && h("span", { className: "badge", textContent: "bytes" })),
    h("td", { className: "number", textContent: count(change.version) }), h("td", { className: "preview" }, isDelete ? "" : preview(change)));
}

function preview(change) {
  if (change.too_large) return h("em", { textContent: "too long to be shown here" });
  if (change.value_base64 !== undefined) return h("em", { textContent: "bytes" });
  if (change.value === undefined) return "";
  return h("code", { textContent: change.value.length > PREVIEW ? `${shownPart(change.value.slice(0, PREVIEW))} …` : shownPart(change.value) });
}
