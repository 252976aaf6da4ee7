// Elements, dialogs and the words for numbers. Text only ever becomes text: nothing here, or elsewhere, makes markup of it.

const SVG = "http://www.w3.org/2000/svg";

/** What are read-only properties, or none. */
const ATTRIBUTES = new Set(["role", "list", "form"]);

function fill(made, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name.startsWith("aria-") || ATTRIBUTES.has(name) || !(name in made) || made.namespaceURI === SVG)
      made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** An element with properties (or attributes, or `on…` listeners) and children. */
export const h = (name, properties = {}, ...children) => fill(document.createElement(name), properties, children);

/** The same for SVG. */
export const svg = (name, properties = {}, ...children) => fill(document.createElementNS(SVG, name), properties, children);

let fields = 0;

/** A label with its input, and a note below that belongs to it. */
export function field(label, input, note) {
  input.id ||= `field-${++fields}`;
  const told = note ? h("small", { id: `${input.id}-note`, textContent: note }) : null;
  if (told) input.setAttribute("aria-describedby", told.id);
  return h("div", { className: "field" }, h("label", { htmlFor: input.id, textContent: label }), input, told);
}

export const checkbox = (label, input) => h("label", { className: "check" }, input, ` ${label}`);

/** A select with options `[value, text]`. */
export function choice(options, chosen, properties = {}) {
  const made = h("select", properties, options.map(([value, textContent]) => h("option", { value, textContent })));
  if (chosen !== undefined) made.value = chosen;
  return made;
}

/** Names and values, side by side; what is empty is left out. */
export function facts(pairs) {
  const rows = pairs.filter(([, value]) => value !== undefined && value !== null && value !== "");
  return h("dl", { className: "facts" }, rows.map(([name, value]) => h("div", {}, h("dt", { textContent: name }), h("dd", {}, value))));
}

/** Says something to those who do not see it. */
export function announce(text) {
  const region = document.getElementById("announcer");
  region.textContent = "";
  setTimeout(() => { region.textContent = text; }, 50);
}

/** A message that stays for a while, for what has succeeded. */
export function notify(text) {
  announce(text);
  const note = h("div", { className: "note", textContent: text });
  document.getElementById("notes").append(note);
  setTimeout(() => note.remove(), 5000);
}

/** What went wrong, in a place of the page. */
export function problem(error, ...children) {
  const title = error.status ? `${error.status} ${error.title || ""}`.trim() : "Not done";
  return h("div", { className: "problem", role: "alert", "data-unreachable": error.name === "Unreachable" ? "" : undefined },
    h("strong", { textContent: title }), h("p", { textContent: explain(error) }), children);
}

/** An error in words, with what the service said. */
export function explain(error) {
  const detail = error.detail || error.message || String(error);
  if (error.status === 403) return `The token does not allow this: ${detail}.`;
  return detail;
}

/**
 * A modal dialog; resolves to what the pressed button stands for, `null` if it was closed. The browser keeps the focus in it
 * and gives it back.
 */
export function dialog(title, content, buttons, properties = {}) {
  return new Promise((resolve) => {
    const heading = h("h2", { id: `dialog-${++fields}`, textContent: title });
    const row = buttons.map(([text, value, kind]) => h("button", {
      type: kind === "submit" ? "submit" : "button", className: kind === "submit" ? "primary" : kind || "", textContent: text,
      onclick: kind === "submit" ? undefined : () => made.close(value),
    }));
    const form = h("form", { method: "dialog" }, heading, content, h("div", { className: "row end" }, row));
    const made = h("dialog", { "aria-labelledby": heading.id, ...properties }, form);
    let answer = null;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const submit = buttons.find(([, , kind]) => kind === "submit");
      if (!submit) return;
      const value = typeof submit[1] === "function" ? await submit[1]() : submit[1];
      if (value !== undefined) { answer = value; made.close(); }
    });
    const before = document.activeElement;
    made.addEventListener("close", () => {
      const value = made.returnValue !== "" ? made.returnValue : answer;
      made.remove();
      if (before && before.isConnected) before.focus();
      resolve(value);
    });
    document.body.append(made);
    made.showModal();
  });
}

/** Closes what was asked of a view that is left, as Escape does; a dialog may be made to stay. */
export function closeDialogs() {
  for (const open of document.querySelectorAll("dialog[open]:not([data-stays])")) open.close();
}

/** Whether somebody means it. */
export const confirm = async (title, text, act, kind = "danger") =>
  await dialog(title, h("p", { textContent: text }), [["Cancel", "no"], [act, "yes", kind]]) === "yes";

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];

export function size(bytes) {
  if (bytes === undefined || bytes === null) return "–";
  let unit = 0, rest = bytes;
  while (rest >= 1024 && unit < UNITS.length - 1) { rest /= 1024; unit += 1; }
  if (unit === 0) return bytes === 1 ? "1 byte" : `${bytes} bytes`;
  return `${rest < 10 ? rest.toFixed(1) : Math.round(rest)} ${UNITS[unit]}`;
}

export const count = (number) => Number(number).toLocaleString("en");

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${Number(number) === 1 ? one : many}`;

/** A moment, local, with the exact one behind it. */
export function time(ms) {
  if (!ms) return "–";
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return `${ms} ms`;
  const two = (number) => String(number).padStart(2, "0");
  const textContent = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} `
    + `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return h("time", { dateTime: date.toISOString(), title: date.toISOString(), textContent });
}

export function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const units = [["d", 86_400_000], ["h", 3_600_000], ["min", 60_000], ["s", 1000]];
  const first = units.findIndex(([, unit]) => ms >= unit);
  const parts = [];
  for (const [name, unit] of units.slice(first, first + 2)) {
    const whole = Math.floor(ms / unit);
    if (whole > 0) parts.push(`${whole} ${name}`);
    ms -= whole * unit;
  }
  return parts.join(" ");
}
