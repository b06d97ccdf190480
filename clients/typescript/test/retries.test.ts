/** What is sent again, what is not, and when a call gives up. Faults are made by a proxy. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import { Kenning } from "../src/index.js";
import type { Fault } from "./proxy.js";
import { freePort, Server } from "./server.js";
import { all, busy, failure, overloaded, world } from "./support.js";

const w = world();

const ADMIN_KEY = "0123456789abcdef0123456789abcdef";

test("a store whose answer is lost happens once", async () => {
  const kb = w.through();
  w.proxy.faults = ["cut after", "cut before"];
  const stored = await kb.store("Ada prefers tea.");
  assert.equal(w.proxy.count("POST", "/v1/facts"), 3);
  const keys = new Set(w.proxy.seen.map((seen) => seen.headers["idempotency-key"]));
  assert.equal(keys.size, 1, "each attempt has the same key");
  assert.deepEqual((await all(kb.list())).map((fact) => fact.id), [stored.fact_id]);
});

test("a batch whose answer is lost happens once", async () => {
  const kb = w.through();
  w.proxy.faults = ["cut after"];
  const results = await kb.storeBatch(["one", "two", { text: "three", fact_id: "three" }]);
  assert.deepEqual(results.map((result) => result.status), ["success", "success", "success"]);
  assert.equal((await kb.count()).count, 3);
  assert.equal(w.proxy.count("POST", "/v1/facts/batch"), 2);
});

test("what failed within a batch and may pass is sent again, and nothing else", async () => {
  const kb = w.through();
  await kb.store({ text: "another", fact_id: "taken" });
  const error = (code: string, retryable: boolean): object => ({
    status: "error", code, message: `of ${code}`, retryable, blame: "backend",
  });
  const done = { status: "success", message: "Fact stored successfully", fact_id: "a", indexed: true };
  const answer = (results: object[]): Fault => ({
    status: 200,
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ results }),
  });
  w.proxy.faults = [answer([
    done, error("timeout", true), error("rejected", false), error("quota_exceeded", true),
    error("overloaded", true),
  ])];
  const ids = ["a", "b", "c", "d", "taken"];
  const results = await kb.storeBatch(ids.map((id) => ({ text: id, fact_id: id })));
  const outcomes = results.map((one) => (one.status === "error" ? one.code : one.fact_id));
  assert.deepEqual(outcomes, ["a", "b", "rejected", "quota_exceeded", "conflict"]);
  const again = JSON.parse(w.proxy.seen.at(-1)?.body ?? "") as { facts: { fact_id: string }[] };
  assert.deepEqual(again.facts.map((fact) => fact.fact_id), ["b", "taken"]);
  w.proxy.faults = [answer([error("overloaded", true), error("timeout", true)])];
  const [found, refused] = await kb.searchBatch(["b", { query: "b", top_k: 0 }]);
  assert.ok(found !== undefined && "results" in found && found.results[0]?.id === "b");
  assert.ok(refused !== undefined && "code" in refused && refused.code === "invalid_request");
  // Where the next attempt fails as a whole, what is known of each is the answer.
  const short = w.through({ deadlineMs: 3_000 });
  w.proxy.faults = [answer([error("timeout", true), done]), ...Array(20).fill("cut before") as Fault[]];
  const known = await short.storeBatch(["x", "y"]);
  assert.deepEqual(known.map((one) => one.status), ["error", "success"]);
});

test("an update and a deletion whose answers are lost succeed", async () => {
  const kb = w.through();
  await kb.store({ text: "Ada prefers tea.", fact_id: "tea" });
  w.proxy.faults = ["cut after"];
  await kb.update("tea", { text: "Ada prefers coffee." });
  assert.equal((await kb.get("tea")).content, "Ada prefers coffee.");
  w.proxy.faults = ["cut after"];
  assert.equal((await kb.delete("tea")).fact_id, "tea");
  assert.equal(w.proxy.count("DELETE", "/v1/facts/tea"), 2);
  // Without a lost answer a fact that is not there is an error, as always.
  assert.equal((await failure(kb.delete("tea"))).code, "not_found");
});

test("every read is sent again where the connection breaks, also within the answer", async () => {
  const kb = w.through();
  await kb.store({ text: "Ada prefers tea.", fact_id: "tea" });
  const reads = [
    () => kb.get("tea"),
    () => all(kb.list()),
    () => kb.search("tea"),
    () => kb.searchBatch(["tea"]),
    () => kb.count(),
    () => kb.stats(),
  ];
  for (const read of reads) {
    const before = w.proxy.seen.length;
    w.proxy.faults = ["cut before", { cutAt: 5 }];
    await read();
    assert.equal(w.proxy.seen.length - before, 3, String(read));
  }
});

test("an error that may pass is waited out", async () => {
  const kb = w.through();
  w.proxy.faults = [overloaded, busy];
  await kb.store("Ada prefers tea.");
  assert.equal(w.proxy.count("POST", "/v1/facts"), 3);
});

test("a wait that is longer than the deadline is not begun", async () => {
  const kb = w.through({ deadlineMs: 60_000 });
  const later = { ...overloaded, headers: { ...overloaded.headers, "retry-after": "3600" } };
  w.proxy.faults = [busy, later];
  const error = await failure(kb.store("Ada prefers tea."));
  assert.equal(error.code, "overloaded");
  assert.equal(error.retryAfterMs, 3_600_000);
  assert.equal(error.requestId, "busy-1");
  assert.equal(error.details?.limit, "concurrent_calls");
  assert.equal(error.blame, "host");
  assert.equal(error.attempts, 2);
});

test("an error that does not pass is not sent again", async () => {
  const kb = w.through();
  assert.equal((await failure(kb.store({ text: " " }))).code, "invalid_request");
  assert.equal((await failure(kb.get("nothing"))).code, "not_found");
  assert.equal(w.proxy.seen.length, 2);
});

test("a deadline ends a call with the server's last error, or says that nothing answered", async () => {
  const kb = w.through();
  w.proxy.faults = Array.from({ length: 50 }, () => busy);
  const error = await failure(kb.search("tea", { deadlineMs: 3_000 }));
  // Where the last attempt is cut off, what the one before said is in the message.
  assert.match(error.message, /the server is busy/);
  assert.ok(error.attempts > 1, `${error.attempts} attempts`);
  const short = { deadlineMs: 200 };
  w.proxy.faults = ["hang"];
  const late = await failure(kb.search("tea", short));
  assert.equal(late.code, "deadline_exceeded");
  assert.ok(late.retryable && !late.outcomeUnknown, "a search changes nothing");
  w.proxy.faults = ["hang"];
  const unknown = await failure(kb.store("tea", short));
  assert.ok(unknown.outcomeUnknown, "a store may have happened");
});

test("an attempt that nobody answers is given up, and the next one answers", async () => {
  const kb = w.through({ attemptMs: 300 });
  w.proxy.faults = ["hang", "hang after"];
  await kb.store({ text: "Ada prefers tea.", fact_id: "tea" });
  assert.ok(w.proxy.count("POST", "/v1/facts") >= 3);
  const told = Number(w.proxy.seen[0]?.headers["x-kenning-timeout-ms"]);
  assert.ok(told > 0 && told < 300, `the server is told of the time: ${told}`);
});

test("a signal ends a call at once, whatever it waits for", async () => {
  const kb = w.through();
  const waits: [string, () => Promise<unknown>][] = [
    ["for an answer", () => (w.proxy.faults = ["hang"], aborted((signal) => kb.get("x", { signal })))],
    ["to try again", () => (w.proxy.faults = [{ ...overloaded, headers: {
      ...overloaded.headers, "retry-after": "20" } }], aborted((signal) => kb.get("x", { signal })))],
    ["for changes", () => aborted((signal) => all(kb.changes({ signal })))],
    ["for a source", () => aborted((signal) => kb.import(never(), { signal }))],
  ];
  for (const [name, wait] of waits) {
    assert.equal(await wait(), "enough", name);
  }
  const reason = await kb.get("x", { signal: AbortSignal.abort("before") }).catch((why) => why);
  assert.equal(reason, "before", "a call that is ended before it begins is not sent");
});

/** Aborts the call once it was sent, and gives what it rejects with. */
async function aborted(call: (signal: AbortSignal) => Promise<unknown>): Promise<unknown> {
  const controller = new AbortController();
  const seen = w.proxy.seen.length;
  const outcome = call(controller.signal).then(() => "an answer", (reason: unknown) => reason);
  while (w.proxy.seen.length === seen) await new Promise((next) => setTimeout(next, 1));
  controller.abort("enough");
  return outcome;
}

