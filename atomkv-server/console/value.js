// A value as people may look at it: JSON, text, or bytes. What is long is read by parts, never as a whole.

import { part } from "./api.js";
import { decode } from "./bytes.js";
import { announce, count, field, h, plural, problem, size } from "./dom.js";
import { formatted, pretty, wrong } from "./json.js";

/** Values up to this length are loaded as a whole, and can be edited. */
export const WHOLE_MAX = 1 << 20;
/** How much of a longer one is shown as text at once, and how many bytes a page of bytes has. */
const TEXT_PART = 64 << 10;
const BYTES_PAGE = 2048;
const ROW = 16;
/** JSON with more parts than this is shown without colours. */
const COLOURED_MAX = 200_000;

/** What can be shown of a value: `{ bytes, text, json }`; `bytes` is the beginning if it is long. */
export function readable(bytes, isWhole) {
  // A part may end within a character.
  const text = isWhole ? decode(bytes) : decode(bytes) ?? cutText(bytes);
  const isJson = isWhole && text !== null && /^\s*[[{"\d\-tfn]/.test(text) && wrong(text) === null;
  return { bytes, text, isJson };
}

function cutText(bytes) {
  for (let less = 1; less <= 3; less += 1) {
    const text = decode(bytes.subarray(0, Math.max(0, bytes.length - less)));
    if (text !== null) return text;
  }
  return null;
}

export function jsonView(text) {
  const shown = h("pre", { className: "value json", tabIndex: 0, "aria-label": "The value as JSON" });
  const laidOut = formatted(text);
  if (laidOut === null || text.length > COLOURED_MAX) {
    shown.textContent = laidOut ?? text;
    return laidOut === null ? h("div", {}, h("p", { className: "hint", textContent: "Too deep or too long to be laid out; shown as it is stored." }), shown) : shown;
  }
  for (const [kind, token] of pretty(text)) {
    shown.append(kind === "space" || kind === "sign" ? token : h("span", { className: kind, textContent: token }));
  }
  return shown;
}

/** The text, and a way to read on if it is long. */
export function textView(table, key, document, version, text) {
  const shown = h("pre", { className: "value", tabIndex: 0, "aria-label": "The value as text", textContent: text });
  if (document.length <= WHOLE_MAX) return shown;
  const decoder = new TextDecoder();
  let at = 0;
  const told = h("span", { className: "hint" });
  const more = h("button", { type: "button", textContent: `Show the next ${size(TEXT_PART)}` });
  const next = async () => {
    more.disabled = true;
    try {
      const bytes = await part(table, key, document, at, TEXT_PART, version);
      at += bytes.length;
      shown.append(decoder.decode(bytes, { stream: true }));
      announce(`${size(at)} of ${size(document.length)}`);
    } catch (error) {
      told.after(problem(changed(error)));
      return;
    }
    told.textContent = `${size(at)} of ${size(document.length)}`;
    more.hidden = at >= document.length;
    more.disabled = false;
  };
  more.addEventListener("click", next);
  shown.textContent = "";
  next();
  return h("div", {}, shown, h("div", { className: "row" }, more, told));
}

const changed = (error) => error.status === 412
  ? { status: 412, title: "Changed meanwhile", detail: "the document is not the one of which you have seen a part; load it again" } : error;

/** Rows of sixteen bytes: where they are, the bytes, and what of them is ASCII. */
export function hexRows(bytes, first = 0) {
  const rows = [];
  for (let at = 0; at < bytes.length; at += ROW) {
    const row = bytes.subarray(at, at + ROW);
    const digits = Array.from(row, (byte) => byte.toString(16).padStart(2, "0"));
    const hex = `${digits.slice(0, 8).join(" ")}  ${digits.slice(8).join(" ")}`.padEnd(3 * ROW);
    const ascii = Array.from(row, (byte) => byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".").join("");
    rows.push(`${(first + at).toString(16).padStart(8, "0")}  ${hex}  ${ascii}`);
  }
  return rows.join("\n");
}

/** The bytes, a page at a time. Of a long value each page is read when it is wanted. */
export function hexView(table, key, document, version, bytes) {
  const isWhole = bytes.length === document.length;
  const shown = h("pre", { className: "value hex", tabIndex: 0, "aria-label": "The value as bytes" });
  const told = h("span", { className: "hint" });
  const where = h("input", { className: "offset", autocomplete: "off", spellcheck: false, value: "0" });
  const failed = h("div");
  let first = 0;
  const turn = async (wanted) => {
    const last = Math.max(0, Math.ceil(document.length / BYTES_PAGE) - 1) * BYTES_PAGE;
    first = Math.min(Math.max(0, Math.floor(wanted / BYTES_PAGE) * BYTES_PAGE), last);
    let page;
    try {
      page = isWhole ? bytes.subarray(first, first + BYTES_PAGE) : await part(table, key, document, first, BYTES_PAGE, version);
    } catch (error) {
      failed.replaceChildren(problem(changed(error)));
      return;
    }
    failed.replaceChildren();
    shown.textContent = page.length ? hexRows(page, first) : "(empty)";
    told.textContent = document.length ? `bytes ${count(first)} to ${count(first + page.length - 1)} of ${plural(document.length, "byte")}` : "";
    back.disabled = start.disabled = first === 0;
    on.disabled = end.disabled = first >= last;
  };
  const button = (textContent, to) => h("button", { type: "button", textContent, onclick: () => turn(to()) });
  const start = button("Start", () => 0), back = button("Back", () => first - BYTES_PAGE);
  const on = button("On", () => first + BYTES_PAGE), end = button("End", () => document.length - 1);
  const go = (event) => {
    event.preventDefault();
    const offset = /^0x/i.test(where.value.trim()) ? parseInt(where.value, 16) : Number(where.value.trim() || NaN);
    if (!Number.isInteger(offset) || offset < 0 || offset >= Math.max(document.length, 1)) {
      failed.replaceChildren(h("p", { className: "wrong", role: "alert", textContent: `An offset is a number below ${document.length}; with 0x in front, hexadecimal.` }));
      return;
    }
    turn(offset);
  };
  turn(0);
  const pager = document.length > BYTES_PAGE && h("form", { className: "row pages", onsubmit: go }, start, back, on, end,
    field("Offset", where), h("button", { textContent: "Go" }));
  return h("div", {}, shown, pager, told, failed);
}
