// Maintenance: what takes long is begun here, and followed until it has ended.

import { get, post, request } from "./api.js";
import { shownText } from "./bytes.js";
import { lacking, may } from "./connection.js";
import { announce, choice, count, duration, explain, facts, field, h, notify, plural, problem, size, time } from "./dom.js";

/** How often it is asked how far things are, while something is under way. */
const TURN_MS = 500;
const IDLE_MS = 5000;

const PLAIN = [
  ["compact", "Compact", "Settles all segments and gives space back."],
  ["verify", "Verify", "Reads everything again and tells all damage."],
  ["checkpoint", "Checkpoint", "So that the next opening has little to do."],
];

export async function show(main, { query, signal }) {
  const list = h("div", { "aria-live": "polite" });
  const failed = h("div");
  const states = new Map();
  let timer = 0;
  async function turn() {
    clearTimeout(timer);
    if (signal.aborted) return;
    let isRunning = false;
    try {
      const { operations } = await get("/v1/operations", { signal });
      isRunning = operations.some(({ state }) => state === "running");
      draw(list, operations, turn);
      for (const operation of operations) {
        if (states.get(operation.id) === "running" && operation.state !== "running") notify(`${name(operation)}: ${operation.state}`);
        states.set(operation.id, operation.state);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error.status) { list.replaceChildren(problem(error)); return; }
    }
    timer = setTimeout(turn, isRunning ? TURN_MS : IDLE_MS);
  }
  signal.addEventListener("abort", () => clearTimeout(timer));
  const begin = async (asked, button) => {
    button.disabled = true;
    failed.replaceChildren();
    try {
      const operation = await post("/v1/operations", asked, { signal });
      states.set(operation.id, "running");
      announce(`${name(operation)} begun`);
    } catch (error) {
      failed.replaceChildren(problem(error));
    }
    button.disabled = false;
    turn();
  };
  const heading = h("div", { className: "title" }, h("h1", { textContent: "Operations" }));
  if (!may("admin") && !may("admin", query.table ?? "")) main.replaceChildren(heading, lacking("admin", "begin and see operations"));
  else main.replaceChildren(heading, failed, await cards(query, begin, signal), h("h2", { textContent: "Begun since the service runs" }), list);
  if (list.isConnected) await turn();
}

async function cards(query, begin, signal) {
  const card = (title, text, content) => h("section", { className: "card", "aria-label": title }, h("h3", { textContent: title }), h("p", { className: "hint", textContent: text }), content);
  const made = PLAIN.map(([kind, title, text]) => card(title, text,
    h("button", { type: "button", textContent: `${title} now`, onclick: (event) => begin({ kind }, event.target) })));
  const backup = h("input", { required: true, pattern: "[A-Za-z0-9_\\-][A-Za-z0-9_.\\-]{0,99}", autocomplete: "off", spellcheck: false, placeholder: "monday" });
  made.push(card("Backup", "In the service's directory for backups. One to the same name adds what is new.",
    h("form", { onsubmit: (event) => { event.preventDefault(); begin({ kind: "backup", name: backup.value }, event.submitter); } },
      field("Name", backup, "Letters, digits, -, _ and dots"), h("button", { textContent: "Back up" }))));
  const { tables } = await get("/v1/tables", { signal }).catch((error) => { if (error.status === 403) return { tables: [] }; throw error; });
  if (tables.length) {
    const table = choice(tables.map(({ name, partitions }) => [name, `${shownText(name)} (${partitions})`]), query.table || tables[0].name);
    const partitions = h("input", { type: "number", min: 1, max: 16384, required: true });
    const adjust = () => { partitions.value = tables.find(({ name }) => name === table.value)?.partitions ?? ""; };
    table.addEventListener("change", adjust);
    adjust();
    made.push(card("Resize", "Gives a table another number of partitions, while it is used.",
      h("form", { onsubmit: (event) => { event.preventDefault(); begin({ kind: "resize", table: table.value, partitions: Number(partitions.value) }, event.submitter); } },
        h("div", { className: "pair" }, field("Table", table), field("Partitions", partitions)), h("button", { textContent: "Resize" }))));
  }
  return h("div", { className: "cards" }, made);
}

const name = ({ kind, table, id }) => `${kind}${table ? ` of ${shownText(table)}` : ""} (${id})`;

/** Brings the list up to date, and leaves alone what has not changed, so that the focus stays where it is. */
function draw(list, operations, turn) {
  if (operations.length === 0) {
    list.replaceChildren(h("p", { className: "empty", textContent: "None." }));
    return;
  }
  list.querySelector(".empty, .problem")?.remove();
  const known = new Map([...list.children].map((element) => [element.dataset.id, element]));
  operations.forEach((operation, at) => {
    const state = JSON.stringify(operation);
    let element = known.get(String(operation.id));
    if (element?.dataset.state === state) return;
    const made = told(operation, turn);
    made.dataset.state = state;
    made.dataset.id = operation.id;
    if (!element) { list.insertBefore(made, list.children[at] || null); return; }
    const hadFocus = element.contains(document.activeElement);
    element.replaceWith(made);
    if (hadFocus) (made.querySelector("button") || made).focus();
  });
  const ids = new Set(operations.map(({ id }) => String(id)));
  for (const element of [...list.children]) if (!ids.has(element.dataset.id)) element.remove();
}

function told(operation, turn) {
  const { id, state, bytes, bytes_total: all, records, begun_ms: begun, ended_ms: ended } = operation;
  const isRunning = state === "running";
  const progress = isRunning && h("progress", { max: 1, "aria-label": `How far ${name(operation)} is`, ...(all > 0 && { value: Math.min(bytes / all, 1) }) });
  const cancel = isRunning && h("button", { type: "button", textContent: "Cancel", "aria-label": `Cancel ${name(operation)}`, onclick: async (event) => {
    event.target.disabled = true;
    try { await request("DELETE", `/v1/operations/${id}`); } catch (error) { announce(explain(error)); }
    turn();
  } });
  const far = all > 0 ? `${size(bytes)} of ${size(all)}` : bytes > 0 ? size(bytes) : "";
  return h("article", { className: `operation ${state}`, tabIndex: -1, "aria-label": name(operation) },
    h("div", { className: "row" }, h("h3", { textContent: name(operation) }), h("span", { className: `badge ${state}`, textContent: state }), progress,
      h("span", { className: "hint", textContent: [far, records > 0 ? plural(records, "record") : "", ended ? `took ${duration(ended - begun)}` : ""].filter(Boolean).join(", ") }), cancel),
    facts([["begun", time(begun)], ...results(operation.result || {})]),
    operation.problem && problem(operation.problem),
    damages(operation.result?.damages));
}

const results = (result) => Object.entries(result).filter(([, value]) => typeof value !== "object")
  .map(([key, value]) => [key.replaceAll("_", " "), key.startsWith("bytes") ? size(value) : typeof value === "number" ? count(value) : String(value)]);

function damages(found) {
  if (!found?.length) return null;
  return h("ul", { className: "damages" }, found.map(({ file, offset, detail }) => h("li", { textContent: `${file ?? "?"} at ${offset}: ${detail}` })));
}
