// The tables: what they hold, how they are set, and making one.

import { get, put, tablePath } from "./api.js";
import { shownText } from "./bytes.js";
import { lacking, may } from "./connection.js";
import { announce, checkbox, choice, count, dialog, duration, explain, facts, field, h, notify, plural, size } from "./dom.js";
import { tableHash } from "./places.js";

/** So many tables are asked one by one what they take; four at a time. */
const SIZES_MAX = 200;
const AT_ONCE = 4;

/** How a table was made, in words. */
export function settings(table) {
  const { versions, duration: time } = table.retention;
  const kept = table.retention === "all" ? "all versions"
    : time ? `versions for ${duration(parseInt(time, 10))}` : versions > 1 ? `${versions} versions` : null;
  const ttl = table.ttl_ms ? `expires after ${duration(table.ttl_ms)}` : null;
  return [table.ordered ? "ordered" : "not ordered", kept, ttl].filter(Boolean).join(", ");
}

export async function show(main, { query, signal }) {
  const told = await get("/v1/tables", { signal });
  const tables = told.tables.sort((one, other) => one.name < other.name ? -1 : 1);
  const sizes = new Map();
  const body = h("tbody");
  const filter = h("input", { type: "search", placeholder: "Name", value: query.filter || "", "data-search": "" });
  const found = h("p", { className: "hint" });
  const fill = () => {
    const wanted = filter.value.toLowerCase();
    const shown = tables.filter((table) => table.name.toLowerCase().includes(wanted));
    found.textContent = shown.length === tables.length ? plural(tables.length, "table") : `${shown.length} of ${plural(tables.length, "table")}`;
    body.replaceChildren(...shown.map((table) => row(table, sizes)));
  };
  filter.addEventListener("input", fill);
  fill();
  main.replaceChildren(
    h("div", { className: "title" }, h("h1", { textContent: "Tables" }), may("read") ? await overview(signal) : null),
    h("div", { className: "row tools" }, field("Filter", filter),
      h("button", { type: "button", className: "primary", textContent: "New table …", onclick: () => create(filter.value) })),
    tables.length === 0
      ? h("p", { className: "empty", textContent: "There are no tables yet that this token may see." })
      : h("div", { className: "wide" }, h("table", {}, h("caption", { className: "unseen", textContent: "Tables" }), h("thead", {}, h("tr", {},
        ["Name", "Keys", "Settled", "Memory", "Partitions", "Settings"].map((textContent, at) =>
          h("th", { scope: "col", className: at > 0 && at < 5 ? "number" : "", textContent })))), body)),
    found,
    h("p", { className: "hint", textContent: "Settled is what compaction has put into segments of the table's own; the rest lies in the log, which all tables share. Memory is that of the index." }),
    told.foreign.length ? h("p", { className: "hint", textContent:
      `With services of another program's own, and so not to be used here: ${told.foreign.map(shownText).join(", ")}` }) : "");
  for (const { name } of tables.slice(SIZES_MAX)) for (const cell of sizes.get(name)?.cells || []) cell.textContent = "–";
  measure(tables.slice(0, SIZES_MAX), sizes, signal);
}

function row(table, sizes) {
  const [settled, memory] = sizes.get(table.name)?.cells
    || [h("td", { className: "number", textContent: "…" }), h("td", { className: "number", textContent: "…" })];
  if (!sizes.has(table.name)) sizes.set(table.name, { cells: [settled, memory] });
  const partitions = `${count(table.partitions)}${table.auto_partitions ? " (auto)" : ""}`;
  return h("tr", {},
    h("th", { scope: "row" }, h("a", { href: tableHash(table.name), textContent: shownText(table.name), "data-entry": "" })),
    h("td", { className: "number", textContent: count(table.keys) }), settled, memory,
    h("td", { className: "number", textContent: partitions }), h("td", { textContent: settings(table) }));
}

/** Asks each table what it takes. */
async function measure(tables, sizes, signal) {
  const waiting = [...tables];
  const work = async () => {
    for (let table; (table = waiting.shift()) && !signal.aborted;) {
      const [settled, memory] = sizes.get(table.name)?.cells || [];
      if (!settled) continue;
      try {
        const { stats } = await get(tablePath(table.name), { signal });
        settled.textContent = size(stats.settled_live_bytes);
        memory.textContent = size(stats.index_bytes);
      } catch {
        settled.textContent = memory.textContent = "–";
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

async function overview(signal) {
  try {
    const stats = await get("/v1/stats", { signal });
    return facts([["keys", count(stats.keys)], ["on disk", size(stats.disk_bytes)], ["index in memory", size(stats.index_bytes)]]);
  } catch {
    return null;
  }
}

async function create(name) {
  const inputs = {
    name: h("input", { required: true, autocomplete: "off", spellcheck: false, value: name, autofocus: true }),
    ordered: h("input", { type: "checkbox", checked: true }),
    retention: choice([["", "The present one only"], ["versions", "The last so many"], ["duration", "Each for a time"], ["all", "All"]], ""),
    kept: h("input", { disabled: true, autocomplete: "off" }),
    ttl: h("input", { placeholder: "never", autocomplete: "off" }),
    partitions: h("input", { type: "number", min: 1, max: 16384, placeholder: "16" }),
    auto: h("input", { type: "checkbox" }),
  };
  inputs.retention.addEventListener("change", () => {
    const kind = inputs.retention.value;
    inputs.kept.disabled = kind !== "versions" && kind !== "duration";
    inputs.kept.required = !inputs.kept.disabled;
    inputs.kept.placeholder = kind === "versions" ? "10" : kind === "duration" ? "7d" : "";
  });
  const told = h("p", { className: "wrong", role: "alert" });
  const content = h("div", {},
    field("Name", inputs.name),
    checkbox("Ordered: the table knows the order of its keys, for ranges and prefixes", inputs.ordered),
    h("div", { className: "pair" }, field("Versions kept", inputs.retention), field("How many, or how long", inputs.kept)),
    field("Documents expire after", inputs.ttl, "Such as 30s, 5m, 2h, 7d"),
    h("div", { className: "pair" }, field("Partitions", inputs.partitions), checkbox("They follow the table's size", inputs.auto)),
    h("p", { className: "hint", textContent: "A table cannot be dropped, and keeps these settings; only its partitions can be changed." }),
    may("admin", inputs.name.value) || may("admin") ? "" : lacking("admin", "create a table"), told);
  const attempt = async () => {
    const { value: kind } = inputs.retention;
    const asked = {
      ordered: inputs.ordered.checked, auto_partitions: inputs.auto.checked,
      ...(inputs.partitions.value && { partitions: Number(inputs.partitions.value) }),
      ...(inputs.ttl.value.trim() && { ttl: inputs.ttl.value.trim() }),
      ...(kind === "all" && { retention: "all" }),
      ...(kind === "versions" && { retention: { versions: Number(inputs.kept.value) } }),
      ...(kind === "duration" && { retention: { duration: inputs.kept.value.trim() } }),
    };
    try {
      await put(tablePath(inputs.name.value), asked);
      return inputs.name.value;
    } catch (error) {
      told.textContent = explain(error);
      announce(told.textContent);
      return undefined;
    }
  };
  const made = await dialog("New table", content, [["Cancel", ""], ["Create", attempt, "submit"]]);
  if (made) {
    notify(`The table ${shownText(made)} is there.`);
    location.hash = tableHash(made);
  }
}
