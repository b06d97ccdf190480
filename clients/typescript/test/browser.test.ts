/** The client as it is, in a page of Debian's Chromium, which is served from the API's origin. */

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { after, before, test } from "node:test";

import { chromium, type Browser, type Page } from "playwright-core";

import type { Kenning } from "../src/index.js";
import { Proxy } from "./proxy.js";
import { world } from "./support.js";

const w = world();

const SOURCES = new URL("../src/", import.meta.url);

/** How long a browser may take on a busy machine. */
const PATIENCE_MS = 120_000;

/** What the page makes of the module. */
interface InPage {
  Kenning: typeof Kenning;
}

let browser: Browser;

before(async () => {
  browser = await chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    timeout: PATIENCE_MS,
    args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
  });
});

after(() => browser?.close());

/** A page of this proxy that has loaded the client. */
async function open(proxy: Proxy): Promise<Page> {
  proxy.files.set("/", ["text/html", "<title>a page</title>"]);
  for (const name of readdirSync(SOURCES).filter((name) => name.endsWith(".js"))) {
    const text = readFileSync(new URL(name, SOURCES), "utf8");
    proxy.files.set(`/client/${name}`, ["text/javascript", text]);
  }
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(`${proxy.url}/`);
  await page.evaluate(async () => {
    const path = "/client/index.js";
    Object.assign(globalThis, (await import(path)) as InPage);
  });
  return page;
}

test("a page stores, searches, imports, exports and follows, although connections break", async () => {
  const page = await open(w.proxy);
  w.proxy.faults = ["cut after", "pass", { cutAt: 5 }];
  const seen = await page.evaluate(async () => {
    const { Kenning } = globalThis as unknown as InPage;
    const kb = new Kenning({ tenant: "page" });
    const stored = await kb.store({ text: "Ada prefers tea.", metadata: { topic: "people" } });
    const found = await kb.search({ query: "tea", filter: { topic: "people" } });
    const after = kb.revision ?? 0;
    const lines = Array.from({ length: 1_500 }, (_, n) =>
      `${JSON.stringify({ text: `fact ${n}`, fact_id: `f${n}` })}\n`);
    const report = await kb.import(new Blob(lines).stream());
    let changes = 0;
    for await (const change of kb.changes({ after })) {
      changes += change.kind === "stored" ? 1 : 0;
      if (changes === 1_500) break;
    }
    const text = await new Response(kb.exportLines()).text();
    return {
      found: found.results[0]?.id === stored.fact_id,
      imported: report.imported,
      changes,
      exported: text.trim().split("\n").length,
      count: (await kb.count()).count,
    };
  });
  assert.deepEqual(seen, {
    found: true,
    imported: 1_500,
    changes: 1_500,
    exported: 1_501,
    count: 1_501,
  });
});

test("an error reaches a page with all that it says", async () => {
  const page = await open(w.proxy);
  const error = await page.evaluate(async () => {
    const { Kenning } = globalThis as unknown as InPage;
    try {
      return await new Kenning({ tenant: "page" }).get("nothing");
    } catch (thrown) {
      const { code, status, requestId } = thrown as Record<string, unknown>;
      return { code, status, hasRequest: typeof requestId === "string" };
    }
  });
  assert.deepEqual(error, { code: "not_found", status: 404, hasRequest: true });
});

test("a page of another origin cannot use a server without keys, and is told in time", async () => {
  const elsewhere = await Proxy.before(w.server.url);
  try {
    const page = await open(elsewhere);
    const error = await page.evaluate(async (server) => {
      const { Kenning } = globalThis as unknown as InPage;
      try {
        await new Kenning({ server, deadlineMs: 300 }).stats();
        return { code: "an answer" };
      } catch (thrown) {
        const { code, blame } = thrown as Record<string, unknown>;
        return { code, blame };
      }
    }, w.proxy.url);
    assert.equal(error.blame, "network");
    assert.match(String(error.code), /connection_failed|deadline_exceeded/);
  } finally {
    elsewhere.close();
  }
});
