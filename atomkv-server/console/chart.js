// Small line charts of what was measured in the last minutes, drawn as SVG.

import { h, svg } from "./dom.js";

const WIDTH = 480, HEIGHT = 170, LEFT = 76, RIGHT = 8, TOP = 8, BOTTOM = 20;
/** How much of the past is shown: as much as there is, between these two. */
const SPAN_MIN_MS = 60_000;
export const SPAN_MS = 300_000;
/** Between samples further apart than this the line has a gap. */
const GAP_MS = 10_000;

/**
 * A chart of some series `{ name, of }`, `of` giving the figure of a sample or `undefined`; `format` writes figures, `least`
 * is the least upper end of the scale, `step` what the scale's numbers are powers of.
 */
export function chart({ title, series, format, least = 1, step = 10 }) {
  const scale = svg("g", { class: "scale" }), lines = svg("g");
  const drawn = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title }, scale, lines);
  const values = series.map(({ name }, at) => {
    const value = h("strong", { textContent: "–" });
    return { value, element: h("li", {}, svg("svg", { viewBox: "0 0 24 8", class: "swatch", "aria-hidden": "true" },
      svg("path", { d: "M0 4H24", class: `line line-${at}` })), `${name} `, value) };
  });
  const element = h("figure", { className: "chart" }, h("figcaption", { textContent: title }), drawn,
    h("ul", { className: "legend" }, values.map(({ element }) => element)));

  function draw(samples, now) {
    const seen = samples.filter((sample) => sample.at >= now - SPAN_MS);
    const figures = series.flatMap(({ of }) => seen.map(of)).filter((figure) => figure !== undefined);
    const top = roundUp(Math.max(least, ...figures), step);
    const span = Math.min(Math.max(now - (seen[0]?.at ?? now), SPAN_MIN_MS), SPAN_MS);
    const x = (at) => LEFT + (WIDTH - LEFT - RIGHT) * (1 - (now - at) / span);
    const y = (figure) => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * figure / top;
    scale.replaceChildren(
      ...[0, 0.5, 1].flatMap((part) => [
        svg("path", { d: `M${LEFT} ${y(top * part)}H${WIDTH - RIGHT}`, class: "grid" }),
        text(LEFT - 6, y(top * part) + 4, format(top * part), "end")]),
      ...[1, 0.5, 0].map((part) => text(x(now - part * span), HEIGHT - 4, part ? `−${Math.round(part * span / 1000)} s` : "now", ["end", "middle", "start"][2 * part])));
    lines.replaceChildren(...series.map(({ of }, at) => svg("path", { d: path(seen, of, x, y), class: `line line-${at}` })));
    const last = seen.at(-1);
    const told = series.map(({ name, of }, at) => {
      const figure = last && of(last);
      values[at].value.textContent = figure === undefined ? "–" : format(figure);
      return `${name} ${values[at].value.textContent}`;
    });
    drawn.setAttribute("aria-label", `${title}, now: ${told.join(", ")}`);
  }
  return { element, draw };
}

const text = (x, y, textContent, anchor) => {
  const made = svg("text", { x, y, "text-anchor": anchor });
  made.textContent = textContent;
  return made;
};

function path(samples, of, x, y) {
  let out = "", before = null;
  for (const sample of samples) {
    const figure = of(sample);
    if (figure === undefined) { before = null; continue; }
    out += `${before !== null && sample.at - before <= GAP_MS ? "L" : "M"}${x(sample.at).toFixed(1)} ${y(figure).toFixed(1)}`;
    before = sample.at;
  }
  return out;
}

/** The next of 1, 2, 5 times a power of ten; or of a power of two, for bytes. */
function roundUp(figure, step) {
  if (step === 2) return 2 ** Math.ceil(Math.log2(figure));
  const power = 10 ** Math.floor(Math.log10(figure));
  return power * [1, 2, 5, 10].find((times) => power * times >= figure * 0.999_999);
}
