// The versions of a document that the table keeps: listed, looked at, compared, restored.

import { about, get, onDocument, part } from "./api.js";
import { decode, documentPath, shown } from "./bytes.js";
import { may } from "./connection.js";
import { choice, confirm, count, field, h, notify, plural, problem, size, time } from "./dom.js";
import { diff, folded } from "./diff.js";
import { formatted, wrong } from "./json.js";
import { documentHash } from "./places.js";
import { WHOLE_MAX, hexRows } from "./value.js";

/** Values longer than this are compared as what they are, not as bytes in rows. */
const HEX_MAX = 64 << 10;

export async function history(panel, { table, key, reload, signal, isMissing }) {
  panel.replaceChildren(h("p", { className: "hint", textContent: "Loading the versions …" }));
  let versions;
  try {
    const [path, query, headers] = documentPath(table, key);
    ({ versions } = await get(`${path}/versions`, { query, headers, signal }));
  } catch (error) {
    if (!signal.aborted) panel.replaceChildren(isMissing && error.status === 404 ? "" : problem(error));
    return;
  }
  versions.sort((one, other) => other.version - one.version);
  const newest = versions[0];
  const body = versions.map((version) => row({ table, key, version, newest, reload, signal }));
  const hint = versions.length === 1
    ? h("p", { className: "hint", textContent: "The table keeps no other version, or there was none. How many a table keeps is said when it is made." }) : "";
  panel.replaceChildren(isMissing ? h("h2", { textContent: "What was there" }) : "", h("div", { className: "wide" }, h("table", {},
    h("caption", { className: "unseen", textContent: "Versions, the newest first" }),
    h("thead", {}, h("tr", {}, ["Version", "Sequence", "Written", "Length", "Expires", ""].map((textContent) => h("th", { scope: "col", textContent }, textContent ? "" : h("span", { className: "unseen", textContent: "Actions" }))))),
    h("tbody", {}, body))), hint, compare(table, key, versions.filter((version) => !version.deleted), signal));
}

function row({ table, key, version, newest, reload, signal }) {
  const isExpired = version === newest && version.expires_at_ms <= Date.now();
  const isPresent = version === newest && !version.deleted && !isExpired;
  const name = version.deleted ? h("span", {}, `${version.version} `, h("span", { className: "badge", textContent: "deleted" }))
    : h("a", { href: documentHash(table, key, isPresent ? {} : { version: version.version }), textContent: String(version.version), "data-entry": "" });
  const told = { etag: newest.deleted || newest.expires_at_ms <= Date.now() ? null : newest.etag };
  const act = !version.deleted && !isPresent && may("write", table) && h("button", { type: "button", textContent: "Restore …",
    "aria-label": `Restore version ${version.version}`, onclick: () => restore(table, key, version.version, told, reload, signal) });
  return h("tr", {}, h("th", { scope: "row" }, name, isPresent && h("span", { className: "badge", textContent: "present" }), isExpired && h("span", { className: "badge", textContent: "expired" })),
    h("td", { textContent: count(version.sequence) }), h("td", {}, time(version.time_ms)),
    h("td", { textContent: version.deleted ? "–" : size(version.bytes) }),
    h("td", {}, version.expires_at_ms ? time(version.expires_at_ms) : version.deleted ? "–" : "never"), h("td", {}, act));
}

/** Two versions to choose, and what is different. */
function compare(table, key, versions, signal) {
  if (versions.length < 2) return "";
  const options = versions.map(({ version }) => [String(version), `version ${version}`]);
  const from = choice(options, options[1][0]), to = choice(options, options[0][0]);
  const shown = h("div", { role: "region", "aria-label": "Difference", "aria-live": "polite" });
  const run = async (event) => {
    event?.preventDefault();
    shown.setAttribute("aria-busy", "true");
    try {
      const [before, after] = await Promise.all([read(table, key, from.value, signal), read(table, key, to.value, signal)]);
      shown.replaceChildren(difference(before, after, `version ${from.value}`, `version ${to.value}`));
    } catch (error) {
      if (!signal.aborted) shown.replaceChildren(problem(error));
    }
    shown.removeAttribute("aria-busy");
  };
  run();
  return h("section", { "aria-label": "Compare" }, h("h2", { textContent: "Compare" }),
    h("form", { className: "row", onsubmit: run }, field("From", from), field("to", to), h("button", { textContent: "Compare" })), shown);
}

async function read(table, key, version, signal) {
  const document = about(await onDocument("HEAD", table, key, { query: { version }, signal }));
  if (document.length > WHOLE_MAX) throw new Error(`version ${version} has ${size(document.length)}: too much to be compared here`);
  return part(table, key, document, 0, WHOLE_MAX, version);
}

/** As lines: JSON formatted, text, or rows of bytes. */
function lines(bytes, asBytes) {
  if (asBytes) return hexRows(bytes.subarray(0, HEX_MAX));
  const text = decode(bytes);
  return /^\s*[[{]/.test(text) && wrong(text) === null ? formatted(text) ?? text : text;
}

/** What is different between two values. */
export function difference(before, after, beforeName, afterName) {
  const asBytes = decode(before) === null || decode(after) === null;
  const all = diff(lines(before, asBytes), lines(after, asBytes));
  const isCut = asBytes && Math.max(before.length, after.length) > HEX_MAX;
  const caption = h("p", { className: "hint" }, h("del", { textContent: `− ${beforeName}` }), "  ", h("ins", { textContent: `+ ${afterName}` }),
    isCut ? ` of the first ${size(HEX_MAX)}` : "");
  if (all.every(([kind]) => kind === "same")) {
    return h("div", {}, caption, h("p", { className: "empty", textContent: isCut ? "No difference so far." : "No difference." }));
  }
  const shownLines = folded(all).map(([kind, line]) => {
    if (kind === "gap") return h("span", { className: "gap", textContent: `… ${plural(line, "line that is", "lines that are")} the same` });
    if (kind === "same") return h("span", { textContent: `  ${line}` });
    return h(kind === "added" ? "ins" : "del", { textContent: `${kind === "added" ? "+" : "−"} ${line}` });
  });
  return h("div", {}, caption, h("pre", { className: "value diff", tabIndex: 0, "aria-label": `Difference of ${beforeName} and ${afterName}` }, shownLines));
}

/** Writes an earlier version's value as the newest one. `document` is what is there: its `etag`, or none. */
export async function restore(table, key, version, document, done, signal) {
  const isMeant = await confirm("Restore the version?", `The value of version ${version} of ${shown(key)} is written anew, as the newest version.`, "Restore", "primary");
  if (!isMeant) return;
  try {
    const got = await onDocument("GET", table, key, { query: { version }, signal });
    const { contentType, expiresAtMs } = about(got);
    const query = !expiresAtMs ? { ttl: "none" } : expiresAtMs > Date.now() ? { expires_at_ms: expiresAtMs } : {};
    const present = document.version === undefined ? document.etag : await presentEtag(table, key, signal);
    const headers = { "Content-Type": contentType, [present ? "If-Match" : "If-None-Match"]: present || "*" };
    await onDocument("PUT", table, key, { query, headers, body: await got.blob(), signal });
    notify(`Version ${version} is restored.`);
    done();
  } catch (error) {
    const words = error.status === 412 ? { status: 412, title: "Not restored", detail: "somebody has changed the document meanwhile: load it again" } : error;
    globalThis.document.getElementById("main").append(problem(words));
  }
}

/** The tag of what is there now; `null` if nothing is. */
async function presentEtag(table, key, signal) {
  try {
    return about(await onDocument("HEAD", table, key, { signal })).etag;
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}
