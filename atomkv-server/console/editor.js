// Writing a document: as JSON, as text or as bytes, under the condition that it is still the one that was read.

import { about, onDocument, part } from "./api.js";
import { decode, encode, fromHex, isText, same, shown, toHex, typed } from "./bytes.js";
import { mayLeave } from "./connection.js";
import { announce, choice, dialog, explain, field, h, notify, problem, size, time } from "./dom.js";
import { difference } from "./history.js";
import { compact, formatted, wrong } from "./json.js";
import { WHOLE_MAX } from "./value.js";

/** Longer values are not edited as hexadecimal digits. */
const HEX_MAX = 256 << 10;
const TYPES = ["application/json", "text/plain; charset=utf-8", "application/octet-stream", "text/html", "text/csv", "application/xml"];
const TOO_LONG = "Too deep or too long to be laid out; it stands here as it is stored.";
/** The bytes of a row of the editor. */
const ROW = 16;

const hexText = (bytes) => toHex(bytes).replace(/(..)(?=.)/g, "$1 ").replace(new RegExp(`((?:.. ){${ROW}})`, "g"), (row) => `${row.trimEnd()}\n`);

/**
 * The part in which a value is written. `value` reads what is written as bytes, or throws; `isChanged` is of what was there
 * at first.
 */
function body(bytes, first, chosen = () => {}) {
  let mode = first, original = null, hasCrlf = false;
  const area = h("textarea", { className: "editor", rows: 18, spellcheck: false, autocomplete: "off", "aria-label": "Value" });
  const state = h("p", { className: "hint", role: "status" });
  const format = h("button", { type: "button", textContent: "Format", onclick: () => reshape(formatted) });
  const shorten = h("button", { type: "button", textContent: "Compact", onclick: () => reshape(compact) });
  const kinds = choice([["json", "JSON"], ["text", "Text"], ["hex", "Hex"]], mode);
  const note = h("p", { className: "hint" });

  function fill(given) {
    note.textContent = "";
    if (mode === "hex") {
      if (given.length > HEX_MAX) throw new Error(`${size(given.length)} are too much to be edited as hexadecimal digits; replace it by a file`);
      area.value = hexText(given);
      return;
    }
    const text = decode(given);
    if (text === null) throw new Error("the value is no text in UTF-8; it can be edited as hex");
    // A text area has only line feeds.
    const lines = text.replaceAll("\r\n", "\n");
    if (lines.includes("\r")) throw new Error("the value has single carriage returns, which would be lost; it can be edited as hex");
    hasCrlf = text.includes("\r\n");
    if (hasCrlf && lines.replaceAll("\n", "\r\n") !== text) throw new Error("the value has line ends of two kinds, one of which would be lost; it can be edited as hex");
    if (hasCrlf) note.textContent = "Lines end with a carriage return and a line feed, as they did.";
    area.value = lines;
  }

  function value() {
    if (mode === "hex") return fromHex(area.value);
    if (mode === "json") {
      const error = wrong(area.value);
      if (error) throw new Error(`this is no JSON: ${error}. Choose Text to write it all the same`);
    }
    if (!isText(area.value)) throw new Error("half a character: it cannot be written as UTF-8");
    return encode(hasCrlf ? area.value.replaceAll("\n", "\r\n") : area.value);
  }

  function check() {
    let told = "", isWrong = false;
    try {
      const length = size(value().length);
      told = mode === "json" ? `JSON, ${length}` : length;
    } catch (error) {
      // Nothing is written yet: that is no mistake of anybody's.
      isWrong = area.value !== "";
      told = isWrong ? `${error.message}.` : "";
    }
    state.textContent = told;
    state.classList.toggle("wrong", isWrong);
    if (isWrong) area.setAttribute("aria-invalid", "true"); else area.removeAttribute("aria-invalid");
  }

  function reshape(how) {
    if (!wrong(area.value)) {
      const shaped = how(area.value, WHOLE_MAX);
      if (shaped === null) note.textContent = TOO_LONG; else area.value = shaped;
    }
    check();
  }

  function adjust() {
    format.hidden = shorten.hidden = mode !== "json";
    check();
  }

  kinds.addEventListener("change", () => {
    const before = mode;
    try {
      // From JSON that is not finished one may go on as text.
      const given = before !== "hex" && kinds.value !== "hex" ? null : before === "json" ? encode(area.value) : value();
      mode = kinds.value;
      if (given) fill(given);
      adjust();
      chosen(mode);
    } catch (error) {
      kinds.value = mode = before;
      state.classList.add("wrong");
      state.textContent = `${error.message}.`;
    }
  });
  let waiting = 0;
  area.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(check, 200); });

  try { fill(bytes); } catch (error) { mode = kinds.value = "hex"; fill(bytes); note.textContent = `${error.message}.`; }
  if (mode === "json" && bytes.length && !wrong(area.value)) {
    const stored = area.value;
    const laidOut = formatted(stored, WHOLE_MAX);
    if (laidOut === null) note.textContent = TOO_LONG; else area.value = laidOut;
    if (area.value !== stored) note.textContent = "Laid out for reading, and saved as it stands here. Compact makes one line of it.";
  }
  original = area.value;
  const originalMode = mode;
  adjust();
  const element = h("div", {}, h("div", { className: "row" }, field("Written as", kinds), format, shorten), area, state, note);
  // What is told of the value stands there before anything is told of the saving: it would push that out of sight.
  const told = () => { clearTimeout(waiting); check(); return value(); };
  return { element, area, value: told, isChanged: () => area.value !== original || (mode !== originalMode && mode === "hex" && original === "") };
}

