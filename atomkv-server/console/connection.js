// Who is signed in, whether the service is there, and whether something unsaved would be lost.

import { get, listen, token } from "./api.js";
import { confirm, dialog, field, h } from "./dom.js";

/** How often the service is asked for a sign of life while the page is seen; and while it does not answer. */
const LOOK_MS = 15_000;
const RETRY_MS = 1500;

const banner = document.getElementById("banner");
let who = null, isLost = false, timer = 0, render = () => {}, asking = null;

/** Whether the token allows something: with a table, or with all of them. The service has the last word. */
export function may(scope, table) {
  if (!who) return true;
  const sees = (pattern) => pattern.endsWith("*") ? table?.startsWith(pattern.slice(0, -1)) : pattern === table;
  return who.scopes.includes(scope) && (!who.tables || (table !== undefined && who.tables.some(sees)));
}

/** In place of what the token does not allow. */
export const lacking = (scope, what) =>
  h("p", { className: "hint" }, `To ${what}, the token would need the scope `, h("code", { textContent: scope }), ".");

/** What is not saved yet: set by the editor. */
export const mayLeave = {
  unsaved: null,
  isSafe() { return !(this.unsaved && this.unsaved()); },
  async ask() {
    const isMeant = await confirm("Leave without saving?", "What you have changed is not saved, and would be lost.", "Leave");
    if (isMeant) this.unsaved = null;
    return isMeant;
  },
};

function tell() {
  const text = document.getElementById("who");
  document.getElementById("sign-out").hidden = !token.get();
  if (!who || !who.name) { text.textContent = ""; return; }
  const tables = who.tables ? `, ${who.tables.join(" ")}` : "";
  text.textContent = `${who.name} (${who.scopes.join(", ") || "nothing"}${tables})`;
  text.title = "The token's name, and what it is for";
}

/** Finds out who is signed in, asks for a token if one is needed, and then has the view shown. */
export async function connect(rendering) {
  render = rendering;
  listen({ unreachable: lost, reached, unauthorized });
  look();
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(0); });
  if (await identify()) render();
}

/** Whether a view can be shown now. After 401 it is shown when somebody has signed in. */
async function identify() {
  try {
    who = await get("/v1/token");
    tell();
  } catch (error) {
    return error.status !== 401;
  }
  return true;
}

function unauthorized(refused) {
  asking ||= signIn(token.get() ? refused.detail : "").finally(() => { asking = null; });
}

async function signIn(reason) {
  const input = h("input", { type: "password", autocomplete: "off", spellcheck: false, required: true, autofocus: true });
  const told = h("p", { className: "wrong", role: "alert", textContent: reason ? `${reason}.` : "" });
  const isOpen = location.protocol === "http:" && !/^(localhost|127\..*|\[::1\])$/.test(location.hostname);
  const content = h("div", {},
    h("p", { textContent: "This service asks for a token. It is kept in this tab only, until the tab is closed." }),
    isOpen && h("p", { className: "wrong", textContent: "The connection is not encrypted: whoever is on the way can read the token." }),
    field("Token", input, "Made with: atomkv token NAME"), told);
  const before = token.get();
  const attempt = async () => {
    const given = input.value.trim();
    if (!/^[\x21-\x7e]+$/.test(given)) { told.textContent = "A token has letters and digits only."; return undefined; }
    token.set(given);
    try {
      who = await get("/v1/token");
      return "in";
    } catch (error) {
      token.set(before);
      told.textContent = `${error.detail || error.message}.`;
      input.select();
      return undefined;
    }
  };
  const answer = await dialog("Sign in", content, [["Sign in", attempt, "submit"]], { "data-stays": "" });
  if (answer !== "in") {
    // What is being edited stays; saving it asks again.
    if (!mayLeave.isSafe()) return;
    document.getElementById("main").replaceChildren(h("h1", { textContent: "Not signed in" }),
      h("button", { type: "button", className: "primary", textContent: "Sign in", onclick: () => unauthorized({}) }));
    return;
  }
  tell();
  if (mayLeave.isSafe()) render();
}

export function signOut() {
  token.set("");
  who = null;
  mayLeave.unsaved = null;
  tell();
  render();
}

function lost() {
  if (!isLost) {
    isLost = true;
    banner.textContent = "The service cannot be reached. Trying again …";
    banner.className = "banner lost";
    banner.hidden = false;
  }
  look(RETRY_MS);
}

function reached() {
  if (!isLost) return;
  isLost = false;
  banner.hidden = true;
  // A view that could be loaded stays as it is, with what has been typed or come in there.
  const isMissing = () => document.querySelector("main [data-unreachable]") !== null;
  identify().then((isShown) => { if (isShown && isMissing() && mayLeave.isSafe() && !asking) render(); });
}

function look(after = LOOK_MS) {
  clearTimeout(timer);
  timer = setTimeout(async () => {
    if (document.hidden && !isLost) return look();
    try {
      const got = await fetch("/health/ready", { cache: "no-store", credentials: "omit" });
      reached();
      const told = got.ok ? null : await got.json();
      if (!isLost) {
        banner.hidden = got.ok;
        banner.className = "banner";
        banner.textContent = told ? `The service is not ready: ${told.detail}.` : "";
      }
      look();
    } catch {
      lost();
    }
  }, after);
}
