// By keyboard alone, by name, at narrow widths, in both colour schemes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { hasText, until, world } from "./harness.mjs";

const it = world({ fill: async (service) => {
  await service.table("users", { ordered: true, retention: { versions: 3 } });
  for (const name of ["ada", "alan", "grace"]) await service.put("users", name, { name });
  await service.put("users", "ada", { name: "Ada" });
} });

const VIEWS = ["#/tables", "#/tables/users?values=true", "#/tables/users/documents/ada", "#/tables/users/documents/ada?tab=history",
  "#/tables/users/documents/ada?version=1", "#/tables/users/new", "#/watch?state=true", "#/stats", "#/operations"];
const NAMED = new Set(["button", "link", "textbox", "searchbox", "combobox", "checkbox", "spinbutton", "tab", "tablist", "tabpanel",
  "image", "img", "table", "dialog", "progressbar", "navigation", "region"]);

async function shown(page, hash) {
  await page.goto("about:blank");
  await page.goto(`${it.service.origin}/console/${hash}`);
  await page.locator("main:not([aria-busy]) h1").waitFor();
}

/** Every control that the browser tells assistive programs of has a name. */
async function names(page) {
  const session = await page.context().newCDPSession(page);
  const { nodes } = await session.send("Accessibility.getFullAXTree");
  await session.detach();
  const nameless = nodes.filter(({ ignored, role, name }) => !ignored && NAMED.has(role?.value) && !name?.value?.trim());
  return nameless.map(({ role }) => role.value);
}

test("every control has a name, every page a heading, and no id is twice", async (t) => {
  const page = await it.open(t);
  for (const hash of VIEWS) {
    await shown(page, hash);
    assert.deepEqual(await names(page), [], hash);
    assert.equal(await page.locator("h1").count(), 1, hash);
    const ids = await page.locator("[id]").evaluateAll((found) => found.map(({ id }) => id));
    assert.equal(new Set(ids).size, ids.length, `${hash}: ${ids}`);
    assert.notEqual(await page.title(), "AtomKV console", hash);
  }
  await page.goto(`${it.service.origin}/console/#/tables`);
  await page.getByRole("button", { name: "New table" }).click();
  assert.deepEqual(await names(page), [], "a dialog");
});

test("a document is found, changed and deleted without a mouse", async (t) => {
  const page = await it.open(t);
  const { keyboard } = page;
  const focused = () => page.evaluate(() => {
    const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
    return { text: (document.activeElement.textContent || "").trim(), label: document.activeElement.getAttribute("aria-label"), outline: outlineStyle !== "none" && outlineWidth !== "0px" };
  });
  /** Goes on until what is wanted has the focus, which is seen at every step. */
  const tabTo = async (wanted) => {
    for (let steps = 0; steps < 40; steps += 1) {
      await keyboard.press("Tab");
      const { text, label, outline } = await focused();
      assert.ok(outline, `the focus is not seen at ${label || text}`);
      if (wanted.test(label || text)) return;
    }
    assert.fail(`${wanted} is not reached`);
  };
  await hasText(page.locator("tbody"), "users");
  await tabTo(/^To the content$/);
  await keyboard.press("Enter");
  await until(async () => assert.equal(await page.evaluate(() => document.activeElement.localName), "main"));
  await tabTo(/^users$/);
  await keyboard.press("Enter");
  await hasText(page.locator("h1"), "users");
  await keyboard.press("/");
  await keyboard.type("a");
  await keyboard.press("Enter");
  await until(async () => assert.deepEqual(await page.locator("tbody a.key").allTextContents(), ["ada", "alan"]));
  await tabTo(/^ada$/);
  await keyboard.press("ArrowDown");
  assert.equal((await focused()).text, "alan");
  await keyboard.press("Enter");
  await hasText(page.locator("pre.json"), "alan");
  await tabTo(/^JSON$/);
  await keyboard.press("ArrowRight");
  await keyboard.press("ArrowRight");
  await hasText(page.locator("pre.hex"), "7b 22 6e");
  await keyboard.press("ArrowLeft");
  await hasText(page.locator("pre.value"), '{"name":"alan"}');
  await keyboard.press("Shift+Tab");
  for (let steps = 0; steps < 6 && (await focused()).text !== "Edit"; steps += 1) await keyboard.press("Shift+Tab");
  await keyboard.press("Enter");
  await keyboard.press("Control+a");
  await keyboard.type("by hand");
  await keyboard.press("Control+s");
  await hasText(page.locator("pre.value"), "by hand");
  assert.equal((await focused()).text, "Edit");
  await tabTo(/^Delete/);
  await keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await keyboard.press("Escape");
  await until(async () => assert.match((await focused()).text, /^Delete/));
  await keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  for (let steps = 0; steps < 4 && (await focused()).text !== "Delete"; steps += 1) await keyboard.press("Tab");
  await keyboard.press("Enter");
  await until(async () => assert.match(page.url(), /#\/tables\/users$/));
  await hasText(page.locator("h1"), "users");
  await keyboard.press("g");
  await keyboard.press("w");
  await hasText(page.locator("h1"), "Watch");
  await keyboard.press("?");
  await hasText(page.getByRole("dialog"), "save what is edited");
});

test("nothing is wider than a narrow screen", async (t) => {
  const page = await it.open(t, "", { viewport: { width: 360, height: 700 } });
  for (const hash of VIEWS) {
    await shown(page, hash);
    const [inner, outer] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(inner <= outer, `${hash}: ${inner} of ${outer}`);
  }
});

test("what is read can be told from what is behind it, in light and dark", async (t) => {
  for (const colorScheme of ["light", "dark"]) {
    const page = await it.open(t, "#/tables", { colorScheme, reducedMotion: "reduce" });
    await hasText(page.locator("tbody"), "users");
    const colours = await page.evaluate(() => {
      const style = getComputedStyle(document.documentElement);
      const names = ["page", "raised", "text", "dim", "accent", "on-accent", "danger", "good", "warm", "added", "removed", "series-0", "series-1", "series-2"];
      return Object.fromEntries(names.map((name) => {
        const hex = style.getPropertyValue(`--${name}`).trim().replace(/^#(.)(.)(.)$/, "#$1$1$2$2$3$3");
        return [name, [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)];
      }));
    });
    const light = (rgb) => rgb.map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
      .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
    const contrast = (one, other) => {
      const [low, high] = [light(colours[one]), light(colours[other])].sort((a, b) => a - b);
      return (high + 0.05) / (low + 0.05);
    };
    for (const ground of ["page", "raised"]) {
      for (const text of ["text", "dim", "accent", "danger", "good", "warm", "series-0", "series-1", "series-2"]) {
        assert.ok(contrast(text, ground) >= 4.5, `${colorScheme}: ${text} on ${ground}: ${contrast(text, ground)}`);
      }
    }
    for (const [text, ground] of [["on-accent", "accent"], ["text", "added"], ["text", "removed"], ["dim", "added"], ["dim", "removed"]]) {
      assert.ok(contrast(text, ground) >= 4.5, `${colorScheme}: ${text} on ${ground}: ${contrast(text, ground)}`);
    }
  }
});
