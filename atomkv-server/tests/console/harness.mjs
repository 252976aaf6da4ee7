// A service of the tests' own on a free port, and pages in a real browser that report everything that is wrong with them:
// errors of scripts, messages of the console, violations of the policy, dialogs, requests to elsewhere.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before } from "node:test";
import { chromium } from "playwright-core";

const PROGRAM = process.env.ATOMKV_PROGRAM;
const BROWSER = process.env.ATOMKV_CHROMIUM || "/usr/bin/chromium";
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
/** How long something may take before it is taken for missing; the machine may be slow. */
const PATIENCE_MS = 20_000;

if (!PROGRAM) throw new Error("ATOMKV_PROGRAM is to name the command line; scripts/test-console.sh does");

class Service {
  constructor(directory, extra) { Object.assign(this, { directory, extra, origin: null, process: null }); }

  /** Begins, at the same address if it has had one. */
  async start() {
    const listen = this.origin ? new URL(this.origin).host : "127.0.0.1:0";
    const command = ["serve", join(this.directory, "data"), "--listen", listen, "--log-format", "json", "--log", "info", ...this.extra];
    this.process = spawn(PROGRAM, command, { stdio: ["ignore", "ignore", "pipe"] });
    const lines = createInterface({ input: this.process.stderr });
    const last = [];
    this.origin = await new Promise((resolve, reject) => {
      lines.on("line", (line) => {
        last.push(line);
        last.splice(0, last.length - 5);
        const url = /"url":"(http:[^"]+)"/.exec(line);
        if (url) resolve(new URL(url[1]).origin);
      });
      lines.on("close", () => reject(new Error(`the service does not begin: ${last.join("\n")}`)));
    });
  }

  async stop() {
    const ended = new Promise((resolve) => { this.process.once("exit", resolve); });
    this.process.kill("SIGTERM");
    await ended;
  }

  /** A request of the test's own, beside the console; the token is one that may do everything. */
  async ask(method, path, body, headers = {}) {
    const sent = typeof body === "string" || body instanceof Uint8Array || body === undefined ? body : JSON.stringify(body);
    if (sent !== body) headers = { "Content-Type": "application/json", ...headers };
    if (this.token) headers = { Authorization: `Bearer ${this.token}`, ...headers };
    const got = await fetch(this.origin + path, { method, body: sent, headers });
    const text = await got.text();
    assert.ok(got.ok, `${method} ${path}: ${got.status} ${text}`);
    return { headers: got.headers, text };
  }

  table(name, settings = { ordered: true }) { return this.ask("PUT", `/v1/tables/${encodeURIComponent(name)}`, settings); }

  put(table, key, body, contentType = "application/json") {
    const sent = contentType === "application/json" && typeof body !== "string" ? JSON.stringify(body) : body;
    return this.ask("PUT", `/v1/tables/${table}/documents/${key}`, sent, { "Content-Type": contentType });
  }

  get(table, key) { return this.ask("GET", `/v1/tables/${table}/documents/${key}`); }
}

/** Entries of a file of tokens: `{ name: { scopes, tables } }`; gives the tokens by name. */
async function tokens(path, wanted) {
  const made = {};
  let text = "";
  for (const [name, { scopes, tables }] of Object.entries(wanted)) {
    made[name] = randomBytes(32).toString("base64url");
    const sha256 = createHash("sha256").update(made[name]).digest("hex");
    text += `[[token]]\nname = "${name}"\nsha256 = "${sha256}"\nscopes = ${JSON.stringify(scopes)}\n${tables ? `tables = ${JSON.stringify(tables)}\n` : ""}`;
  }
  await writeFile(path, text);
  return made;
}

/**
 * A service and a browser for the tests of a file. `fill` puts in what they begin with; `wanted` are tokens, the one named
 * `all` being the test's own.
 */
export function world({ wanted, fill }) {
  const made = { service: null, tokens: {}, browser: null };
  let directory;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "atomkv-console-"));
    const extra = ["--backups", join(directory, "backups")];
    if (wanted) {
      made.tokens = await tokens(join(directory, "tokens.toml"), wanted);
      extra.push("--tokens", join(directory, "tokens.toml"));
    }
    made.service = new Service(directory, extra);
    await made.service.start();
    made.service.token = made.tokens.all;
    await fill?.(made.service);
    made.browser = await chromium.launch({ executablePath: BROWSER, headless: true, args: ARGUMENTS });
  });
  after(async () => {
    await made.browser?.close();
    await made.service?.stop();
    await rm(directory, { recursive: true, force: true });
  });
  /** A new page at a place of the console. `expected` are the statuses that the browser's console may report. */
  made.open = async (test, hash = "", { expected = [], isLost = false, token, ...options } = {}) => {
    const context = await made.browser.newContext({ viewport: { width: 1200, height: 800 }, ...options });
    context.setDefaultTimeout(PATIENCE_MS);
    const page = await context.newPage();
    const wrong = [];
    page.expected = new Set(expected.map(String));
    page.isLost = isLost;
    context.on("request", (request) => {
      const { protocol, origin } = new URL(request.url());
      if (protocol !== "blob:" && origin !== made.service.origin) wrong.push(`a request to ${request.url()}`);
    });
    page.on("pageerror", (error) => wrong.push(error.stack || error.message));
    page.on("dialog", (dialog) => {
      // The browser's own question whether what is not saved is to be lost.
      if (dialog.type() === "beforeunload") { dialog.accept(); return; }
      wrong.push(`a dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    page.on("console", (message) => {
      if (message.type() !== "error" && message.type() !== "warning") return;
      const status = /status of (\d+)/.exec(message.text())?.[1];
      if (status && page.expected.has(status)) return;
      if (page.isLost && /net::ERR_/.test(message.text())) return;
      wrong.push(message.text());
    });
    await context.addInitScript((given) => {
      addEventListener("securitypolicyviolation", (event) => console.error(`the policy is violated: ${event.violatedDirective} ${event.blockedURI}`));
      if (given) sessionStorage.setItem("atomkv-token", given);
    }, token);
    test.after(async () => {
      await context.close();
      assert.deepEqual(wrong, [], "what is wrong with the page");
    });
    await page.goto(`${made.service.origin}/console/${hash}`);
    return page;
  };
  return made;
}

/** Waits until a check passes; the last failure is told. */
export async function until(check) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    try { return await check(); } catch (error) {
      if (Date.now() > end) throw error;
      await new Promise((resolve) => { setTimeout(resolve, 50); });
    }
  }
}

/** That a locator comes to have a text. */
export const hasText = (locator, text) => until(async () => {
  const found = (await locator.allTextContents()).join("\n");
  assert.ok(text instanceof RegExp ? text.test(found) : found.includes(text), `${JSON.stringify(found)} has no ${text}`);
});
