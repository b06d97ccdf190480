// A search as it is typed: both halves of each hit, marks, filters, pages, and two settings side by side.
import assert from "node:assert/strict";
import { call, check, open, until, visit } from "./page.mjs";

const FACTS = [
  ["mia-pets", "Mia keeps a cat, a dog and two parrots.", { topic: "people" }],
  ["staging", "The staging server listens on port 7171.", { topic: "network", year: 2026 }],
  ["vault", "The ledger is copied to the vault every night.", { topic: "operations", year: 2026 }],
  ["tea", "Green tea is in the upper cupboard.", { topic: "kitchen" }],
  ["friday", "Nothing is released on a Friday.", { topic: "operations" }],
  ["parrots", "Parrots live long, and parrots talk.", { topic: "animals" }],
];

export default async function search({ browser, base }) {
  await call(base, "POST", "/v1/facts/batch", {
    facts: FACTS.map(([fact_id, text, metadata]) => ({ fact_id, text, metadata })),
  });
  const more = Array.from({ length: 30 }, (_, at) => ({
    fact_id: `parrot-${at}`,
    text: `Parrot number ${at} sits.`,
    metadata: { topic: "animals" },
  }));
  await call(base, "POST", "/v1/facts/batch", { facts: more });
  const page = await open(browser, base);
  const hits = page.locator(".hit");

  // As you type, and only the last question is answered.
  const asked = [];
  page.on("request", (request) => request.url().endsWith("/v1/search") && asked.push(request.postDataJSON().query));
  await page.getByLabel("Query").pressSequentially("two parrots", { delay: 15 });
  // Keys may be slower than the pause that a question waits for.
  while (asked.at(-1) !== "two parrots") await page.waitForRequest("**/v1/search");
  await page.getByText(/10 hits/).waitFor();
  assert.ok(asked.length < 6, `debounced: ${asked}`);
  const pets = page.locator('.hit[data-id="mia-pets"]');
  assert.deepEqual(await pets.locator("mark").allTextContents(), ["two", "parrots"]);
  assert.match(await pets.locator(".leg-text").innerText(), /words\s+#\d+/);
  assert.match(await pets.locator(".leg-vector").innerText(), /meaning\s+#\d+/);
  assert.match(await pets.locator(".relevance").innerText(), /\d+ %/);
  await check(page, "hits");

  // By words alone, the other half says nothing.
  await page.getByRole("radio", { name: "Words" }).check();
  await page.getByText("by words alone").waitFor();
  assert.equal(await page.locator(".leg-vector").count(), 0);
  await page.getByRole("radio", { name: "Hybrid" }).check();
  await page.locator(".leg-vector").first().waitFor();

  // A page more, and a filter from the facets.
  await page.getByRole("button", { name: "More" }).click();
  await until("twenty hits", async () => (await hits.count()) === 20);
  const chip = page.getByRole("group", { name: "Filters" }).getByRole("button", { name: /^people/ });
  await chip.click();
  await until("one hit", async () => (await hits.count()) === 1);
  assert.equal(await chip.getAttribute("aria-pressed"), "true");
  await chip.click();

  // Keys: from the query into the hits, and to the fact.
  await until("ten hits", async () => (await hits.count()) === 10);
  await page.getByLabel("Query").press("ArrowDown");
  assert.equal(await page.evaluate(() => document.activeElement.className), "hit-open");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Delete" }).waitFor();
  await page.keyboard.press("/");
  await page.getByLabel("Query").waitFor();

  // Two settings side by side, and how each hit moved.
  await page.getByLabel("Query").fill("two parrots");
  await page.getByRole("button", { name: "Compare" }).click();
  const second = page.getByRole("region", { name: "Results B" });
  await second.locator(".hit").first().waitFor();
  await page
    .getByText(/of \d+ the same/)
    .first()
    .waitFor();
  await second
    .getByText(/same place|↑|↓|only in B/)
    .first()
    .waitFor();
  await check(page, "a comparison");
  await page.getByRole("button", { name: "End the comparison" }).click();

  // Nothing found says what to do.
  await page.getByRole("radio", { name: "Words" }).check();
  await page.getByLabel("Query").fill("xylophone");
  await page.getByText("Nothing found").waitFor();
  await page.getByText(/by words alone only facts with one of these words/).waitFor();
  await check(page, "nothing found");
  await visit(page, "Server");
}
