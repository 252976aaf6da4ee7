// Tokens: signing in and out, and what a token does not allow.

import assert from "node:assert/strict";
import { test } from "node:test";
import { hasText, until, world } from "./harness.mjs";

const it = world({
  wanted: { all: { scopes: ["read", "write", "admin"] }, reader: { scopes: ["read"] }, shop: { scopes: ["read", "write"], tables: ["orders"] }, writer: { scopes: ["write"] } },
  fill: async (service) => {
    await service.table("orders");
    await service.table("users");
    await service.put("orders", "one", { total: 1 });
  },
});

test("a token is asked for, kept in the tab only, and given up", async (t) => {
  const page = await it.open(t, "#/tables/orders/documents/one", { expected: [401] });
  const dialog = page.getByRole("dialog", { name: "Sign in" });
  await dialog.getByLabel("Token").fill("wrong");
  await dialog.getByRole("button", { name: "Sign in" }).click();
  await hasText(dialog.getByRole("alert"), "this token is not known");
  await dialog.getByLabel("Token").fill(it.tokens.all);
  await dialog.getByRole("button", { name: "Sign in" }).click();
  await hasText(page.locator("pre.json"), '"total": 1');
  await hasText(page.locator("#who"), "all (read, write, admin)");
  const kept = await page.evaluate(() => [Object.values(sessionStorage), localStorage.length, document.cookie, location.href]);
  assert.deepEqual(kept.slice(0, 3), [[it.tokens.all], 0, ""]);
  assert.ok(!kept[3].includes(it.tokens.all));
  await page.reload();
  await hasText(page.locator("pre.json"), '"total": 1');
  await page.getByRole("button", { name: "Sign out" }).click();
  await dialog.waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  await page.keyboard.press("Escape");
  await hasText(page.locator("h1"), "Not signed in");
});

test("who may only read is told so, and is not offered more", async (t) => {
  const page = await it.open(t, "#/tables/orders/documents/one", { token: it.tokens.reader, expected: [403] });
  await hasText(page.locator("pre.json"), '"total": 1');
  await hasText(page.locator("main"), "the token would need the scope write");
  assert.equal(await page.getByRole("button", { name: /Edit|Delete|Replace/ }).count(), 0);
  await page.getByRole("link", { name: "Operations" }).click();
  await hasText(page.locator("main"), "the token would need the scope admin");
  await page.getByRole("link", { name: "Tables" }).click();
  await page.getByRole("button", { name: "New table" }).click();
  await page.getByRole("dialog").getByLabel("Name").fill("another");
  await page.getByRole("dialog").getByRole("button", { name: "Create" }).click();
  await hasText(page.getByRole("dialog").getByRole("alert"), "The token does not allow this: the token lacks the scope admin");
});

test("a token for some tables shows these, and says what it is not for", async (t) => {
  const page = await it.open(t, "", { token: it.tokens.shop, expected: [403] });
  await hasText(page.locator("tbody"), "orders");
  assert.equal(await page.locator("tbody tr").count(), 1);
  await page.goto(`${it.service.origin}/console/#/tables/users`);
  await hasText(page.getByRole("alert"), 'the token is not for the table "users"');
  await page.getByRole("link", { name: "Statistics" }).click();
  await hasText(page.locator("main"), "It has to be for all tables.");
  await page.getByRole("link", { name: "Watch" }).click();
  await hasText(page.locator(".status"), "live");
});

test("a token that is good no more is asked for anew, and what was written stays", async (t) => {
  const page = await it.open(t, "#/tables/orders/documents/one", { token: it.tokens.shop, expected: [401] });
  await page.getByRole("button", { name: "Edit" }).click();
  await page.getByLabel("Value", { exact: true }).fill('{"total": 7}');
  await page.evaluate(() => sessionStorage.setItem("atomkv-token", "expired"));
  await page.getByRole("button", { name: "Save" }).click();
  const dialog = page.getByRole("dialog", { name: "Sign in" });
  await dialog.getByLabel("Token").fill(it.tokens.shop);
  await dialog.getByRole("button", { name: "Sign in" }).click();
  assert.equal(await page.getByLabel("Value", { exact: true }).inputValue(), '{"total": 7}');
  await page.getByRole("button", { name: "Save" }).click();
  await until(async () => assert.equal((await it.service.get("orders", "one")).text, '{"total": 7}'));
});

test("what is being edited stays if no token is given", async (t) => {
  const page = await it.open(t, "#/tables/orders/documents/one", { token: it.tokens.shop, expected: [401] });
  await page.getByRole("button", { name: "Edit" }).click();
  await page.getByLabel("Value", { exact: true }).fill('{"total": 8}');
  await page.evaluate(() => sessionStorage.setItem("atomkv-token", "expired"));
  await page.getByRole("button", { name: "Save" }).click();
  const dialog = page.getByRole("dialog", { name: "Sign in" });
  await dialog.waitFor();
  await page.keyboard.press("Escape");
  await until(async () => assert.equal(await dialog.count(), 0));
  assert.equal(await page.getByLabel("Value", { exact: true }).inputValue(), '{"total": 8}');
  await page.getByRole("button", { name: "Save" }).click();
  await dialog.getByLabel("Token").fill(it.tokens.shop);
  await dialog.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("button", { name: "Save" }).click();
  await until(async () => assert.equal((await it.service.get("orders", "one")).text, '{"total": 8}'));
});

test("what a token lacks is said for a document and for a link to an operation, too", async (t) => {
  const page = await it.open(t, "#/tables/orders/documents/one", { token: it.tokens.writer, expected: [403] });
  await hasText(page.getByRole("alert"), "it lacks the scope read, or is not for this table");
  await page.goto(`${it.service.origin}/console/#/operations?table=orders`);
  await hasText(page.locator("main"), "the token would need the scope admin");
  assert.equal(await page.getByRole("button", { name: "Resize" }).count(), 0);
});
