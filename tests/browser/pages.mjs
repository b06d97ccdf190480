// Opens pages in Debian's Chromium and lets their scripts use the server at the URL in argv[2]: a
// page of another origin, a page whose name was pointed at this machine, and the server's own.
// Prints what the pages could read, as JSON; what they could write is for the server to say.
import { createServer } from "node:http";
import { chromium } from "playwright-core";

const server = process.argv[2];
const { port } = new URL(server);
const attacker = "attacker.example";

const pages = createServer((request, response) => {
  response.setHeader("content-type", "text/html");
  response.end(`<a id="link" href="${server}/">the server</a>`);
});
await new Promise((listening) => pages.listen(0, "127.0.0.1", listening));

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    `--host-resolver-rules=MAP ${attacker} 127.0.0.1`,
    ...(process.getuid() === 0 ? ["--no-sandbox"] : []),
  ],
});

/** What a script in a page can do to the server at `base`; says what it could read. */
async function attack(base) {
  const read = {};
  const attempt = async (name, request) => {
    try {
      const response = await request();
      const text = await response.text();
      read[name] = response.type === "opaque" ? "nothing" : `${response.status} ${text}`;
    } catch (error) {
      read[name] = "nothing";
    }
  };
  const fact = (text) => JSON.stringify({ text });
  const send = (path, init) => () => fetch(base + path, { method: "POST", ...init });
  const blind = { mode: "no-cors" };
  await attempt("export", () => fetch(`${base}/v1/export`));
  await attempt("metrics", () => fetch(`${base}/metrics`));
  await attempt("logic", () => fetch(`${base}/v1/admin/logic`));
  await attempt("json", send("/v1/facts", {
    headers: { "content-type": "application/json" },
    body: fact("planted as JSON"),
  }));
  await attempt("plain", send("/v1/facts", { ...blind, body: fact("planted as text") }));
  const blob = (text) => new Blob([text]);
  await attempt("untyped", send("/v1/facts", { ...blind, body: blob(fact("planted untyped")) }));
  await attempt("import", send("/v1/import", { ...blind, body: fact("planted by an import") }));
  await attempt("tenant", send("/v1/admin/tenants", { ...blind, body: '{"name":"planted"}' }));
  await attempt("swap", send("/v1/admin/logic?force=true", { ...blind, body: "no component" }));
  await attempt("rollback", send("/v1/admin/logic/rollback?generation=1", blind));
  await attempt("changes", () => new Promise((_, fail) => {
    const source = new EventSource(`${base}/v1/changes`);
    source.onopen = () => read.opened = "200";
    source.onerror = fail;
  }));
  navigator.sendBeacon(`${base}/v1/facts`, fact("planted by a beacon"));
  return read;
}

/** A form whose fields spell JSON. */
async function submitForm(base) {
  const form = document.createElement("form");
  Object.assign(form, { method: "post", action: `${base}/v1/facts`, enctype: "text/plain" });
  const field = document.createElement("input");
  Object.assign(field, { name: '{"text":"planted by a form","metadata":{"x":"', value: '"}}' });
  form.append(field);
  document.body.append(form);
  form.submit();
}

async function foreign() {
  const page = await browser.newPage();
  await page.goto(`http://${attacker}:${pages.address().port}/`);
  const read = await page.evaluate(attack, server);
  const [opened] = await Promise.all([
    page.waitForResponse(`${server}/`),
    page.click("#link"),
  ]);
  read.link = String(opened.status());
  await page.goto(`http://${attacker}:${pages.address().port}/`);
  const [submitted] = await Promise.all([
    page.waitForResponse(`${server}/v1/facts`),
    page.evaluate(submitForm, server),
  ]);
  read.form = String(submitted.status());
  return read;
}

/** The page came from the attacker's machine; then its name was pointed at this one. */
async function rebound() {
  const page = await browser.newPage();
  const base = `http://${attacker}:${port}`;
  await page.route(`${base}/page`, (route) =>
    route.fulfill({ contentType: "text/html", body: "a page" }));
  await page.goto(`${base}/page`);
  return page.evaluate(attack, base);
}

async function own() {
  const page = await browser.newPage();
  await page.goto(`${server}/`);
  return page.evaluate(async () => {
    const source = new EventSource("/v1/changes");
    const changes = [];
    source.addEventListener("stored", (event) =>
      changes.push(`${event.type} ${JSON.parse(event.data).id}`));
    await new Promise((opened) => source.onopen = opened);
    const stored = await fetch("/v1/facts", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ text: "of the server's own page", fact_id: "own" }),
    });
    const exported = await fetch("/v1/export");
    while (changes.length < 1) await new Promise((next) => setTimeout(next, 10));
    source.close();
    return { stored: String(stored.status), export: await exported.text(), changes };
  });
}

const seen = { foreign: await foreign(), rebound: await rebound(), own: await own() };
console.log(JSON.stringify(seen));
await browser.close();
process.exit(0);