/** When it is to expire, as the query of the service has it. */
function expiry(document) {
  const keeps = document ? [["keep", document.expiresAtMs ? "as it does" : "never, as before"]] : [];
  const kind = choice([...keeps, ["", "as the table says"], ["none", "never"], ["ttl", "after …"]], document ? "keep" : "");
  const after = h("input", { placeholder: "30m", hidden: true, autocomplete: "off", "aria-label": "After how long: 30s, 5m, 2h, 7d" });
  kind.addEventListener("change", () => { after.hidden = kind.value !== "ttl"; });
  const query = () => {
    if (kind.value === "ttl") return { ttl: after.value.trim() || "0" };
    if (kind.value !== "keep") return { ttl: kind.value };
    return document.expiresAtMs ? { expires_at_ms: document.expiresAtMs } : { ttl: "none" };
  };
  return { element: h("div", { className: "row" }, field("Expires", kind), after), query };
}

function contentType(given) {
  const list = h("datalist", { id: "types" }, TYPES.map((value) => h("option", { value })));
  const input = h("input", { value: given, list: "types", autocomplete: "off", spellcheck: false });
  return { element: h("div", {}, field("Content-Type", input), list), input };
}

/** A form with its buttons; `save` may throw what is then told. */
function form(panel, parts, save, cancel, told) {
  const button = h("button", { className: "primary", textContent: "Save" });
  const submit = async (event) => {
    event?.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    // What would be typed now would not be saved, and be gone when the document is shown again.
    const inputs = made.querySelectorAll("input, textarea");
    for (const input of inputs) input.readOnly = true;
    told.replaceChildren();
    try { await save(); } catch (error) {
      told.replaceChildren(problem(error.name === "Error" ? { title: "Not written", message: `${error.message}.` } : error));
      // It is below the value, where whoever has saved by keyboard may not see it.
      told.scrollIntoView({ block: "nearest" });
    }
    for (const input of inputs) input.readOnly = false;
    button.disabled = false;
  };
  const made = h("form", { className: "edit", onsubmit: submit }, parts, told,
    h("div", { className: "row" }, button, h("button", { type: "button", textContent: "Cancel", onclick: async () => {
      if (!mayLeave.isSafe() && !await mayLeave.ask()) return;
      mayLeave.unsaved = null;
      cancel();
    } }), h("span", { className: "hint", textContent: "Ctrl S saves" })));
  made.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s") { event.preventDefault(); submit(); }
  });
  panel.replaceChildren(made);
}

/** Edits a document that is there. */
export function edit(panel, { table, key, document, value, mode, signal, done, cancel }) {
  const text = body(value.bytes, mode);
  const type = contentType(document.contentType);
  const expires = expiry(document);
  const told = h("div");
  let etag = document.etag;
  const isChanged = () => text.isChanged() || type.input.value !== document.contentType;
  const unsaved = () => text.area.isConnected && isChanged();
  mayLeave.unsaved = unsaved;
  const save = async () => {
    const bytes = text.value();
    const headers = { "Content-Type": type.input.value.trim() || "application/octet-stream" };
    headers[etag ? "If-Match" : "If-None-Match"] = etag || "*";
    try {
      await onDocument("PUT", table, key, { query: expires.query(), headers, body: bytes, signal });
    } catch (error) {
      if (error.status === 412) return conflict({ table, key, bytes, took: (now) => { etag = now; }, saved, reload, save, text, told, begun: document });
      if (error.status === 503 || !error.status) error.message += "; whether it was written is not known: save again, which cannot happen twice";
      throw error;
    }
    saved("Saved.");
  };
  const reload = () => { mayLeave.unsaved = null; done(); };
  const saved = (words) => { mayLeave.unsaved = null; notify(words); done(); };
  form(panel, [text.element, h("div", { className: "pair" }, type.element, expires.element)], save, cancel, told);
  text.area.focus();
  text.area.setSelectionRange(0, 0);
}

