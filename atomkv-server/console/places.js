// Places in the console, as the hash of its address: like the paths of the service, so that they can be kept and sent.

import { encode, decode, fromPercent, toPercent } from "./bytes.js";

function withQuery(path, query) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "" && value !== false);
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

export const tableHash = (table, query = {}) => withQuery(`#/tables/${toPercent(encode(table))}`, query);

export const newHash = (table) => `${tableHash(table)}/new`;

export const documentHash = (table, key, query = {}) =>
  withQuery(`${tableHash(table)}/documents/${toPercent(key)}`, query);

export const viewHash = (view, query = {}) => withQuery(`#/${view}`, query);

/** Has the place where one is shown anew. */
export const again = () => dispatchEvent(new CustomEvent("again"));

/** Goes to a place; if that is where one is, it is shown anew. */
export function go(hash) {
  if (location.hash === hash) again();
  else location.hash = hash;
}

/** What a hash stands for: `{ view, table, key, query }`. */
export function place(hash) {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const query = Object.fromEntries(new URLSearchParams(search));
  const [view, name, kind, key] = path.split("/");
  if (view !== "tables" || !name) return { view: view || "tables", query };
  const table = decode(fromPercent(name)) ?? name;
  if (kind === "new") return { view: "new", table, query };
  if (kind === "documents" && key) return { view: "document", table, key: fromPercent(key), query };
  return { view: "browse", table, query };
}
