// Requests to the service, with the token, which lives in sessionStorage: for this tab, until it is closed.

import { documentPath, encode, toPercent } from "./bytes.js";

const TOKEN = "atomkv-token";

export const token = {
  get: () => sessionStorage.getItem(TOKEN) || "",
  set: (text) => text ? sessionStorage.setItem(TOKEN, text) : sessionStorage.removeItem(TOKEN),
};

/** What the service answers if it does not as it was asked: a problem (RFC 9457). */
export class Refused extends Error {
  constructor(status, told) {
    super(told.detail || told.title || `the service answered ${status}`);
    Object.assign(this, { name: "Refused", status, title: told.title, detail: told.detail, code: told.code, etag: told.etag });
  }
}

/** The service cannot be reached. */
export class Unreachable extends Error {
  constructor() {
    super("the service cannot be reached");
    this.name = "Unreachable";
  }
}

const listeners = { unreachable: () => {}, reached: () => {}, unauthorized: () => {} };

/** Sets what is done when the connection is lost, when it is there, and when a token is asked for. */
export const listen = (given) => Object.assign(listeners, given);

/** The answer, if its status is 2xx; else throws `Refused`, `Unreachable` or an `AbortError`. */
export async function request(method, path, { query = {}, headers = {}, body, signal } = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const url = given.length ? `${path}?${new URLSearchParams(given)}` : path;
  const sent = new Headers(headers);
  if (token.get()) sent.set("Authorization", `Bearer ${token.get()}`);
  let got;
  try {
    got = await fetch(url, { method, headers: sent, body, signal, cache: "no-store", redirect: "error", credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    listeners.unreachable();
    throw new Unreachable();
  }
  listeners.reached();
  if (got.ok) return got;
  const text = method === "HEAD" ? "" : await got.text().catch(() => "");
  let told = {};
  try { told = JSON.parse(text); } catch { told = { detail: text.slice(0, 500) }; }
  // An answer to HEAD has no words.
  if (method === "HEAD" && got.status === 403) told.detail = "it lacks the scope read, or is not for this table";
  const refused = new Refused(got.status, { title: got.statusText, ...told });
  if (got.status === 401) listeners.unauthorized(refused);
  throw refused;
}

export const get = (path, options) => request("GET", path, options).then((got) => got.json());

export const post = (path, value, options) => request("POST", path, sending(value, options)).then((got) => got.json());

export const put = (path, value, options) => request("PUT", path, sending(value, options)).then((got) => got.json());

const sending = (value, options) =>
  ({ ...options, headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) });

export const tablePath = (table) => `/v1/tables/${toPercent(encode(table))}`;

/** A request to a document. */
export function onDocument(method, table, key, { query = {}, headers = {}, ...rest } = {}) {
  const [path, encoding, named] = documentPath(table, key);
  return request(method, path, { query: { ...encoding, ...query }, headers: { ...named, ...headers }, ...rest });
}

/** What the headers of an answer tell of a document. */
export function about(got) {
  const number = (name) => got.headers.has(name) ? Number(got.headers.get(name)) : undefined;
  const range = /\/(\d+)$/.exec(got.headers.get("Content-Range") || "");
  return {
    etag: got.headers.get("ETag"),
    version: number("Atomkv-Version"),
    sequence: number("Atomkv-Sequence"),
    expiresAtMs: number("Atomkv-Expires-At-Ms"),
    writtenMs: Date.parse(got.headers.get("Last-Modified")),
    contentType: got.headers.get("Content-Type") || "application/octet-stream",
    length: range ? Number(range[1]) : number("Content-Length"),
  };
}

/** Some bytes of a document of a known state; throws `Refused` with 412 if it has changed. */
export async function part(table, key, document, first, length, version, signal) {
  if (document.length === 0 || length === 0) return new Uint8Array();
  const last = Math.min(first + length, document.length) - 1;
  const headers = { Range: `bytes=${first}-${last}`, "If-Match": document.etag };
  const got = await onDocument("GET", table, key, { query: { version }, headers, signal });
  return new Uint8Array(await got.arrayBuffer());
}

/**
 * Server-sent events, read with fetch: EventSource cannot send the token. `opened` is called when they can come. An id that comes
 * alone is given without `data`.
 */
export async function* events(path, options) {
  const got = await request("GET", path, { ...options, headers: { Accept: "text/event-stream", ...options.headers } });
  options.opened?.();
  const reader = got.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffered = "", told, event = { name: "message", data: [], id: undefined };
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      buffered += value;
      // A carriage return at the end may be the half of a line's end.
      const lines = buffered.split(/\r\n|\n|\r(?!$)/);
      buffered = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (event.data.length || event.id !== told) yield { ...event, data: event.data.length ? event.data.join("\n") : undefined };
          told = event.id;
          event = { name: "message", data: [], id: event.id };
          continue;
        }
        const [, name, text] = /^([^:]*):? ?(.*)$/s.exec(line);
        if (name === "event") event.name = text;
        if (name === "data") event.data.push(text);
        if (name === "id") event.id = text;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
