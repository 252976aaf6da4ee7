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