/** Somebody else was faster: shows what is there, and lets choose. */
async function conflict({ table, key, bytes, took, saved, reload, save, text, told, begun }) {
  let theirs = null, content = "";
  try {
    theirs = about(await onDocument("HEAD", table, key));
    const read = theirs.length <= WHOLE_MAX ? await part(table, key, theirs, 0, WHOLE_MAX) : null;
    // The connection had broken off after the write.
    if (read && theirs.version > begun.version && same(read, bytes)) return saved("It is written already as you have it.");
    content = read ? difference(read, bytes, "theirs", "yours") : h("p", { textContent: "What they wrote is too long to be compared." });
  } catch (error) {
    if (error.status !== 404) throw error;
  }
  const words = theirs
    ? h("p", {}, `You began with version ${begun.version}; now there is version ${theirs.version}, written `, time(theirs.writtenMs), ". Nothing of yours is written yet.")
    : h("p", { textContent: `${begun.expiresAtMs <= Date.now() ? "The document has expired" : "Somebody has deleted the document"} since you began. Nothing of yours is written yet.` });
  const answer = await dialog("Changed by somebody else", h("div", {}, words, content), [
    ["Keep editing", "edit"], [theirs ? "Take theirs, drop mine" : "Drop mine", "theirs"],
    [theirs ? "Overwrite theirs" : "Write mine anew", "mine", "danger"]], { className: "large" });
  if (answer === "theirs") return reload();
  if (answer === "mine") {
    took(theirs?.etag || null);
    return save();
  }
  told.replaceChildren(h("p", { className: "wrong", role: "alert", textContent: "Not saved: somebody has changed the document meanwhile." }));
  text.area.focus({ preventScroll: true });
  told.scrollIntoView({ block: "nearest" });
}

/** Writes a document that is not there yet. */
export function create(panel, { table, key, done, cancel }) {
  // An input of one line would drop the ends of lines, and so write another key.
  const as = choice([["", "text"], ["hex", "hex"]], key && !/^[^\r\n]*$/.test(decode(key) ?? "\n") ? "hex" : "");
  const name = h("input", { required: true, autocomplete: "off", spellcheck: false,
    value: key ? as.value ? toHex(key) : decode(key) : "", "data-search": "" });
  const type = contentType("application/json");
  // The type follows what it is written as, until somebody says another.
  const text = body(new Uint8Array(), "json", (mode) => {
    if (TYPES.includes(type.input.value)) type.input.value = { json: TYPES[0], text: TYPES[1], hex: TYPES[2] }[mode];
  });
  const expires = expiry(null);
  const told = h("div");
  mayLeave.unsaved = () => text.area.isConnected && (text.isChanged() || (!key && name.value !== ""));
  const save = async () => {
    const written = typed(name.value, as.value);
    const headers = { "Content-Type": type.input.value.trim() || "application/octet-stream", "If-None-Match": "*" };
    try {
      await onDocument("PUT", table, written, { query: expires.query(), headers, body: text.value() });
    } catch (error) {
      if (error.status !== 412) throw error;
      throw Object.assign(error, { title: "Not written", detail: `there is a document under ${shown(written)} already: open it to change it` });
    }
    mayLeave.unsaved = null;
    notify("Written.");
    done(written);
  };
  form(panel, [h("div", { className: "pair" }, field("Key", name), field("The key is written as", as)), text.element,
    h("div", { className: "pair" }, type.element, expires.element)], save, cancel, told);
  (key ? text.area : name).focus();
}

/** Takes a file's bytes as the value. It is sent as it is read, so that it may be long. */
export async function replaceByFile({ main, table, key, document, reload }) {
  const input = h("input", { type: "file", required: true });
  const type = contentType(document.contentType);
  input.addEventListener("change", () => { if (input.files[0]?.type) type.input.value = input.files[0].type; });
  const told = h("p", { className: "wrong", role: "alert" });
  const attempt = async () => {
    const headers = { "Content-Type": type.input.value.trim() || "application/octet-stream", "If-Match": document.etag };
    const query = document.expiresAtMs ? { expires_at_ms: document.expiresAtMs } : { ttl: "none" };
    try {
      await onDocument("PUT", table, key, { query, headers, body: input.files[0] });
      return "done";
    } catch (error) {
      told.textContent = error.status === 412 ? "Somebody has changed the document meanwhile: load it again first." : explain(error);
      announce(told.textContent);
      return undefined;
    }
  };
  const answer = await dialog("Replace by a file", h("div", {}, field("File", input), type.element, told), [["Cancel", ""], ["Replace", attempt, "submit"]]);
  if (answer !== "done") return;
  notify("Replaced.");
  await reload();
  main.querySelector("#edit")?.focus();
}
