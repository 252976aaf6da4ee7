// Tables, lists, searches and documents as they are shown.

import assert from "node:assert/strict";
import { test } from "node:test";
import { hasText, until, world } from "./harness.mjs";

const MARKUP = "<img src=x onerror=alert(1)>";
const SCRIPT = "<script>alert(2)</script>";

const it = world({ fill: async (service) => {
  await service.table("users");
  await service.table("plain", {});
  await service.table(MARKUP);
  await service.ask("POST", "/v1/batch", { operations: Array.from({ length: 45 }, (_, at) =>
    ({ op: "put", table: "users", key: `user-${String(at).padStart(2, "0")}`, json: { number: at } })) });
  await service.put("users", "%FF%00", new Uint8Array([0, 1, 0xfe, 0x41, 0x42]), "application/octet-stream");
  await service.put("users", encodeURIComponent(MARKUP), SCRIPT, "text/html");
  await service.put("users", "number", '{"big":12345678901234567890,"exact":1.10,"twice":1,"twice":2}');
  await service.put("users", "%2E%2E?key_encoding=text".replace("%2E%2E", "Li4").replace("text", "base64url"), "two dots", "text/plain");
  await service.put("users", "%E2%80%AEturned", "text", "text/plain");
  await service.put("users", "long", new Uint8Array(3_000_000).map((_, at) => at % 251), "video/webm");
} });

