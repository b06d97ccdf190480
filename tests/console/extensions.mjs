// An extension from its file to its removal: proof, comparison, force, failure and why, log, roll back.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { call, check, drop, open, until, visit } from "./page.mjs";

/** The same component with a note at its end, so that it has another digest. */
function noted(bytes, note) {
  const name = Buffer.from("note");
  const section = Buffer.concat([Buffer.from([name.length]), name, Buffer.from(note)]);
  return Buffer.concat([bytes, Buffer.from([0, section.length]), section]);
}

const FACTS = [
  "Mia keeps a cat.",
  "The dog sleeps in the hall.",
  "Parrots talk to the cat.",
  "A cat sat by the door.",
  "The reverse gear of the cat food machine.",
];

export default async function extensions({ browser, base, components }) {
  const hooks = readFileSync(`${components}/hooks.wasm`);
  await call(base, "POST", "/v1/facts/batch", { facts: FACTS.map((text, at) => ({ text, fact_id: `fact-${at}` })) });
  for (let at = 0; at < 4; at += 1) await call(base, "POST", "/v1/search", { query: "cat reverse", top_k: 5 });
  const page = await open(browser, base, {
    expected: [/400.*\/v1\/search/, /422/, /502/, /404.*\/v1\/admin\/requests/],
  });
  await visit(page, "Extensions");
  await page.getByText("No extensions yet").waitFor();
  await check(page, "no extensions");

  // What is no component is refused, and says why.
  await drop(page, ".page", "broken.wasm", Buffer.from("no component"));
  await page.getByRole("button", { name: "Check and prove" }).click();
  await page.getByText("It does not fit this server").waitFor();
  await check(page, "no component");

  // One that fits: each check, the comparison, and the requests whose answers differ.
  await drop(page, ".page", "hooks.wasm", hooks);
  assert.equal(await page.getByLabel("Name", { exact: true }).inputValue(), "hooks");
  await page.getByRole("button", { name: "Check and prove" }).click();
  await page.getByText("It may be promoted").waitFor();
  await page.getByText("its hooks: on-store, on-query, on-read, rerank").waitFor();
  await page.getByText(/Compared on \d+ recent requests/).waitFor();
  await page.getByText("Requests whose answers differ").waitFor();
  await page.locator(".example").first().getByText("cat reverse").waitFor();
  assert.deepEqual(
    (await call(base, "GET", "/v1/admin/tenants/default/extensions")).json.extensions,
    [],
    "nothing changed yet",
  );
  await check(page, "a proof");
  await page.getByRole("button", { name: "Promote", exact: true }).click();
  await page.getByText("Generation 1 is live").first().waitFor();
  await page.getByRole("button", { name: "Close", exact: true }).first().click();
  const table = page.locator(".guest-detail table");
  await table.getByText("anyone on this machine").waitFor();

  // A search that it lets fail, why it failed, and its log.
  await call(base, "POST", "/v1/search", { query: "say cat" });
  await page.getByRole("list", { name: "Log, oldest first" }).getByText("said in on-query").waitFor();
  await visit(page, "Search");
  await page.getByLabel("Query").fill("cat trap-on-query");
  await page.locator(".notice-bad").getByRole("link", { name: "Why?" }).click();
  await page.locator(".explanation").getByText("guest_trapped").waitFor();
  await page.locator(".run.is-failed").getByText("hooks").waitFor();
  await page.getByText("Failed lately, on every host").waitFor();
  await check(page, "why a request failed");

  // The search with and without it, side by side.
  await visit(page, "Search");
  await page.getByLabel("Query").fill("cat reverse");
  await page.getByRole("button", { name: "Compare" }).click();
  const second = page.getByRole("group", { name: "Setting B" });
  await second.getByRole("radio", { name: "Hybrid" }).check();
  await second.getByRole("switch", { name: "hooks" }).click();
  await page
    .getByRole("region", { name: "Results B" })
    .getByText(/without hooks/)
    .waitFor();
  const order = (name) => page.getByRole("region", { name }).locator(".hit-open").allTextContents();
  await until("the extension reverses", async () => {
    const [a, b] = [await order("Results A"), await order("Results B")];
    return a.length > 2 && a.join() === [...b].reverse().join();
  });
  await check(page, "with and without an extension");

  // A second generation, forced against a bound that it fails, with a reason.
  await visit(page, "Extensions");
  await drop(page, ".page", "hooks.wasm", noted(hooks, "second"));
  await page.getByText("Bounds of the proof").click();
  await page.getByLabel("Most fuel, %").fill("1");
  await page.getByRole("button", { name: "Check and prove" }).click();
  await page.getByText("The proof says no").waitFor();
  await page.getByRole("button", { name: "Promote all the same…" }).click();
  await page.getByLabel("The reason").fill("a test of force");
  await page.getByRole("dialog").getByRole("button", { name: "Promote" }).click();
  await page.getByText("Generation 2 is live").first().waitFor();
  await page.locator(".install").getByRole("button", { name: "Close", exact: true }).first().click();
  await table.getByText("forced by anyone on this machine").waitFor();
  await table.getByText("a test of force").waitFor();
  await check(page, "two generations");

  // And back.
  await page.locator(".guest-detail").getByRole("button", { name: "Roll back", exact: true }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Roll back" }).click();
  await page.getByText("Generation 1 answers now").waitFor();
  await table.getByText("rolled back").waitFor();
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByText("hooks is paused").waitFor();
  assert.equal((await call(base, "GET", "/v1/admin/tenants/default/extensions")).json.extensions[0].paused, true);
  await page.getByRole("button", { name: "Remove" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
  await page.getByText("No extensions yet").waitFor();

  // All of it is on record.
  await visit(page, "Audit");
  await page.getByText("removed an extension").waitFor();
  await page.getByText("“a test of force”").waitFor();
  await check(page, "the audit trail");

  // The logic, too.
  await visit(page, "Logic");
  await page.getByText("The logic that comes with the server answers").waitFor();
  await drop(page, ".page", "logic.wasm", noted(readFileSync(`${components}/logic.wasm`), "another"));
  await page.getByRole("button", { name: "Check and prove" }).click();
  await page.getByText("It may be promoted").waitFor();
  await page.getByRole("button", { name: "Promote", exact: true }).click();
  await page.getByText("Generation 2 is live").first().waitFor();
  await page.locator(".install").getByRole("button", { name: "Close", exact: true }).first().click();
  await check(page, "the logic");
  await page.getByRole("button", { name: "Roll back", exact: true }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Roll back" }).click();
  await page.getByText("Generation 1 answers now").waitFor();
}
