// The server at a glance, and the page by keyboard alone.
import { call, check, open, until, visit } from "./page.mjs";

export default async function server({ browser, base }) {
  await call(base, "POST", "/v1/facts", {
    fact_id: "cat",
    text: "The cat sleeps on the sill.",
    metadata: { topic: "diary", tags: ["pets"] },
  });
  const page = await open(browser, base, { expected: [/404/] });

  // Charts that refresh while others use the server.
  await visit(page, "Server");
  const ready = page.locator(".ready-card");
  await ready.getByText("Ready", { exact: true }).waitFor();
  const requests = page.getByRole("img", { name: /^Requests/ });
  await until("the chart moves", async () => {
    await Promise.all(Array.from({ length: 10 }, () => call(base, "POST", "/v1/search", { query: "cat" })));
    return !/now all (–|0\/s)/.test(await requests.getAttribute("aria-label"));
  });
  await page.getByText("/v1/search", { exact: true }).waitFor();
  await call(base, "GET", "/v1/facts/none");
  await page.getByText("not_found", { exact: true }).waitFor();
  await page.getByText("Limits in force").click();
  await page.getByText("fact_text_bytes").waitFor();
  await check(page, "the server");

  // By keyboard alone.
  await page.keyboard.press("g");
  await page.keyboard.press("f");
  await page.getByRole("list", { name: "Facts, newest first" }).waitFor();
  await page.keyboard.press("?");
  await page.getByRole("dialog").getByText("Keyboard").waitFor();
  await check(page, "the list of keys");
  await page.keyboard.press("Escape");
  await page.keyboard.press("n");
  await page.getByRole("heading", { name: "A new fact" }).waitFor();
  await page.keyboard.press("/");
  await until("the search", async () => (await page.evaluate(() => document.activeElement.id)) === "query");
  await page.context_.close();
}