test("tables are listed with what they hold, and filtered", async (t) => {
  const page = await it.open(t);
  const row = page.getByRole("row", { name: "users" });
  await hasText(row, "51");
  await hasText(row, /KiB/);
  await hasText(row, "ordered");
  assert.equal(await page.locator("tbody tr").count(), 3);
  await page.getByLabel("Filter").fill("PLA");
  await hasText(page.locator("tbody"), "plain");
  assert.equal(await page.locator("tbody tr").count(), 1);
  await page.getByRole("link", { name: "plain" }).click();
  await hasText(page.locator("main"), "The table is empty.");
  assert.match(page.url(), /#\/tables\/plain$/);
});

test("documents come a page at a time, forward and back", async (t) => {
  const page = await it.open(t, "#/tables/users?prefix=user-&limit=20");
  await hasText(page.locator("tbody"), "user-19");
  assert.equal(await page.locator("tbody tr").count(), 20);
  await page.getByRole("link", { name: "Next page" }).click();
  await hasText(page.locator("tbody"), "user-39");
  const second = page.url();
  await page.getByRole("link", { name: "Next page" }).click();
  await hasText(page.locator("tbody"), "user-44");
  assert.equal(await page.locator("tbody tr").count(), 5);
  await page.getByRole("link", { name: "Previous page" }).click();
  await hasText(page.locator("tbody"), "user-20");
  await page.getByRole("link", { name: "First page" }).click();
  await hasText(page.locator("tbody"), "user-00");
  const again = await it.open(t, new URL(second).hash);
  await hasText(again.locator("tbody"), "user-20");
});

test("keys are searched by beginning, part, pattern, range, and as bytes", async (t) => {
  const page = await it.open(t, "#/tables/users");
  const search = async (kind, text, end, as) => {
    await page.getByLabel("How the key is searched").selectOption(kind);
    if (as !== undefined) await page.getByLabel("How it is written").selectOption(as);
    await page.getByLabel("Key, or a part of it").fill(text);
    if (end !== undefined) await page.getByLabel("Up to this key").fill(end);
    await page.getByRole("button", { name: "Search" }).click();
  };
  const keys = (wanted) => until(async () => assert.deepEqual(await page.locator("tbody a.key").allTextContents(), wanted));
  await search("prefix", "user-4");
  await keys(["user-40", "user-41", "user-42", "user-43", "user-44"]);
  await search("contains", "-03");
  await keys(["user-03"]);
  await search("glob", "user-[12]5");
  await keys(["user-15", "user-25"]);
  await search("range", "user-07", "user-09");
  await keys(["user-07", "user-08"]);
  await search("prefix", "ff", undefined, "hex");
  await keys(["\\xff\\x00"]);
  await search("prefix", "f", undefined, "hex");
  await hasText(page.getByRole("alert"), "an odd number of hexadecimal digits");
  await search("prefix", "nobody", undefined, "");
  await hasText(page.locator("main"), "No document has such a key.");
  await search("key", "user-11");
  await hasText(page.locator("pre.json"), '"number": 11');
});

test("keys and values that are markup are shown, and do nothing", async (t) => {
  const page = await it.open(t, "#/tables/users?values=true");
  await hasText(page.locator("tbody"), SCRIPT);
  await hasText(page.locator("tbody"), "too long to be shown here");
  await page.getByRole("link", { name: MARKUP }).click();
  await hasText(page.locator("h1"), MARKUP);
  await hasText(page.locator("pre.value"), SCRIPT);
  await page.getByRole("navigation", { name: "Path" }).getByRole("link", { name: "Tables" }).click();
  await page.getByRole("link", { name: MARKUP }).click();
  await hasText(page.locator("h1"), MARKUP);
  assert.equal(await page.locator("main img, main script").count(), 0);
});

test("keys of any bytes can be opened, and what cannot be seen in them is told", async (t) => {
  const page = await it.open(t, "#/tables/users");
  await page.getByRole("link", { name: "\\xff\\x00" }).click();
  await hasText(page.locator("pre.hex"), "00000000  00 01 fe 41 42");
  await hasText(page.locator(".facts"), "ff00");
  await page.goBack();
  await page.getByRole("link", { name: "..", exact: true }).click();
  await hasText(page.locator("pre.value"), "two dots");
  await page.goBack();
  await page.getByRole("link", { name: "\\u{202e}turned" }).click();
  await hasText(page.locator("pre.value"), "text");
});

test("JSON is laid out and keeps its digits, and a tab has an address", async (t) => {
  const page = await it.open(t, "#/tables/users/documents/number");
  await hasText(page.locator("pre.json"), '"big": 12345678901234567890,\n  "exact": 1.10,\n  "twice": 1,\n  "twice": 2');
  await page.getByRole("tab", { name: "Hex" }).click();
  await hasText(page.locator("pre.hex"), "7b 22 62 69 67");
  assert.match(page.url(), /tab=hex$/);
  const other = await it.open(t, new URL(page.url()).hash);
  await hasText(other.locator("pre.hex"), "7b 22 62 69 67");
});

test("a long value is read by parts", async (t) => {
  const page = await it.open(t, "#/tables/users");
  let taken = 0;
  page.on("response", async (response) => {
    if (response.url().includes("/documents/long") && response.request().method() === "GET") taken += Number(response.headers()["content-length"]);
  });
  await page.getByRole("link", { name: "long" }).click();
  await hasText(page.locator("pre.hex"), "00000000  00 01 02");
  await hasText(page.locator("main"), "bytes 0 to 2,047 of 3,000,000 bytes");
  await page.getByLabel("Offset").fill("0x100000");
  await page.getByRole("button", { name: "Go" }).click();
  const byte = (0x100000 % 251).toString(16).padStart(2, "0");
  await hasText(page.locator("pre.hex"), `00100000  ${byte}`);
  await page.getByRole("button", { name: "End" }).click();
  await hasText(page.locator("main"), "to 2,999,999 of");
  assert.ok(taken < 100_000, `${taken} bytes`);
  assert.equal(await page.getByRole("button", { name: "Edit" }).count(), 0);
});

test("what is not there is said", async (t) => {
  const page = await it.open(t, "#/tables/users/documents/nobody", { expected: [404] });
  await hasText(page.locator("main"), "There is no document under this key.");
  await page.goto(`${it.service.origin}/console/#/tables/none`);
  await hasText(page.getByRole("alert"), "404");
  await page.goto(`${it.service.origin}/console/#/nonsense`);
  await hasText(page.getByRole("alert"), "There is no view");
});

test("JSON that is too deep or too long to be laid out is shown, and saved, as it is", async (t) => {
  const deep = `${"[".repeat(20_000)}${"]".repeat(20_000)}`;
  const long = `[${"1,".repeat(100_000)}1]`;
  for (const [key, text] of Object.entries({ deep, long })) {
    await it.service.put("plain", key, text);
    const page = await it.open(t, `#/tables/plain/documents/${key}`);
    await hasText(page.locator("#panel .hint"), "shown as it is stored");
    assert.equal(await page.locator("pre.json").textContent(), text);
    await page.getByRole("button", { name: "Edit" }).click();
    await hasText(page.locator(".edit"), "it stands here as it is stored");
    await page.getByLabel("Value", { exact: true }).press("Control+s");
    await hasText(page.locator(".facts"), /version\s*2/);
    assert.equal((await it.service.get("plain", key)).text, text);
  }
});

test("spaces at the ends of a key are seen, and a key is not taken for another", async (t) => {
  for (const key of ["%20", "%20a%20%20b%C2%A0", "%00", "%5Cx00", "a%5Cb"]) await it.service.put("plain", key, { key });
  const page = await it.open(t, "#/tables/plain");
  const shown = ["\\x20", "\\x20a  b\\xa0", "\\x00", "\\x5cx00", "a\\b"];
  await until(async () => {
    const keys = await page.locator("tbody a.key").allTextContents();
    assert.deepEqual(shown.filter((key) => !keys.includes(key)), []);
  });
  await page.getByRole("link", { name: "\\x20", exact: true }).click();
  await hasText(page.locator("h1"), "\\x20");
  await hasText(page.locator("pre.json"), '"%20"');
});

test("a very long key leaves room for the rest of the page", async (t) => {
  const key = "long".repeat(1024);
  await it.service.put("plain", key, { a: 1 });
  const page = await it.open(t, `#/tables/plain?values=true&prefix=${key}`, { viewport: { width: 390, height: 800 } });
  const height = async (locator) => (await locator.boundingBox()).height;
  const link = page.locator("tbody a.key");
  await link.waitFor();
  assert.ok(await height(link) < 200);
  await link.click();
  await hasText(page.locator("pre.json"), '"a": 1');
  assert.ok(await height(page.locator("h1")) < 200);
});

test("keys that are too long for a path are opened, changed and deleted", async (t) => {
  const key = Buffer.alloc(60_000, 0xfe).toString("base64url");
  await it.service.ask("PUT", "/v1/tables/plain/documents/-", '{"a":1}', { "Content-Type": "application/json", "Atomkv-Key": key });
  const page = await it.open(t, `#/tables/plain/documents/${"%FE".repeat(60_000)}`);
  await hasText(page.locator("pre.json"), '"a": 1');
  await page.getByRole("button", { name: "Edit" }).click();
  await page.getByLabel("Value", { exact: true }).fill('{"a":2}');
  await page.getByLabel("Value", { exact: true }).press("Control+s");
  await hasText(page.locator("pre.json"), '"a": 2');
  await page.getByRole("tab", { name: "History" }).click();
  await hasText(page.locator("tbody"), "present");
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await hasText(page.locator("h1"), /^plain$/);
});

test("who goes back to a list is where he was in it", async (t) => {
  const page = await it.open(t, "#/tables/users");
  await page.getByRole("link", { name: "user-40" }).click();
  await hasText(page.locator("pre.json"), '"number": 40');
  assert.equal(await page.evaluate(() => scrollY), 0);
  await page.goBack();
  const focused = () => page.evaluate(() => document.activeElement.textContent);
  await until(async () => assert.equal(await focused(), "user-40"));
  assert.ok(await page.evaluate(() => scrollY) > 500);
  await page.getByRole("navigation", { name: "Views" }).getByRole("link", { name: "Tables" }).click();
  await until(async () => assert.equal(await focused(), "Tables"));
  assert.equal(await page.evaluate(() => scrollY), 0);
});

test("a document that is slow does not take the place of what one has gone on to", async (t) => {
  const page = await it.open(t, "#/tables/plain");
  let release;
  const released = new Promise((resolve) => { release = resolve; });
  const held = new Promise((resolve) => {
    page.route("**/documents/number*", async (route) => {
      if (route.request().method() === "GET") { resolve(); await released; }
      await route.continue().catch(() => {});
    });
  });
  await page.goto(`${it.service.origin}/console/#/tables/users/documents/number`);
  await held;
  await page.getByRole("link", { name: "Watch" }).click();
  await hasText(page.locator(".status"), "live");
  release();
  await page.unrouteAll({ behavior: "wait" });
  // What comes late would be there by the time a further answer is.
  await page.evaluate(() => fetch("/health/ready").then((got) => got.text()));
  await hasText(page.locator("h1"), "Watch");
  assert.match(page.url(), /#\/watch$/);
});

test("of many tables only the first are measured, and the others say that they are not", async (t) => {
  await Promise.all(Array.from({ length: 210 }, (_, at) => it.service.table(`table-${String(at).padStart(3, "0")}`, {})));
  const page = await it.open(t);
  await hasText(page.locator("main"), "213 tables");
  await until(async () => assert.equal(await page.locator("td", { hasText: /^…$/ }).count(), 0));
  assert.equal(await page.locator("td", { hasText: /^–$/ }).count(), 26);
});
