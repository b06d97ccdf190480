// Texts that want to be more than text: in facts, in metadata, in an extension's log.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { call, check, open, until, visit } from "./page.mjs";

const SCRIPT = '<script>document.title = "taken"</script><img src=x onerror="document.title=\'taken\'">';
const RTL = "שלום עולם, مرحبا بالعالم \u202Ereversed\u202C";

export default async function hostile({ browser, base, components }) {
  const facts = [
    { fact_id: "script", text: `say parrot ${SCRIPT}`, metadata: { topic: SCRIPT, "<b>": "<i>" } },
    { fact_id: "rtl", text: `parrot ${RTL}`, metadata: {} },
    { fact_id: "large", text: `parrot ${"large ".repeat(44_000)}`.slice(0, 262_144), metadata: {} },
  ];
  const component = readFileSync(`${components}/hooks.wasm`);
  assert.equal((await call(base, "PUT", "/v1/admin/tenants/default/extensions/hooks", component)).status, 200);
  for (const fact of facts) assert.equal((await call(base, "POST", "/v1/facts", fact)).status, 201);
  await call(base, "POST", "/v1/search", { query: `say markup ${SCRIPT}` });
  const page = await open(browser, base, { expected: [/400.*\/v1\/search/] });

  // Found, shown as text, and nothing ran.
  await page.getByLabel("Query").fill("parrot");
  await page.locator('.hit[data-id="large"]').waitFor();
  assert.match(await page.locator('.hit[data-id="script"] .hit-text').innerText(), /<script>document\.title/);
  assert.equal(await page.locator('.hit[data-id="rtl"] .hit-text').getAttribute("dir"), "auto");
  assert.ok((await page.locator('.hit[data-id="large"] .hit-text').innerText()).length < 2000, "shortened");
  await page.locator('.hit[data-id="large"]').getByRole("button", { name: "Show all" }).click();
  await until(
    "all of it",
    async () => (await page.locator('.hit[data-id="large"] .hit-text').textContent()).length > 262_000,
  );
  await check(page, "hostile hits");

  // Opened and changed in the form.
  for (const { fact_id, text } of facts) {
    await page.goto(`${base}/#/facts/${fact_id}`);
    await until(
      `${fact_id} is shown`,
      async () =>
        (await page
          .getByRole("textbox", { name: /^Text/ })
          .inputValue()
          .catch(() => "")) === text,
    );
  }
  await page.getByRole("textbox", { name: /^Text/ }).evaluate((field) => {
    field.value += "x";
    field.dispatchEvent(new Event("input"));
  });
  await page.getByText("The text is too long.").waitFor();
  await check(page, "a fact of 256 KiB");

  // The log.
  await visit(page, "Extensions");
  await page.getByRole("link", { name: /hooks/ }).click();
  const log = page.getByRole("list", { name: "Log, oldest first" });
  await log
    .getByText(/<script>/)
    .first()
    .waitFor();
  await check(page, "a log with markup");
  assert.match(await page.title(), /Kenning$/);
}