/** More than a part, so that one is sent, and then nothing for ever. */
async function* never(): AsyncGenerator<string> {
  yield `${JSON.stringify({ text: "x".repeat(1000) })}\n`.repeat(1_100);
  await new Promise(() => {});
}

test("a request of the caller's own is only repeated if it may be", async () => {
  const kb = w.through();
  const create = { json: { name: "own-request" } };
  w.proxy.faults = ["cut before"];
  const error = await failure(kb.request("POST", "/v1/admin/tenants", create));
  assert.equal(error.code, "connection_failed");
  assert.ok(error.outcomeUnknown);
  assert.equal(w.proxy.seen.length, 1);
  w.proxy.faults = [busy];
  await kb.request("POST", "/v1/admin/tenants", create);
  assert.equal(w.proxy.seen.length, 3, "an error says that nothing was done");
  w.proxy.faults = ["cut before"];
  await kb.request("PATCH", "/v1/admin/tenants/own-request", {
    json: { limits: { facts: 5 } },
    repeatable: true,
  });
  assert.equal(w.proxy.seen.length, 5);
});

test("a proxy's own errors are told apart from the server's", async () => {
  const kb = w.through();
  const gateway = { status: 502, headers: { "content-type": "text/html" }, body: "<h1>Bad</h1>" };
  w.proxy.faults = [gateway, { ...gateway, status: 504 }, { ...gateway, status: 503 }];
  await kb.store("Ada prefers tea.");
  assert.equal(w.proxy.seen.length, 4);
  w.proxy.faults = [{ ...gateway, status: 403 }];
  const error = await failure(kb.stats());
  assert.equal(error.code, "unexpected_answer");
  assert.equal(error.status, 403);
  assert.equal(error.blame, "network");
  assert.match(error.message, /<h1>Bad/);
  w.proxy.faults = [{ status: 200, body: "<html>log in</html>" }];
  assert.equal((await failure(kb.stats())).code, "unexpected_answer");
  w.proxy.faults = [{ status: 302, headers: { location: "https://elsewhere.example/" } }];
  const moved = await failure(kb.stats());
  assert.match(moved.message, /elsewhere\.example/);
});

