// The first fact, its change, its deletion and the undo of it, what others change meanwhile, and files.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { call, check, drop, open, until, visit } from "./page.mjs";

export default async function facts({ browser, base }) {
  const page = await open(browser, base, { expected: [/422.*\/v1\/import/] });
  const stored = async (id) => (await call(base, "GET", `/v1/facts/${id}`)).json;

  // An empty server teaches, and its form stores right there.
  await page.getByRole("link", { name: "Store the first fact" }).waitFor();
  await check(page, "an empty search");
  await visit(page, "Facts");
  await page.getByLabel("Your first fact").fill("Mia keeps a cat, a dog and two parrots.");
  await page.getByRole("button", { name: "Store", exact: true }).click();
  const list = page.getByRole("list", { name: "Facts, newest first" });
  await list.getByText("Mia keeps a cat").waitFor();
  await check(page, "the first fact");

  // A new one; metadata that is no JSON is refused before it is sent.
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "New" }).click();
  await page.getByRole("textbox", { name: /^Text/ }).fill("Green tea is in the upper cupboard.");
  await page.getByLabel("Metadata").fill('{"topic": "kitchen"');
  await page.getByText("Not JSON").waitFor();
  assert.ok(await page.getByRole("button", { name: "Store", exact: true }).isDisabled());
  await page.getByLabel("Metadata").fill('["a list"]');
  await page.getByText("An object is wanted").waitFor();
  await page.getByLabel("Metadata").fill('{"topic": "kitchen"}');
  await page.getByLabel("Id", { exact: true }).fill("tea");
  await page.getByRole("button", { name: "Store", exact: true }).click();
  await page.getByRole("heading", { name: "tea" }).waitFor();
  assert.deepEqual((await stored("tea")).metadata, { topic: "kitchen" });

  // Changed, text and metadata.
  await page.getByRole("textbox", { name: /^Text/ }).fill("Green tea is in the lower cupboard.");
  await page.getByLabel("Metadata").fill('{"topic": "kitchen", "shelf": 2}');
  await page.keyboard.press("Control+Enter");
  await page.getByText("tea is changed").waitFor();
  assert.equal((await stored("tea")).content, "Green tea is in the lower cupboard.");
  assert.deepEqual((await stored("tea")).metadata, { topic: "kitchen", shelf: 2 });
  await check(page, "a fact");

  // Deleted, and taken back before anything was sent.
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("button", { name: "Undo" }).click();
  await page.getByText("tea stays").waitFor();
  // Deleted for good, once the time to undo it is over.
  await list.getByText("Green tea").click();
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByText("will be deleted").waitFor();
  assert.equal((await call(base, "GET", "/v1/facts/tea")).status, 200, "not yet");
  await until("it is deleted", async () => (await call(base, "GET", "/v1/facts/tea")).status === 404);
  await list.getByText("Green tea").waitFor({ state: "detached" });

  // What another program does is seen without asking.
  await call(base, "POST", "/v1/facts", { text: "A stranger was here.", fact_id: "stranger" });
  await list.getByText("A stranger was here.").waitFor();
  await call(base, "PATCH", "/v1/facts/stranger", { text: "A stranger was there." });
  await list.getByText("A stranger was there.").waitFor();
  await call(base, "DELETE", "/v1/facts/stranger");
  await list.getByText("A stranger was there.").waitFor({ state: "detached" });

  // A file that is dropped: what was taken, and which lines were not.
  const lines = Array.from({ length: 250 }, (_, at) =>
    JSON.stringify({ text: `Line number ${at}.`, fact_id: `line-${at}` }),
  );
  lines[100] = "no JSON";
  lines[200] = '{"text": ""}';
  await drop(page, ".page", "notes.jsonl", Buffer.from(lines.join("\n")));
  await page.getByText("248 facts stored").waitFor();
  const refused = page.getByRole("region", { name: "Refused lines" });
  await refused.getByRole("cell", { name: "101", exact: true }).waitFor();
  await refused.getByRole("cell", { name: "201", exact: true }).waitFor();
  await check(page, "an import");

  // Without end: the list reads on as it is scrolled, and has few rows whatever it holds.
  await page.getByRole("region", { name: "Fact" }).getByRole("button", { name: "Close" }).click();
  await until("the whole list was read", async () => {
    await page.locator(".fact-list").evaluate((list) => (list.scrollTop = list.scrollHeight));
    return page.locator(".fact-list").getByText("Mia keeps a cat").count();
  });
  assert.ok((await page.locator(".fact-list .virtual-row").count()) < 60);

  // The export is what the server has.
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Export" }).click(),
  ]);
  assert.equal(readFileSync(await download.path(), "utf8"), (await call(base, "GET", "/v1/export")).text);
  assert.equal(download.suggestedFilename(), "default.jsonl");
  await page.getByLabel("Only facts that contain this text").fill("number 42.");
  await list.getByText("Line number 42.").waitFor();
  await until("only that one", async () => (await page.locator(".fact-list .virtual-row").count()) === 1);
  await check(page, "the list");
}
