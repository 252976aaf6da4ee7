// The documents of a table: searched, and shown a page at a time.

import { get, tablePath } from "./api.js";
import { fromBase64, isBinary, shown, shownPart, shownText, toBase64url, typed } from "./bytes.js";
import { lacking, may } from "./connection.js";
import { announce, checkbox, choice, count, facts, field, h, plural, problem, size, time } from "./dom.js";
import { documentHash, go, newHash, tableHash } from "./places.js";
import { settings } from "./tables.js";

const KINDS = [["prefix", "begins with"], ["contains", "contains"], ["glob", "matches (* ? [a-z])"], ["range", "from … to"], ["key", "is exactly"]];
/** A page has no more documents than this if it has their values, which may be 1 MiB each. */
const WITH_VALUES_MAX = 50;
const PREVIEW = 120;

/** From which page one came to a page. */
const cameFrom = new Map();

export async function show(main, { table, query, signal }) {
  const told = await get(tablePath(table), { signal });
  const results = h("section", { "aria-label": "Documents" });
  const canWrite = may("write", table);
  main.replaceChildren(
    h("nav", { className: "crumbs", "aria-label": "Path" }, h("a", { href: "#/tables", textContent: "Tables" }), " / "),
    h("div", { className: "title" }, h("h1", { textContent: shownText(table) }), facts([
      ["keys", count(told.keys)], ["settled", size(told.stats?.settled_live_bytes)], ["settings", settings(told)],
      ["partitions", `${count(told.partitions)}${told.auto_partitions ? " (auto)" : ""}`]])),
    h("div", { className: "row" },
      canWrite && h("a", { className: "button primary", href: newHash(table), textContent: "New document" }),
      h("a", { className: "button", href: `#/watch?${new URLSearchParams({ table })}`, textContent: "Watch" }),
      may("admin", table) && h("a", { className: "button", href: `#/operations?${new URLSearchParams({ table })}`, textContent: "Resize …" })),
    canWrite ? "" : lacking("write", "write documents"),
    form(told, table, query), results);
  await load(results, told, table, query, signal);
}

function form(told, table, query) {
  const kind = choice(KINDS, KINDS.find(([name]) => name === "range" ? query.start !== undefined || query.end !== undefined : query[name] !== undefined)?.[0] || "prefix",
    { "aria-label": "How the key is searched" });
  const text = h("input", { type: "search", autocomplete: "off", spellcheck: false, "data-search": "", "aria-label": "Key, or a part of it",
    value: query[kind.value] ?? query.start ?? "" });
  const end = h("input", { type: "search", autocomplete: "off", spellcheck: false, "aria-label": "Up to this key, not included", value: query.end ?? "", placeholder: "to (not included)" });
  const as = choice([["", "text"], ["hex", "hex"]], query.as || "", { "aria-label": "How it is written" });
  const limit = choice([["", "100"], ["20", "20"], ["500", "500"], ["2000", "2000"]], query.limit || "");
  const values = h("input", { type: "checkbox", checked: query.values === "true" });
  const reverse = h("input", { type: "checkbox", checked: query.reverse === "true" });
  const wrong = h("p", { className: "wrong", role: "alert" });
  const adjust = () => {
    end.hidden = kind.value !== "range";
    text.placeholder = kind.value === "range" ? "from" : kind.value === "key" ? "key" : "everything";
    as.disabled = kind.value === "glob";
  };
  kind.addEventListener("change", adjust);
  adjust();
  const submit = (event) => {
    event.preventDefault();
    wrong.textContent = "";
    const written = kind.value === "glob" ? "" : as.value;
    try {
      const key = typed(text.value, written);
      if (kind.value === "range") typed(end.value, written);
      if (kind.value === "key") {
        if (key.length === 0) throw new Error("a key has at least one byte");
        go(documentHash(table, key));
        return;
      }
    } catch (error) {
      wrong.textContent = `${error.message}.`;
      return;
    }
    const asked = { limit: limit.value, values: values.checked, reverse: told.ordered && reverse.checked };
    if (kind.value === "range") Object.assign(asked, { start: text.value, end: end.value });
    else asked[kind.value] = text.value;
    const wanted = tableHash(table, { ...asked, as: text.value || end.value ? written : "" });
    go(wanted);
  };
  return h("form", { className: "search", role: "search", onsubmit: submit },
    h("div", { className: "row" }, kind, text, end, as, h("button", { className: "primary", textContent: "Search" })),
    h("div", { className: "row small" }, checkbox("with values", values), told.ordered && checkbox("from the last key", reverse),
      h("label", {}, "at once ", limit)),
    told.ordered ? "" : h("p", { className: "hint", textContent: "The table is not ordered: keys come in no order, and a search looks through all of it." }),
    wrong);
}

