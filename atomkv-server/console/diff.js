// The difference of two texts by lines: the longest common subsequence, with what is the same at both ends taken off first.

/** So many cells the table of lengths may have; beyond them the middle is told as replaced. */
const CELLS_MAX = 4_000_000;

/** `[kind, line]` with `same`, `removed` or `added`. */
export function diff(before, after) {
  const one = before.split("\n"), other = after.split("\n");
  let head = 0;
  while (head < one.length && head < other.length && one[head] === other[head]) head += 1;
  let tail = 0;
  while (tail < one.length - head && tail < other.length - head && one.at(-1 - tail) === other.at(-1 - tail)) tail += 1;
  const told = (kind) => (line) => [kind, line];
  return [
    ...one.slice(0, head).map(told("same")),
    ...middle(one.slice(head, one.length - tail), other.slice(head, other.length - tail)),
    ...one.slice(one.length - tail).map(told("same")),
  ];
}

function middle(one, other) {
  const out = [];
  const width = other.length + 1;
  if ((one.length + 1) * width > CELLS_MAX) {
    return [...one.map((line) => ["removed", line]), ...other.map((line) => ["added", line])];
  }
  const lengths = new Uint32Array((one.length + 1) * width);
  for (let row = one.length - 1; row >= 0; row -= 1) {
    for (let column = other.length - 1; column >= 0; column -= 1) {
      const at = row * width + column;
      lengths[at] = one[row] === other[column]
        ? lengths[at + width + 1] + 1 : Math.max(lengths[at + width], lengths[at + 1]);
    }
  }
  let row = 0, column = 0;
  while (row < one.length && column < other.length) {
    const at = row * width + column;
    if (one[row] === other[column]) { out.push(["same", one[row]]); row += 1; column += 1; }
    else if (lengths[at + width] >= lengths[at + 1]) { out.push(["removed", one[row]]); row += 1; }
    else { out.push(["added", other[column]]); column += 1; }
  }
  while (row < one.length) { out.push(["removed", one[row]]); row += 1; }
  while (column < other.length) { out.push(["added", other[column]]); column += 1; }
  return out;
}

/** Of lines that are the same only those near a change; between them a line `gap` with how many there were. */
export function folded(lines, near = 3) {
  const keep = new Uint8Array(lines.length);
  lines.forEach(([kind], at) => {
    if (kind !== "same") keep.fill(1, Math.max(0, at - near), at + near + 1);
  });
  const out = [];
  let hidden = 0;
  lines.forEach((line, at) => {
    if (keep[at]) {
      if (hidden) out.push(["gap", hidden]);
      hidden = 0;
      out.push(line);
    } else hidden += 1;
  });
  if (hidden) out.push(["gap", hidden]);
  return out;
}
