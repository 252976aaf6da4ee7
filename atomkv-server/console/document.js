// A document, or an earlier version of it: what is known of it, its value, its history; and what can be done with it.

import { about, onDocument, part } from "./api.js";
import { isBinary, shown, shownText, toHex } from "./bytes.js";
import { lacking, may, mayLeave } from "./connection.js";
import { confirm, count, duration, facts, h, notify, plural, problem, size, time } from "./dom.js";
import { create, edit, replaceByFile } from "./editor.js";
import { history, restore } from "./history.js";
import { again, documentHash, go, tableHash } from "./places.js";
import { WHOLE_MAX, hexView, jsonView, readable, textView } from "./value.js";

/** How much of a long value is read to see what it is. */
const BEGINNING = 4096;

export async function show(main, { table, key, query, signal }) {
  const version = query.version === undefined ? undefined : Number(query.version);
  let document;
  try {
    document = about(await onDocument("HEAD", table, key, { query: { version }, signal }));
  } catch (error) {
    if (signal.aborted || ![404, 410].includes(error.status)) throw error;
    await missing(main, table, key, version, error, signal);
    return;
  }
  const isWhole = document.length <= WHOLE_MAX;
  let bytes;
  try {
    bytes = await part(table, key, document, 0, isWhole ? WHOLE_MAX : BEGINNING, version, signal);
  } catch (error) {
    // It was written between the two requests.
    if (error.status === 412) return show(main, { table, key, query, signal });
    throw error;
  }
  if (signal.aborted) return;
  const view = { main, table, key, version, document, value: readable(bytes, isWhole), isWhole, signal };
  view.reload = async () => {
    try {
      await show(main, { table, key, query: { version: query.version, tab: view.tab }, signal });
      // What had the focus is not there any more.
      if (!main.contains(globalThis.document.activeElement)) main.querySelector("[role=tab][aria-selected=true]")?.focus();
    } catch {
      // The view tells why, and lets try again.
      if (!signal.aborted) again();
    }
  };
  const panel = h("div", { id: "panel", role: "tabpanel" });
  const actions = h("div", { className: "row actions" });
  const [list, begin] = tabs(view, query.tab, panel, actions);
  main.replaceChildren(crumbs(table), heading(key), version === undefined ? "" : earlier(view), told(document, key), actions,
    list, panel);
  begin();
}

const crumbs = (table) => h("nav", { className: "crumbs", "aria-label": "Path" },
  h("a", { href: "#/tables", textContent: "Tables" }), " / ", h("a", { href: tableHash(table), textContent: shownText(table) }), " / ");

const heading = (key) => h("div", { className: "title" }, h("h1", { className: "key", textContent: shown(key) }),
  isBinary(key) && h("span", { className: "badge", textContent: "bytes", title: `In hexadecimal: ${toHex(key)}` }));

function told(document, key) {
  const left = document.expiresAtMs - Date.now();
  const expires = document.expiresAtMs ? [time(document.expiresAtMs), left > 0 ? ` (in ${duration(left)})` : ""] : "never";
  return facts([
    ["version", count(document.version)], ["sequence", count(document.sequence)],
    ["length", document.length < 1024 ? size(document.length) : `${size(document.length)} (${plural(document.length, "byte")})`],
    ["type", document.contentType], ["written", time(document.writtenMs)], ["expires", expires],
    ["key in hex", isBinary(key) ? h("code", { textContent: toHex(key.subarray(0, 64)) + (key.length > 64 ? " …" : "") }) : ""],
  ]);
}

function earlier({ table, key, version, document, signal }) {
  return h("div", { className: "banner" }, `This is version ${version}, which may not be the present one. `,
    h("a", { href: documentHash(table, key), textContent: "To the present one" }), " ",
    may("write", table) && h("button", { type: "button", textContent: "Restore it …",
      onclick: () => restore(table, key, version, document, () => { go(documentHash(table, key)); }, signal) }));
}

async function missing(main, table, key, version, error, signal) {
  const panel = h("div");
  const isGone = error.status === 410;
  const text = isGone ? `Version ${version} is not kept any more.`
    : version ? `Of version ${version} there is no value: it may be that of a deletion.` : "There is no document under this key.";
  main.replaceChildren(crumbs(table), heading(key), h("p", { className: "empty", textContent: text }),
    h("div", { className: "row" },
      version !== undefined && h("a", { className: "button", href: documentHash(table, key), textContent: "To the present one" }),
      version === undefined && may("write", table) && h("button", { type: "button", className: "primary", textContent: "Write it",
        onclick: () => showNew(main, { table, key, query: {} }) })),
    panel);
  await history(panel, { table, key, reload: () => show(main, { table, key, query: {}, signal }), signal, isMissing: true });
}

