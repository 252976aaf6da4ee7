// JSON that is shown and edited as it is written: numbers keep all their digits, keys their order, doubles stay double.

/** JSON that is deeper, has more lines, or is longer than this when it is laid out is better read as it is. */
const DEPTH_MAX = 100, LINES_MAX = 20_000, LENGTH_MAX = 4 << 20;

const TOKEN = /\s+|("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d[\d.eE+-]*)|(true|false|null)|([{}[\],:])/gy;

/** Whether a text is JSON: `null` if it is, else what is wrong, with the line. */
export function wrong(text) {
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    const at = /position (\d+)/.exec(error.message);
    const lines = at ? text.slice(0, Number(at[1])).split("\n") : null;
    const place = lines && !/line \d+/.test(error.message) ? ` (line ${lines.length}, column ${lines.at(-1).length + 1})` : "";
    return `${error.message}${place}`;
  }
}

/** The parts of a text that is JSON: `[kind, text]`, without white space. */
function* parts(text) {
  TOKEN.lastIndex = 0;
  for (let found; TOKEN.lastIndex < text.length && (found = TOKEN.exec(text));) {
    const [, string, colon, number, word, sign] = found;
    if (string !== undefined) {
      yield [colon ? "name" : "string", string];
      if (colon) yield ["sign", ":"];
    } else if (number !== undefined) yield ["number", number];
    else if (word !== undefined) yield ["word", word];
    else if (sign !== undefined) yield ["sign", sign];
  }
}

/** The parts of it with line breaks and indentation between. */
export function* pretty(text, step = "  ") {
  let depth = 0, before = "";
  const line = () => ["space", `\n${step.repeat(depth)}`];
  for (const [kind, part] of parts(text)) {
    const opens = part === "{" || part === "[", closes = part === "}" || part === "]";
    if (kind === "sign" && closes) {
      depth -= 1;
      if (before !== "{" && before !== "[") yield line();
    } else if (before === "{" || before === "[" || before === ",") {
      yield line();
    } else if (before === ":") {
      yield ["space", " "];
    }
    yield [kind, part];
    if (kind === "sign" && opens) depth += 1;
    before = kind === "sign" ? part : "";
  }
}

/** The text laid out; `null` if that would help nobody, or be longer than `lengthMax`. */
export function formatted(text, lengthMax = LENGTH_MAX) {
  let out = "", lines = 1;
  for (const [kind, part] of pretty(text)) {
    out += part;
    if (kind !== "space" || part[0] !== "\n") continue;
    lines += 1;
    if (lines > LINES_MAX || part.length > 1 + 2 * DEPTH_MAX || out.length > lengthMax) return null;
  }
  return out;
}

export function compact(text) {
  let out = "";
  for (const [, part] of parts(text)) out += part;
  return out;
}
