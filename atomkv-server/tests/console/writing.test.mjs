// Making tables; writing, changing, comparing, restoring and deleting documents.

import assert from "node:assert/strict";
import { test } from "node:test";
import { hasText, until, world } from "./harness.mjs";

const it = world({ fill: (service) => service.table("notes", { ordered: true, retention: { versions: 10 } }) });
const editor = (page) => page.getByLabel("Value", { exact: true });
const stored = async (key) => (await it.service.get("notes", key)).text;

test("a table is made, and a document in it", async (t) => {
  const page = await it.open(t, "", { expected: [412, 422] });
  await page.getByRole("button", { name: "New table" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").fill("made here");
  await dialog.getByLabel("Versions kept").selectOption("versions");
  await dialog.getByLabel("How many").fill("3");
  await dialog.getByLabel("Documents expire after").fill("soon");
  await dialog.getByRole("button", { name: "Create" }).click();
  await hasText(dialog.getByRole("alert"), "soon");
  await dialog.getByLabel("Documents expire after").fill("7d");
  await dialog.getByRole("button", { name: "Create" }).click();
  await hasText(page.locator("main"), "ordered, 3 versions, expires after 7 d");
  await page.getByRole("link", { name: "New document" }).click();
  await page.getByLabel("Key", { exact: true }).fill("a/b");
  await editor(page).fill('{"a": 1');
  await page.getByRole("button", { name: "Save" }).click();
  await hasText(page.locator(".problem"), "this is no JSON");
  await editor(page).fill('{"a": 1}');
  await page.getByRole("button", { name: "Save" }).click();
  await hasText(page.locator("pre.json"), '"a": 1');
  await hasText(page.locator(".facts"), "application/json");
  const { text, headers } = await it.service.ask("GET", "/v1/tables/made%20here/documents/a%2Fb");
  assert.equal(text, '{"a": 1}');
  assert.ok(headers.get("atomkv-expires-at-ms"), "the table's time is taken");

  await page.goto(`${it.service.origin}/console/#/tables/made%20here/new`);
  await page.getByLabel("Key", { exact: true }).fill("a/b");
  await editor(page).fill("1");
  await page.getByRole("button", { name: "Save" }).click();
  await hasText(page.locator(".problem"), "there is a document under a/b already");
});

test("what is edited is written as it is, with its type and its expiry", async (t) => {
  await it.service.ask("PUT", "/v1/tables/notes/documents/exact?expires_at_ms=4102444800000", '{"n":12345678901234567890,"e":1.10}', { "Content-Type": "application/vnd.a+json" });
  const page = await it.open(t, "#/tables/notes/documents/exact");
  await page.getByRole("button", { name: "Edit" }).click();
  assert.equal(await editor(page).inputValue(), '{\n  "n": 12345678901234567890,\n  "e": 1.10\n}');
  await page.getByRole("button", { name: "Compact" }).click();
  await editor(page).fill((await editor(page).inputValue()).replace("1.10", "1.20"));
  await editor(page).press("Control+s");
  await hasText(page.locator("pre.json"), '"e": 1.20');
  const { text, headers } = await it.service.get("notes", "exact");
  assert.equal(text, '{"n":12345678901234567890,"e":1.20}');
  assert.equal(headers.get("content-type"), "application/vnd.a+json");
  assert.equal(headers.get("atomkv-expires-at-ms"), "4102444800000");
});

test("bytes are edited as hexadecimal digits, and lines keep their ends", async (t) => {
  await it.service.put("notes", "bytes", new Uint8Array([0, 255, 10]), "application/octet-stream");
  const page = await it.open(t, "#/tables/notes/documents/bytes");
  await page.getByRole("button", { name: "Edit" }).click();
  assert.equal(await editor(page).inputValue(), "00 ff 0a");
  await editor(page).fill("00 fg");
  await hasText(page.getByRole("status"), '"g" is no hexadecimal digit');
  await editor(page).fill("00fe41");
  await page.getByRole("button", { name: "Save" }).click();
  await hasText(page.locator("pre.hex"), "00 fe 41");

  await it.service.put("notes", "lines", "one\r\ntwo\r\n", "text/plain");
  await page.goto(`${it.service.origin}/console/#/tables/notes/documents/lines`);
  await page.getByRole("button", { name: "Edit" }).click();
  await editor(page).fill("one\ntwo\nthree\n");
  await page.getByRole("button", { name: "Save" }).click();
  await hasText(page.locator("pre.value"), "three");
  assert.equal(await stored("lines"), "one\r\ntwo\r\nthree\r\n");
});

test("a change by somebody else is told, and nothing is lost without a choice", async (t) => {
  await it.service.put("notes", "shared", { by: "first" });
  const page = await it.open(t, "#/tables/notes/documents/shared", { expected: [404, 412] });
  const change = async (value) => {
    await page.getByRole("button", { name: "Edit" }).click();
    await editor(page).fill(`{"by": "${value}"}`);
  };
  const dialog = page.getByRole("dialog");
  await change("me");
  await it.service.put("notes", "shared", { by: "them" });
  await page.getByRole("button", { name: "Save" }).click();
  await hasText(dialog, "You began with version 1; now there is version 2");
  await hasText(dialog.locator("del"), "them");
  await hasText(dialog.locator("ins"), "me");
  await dialog.getByRole("button", { name: "Keep editing" }).click();
  await hasText(page.getByRole("alert"), "Not saved");
  assert.equal(await editor(page).inputValue(), '{"by": "me"}');
  assert.equal(await stored("shared"), '{"by":"them"}');

  await page.getByRole("button", { name: "Save" }).click();
  await dialog.getByRole("button", { name: "Take theirs" }).click();
  await hasText(page.locator("pre.json"), "them");

  await change("me again");
  await it.service.put("notes", "shared", { by: "them again" });
  await page.getByRole("button", { name: "Save" }).click();
  await dialog.getByRole("button", { name: "Overwrite theirs" }).click();
  await hasText(page.locator("pre.json"), "me again");
  assert.equal(await stored("shared"), '{"by": "me again"}');

  await change("anew");
  await it.service.ask("DELETE", "/v1/tables/notes/documents/shared");
  await page.getByRole("button", { name: "Save" }).click();
  await hasText(dialog, "Somebody has deleted the document");
  await dialog.getByRole("button", { name: "Write mine anew" }).click();
  await hasText(page.locator("pre.json"), "anew");
});

test("versions are looked at, compared and restored", async (t) => {
  for (const title of ["one", "two", "three"]) await it.service.put("notes", "past", { kept: true, title });
  const page = await it.open(t, "#/tables/notes/documents/past", { expected: [404] });
  await page.getByRole("tab", { name: "History" }).click();
  assert.deepEqual(await page.locator("tbody th a").allTextContents(), ["3", "2", "1"]);
  await hasText(page.locator(".diff del"), '"title": "two"');
  await hasText(page.locator(".diff ins"), '"title": "three"');
  await page.getByLabel("From").selectOption("1");
  await page.getByRole("button", { name: "Compare" }).click();
  await hasText(page.locator(".diff del"), '"title": "one"');
  await page.getByRole("link", { name: "1", exact: true }).click();
  await hasText(page.locator("main .banner"), "This is version 1");
  await hasText(page.locator("pre.json"), "one");
  await page.getByRole("button", { name: "Restore it" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Restore" }).click();
  await until(async () => assert.equal(await stored("past"), '{"kept":true,"title":"one"}'));
  await hasText(page.locator(".facts"), /version\s*4/);

  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await until(async () => assert.match(page.url(), /#\/tables\/notes$/));
  await page.goto(`${it.service.origin}/console/#/tables/notes/documents/past`);
  await hasText(page.locator("main"), "There is no document under this key.");
  await hasText(page.locator("tbody"), "deleted");
  await page.getByRole("button", { name: "Restore version 3" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Restore" }).click();
  await hasText(page.locator("pre.json"), "three");
});

test("what is not saved is not lost by going elsewhere", async (t) => {
  await it.service.put("notes", "draft", { a: 1 });
  const page = await it.open(t, "#/tables/notes/documents/draft");
  await page.getByRole("button", { name: "Edit" }).click();
  await editor(page).fill('{"a": 2}');
  await page.getByRole("link", { name: "Watch" }).click();
  const dialog = page.getByRole("dialog");
  await hasText(dialog, "Leave without saving?");
  await dialog.getByRole("button", { name: "Cancel" }).click();
  assert.equal(await editor(page).inputValue(), '{"a": 2}');
  assert.match(page.url(), /documents\/draft/);
  await page.getByRole("link", { name: "Watch" }).click();
  await dialog.getByRole("button", { name: "Leave" }).click();
  await hasText(page.locator("h1"), "Watch");
  assert.equal(await stored("draft"), '{"a":1}');
});

test("a file takes the place of a value, and a value becomes a file", async (t) => {
  await it.service.put("notes", "file", "before", "text/plain");
  const page = await it.open(t, "#/tables/notes/documents/file");
  await page.getByRole("button", { name: "Replace by a file" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("File").setInputFiles({ name: "a.csv", mimeType: "text/csv", buffer: Buffer.from("a,b\n1,2\n") });
  await dialog.getByRole("button", { name: "Replace" }).click();
  await hasText(page.locator(".facts"), "text/csv");
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Download" }).click();
  const stream = await (await download).createReadStream();
  assert.equal(Buffer.concat(await stream.toArray()).toString(), "a,b\n1,2\n");
});

test("a key with ends of lines is written as it is", async (t) => {
  const page = await it.open(t, "#/tables/notes/documents/two%0Alines", { expected: [404] });
  await page.getByRole("button", { name: "Write it" }).click();
  assert.equal(await page.getByLabel("Key", { exact: true }).inputValue(), "74776f0a6c696e6573");
  await editor(page).fill("1");
  await page.getByRole("button", { name: "Save" }).click();
  await until(async () => assert.equal(await stored("two%0Alines"), "1"));
  await hasText(page.locator("h1"), "two\\x0alines");
});

test("while a document is being saved nothing can be typed that would be lost", async (t) => {
  await it.service.put("notes", "slow", { a: 1 });
  const page = await it.open(t, "#/tables/notes/documents/slow");
  let release;
  const released = new Promise((resolve) => { release = resolve; });
  await page.route("**/documents/slow*", async (route) => {
    if (route.request().method() === "PUT") await released;
    await route.continue();
  });
  await page.getByRole("button", { name: "Edit" }).click();
  await editor(page).fill('{"a": 2}');
  await editor(page).press("Control+s");
  await until(async () => assert.ok(await editor(page).evaluate((area) => area.readOnly)));
  release();
  await hasText(page.locator("pre.json"), '"a": 2');
});

test("what is not saved leaves the steps of the browser as they are", async (t) => {
  await it.service.put("notes", "steps", { a: 1 });
  const page = await it.open(t, "#/tables/notes");
  await page.getByRole("link", { name: "steps" }).click();
  await page.getByRole("button", { name: "Edit" }).click();
  await editor(page).fill('{"a": 2}');
  const dialog = page.getByRole("dialog");
  await page.goBack();
  await hasText(dialog, "Leave without saving?");
  assert.match(page.url(), /documents\/steps/);
  // Asked once more, and not by two dialogs.
  await page.goBack();
  await until(async () => assert.equal(await dialog.count(), 1));
  await dialog.getByRole("button", { name: "Cancel" }).click();
  assert.equal(await editor(page).inputValue(), '{"a": 2}');
  await page.getByRole("link", { name: "Statistics" }).click();
  await dialog.getByRole("button", { name: "Leave" }).click();
  await hasText(page.locator("h1"), "Statistics");
  await page.goBack();
  await hasText(page.locator("pre.json"), '"a": 1');
  await page.goBack();
  await hasText(page.locator("h1"), "notes");
  await page.goForward();
  await hasText(page.locator("h1"), "steps");
});

test("a question about a document is gone with it", async (t) => {
  await it.service.put("notes", "kept", { a: 1 });
  const page = await it.open(t, "#/tables/notes");
  await page.getByRole("link", { name: "kept" }).click();
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("dialog").waitFor();
  await page.goBack();
  await hasText(page.locator("h1"), "notes");
  assert.equal(await page.getByRole("dialog").count(), 0);
  assert.equal(await stored("kept"), '{"a":1}');
});

test("a document that has expired while it was edited is told as such", async (t) => {
  await it.service.ask("PUT", `/v1/tables/notes/documents/brief?expires_at_ms=${Date.now() + 8000}`, "{}", { "Content-Type": "application/json" });
  const page = await it.open(t, "#/tables/notes/documents/brief", { expected: [404, 412] });
  await page.getByRole("button", { name: "Edit" }).click();
  await editor(page).fill('{"a": 2}');
  await until(async () => assert.equal((await fetch(`${it.service.origin}/v1/tables/notes/documents/brief`)).status, 404));
  await page.getByRole("button", { name: "Save" }).click();
  const dialog = page.getByRole("dialog");
  await hasText(dialog, "The document has expired since you began");
  await dialog.getByRole("button", { name: "Keep editing" }).click();
  await page.getByLabel("Expires").selectOption("none");
  await page.getByRole("button", { name: "Save" }).click();
  await dialog.getByRole("button", { name: "Write mine anew" }).click();
  await until(async () => assert.equal(await stored("brief"), '{"a": 2}'));
});

test("a version that has expired can be restored", async (t) => {
  await it.service.ask("PUT", `/v1/tables/notes/documents/over?expires_at_ms=${Date.now() + 1000}`, '{"a":1}', { "Content-Type": "application/json" });
  await until(async () => assert.equal((await fetch(`${it.service.origin}/v1/tables/notes/documents/over`)).status, 404));
  const page = await it.open(t, "#/tables/notes/documents/over", { expected: [404] });
  await hasText(page.locator("tbody"), /1\s*expired/);
  await page.getByRole("button", { name: "Restore version 1" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Restore" }).click();
  await hasText(page.locator("pre.json"), '"a": 1');
  await until(async () => assert.equal(await stored("over"), '{"a":1}'));
  await page.getByRole("tab", { name: "History" }).click();
  await page.getByRole("button", { name: "Restore version 1" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Restore" }).click();
  await hasText(page.locator("tbody"), /2\s*present/);
  await until(async () => assert.equal(await page.evaluate(() => document.activeElement.id), "tab-history"));
});

test("why a document is not saved is seen on a small screen, too", async (t) => {
  await it.service.put("notes", "seen", { a: 1 });
  const page = await it.open(t, "#/tables/notes/documents/seen", { viewport: { width: 390, height: 600 } });
  await page.getByRole("button", { name: "Edit" }).click();
  await editor(page).fill("{");
  await editor(page).press("Control+s");
  const told = page.locator(".problem");
  await hasText(told, "this is no JSON");
  await until(async () => {
    const { y, height } = await told.boundingBox();
    assert.ok(y >= 0 && y + height <= 600, `${y} and ${height}`);
  });
});

test("what went wrong is told once, and a reload keeps the focus in the page", async (t) => {
  await it.service.put("notes", "told", { a: 1 });
  const page = await it.open(t, "#/tables/notes/documents/told", { expected: [412] });
  await hasText(page.locator("pre.json"), '"a": 1');
  await it.service.put("notes", "told", { a: 2 });
  for (let times = 0; times < 2; times += 1) {
    const refused = page.waitForResponse((got) => got.status() === 412);
    await page.getByRole("button", { name: "Download" }).click();
    await refused;
    await hasText(page.locator(".problem"), "412");
  }
  assert.equal(await page.locator(".problem").count(), 1);
  await page.getByRole("button", { name: "Reload" }).press("Enter");
  await hasText(page.locator("pre.json"), '"a": 2');
  await until(async () => assert.equal(await page.evaluate(() => document.activeElement.textContent), "told"));
});
