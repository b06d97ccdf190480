// The server at a glance, and the whole page at every width, in both colours, and by keyboard alone.
import { call, check, open, until, visit, WIDTHS } from "./page.mjs";

const SECTIONS = [
  "search?q=cat",
  "facts",
  "facts/cat",
  "facts?new=1",
  "extensions",
  "logic",
  "tenants",
  "tenants/default",
  "audit",
  "failures",
  "server",
];

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

  // Every section, narrow and wide, light and dark.
  for (const width of WIDTHS) {
    for (const colorScheme of ["light", "dark"]) {
      if (width === 768 && colorScheme === "light") continue;
      if (width === 1920 && colorScheme === "dark") continue;
      const one = await open(browser, base, { width, colorScheme, expected: [/404/] });
      for (const section of SECTIONS) {
        await one.goto(`${base}/#/${section}`);
        await until("it is drawn", () =>
          one.evaluate(
            () =>
              document.querySelector("#main .page")?.children.length > 0 &&
              !document.querySelector("#main .skeletons"),
          ),
        );
        await check(one, `${section} at ${width}, ${colorScheme}`);
      }
      await one.context_.close();
    }
  }
}
