// What changes by itself: watches, charts, operations, a service that goes away and comes back.

import assert from "node:assert/strict";
import { test } from "node:test";
import { hasText, until, world } from "./harness.mjs";

const it = world({ fill: async (service) => {
  await service.table("orders");
  await service.table("a,b");
  await service.put("orders", "first", { total: 1 });
} });

test("changes are seen as they happen, of one table or all, and can be held", async (t) => {
  const page = await it.open(t, "#/watch?values=true");
  await hasText(page.locator(".status"), "live");
  const rows = page.locator("tbody tr");
  await it.service.put("orders", "seen", { total: 2 });
  await hasText(rows, /put\s*orders\s*seen\s*1\s*\{"total":2\}/);
  await it.service.put("orders", "%FF", "<b>bold</b>", "text/html");
  await hasText(rows.first(), "<b>bold</b>");
  await hasText(rows.first(), "\\xff");
  await it.service.ask("DELETE", "/v1/tables/orders/documents/seen");
  await hasText(rows.first(), /delete\s*orders\s*seen/);

  await page.getByRole("button", { name: "Pause" }).click();
  await it.service.put("orders", "held", { total: 3 });
  await hasText(page.locator("main"), "4 changes, of which 1 are not shown yet");
  assert.equal(await rows.count(), 3);
  await page.getByRole("button", { name: "Go on" }).click();
  await hasText(rows.first(), "held");

  await page.getByRole("button", { name: "Pause" }).click();
  await it.service.ask("POST", "/v1/batch", { operations: Array.from({ length: 700 }, (_, at) => ({ op: "put", table: "a,b", key: `many-${at}`, json: at })) });
  await hasText(page.locator("main"), "704 changes, of which 700 are not shown yet");
  await page.getByRole("button", { name: "Go on" }).click();
  await hasText(page.locator("main"), "704 changes, the last 500 shown");

  await page.getByRole("button", { name: "Clear" }).click();
  await page.getByLabel("Table").selectOption("a,b");
  await hasText(page.locator(".status"), "live");
  await it.service.put("orders", "elsewhere", { total: 4 });
  await it.service.put("a%2Cb", "here", { total: 5 });
  await hasText(rows, "here");
  assert.ok(!(await rows.allTextContents()).join().includes("elsewhere"));

  await page.getByLabel("Table").selectOption("orders");
  await page.getByLabel("first what is there").check();
  await hasText(rows, /state\s*orders\s*first/);
  await page.getByRole("link", { name: "first" }).first().click();
  await hasText(page.locator("pre.json"), '"total": 1');
});

test("figures are drawn, and told to those who do not see them", async (t) => {
  const page = await it.open(t, "#/stats");
  await hasText(page.locator("main"), "Operations a second");
  await until(async () => {
    await it.service.put("orders", "often", { at: Date.now() });
    const label = await page.getByRole("img", { name: "Operations a second" }).getAttribute("aria-label");
    assert.match(label, /puts [1-9]|puts 0\.[1-9]/);
  });
  await until(async () => {
    const path = await page.locator("figure", { hasText: "Disk" }).locator("svg[role=img] path.line").first().getAttribute("d");
    assert.match(path, /^M[\d.]+ [\d.]+L/);
  });
  await until(async () => {
    await it.service.put("orders", "often", { at: Date.now() });
    const label = await page.getByRole("img", { name: "Time until a request is answered" }).getAttribute("aria-label");
    assert.match(label, /half within [\d.]+ (µs|ms|s), 99 of 100 within [\d.]+ (µs|ms|s)/);
  });
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByText("All figures").click();
  await hasText(page.locator("details tbody"), "checkpoint_generation");
});

test("operations are begun, followed, and told when they end", async (t) => {
  const page = await it.open(t, "#/operations");
  await page.getByRole("button", { name: "Compact now" }).click();
  await hasText(page.getByRole("article"), /compact \(1\)\s*succeeded/);
  await page.getByLabel("Name").fill("monday");
  await page.getByRole("button", { name: "Back up" }).click();
  await hasText(page.getByRole("article", { name: "backup" }), /succeeded.*files/s);
  await page.getByRole("button", { name: "Verify now" }).click();
  await hasText(page.getByRole("article", { name: "verify" }), /clean\s*true/);
  await page.getByLabel("Table").selectOption("orders");
  await page.getByLabel("Partitions").fill("32");
  await page.getByRole("button", { name: "Resize" }).click();
  await hasText(page.getByRole("article", { name: "resize of orders" }), /from\s*16/);
});

test("a service that is gone is told, and taken up again when it is back", async (t) => {
  const page = await it.open(t, "#/watch", { isLost: true });
  await hasText(page.locator(".status"), "live");
  await it.service.put("orders", "before", {});
  await hasText(page.locator("tbody"), "before");
  const idle = await it.open(t, "#/watch?table=a%2Cb", { isLost: true });
  await hasText(idle.locator(".status"), "live");
  const typed = await it.open(t, "#/operations", { isLost: true });
  await typed.getByLabel("Name").fill("not begun yet");
  const other = await it.open(t, "#/tables/orders/documents/first", { isLost: true });
  await other.getByRole("button", { name: "Edit" }).click();
  await other.getByLabel("Value", { exact: true }).fill('{"total": 100}');
  const loaded = await it.open(t, "#/operations", { isLost: true });
  await hasText(loaded.locator("h1"), "Operations");
  await it.service.stop();
  await hasText(page.locator("#banner"), "The service cannot be reached");
  await hasText(typed.locator("#banner"), "The service cannot be reached");
  await loaded.getByRole("link", { name: "Tables", exact: true }).first().click();
  await hasText(loaded.getByRole("alert"), "the service cannot be reached");
  await other.getByRole("button", { name: "Save" }).click();
  await hasText(other.locator(".problem"), "save again, which cannot happen twice");
  await it.service.start();
  await it.service.put("a%2Cb", "early", {});
  await until(async () => assert.ok(await page.locator("#banner").isHidden()));
  await hasText(page.locator(".status"), "live");
  await it.service.put("orders", "behind", {});
  await hasText(page.locator("tbody"), "behind");
  await hasText(page.locator("tbody"), "before");
  await hasText(idle.locator("tbody"), "early");
  await hasText(loaded.locator("tbody"), "orders");
  await until(async () => assert.ok(await typed.locator("#banner").isHidden()));
  assert.equal(await typed.getByLabel("Name").inputValue(), "not begun yet");
  await until(async () => assert.ok(await other.locator("#banner").isHidden()));
  await other.getByRole("button", { name: "Save" }).click();
  await hasText(other.locator("pre.json"), '"total": 100');
});
