/** Each call against a real server, where nothing goes wrong but what the caller does. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Kenning, isKenningError } from "../src/index.js";
import { all, failure, world } from "./support.js";

const w = world();

test("a fact is stored, read, changed and deleted", async () => {
  const kb = w.client();
  const stored = await kb.store({
    text: "Ada prefers tea.",
    metadata: { topic: "people" },
    fact_id: "tea",
  });
  assert.equal(stored.fact_id, "tea");
  const fact = await kb.get("tea");
  assert.equal(fact.content, "Ada prefers tea.");
  assert.deepEqual(fact.metadata, { topic: "people" });
  assert.ok(!Number.isNaN(Date.parse(fact.timestamp)));
  await kb.update("tea", { text: "Ada prefers green tea." });
  assert.equal((await kb.get("tea")).content, "Ada prefers green tea.");
  await kb.update("tea", { metadata: { topic: "drinks" } });
  assert.deepEqual((await kb.get("tea")).metadata, { topic: "drinks" });
  assert.equal((await kb.delete("tea")).fact_id, "tea");
  assert.equal((await failure(kb.get("tea"))).code, "not_found");
  assert.equal((await failure(kb.delete("tea"))).code, "not_found");
});

test("a text alone is a draft, and the server names it", async () => {
  const kb = w.client();
  const [first, second] = [await kb.store("Ada prefers tea."), await kb.store("Ada prefers tea.")];
  assert.notEqual(first.fact_id, second.fact_id, "each store is one of its own");
  assert.equal((await kb.count()).count, 2);
});

test("the caller's own idempotency key makes a store of another process the same one", async () => {
  const kb = w.client();
  const first = await kb.store("Ada prefers tea.", { idempotencyKey: "line 17" });
  const again = await kb.store("Ada prefers tea.", { idempotencyKey: "line 17" });
  assert.equal(again.fact_id, first.fact_id);
  const other = await failure(kb.store("Ada prefers milk.", { idempotencyKey: "line 17" }));
  assert.equal(other.code, "conflict");
});

test("a fact that is there is kept, replaced or merged into, as the caller says", async () => {
  const kb = w.client();
  await kb.store({ id: "tea", content: "Ada prefers tea.", metadata: { a: 1, b: 2 } });
  const other = await failure(kb.store({ id: "tea", text: "Ada prefers milk." }));
  assert.equal(other.code, "conflict");
  const absent = await failure(kb.store({ id: "no", text: "x", mode: "update" }));
  assert.equal(absent.code, "not_found");
  await kb.update("tea", { metadata: { b: null, c: 3 } }, { merge: true });
  assert.deepEqual((await kb.get("tea")).metadata, { a: 1, c: 3 });
  await kb.update("tea", { metadata: { c: 4 } });
  assert.deepEqual((await kb.get("tea")).metadata, { c: 4 });
  const [replaced] = await kb.storeBatch([{ doc_id: "tea", text: "Green tea.", mode: "upsert" }]);
  assert.equal(replaced?.status, "success");
  assert.equal((await kb.get("tea")).content, "Green tea.");
  const line = { id: "tea", text: "Black tea." };
  assert.equal((await failure(kb.import([line]))).code, "rejected");
  assert.equal((await kb.import([line], { mode: "upsert" })).imported, 1);
  assert.equal((await kb.get("tea")).content, "Black tea.");
  assert.equal((await kb.count()).count, 1);
});

test("facts with vectors of the caller's are stored and found by them", async () => {
  await w.client().request("POST", "/v1/admin/tenants", {
    json: { name: "given", embedder: "given", dimensions: 3 },
  });
  const kb = w.client({ tenant: "given" });
  await kb.store({ fact_id: "x", text: "one", vector: [1, 0, 0] });
  await kb.storeBatch([{ fact_id: "y", text: "two", vector: [0, 1, 0] }]);
  await kb.import([{ fact_id: "z", text: "three", vector: [0, 0, 1] }]);
  const near = async (vector: number[]): Promise<string | undefined> =>
    (await kb.search({ vector, top_k: 1 })).results[0]?.id;
  assert.deepEqual(await Promise.all([[9, 1, 0], [0, 9, 1], [0, 1, 9]].map(near)), ["x", "y", "z"]);
  await kb.update("x", { text: "four", vector: [0, 1, -1] });
  assert.equal(await near([0, 1, -1]), "x");
  const both = await kb.search({ query: "three", vector: [0, 0, 1], top_k: 1 });
  assert.equal(both.results[0]?.id, "z");
  const short = await failure(kb.store({ text: "five", vector: [1, 2] }));
  assert.equal(short.details?.pointer, "/vector");
});

test("a batch answers for each draft in their order", async () => {
  const kb = w.client();
  await kb.store({ text: "first", fact_id: "a" });
  const results = await kb.storeBatch(["zero", { text: "second", fact_id: "a" }, { text: " " }]);
  assert.deepEqual(results.map((result) => result.status), ["success", "error", "error"]);
  const [, conflict, blank] = results;
  assert.ok(conflict?.status === "error" && conflict.code === "conflict");
  assert.ok(blank?.status === "error" && blank.code === "invalid_request");
});

test("a listing goes through all pages, newest first", async () => {
  const kb = w.client();
  for (let n = 0; n < 25; n++) {
    await kb.store({ text: `fact ${n}`, fact_id: `f${n}`, metadata: { even: n % 2 === 0 } });
  }
  const ids = (await all(kb.list({ pageSize: 4 }))).map((fact) => fact.id);
  assert.deepEqual(ids, Array.from({ length: 25 }, (_, n) => `f${24 - n}`));
  const pages = await all(kb.list({ pageSize: 10 }).pages());
  assert.deepEqual(pages.map((page) => page.facts.length), [10, 10, 5]);
  assert.equal((await all(kb.list({ query: "FACT 1" }))).length, 11);
  assert.equal((await all(kb.list({ filter: { even: true }, pageSize: 3 }))).length, 13);
  const rest = await all(kb.list({ cursor: pages[0]?.next_cursor ?? "" }));
  assert.equal(rest.length, 15, "a cursor goes on where the page ended");
});

test("a search takes every option and gives what they ask for", async () => {
  const kb = w.client();
  await kb.storeBatch([
    { text: "The staging server listens on port 7171.", fact_id: "port", metadata: { topic: "network" } },
    { text: "Mia keeps a cat and two parrots.", fact_id: "pets", metadata: { topic: "people" } },
    { text: "The staging cluster has three nodes.", fact_id: "nodes", metadata: { topic: "network" } },
  ]);
  const plain = await kb.search("staging port");
  assert.equal(plain.results[0]?.id, "port");
  const full = await kb.search({
    query: "staging port",
    top_k: 2,
    mode: "hybrid",
    fusion: "rank",
    filter: { OR: [{ topic: "network" }, { topic: { in: ["people"] } }] },
    explain: true,
    min_relevance: 0,
    diversity: 0.2,
    recency: { half_life: "30d", weight: 0.1 },
    facets: ["topic"],
    highlights: true,
  });
  assert.equal(full.results.length, 2);
  assert.ok(full.results[0]?.explain !== undefined);
  assert.ok((full.results[0]?.highlights ?? []).length > 0);
  assert.deepEqual(full.facets?.["topic"]?.values[0], { value: "network", count: 2 });
  const texts = await kb.search({ query: "cat", mode: "text" });
  assert.deepEqual(texts.results.map((hit) => hit.id), ["pets"]);
  const pages = await all(kb.searchPages({ query: "staging", mode: "text", top_k: 1 }));
  const found = pages.flatMap((page) => page.results.map((hit) => hit.id)).sort();
  assert.deepEqual(found, ["nodes", "port"]);
});

test("several searches are one request, and each has its own outcome", async () => {
  const kb = w.client();
  await kb.store({ text: "The port is 7171.", fact_id: "port" });
  const [found, failed] = await kb.searchBatch(["port", { query: "port", top_k: 0 }]);
  assert.ok(found !== undefined && "results" in found && found.results[0]?.id === "port");
  assert.ok(failed !== undefined && "status" in failed && failed.code === "invalid_request");
});

test("facts are counted and deleted by a filter", async () => {
  const kb = w.client();
  const drafts = Array.from({ length: 60 }, (_, n) => ({ text: `${n}`, metadata: { n } }));
  await kb.storeBatch(drafts);
  assert.deepEqual(await kb.count({ filter: { n: { lt: 50 } } }), { count: 50 });
  const before = kb.revision ?? 0;
  assert.deepEqual(await kb.deleteMatching({ n: { lt: 50 } }), { deleted: 50, withheld: 0 });
  assert.ok((kb.revision ?? 0) > before, "reads wait for the deletions");
  assert.equal((await kb.count()).count, 10);
  const empty = await failure(kb.deleteMatching({}));
  assert.equal(empty.code, "invalid_filter");
  assert.equal((await kb.count()).count, 10, "an empty filter deletes nothing");
});

test("figures are those of the tenant", async () => {
  const kb = w.client({ tenant: "figures" });
  await kb.store("one");
  const stats = await kb.stats();
  assert.equal(stats.tenant, "figures");
  assert.equal(stats.facts, 1);
  assert.equal(stats.embedding.kind, "hash");
});

test("an error has everything that the server says", async () => {
  const kb = w.client();
  const error = await failure(kb.search({ query: "x", filter: { a: { near: 1 } as never } }));
  assert.ok(isKenningError(error, "invalid_filter"));
  assert.equal(error.status, 400);
  assert.equal(error.retryable, false);
  assert.equal(error.blame, "caller");
  assert.equal(error.details?.pointer, "/filter/a/near");
  assert.match(error.requestId ?? "", /.+/);
  assert.match(error.message, /there is no operator "near"/);
  assert.equal(error.attempts, 1, "it is not sent again");
});

test("any id that the server takes can be named, and nothing else leaves its path", async () => {
  const kb = w.client();
  for (const id of ["batch", "a.b", "_", "x".repeat(128)]) {
    await kb.store({ text: `of ${id}`, fact_id: id });
    assert.equal((await kb.get(id)).id, id);
    await kb.delete(id);
  }
  for (const id of ["a/b", "../stats", "%2e", "a b", "ü"]) {
    assert.match((await failure(kb.get(id))).code, /invalid_request|not_found/);
  }
  for (const id of ["", ".", ".."]) {
    assert.equal((await failure(Promise.resolve().then(() => kb.get(id)))).code, "invalid_request");
  }
});

test("other routes are called by their path", async () => {
  const kb = w.client();
  const logic = await kb.request<{ built_in: { digest: string } }>("GET", "/v1/admin/logic");
  assert.match(logic.built_in.digest, /^sha256:/);
  const made = await kb.request<{ name: string }>("POST", "/v1/admin/tenants", {
    json: { name: "made" },
  });
  assert.equal(made.name, "made");
});

test("settings that cannot work are refused when the client is made", () => {
  for (const server of ["127.0.0.1:7171", "ftp://x", "http://u:p@x", "http://x/?a", ""]) {
    assert.throws(() => new Kenning({ server }), TypeError, server);
  }
  for (const deadlineMs of [0, -1, Number.NaN]) {
    assert.throws(() => new Kenning({ deadlineMs }), RangeError);
  }
  assert.throws(() => new Kenning({ key: "a\nb" }), TypeError);
});