test("a server that is not there is waited for until the deadline", async () => {
  const port = await freePort();
  const kb = new Kenning({ server: `http://127.0.0.1:${port}`, deadlineMs: 2_000 });
  const error = await failure(kb.request("POST", "/v1/admin/tenants", { json: { name: "a" } }));
  assert.equal(error.code, "connection_failed");
  assert.match(error.message, /cannot be reached: .*ECONNREFUSED/);
  assert.ok(error.attempts > 1 && !error.outcomeUnknown, "nothing was sent, so it was tried again");
});

test("calls go on over a restart of the server", async () => {
  const listen = `127.0.0.1:${await freePort()}`;
  const first = await Server.start({ listen });
  const kb = new Kenning({ server: first.url });
  await kb.store({ text: "before", fact_id: "before" });
  const calls = (async () => {
    for (let n = 0; n < 40; n++) await kb.store({ text: `fact ${n}`, fact_id: `f${n}` });
  })();
  await first.end("SIGKILL");
  const second = await Server.start({ listen, folder: first.folder });
  try {
    await calls;
    assert.equal((await kb.count()).count, 41);
  } finally {
    await second.remove();
  }
});

test("reads wait for what this client has written", async () => {
  const kb = w.through();
  await kb.get("nothing").catch(() => {});
  assert.equal(w.proxy.seen[0]?.headers["x-kenning-min-revision"], undefined);
  await kb.store({ text: "one", fact_id: "one" });
  const first = kb.revision ?? 0;
  await kb.storeBatch(["two"]);
  await kb.import([{ text: "three" }]);
  await kb.update("one", { text: "ONE" });
  await kb.delete("one");
  const last = kb.revision ?? 0;
  assert.ok(first > 0 && last >= first + 4, `${first} ${last}`);
  await kb.search("two");
  await kb.count();
  await kb.list()[Symbol.asyncIterator]().next();
  for (const seen of w.proxy.seen.slice(-3)) {
    assert.equal(seen.headers["x-kenning-min-revision"], String(last), seen.path);
  }
  const other = w.through({ readYourWrites: false });
  await other.store("one");
  await other.count();
  assert.equal(w.proxy.seen.at(-1)?.headers["x-kenning-min-revision"], undefined);
});

test("a tenant that begins anew is read all the same", async () => {
  const kb = w.client({ attemptMs: 2_000 });
  await kb.store("one");
  kb.revision = (kb.revision ?? 0) + 1_000;
  assert.equal((await kb.search("one")).results.length, 1);
  assert.ok((kb.revision ?? 0) < 1_000);
});

test("a key is sent with every request, and one that is not known is refused", async () => {
  const keyed = await Server.start({ env: { KENNING_ADMIN_KEY: ADMIN_KEY } });
  try {
    const admin = new Kenning({ server: keyed.url, key: ADMIN_KEY });
    const { key } = await admin.request<{ key: string }>("POST", "/v1/admin/tenants", {
      json: { name: "acme" },
    });
    const kb = new Kenning({ server: keyed.url, key });
    await kb.store("Ada prefers tea.");
    assert.equal((await kb.count()).count, 1);
    const none = await failure(new Kenning({ server: keyed.url }).count());
    assert.equal(none.code, "unauthorized");
    const wrong = await failure(new Kenning({ server: keyed.url, key: `${key}x` }).count());
    assert.equal(wrong.code, "unauthorized");
  } finally {
    await keyed.remove();
  }
});

test("a server below a path is called there", async () => {
  const paths: string[] = [];
  const server = createServer((request, response) => {
    paths.push(request.url ?? "");
    response.setHeader("content-type", "application/json");
    response.end('{"count":7}');
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const kb = new Kenning({ server: `http://127.0.0.1:${port}/kb/` });
  assert.deepEqual(await kb.count({ filter: { a: "ü&" } }), { count: 7 });
  assert.deepEqual(paths, ["/kb/v1/count?filter=%7B%22a%22%3A%22%C3%BC%26%22%7D"]);
  server.closeAllConnections();
  server.close();
});
