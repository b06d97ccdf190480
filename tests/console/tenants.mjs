// A server with keys: the page asks for one, keeps it in memory only, and the operator sees a thousand tenants.
import assert from "node:assert/strict";
import { call, check, open, until, visit } from "./page.mjs";

export default async function tenants({ browser, base, adminKey }) {
  const admin = { authorization: `Bearer ${adminKey}` };
  for (let at = 0; at < 1000; at += 50) {
    const names = Array.from({ length: 50 }, (_, more) => `tenant-${String(at + more).padStart(4, "0")}`);
    await Promise.all(names.map((name) => call(base, "POST", "/v1/admin/tenants", { name }, admin)));
  }
  const page = await open(browser, base, { expected: [/401/, /403/] });
  const dialog = page.getByRole("dialog");

  // A wrong key is refused; the admin key is known as such.
  await dialog.getByLabel("Key").fill("kng_wrong");
  await dialog.getByRole("button", { name: "Use this key" }).click();
  await dialog.getByRole("alert").getByText(/./).waitFor();
  await check(page, "a wrong key");
  await dialog.getByLabel("Key").fill(adminKey);
  await dialog.getByRole("button", { name: "Use this key" }).click();
  await page.getByText("You are the operator.").waitFor();

  // A thousand tenants, few rows; the last is reached with one key.
  if (await dialog.count()) await page.keyboard.press("Escape");
  await visit(page, "Tenants");
  const rows = page.locator(".tenant-rows .virtual-row");
  await page.getByText("1,000 tenants").waitFor();
  assert.ok((await rows.count()) < 60);
  await rows.first().getByRole("link").focus();
  await page.keyboard.press("End");
  await page.getByRole("link", { name: /tenant-0999/ }).waitFor();
  await page.getByLabel("Find a tenant by its name").fill("0512");
  await until("one tenant", async () => (await rows.count()) === 1);
  await check(page, "tenants");

  // A new one, with a quota; its key is shown once.
  await page.getByRole("button", { name: "New", exact: true }).click();
  await dialog.getByLabel("Name", { exact: true }).fill("acme");
  await dialog.getByText("Quotas").click();
  await dialog.getByLabel("Facts", { exact: true }).fill("10");
  await dialog.getByRole("button", { name: "Create" }).click();
  const key = await page.locator("dialog .command pre").textContent();
  assert.match(key, /^kng_/);
  await check(page, "a key");
  await page.getByRole("button", { name: "I have it" }).click();
  await page.getByRole("heading", { name: "acme" }).waitFor();

  // The tenant's key besides: facts are there, and what is used of the quota.
  await page.getByRole("button", { name: "Keys", exact: true }).click();
  await dialog.getByLabel("Key").fill(key);
  await dialog.getByRole("button", { name: "Use this key" }).click();
  await page.getByText("You are the tenant acme.").waitFor();
  for (let at = 0; at < 3; at += 1)
    await call(base, "POST", "/v1/facts", { text: `Fact ${at}` }, { authorization: `Bearer ${key}` });
  await visit(page, "Facts");
  await page.getByText("Fact 2", { exact: true }).waitFor();
  await visit(page, "Tenants");
  await page.goto(`${base}/#/tenants/acme`);
  const facts = page.locator(".quota").first();
  await until("the quota's use", async () => /3 of 10/.test(await facts.innerText()));
  await page.getByRole("button", { name: "Change" }).click();
  await dialog.getByLabel("Facts", { exact: true }).fill("3");
  await dialog.getByRole("button", { name: "Save" }).click();
  await until("the smaller quota", async () => /3 of 3/.test(await facts.innerText()));
  await check(page, "a tenant");

  // A further key, and its end.
  await page.getByRole("button", { name: "New key" }).click();
  await page.getByRole("button", { name: "I have it" }).click();
  const keys = page.locator(".detail table tbody tr");
  await until("two keys", async () => (await keys.count()) === 2);
  await keys.last().getByRole("button", { name: "Revoke" }).click();
  await dialog.getByRole("button", { name: "Revoke" }).click();
  await until("one key", async () => (await keys.count()) === 1);

  // Deleting asks for the name.
  await page.locator(".detail").getByRole("button", { name: "Delete" }).click();
  assert.ok(await dialog.getByRole("button", { name: "Delete everything" }).isDisabled());
  await dialog.getByLabel("Type acme").fill("acme");
  await dialog.getByRole("button", { name: "Delete everything" }).click();
  await page.getByText("The tenant acme is deleted.").waitFor();
  await visit(page, "Audit");
  await page.getByText("deleted a tenant").waitFor();
  await page.getByText("revoked a key").waitFor();

  // Keys are nowhere but in memory: not in the address, not in storage, and gone with the page.
  const kept = await page.evaluate(() =>
    [
      location.href,
      document.cookie,
      JSON.stringify({ ...localStorage }),
      JSON.stringify({ ...sessionStorage }),
    ].join(),
  );
  assert.ok(!kept.includes("kng_") && !kept.includes(adminKey), kept);
  await page.reload();
  await dialog.getByText("This server needs a key").waitFor();
}
