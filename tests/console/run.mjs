// node run.mjs FLOW URL COMPONENTS: runs one flow against the server at URL. Fails with what went wrong.
import { launch } from "./page.mjs";

const [flow, base, components] = process.argv.slice(2);
const { default: run } = await import(`./${flow}.mjs`);
const browser = await launch();
try {
  await run({ browser, base, components, adminKey: process.env.ADMIN_KEY });
  console.log("passed");
} finally {
  await browser.close();
}
process.exit(0);
