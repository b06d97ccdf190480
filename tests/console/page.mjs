// A page in Debian's Chromium that notes everything that must not happen: an error in the console, a
// violation of the page's policy, a request to another server, a serious finding of axe.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: process.getuid() === 0 ? ["--no-sandbox"] : [],
  });

/** Opens the console. `expected` are answers of the server that Chromium reports as errors. */
export async function open(browser, base, { width = 1440, height = 900, colorScheme = "light", expected = [] } = {}) {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme,
    reducedMotion: "reduce",
    acceptDownloads: true,
  });
  context.setDefaultTimeout(20_000);
  await context.addInitScript(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) =>
      window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`),
    );
  });
  const page = await context.newPage();
  const wrong = [];
  page.on("console", (message) => {
    if (!["error", "warning"].includes(message.type())) return;
    const text = `${message.text()} ${message.location().url}`;
    if (!expected.some((pattern) => pattern.test(text))) wrong.push(text);
  });
  page.on("pageerror", (error) => wrong.push(error.stack));
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (["http:", "https:", "ws:"].includes(url.protocol) && url.origin !== base) wrong.push(`asked ${url}`);
  });
  await page.goto(`${base}/`);
  await page.waitForSelector("[data-started]");
  return Object.assign(page, { wrong, base, context_: context });
}

/** Goes to a section by its link, as a person does. */
export async function visit(page, name) {
  await page.getByRole("navigation", { name: "Sections" }).getByRole("link", { name, exact: true }).click();
}

/** Nothing went wrong so far, and axe finds nothing serious in what is shown now. */
export async function check(page, where) {
  const session = await page.context().newCDPSession(page);
  // Through the debugger, because the page's policy lets nobody add a script to it.
  await session.send("Runtime.evaluate", { expression: axe });
  const found = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
    return violations
      .filter(({ impact }) => ["serious", "critical"].includes(impact))
      .map(({ id, nodes }) => `${id}: ${nodes[0].html.slice(0, 200)} ${nodes[0].failureSummary}`);
  });
  await session.detach();
  assert.deepEqual(found, [], where);
  assert.deepEqual(await page.evaluate(() => window.violations), [], `${where}: the policy was violated`);
  assert.deepEqual(page.wrong, [], where);
  const over = await page.evaluate(() => {
    const main = document.getElementById("main");
    return Math.max(document.documentElement.scrollWidth - innerWidth, main.scrollWidth - main.clientWidth);
  });
  assert.ok(over <= 0, `${where} is ${over} pixels too wide`);
}

/** Drops a file on an element, as the file manager would. */
export async function drop(page, selector, name, bytes) {
  const transfer = await page.evaluateHandle(
    ([name, text]) => {
      const transfer = new DataTransfer();
      const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
      transfer.items.add(new File([bytes], name));
      return transfer;
    },
    [name, Buffer.from(bytes).toString("base64")],
  );
  await page.dispatchEvent(selector, "dragover", { dataTransfer: transfer });
  await page.dispatchEvent(selector, "drop", { dataTransfer: transfer });
}

/** Calls the server past the page, as another program does. */
export async function call(base, method, path, body, headers = {}) {
  const type = body instanceof Uint8Array ? "application/wasm" : "application/json";
  const response = await fetch(base + path, {
    method,
    headers: { ...(body === undefined ? {} : { "content-type": type }), ...headers },
    body: body === undefined || body instanceof Uint8Array ? body : JSON.stringify(body),
  });
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.startsWith("application/json");
  return { status: response.status, json: isJson ? JSON.parse(text) : null, text };
}

/** Waits until `holds` returns something; fails with what it saw last. */
export async function until(what, holds) {
  const end = Date.now() + 30_000;
  for (;;) {
    const value = await holds();
    if (value) return value;
    assert.ok(Date.now() < end, `never: ${what}`);
    await new Promise((next) => setTimeout(next, 50));
  }
}
