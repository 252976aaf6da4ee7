// Keys and values are any bytes: how they are written in URLs, shown to people, and read back.

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();
const PLAIN = /[A-Za-z0-9_~-]/;

export const encode = (text) => encoder.encode(text);

/** The text that bytes are in UTF-8, or `null`. */
export function decode(bytes) {
  try { return strict.decode(bytes); } catch { return null; }
}

/** A string that holds a lone half of a surrogate pair is no text: it could not be written as UTF-8. */
export const isText = (text) => text.isWellFormed ? text.isWellFormed() : decode(encode(text)) === text;

export function toBase64url(bytes) {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 0x2000) binary += String.fromCharCode(...bytes.subarray(at, at + 0x2000));
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

export const fromBase64 = (text) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));

export const toHex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** @throws {Error} with what is wrong */
export function fromHex(text) {
  const digits = text.replace(/\s+/g, "");
  const wrong = digits.search(/[^0-9a-fA-F]/);
  if (wrong >= 0) throw new Error(`"${digits[wrong]}" is no hexadecimal digit`);
  if (digits.length % 2) throw new Error("an odd number of hexadecimal digits; each byte has two");
  const bytes = new Uint8Array(digits.length / 2);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = parseInt(digits.slice(2 * at, 2 * at + 2), 16);
  return bytes;
}

/** Bytes with percent-encoding, as a segment of a path. */
export function toPercent(bytes) {
  let out = "";
  for (const byte of bytes) {
    const char = String.fromCharCode(byte);
    out += PLAIN.test(char) || (char === "." && bytes.length > 2) ? char : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return out;
}

export function fromPercent(text) {
  const source = encode(text), out = [];
  for (let at = 0; at < source.length; at += 1) {
    const digits = source[at] === 0x25 ? String.fromCharCode(source[at + 1], source[at + 2]) : "";
    if (/^[0-9a-fA-F]{2}$/.test(digits)) { out.push(parseInt(digits, 16)); at += 2; } else out.push(source[at]);
  }
  return Uint8Array.from(out);
}

/** The service takes paths of 65,534 bytes; so much of one a key may have, beside the table and the query. */
const IN_PATH_MAX = 60_000;

/**
 * A document's path in the service, with a query and headers. A browser takes "." and ".." out of paths, so such keys are
 * written otherwise; a key that is too long for a path goes into a header.
 */
export function documentPath(table, key) {
  const base = `/v1/tables/${toPercent(encode(table))}/documents/`;
  const percent = toPercent(key), base64 = toBase64url(key);
  if (Math.min(percent.length, base64.length) > IN_PATH_MAX) return [`${base}-`, {}, { "Atomkv-Key": base64 }];
  if (percent.length <= base64.length && !/^(%2E){1,2}$/.test(percent)) return [base + percent, {}, {}];
  return [base + base64, { key_encoding: "base64url" }, {}];
}

// Control characters, and those that turn text around, join it or take no room.
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
const escaped = (char) => char.charCodeAt(0) < 0x100
  ? `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}` : `\\u{${char.charCodeAt(0).toString(16)}}`;

/**
 * A key as people may read it: what cannot be seen, and what is no text, is written as `\xff` or `\u{202e}`; so are spaces at
 * the ends, and a backslash that would be taken for the beginning of such a thing.
 */
export function shown(bytes) {
  const text = decode(bytes);
  if (text !== null) return shownText(text);
  return Array.from(bytes, (byte) => byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : escaped(String.fromCharCode(byte))).join("");
}

/** A name that is text already. */
export const shownText = (text) => text.replace(/\\(?=x[0-9a-f]{2}|u\{)/g, escaped)
  .replace(/^\p{Zs}+|\p{Zs}+$/gu, (spaces) => Array.from(spaces, escaped).join("")).replace(HIDDEN, escaped);

/** The beginning of a value. */
export const shownPart = (text) => text.replace(HIDDEN, escaped);

export const isBinary = (bytes) => decode(bytes) === null;

/** What somebody has typed, as `text` or as `hex`. */
export function typed(text, kind) {
  if (kind === "hex") return fromHex(text);
  if (!isText(text)) throw new Error("half a character: it cannot be written as UTF-8");
  return encode(text);
}

/** The key of an object of the service's. */
export const keyOf = (told) => told.key !== undefined ? encode(told.key) : fromBase64(told.key_base64);

export const same = (one, other) => one.length === other.length && one.every((byte, at) => byte === other[at]);
