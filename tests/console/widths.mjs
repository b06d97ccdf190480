// Every section at every width and in both colours: nothing sticks out, and axe finds nothing serious.
import { call, check, open, until } from "./page.mjs";

const FEW = ["search?q=cat", "facts", "extensions", "tenants/default", "server"];
const ALL = [...FEW, "facts/cat", "facts?new=1", "logic", "tenants", "audit", "failures"];
const VIEWS = [
  [360, "light", ALL],
  [360, "dark", ALL],
  [768, "dark", FEW],
  [1440, "light", ALL],
  [1440, "dark", ALL],
  [1920, "light", FEW],
];

export default async function widths({ browser, base }) {
  const metadata = { topic: "diary", tags: ["pets"] };
  await call(base, "POST", "/v1/facts", { fact_id: "cat", text: "The cat sleeps on the sill.", metadata });
  for (const [width, colorScheme, sections] of VIEWS) {
    const page = await open(browser, base, { width, colorScheme });
    for (const section of sections) {
      await page.goto(`${base}/#/${section}`);
      await until("it is drawn", () =>
        page.evaluate(
          () =>
            document.querySelector("#main .page")?.children.length > 0 && !document.querySelector("#main .skeletons"),
        ),
      );
      await check(page, `${section} at ${width}, ${colorScheme}`);
    }
    await page.context_.close();
  }
}