/** The query of the service: all keys in base64url, so that any bytes come through. */
function asked(query) {
  const encoded = (text) => text === undefined || text === "" ? undefined : toBase64url(typed(text, query.as));
  const limit = Number(query.limit) || 100;
  const values = query.values === "true";
  return {
    prefix: encoded(query.prefix), contains: encoded(query.contains), start: encoded(query.start), end: encoded(query.end),
    glob: query.glob, cursor: query.cursor, values: values || undefined, reverse: query.reverse === "true" || undefined,
    limit: values ? Math.min(limit, WITH_VALUES_MAX) : limit, key_encoding: "base64url",
  };
}

async function load(results, told, table, query, signal) {
  const ending = new AbortController();
  signal.addEventListener("abort", () => ending.abort());
  results.setAttribute("aria-busy", "true");
  results.replaceChildren(h("div", { className: "row" }, h("span", { textContent: "Searching …" }),
    h("button", { type: "button", textContent: "Stop", onclick: () => ending.abort() })));
  try {
    const page = await get(`${tablePath(table)}/documents`, { query: asked(query), signal: ending.signal });
    list(results, told, table, query, page);
  } catch (error) {
    if (signal.aborted) return;
    const again = h("button", { type: "button", textContent: "Try again", onclick: () => load(results, told, table, query, signal) });
    results.replaceChildren(error.name === "AbortError" ? h("div", { className: "row" }, h("span", { textContent: "Stopped." }), again) : problem(error, again));
  }
  results.removeAttribute("aria-busy");
}

function list(results, told, table, query, page) {
  const withValues = query.values === "true";
  const isSearch = ["prefix", "contains", "glob", "start", "end"].some((name) => query[name]);
  const next = page.cursor && tableHash(table, { ...query, cursor: page.cursor });
  if (next) cameFrom.set(next, location.hash);
  const before = cameFrom.get(location.hash);
  const many = plural(page.documents.length, "document");
  const pages = h("nav", { className: "row pages", "aria-label": "Pages" },
    query.cursor && h("a", { className: "button", href: tableHash(table, { ...query, cursor: "" }), textContent: "First page" }),
    before && h("a", { className: "button", href: before, textContent: "Previous page" }),
    next && h("a", { className: "button", href: next, textContent: "Next page" }),
    h("span", { className: "hint", textContent: next ? `${many} on this page` : many }));
  if (page.documents.length === 0) {
    const text = query.cursor ? "There are no more." : isSearch ? "No document has such a key." : "The table is empty.";
    announce(text);
    results.replaceChildren(h("p", { className: "empty", textContent: text }), query.cursor ? pages : "");
    return;
  }
  announce(many);
  const columns = ["Key", "Version", "Written", "Expires", ...(withValues ? ["Length", "Value"] : [])];
  results.replaceChildren(h("div", { className: "wide" }, h("table", { className: "documents" },
    h("caption", { className: "unseen", textContent: `Documents of ${table}` }),
    h("thead", {}, h("tr", {}, columns.map((textContent) =>
      h("th", { scope: "col", textContent, className: textContent === "Version" || textContent === "Length" ? "number" : "" })))),
    h("tbody", {}, page.documents.map((document) => row(table, document, withValues))))), pages);
}

function row(table, document, withValues) {
  const key = fromBase64(document.key);
  const link = h("a", { href: documentHash(table, key), className: "key", textContent: shown(key), "data-entry": "" });
  return h("tr", {},
    h("th", { scope: "row" }, link, isBinary(key) && h("span", { className: "badge", textContent: "bytes" })),
    h("td", { className: "number", textContent: count(document.version) }), h("td", {}, time(document.time_ms)),
    h("td", {}, document.expires_at_ms ? time(document.expires_at_ms) : "never"),
    withValues && h("td", { className: "number", textContent: size(document.bytes) }),
    withValues && h("td", { className: "preview" }, preview(document)));
}

function preview(document) {
  if (document.too_large) return h("em", { textContent: "too long to be shown here" });
  if (document.value_base64 !== undefined) return h("em", { textContent: "bytes" });
  const text = document.value ?? "";
  return h("code", { textContent: text.length > PREVIEW ? `${shownPart(text.slice(0, PREVIEW))} …` : shownPart(text) });
}
