// node screenshots.mjs URL ROOT FOLDER: fills a server, uses it for a while, and takes the pictures of the console.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { call, drop, launch, open, until } from "./page.mjs";

const [base, root, folder] = process.argv.slice(2);
const component = (name) => readFileSync(join(root, "target/components", `${name}.wasm`));
const search = (query) => call(base, "POST", "/v1/search", { query });
const QUESTIONS = [
  "Which animals live with her?",
  "Where does the cat sleep?",
  "How long does sunlight travel?",
  "When are the bins collected?",
  "Who must not eat meat?",
  "Which planet is the hottest?",
];

const imported = await fetch(`${base}/v1/import`, {
  method: "POST",
  headers: { "content-type": "application/x-ndjson" },
  body: readFileSync(join(root, "samples/facts.jsonl")),
});
if (!imported.ok) throw new Error(await imported.text());
const pets = { fact_id: "mia-pets", text: "Mia keeps a cat, a dog and two parrots.", metadata: { topic: "people" } };
await call(base, "POST", "/v1/facts", pets);
await until("all facts have their vectors", async () => (await call(base, "GET", "/v1/stats")).json.pending === 0);
for (const question of [...QUESTIONS, ...QUESTIONS]) await search(question);
for (const name of ["redact-pii", "recency-boost"])
  await call(base, "PUT", `/v1/admin/tenants/default/extensions/${name}`, component(name));
for (const name of ["acme", "globex", "initech"])
  await call(base, "POST", "/v1/admin/tenants", { name, limits: { facts: 100_000, requests_per_second: 50 } });

const browser = await launch();

/** One picture; `prepare` brings the page into the state that is shown. */
async function take(
  name,
  section,
  prepare = async () => {},
  { width = 1440, height = 900, colorScheme = "light" } = {},
) {
  const page = await open(browser, base, { width, height, colorScheme });
  await page.goto(`${base}/#/${section}`);
  await prepare(page);
  await page.waitForTimeout(500);
  await page.screenshot({ path: join(folder, `console-${name}.png`) });
  await page.context_.close();
}

/** Others use the server meanwhile. */
async function load(seconds) {
  const end = Date.now() + 1000 * seconds;
  while (Date.now() < end) {
    await Promise.all(QUESTIONS.slice(0, 2 + Math.floor(Math.random() * 4)).map(search));
    if (Math.random() < 0.3)
      await call(base, "POST", "/v1/facts", { text: `A note of ${Date.now()}.`, fact_id: "note", mode: "upsert" });
    if (Math.random() < 0.1) await call(base, "GET", "/v1/facts/nobody");
    await new Promise((next) => setTimeout(next, 60 + Math.random() * 200));
  }
}

const question = encodeURIComponent("Where does the cat sleep?");
await take("search", `search?q=${question}`, (page) => page.locator(".hit").first().waitFor());
await take(
  "compare",
  `search?q=${question}`,
  async (page) => {
    await page.getByRole("button", { name: "Compare" }).click();
    await page
      .getByText(/of \d+ the same/)
      .first()
      .waitFor();
  },
  { colorScheme: "dark" },
);
await take("proof", "extensions", async (page) => {
  await drop(page, ".page", "dedupe.wasm", component("dedupe"));
  await page.getByRole("button", { name: "Check and prove" }).click();
  await page.getByRole("button", { name: /^Grant/ }).click();
  await page.getByText("It may be promoted").waitFor();
});
await take("server", "server", (page) => Promise.all([load(40), page.waitForTimeout(40_000)]), {
  colorScheme: "dark",
});
await take("phone", `search?q=${question}`, (page) => page.locator(".hit").first().waitFor(), {
  width: 360,
  height: 740,
});
await take("facts", "facts/mia-pets", (page) => page.getByRole("heading", { name: "mia-pets" }).waitFor());
await browser.close();