function tabs(view, asked, panel, actions) {
  const { value } = view;
  const kinds = [["json", "JSON", value.isJson], ["text", "Text", value.text !== null], ["hex", "Hex", true],
    ["history", "History", view.version === undefined]].filter(([, , isThere]) => isThere);
  const list = h("div", { role: "tablist", "aria-label": "How the value is shown", className: "tabs" });
  const choose = (name, isFocused) => {
    for (const tab of list.children) {
      const isChosen = tab.dataset.name === name;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      if (isChosen && isFocused) tab.focus();
    }
    view.tab = name;
    panel.setAttribute("aria-labelledby", `tab-${name}`);
    const { table, key, version } = view;
    globalThis.history.replaceState(globalThis.history.state, "", documentHash(table, key, { version, tab: name }));
    dispatchEvent(new CustomEvent("placed"));
    open(view, name, panel, actions);
  };
  list.append(...kinds.map(([name, textContent]) => {
    const tab = h("button", { type: "button", role: "tab", id: `tab-${name}`, textContent, "aria-controls": "panel",
      onclick: async () => { if (mayLeave.isSafe() || await mayLeave.ask()) choose(name, true); } });
    tab.dataset.name = name;
    return tab;
  }));
  list.addEventListener("keydown", async (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !(mayLeave.isSafe() || await mayLeave.ask())) return;
    const at = kinds.findIndex(([name]) => document.getElementById(`tab-${name}`).tabIndex === 0);
    choose(kinds[(at + step + kinds.length) % kinds.length][0], true);
  });
  return [list, () => choose(kinds.some(([name]) => name === asked) ? asked : kinds[0][0], false)];
}

function open(view, name, panel, actions) {
  const { table, key, version, document, value, isWhole } = view;
  actions.replaceChildren(...buttons(view, name, panel, actions));
  if (name === "history") history(panel, view);
  else if (name === "json") panel.replaceChildren(jsonView(value.text));
  else if (name === "text") panel.replaceChildren(document.length ? textView(table, key, document, version, value.text) : h("p", { className: "empty", textContent: "The value is empty." }));
  else panel.replaceChildren(hexView(table, key, document, version, value.bytes));
  if (!isWhole && name !== "history") {
    panel.prepend(h("p", { className: "hint", textContent: `The value is long (${size(document.length)}); it is read by parts and cannot be edited here, but replaced by a file.` }));
  }
}

function buttons(view, name, panel, actions) {
  const { main, table, key, version, document, isWhole, reload } = view;
  const button = (textContent, onclick, properties = {}) => h("button", { type: "button", textContent, onclick, ...properties });
  const made = [];
  if (version === undefined && may("write", table)) {
    const begin = () => {
      actions.replaceChildren();
      const toButton = () => main.querySelector("#edit")?.focus();
      edit(panel, { ...view, mode: name, done: () => reload().then(toButton), cancel: () => { open(view, name, panel, actions); toButton(); } });
    };
    if (isWhole && name !== "history") made.push(button("Edit", begin, { className: "primary", id: "edit" }));
    made.push(button("Replace by a file …", () => replaceByFile(view)));
    made.push(button("Delete …", () => remove(view), { className: "danger" }));
  }
  made.push(button("Download", (event) => download(view, event.target)));
  made.push(button("Reload", again));
  if (version === undefined && !may("write", table)) made.push(lacking("write", "edit or delete it"));
  return made;
}

async function remove({ main, table, key, document }) {
  const isMeant = await confirm("Delete the document?", `${shown(key)} in the table ${shownText(table)}, version ${document.version}.`, "Delete");
  if (!isMeant) return;
  try {
    await onDocument("DELETE", table, key, { headers: { "If-Match": document.etag } });
    notify("Deleted.");
    go(tableHash(table));
  } catch (error) {
    const text = error.status === 412 ? { status: 412, title: "Not deleted", detail: `Somebody has changed it meanwhile: ${error.detail}` } : error;
    tell(main, text);
  }
}

/** Tells what went wrong last, below the buttons. */
function tell(main, error) {
  main.querySelector(".actions + .problem")?.remove();
  main.querySelector(".actions").after(problem(error));
}

/** Hands the value over as a file; the browser keeps what is long on the disk. */
async function download({ main, table, key, version, document }, button) {
  button.disabled = true;
  try {
    const got = await onDocument("GET", table, key, { query: { version }, headers: { "If-Match": document.etag } });
    const url = URL.createObjectURL(await got.blob());
    const name = shown(key).replace(/[^A-Za-z0-9._-]+/g, "_").slice(-100) || "document";
    h("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  } catch (error) {
    tell(main, error);
  }
  button.disabled = false;
}

export async function showNew(main, { table, key }) {
  const panel = h("div");
  main.replaceChildren(crumbs(table), h("div", { className: "title" }, h("h1", { textContent: "New document" })), panel);
  if (!may("write", table)) {
    panel.append(lacking("write", "write documents"));
    return;
  }
  create(panel, { table, key, done: (written) => { go(documentHash(table, written)); }, cancel: () => { go(tableHash(table)); } });
}
