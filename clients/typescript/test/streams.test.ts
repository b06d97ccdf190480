/** Imports, exports and changes, also where connections break in the middle. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { ImportError, Kenning, type ChangeEvent, type ImportPiece } from "../src/index.js";
import type { Fault } from "./proxy.js";
import { freePort, Server } from "./server.js";
import { all, busy, failure, world } from "./support.js";

const w = world();

const fact = (n: number): { fact_id: string; text: string } => ({
  fact_id: `f${n}`,
  text: `fact ${n}`,
});
const facts = (count: number): ReturnType<typeof fact>[] =>
  Array.from({ length: count }, (_, n) => fact(n));
const lines = (count: number): string =>
  facts(count).map((line) => `${JSON.stringify(line)}\n`).join("");

async function importFailure(call: Promise<unknown>): Promise<ImportError> {
  const error = await failure(call);
  assert.ok(error instanceof ImportError, String(error));
  return error;
}

test("every kind of source is imported", async () => {
  const text = lines(30);
  const encoded = new TextEncoder().encode(text);
  async function* pieces(): AsyncGenerator<ImportPiece> {
    for (let at = 0; at < encoded.length; at += 7) yield encoded.subarray(at, at + 7);
  }
  const sources = {
    objects: facts(30),
    text,
    bytes: encoded,
    blob: new Blob([text]),
    stream: new Blob([text]).stream(),
    pieces: pieces(),
    mixed: [lines(10), ...facts(20).slice(10), encoded.subarray(lines(20).length)],
    "without a newline at the end": text.trimEnd(),
    "with a mark of UTF-8": `\ufeff${text}`,
  };
  for (const [name, source] of Object.entries(sources)) {
    const kb = w.client();
    const report = await kb.import(source);
    assert.equal(report.imported, 30, name);
    assert.equal(report.failed, 0, name);
    assert.equal(report.lines, 30, name);
    const ids = (await all(kb.export())).map((one) => one.id).sort();
    assert.deepEqual(ids, facts(30).map((one) => one.fact_id).sort(), name);
  }
});

test("a long import is sent in parts while it is read, and its source waits", async () => {
  const kb = w.through();
  let given = 0;
  async function* source(): AsyncGenerator<ImportPiece> {
    for (const line of facts(2_500)) {
      given += 1;
      yield line;
    }
  }
  const progress: number[] = [];
  const report = await kb.import(source(), {
    onProgress: ({ imported }) => {
      progress.push(imported);
      assert.ok(given <= imported + 1, `${given} were read when ${imported} were stored`);
    },
  });
  assert.equal(report.imported, 2_500);
  assert.deepEqual(progress, [1_000, 2_000, 2_500]);
  assert.equal(w.proxy.count("POST", "/v1/import"), 3);
  assert.equal((await kb.count()).count, 2_500);
});

test("facts that nobody named are imported once, whatever breaks", async () => {
  const kb = w.through();
  w.proxy.faults = ["cut after", busy, "cut before", "cut after"];
  const unnamed = Array.from({ length: 50 }, (_, n) => ({ text: `fact ${n}` }));
  const report = await kb.import([...unnamed, '{"text":"of text","fact_id":null}\n']);
  assert.equal(report.imported, 51);
  assert.equal(w.proxy.count("POST", "/v1/import"), 5);
  assert.equal((await kb.count()).count, 51);
});

test("a line that is given no id stays as it was written otherwise", async () => {
  const kb = w.client();
  await kb.import('{ "text": "precise", "metadata": {"big": 12345678901234567890123} }\n');
  const text = await new Response(kb.exportLines()).text();
  assert.match(text, /12345678901234567890123/);
});

test("lines that are refused are named by their numbers, and the rest is stored", async () => {
  const kb = w.client();
  const bad = ["{", '{"text":" "}', "[]", '"text"', "{}", '{"text":"x","unknown":1}'];
  const good = lines(1_500).split("\n").slice(0, 1_500);
  const source = [...good.slice(0, 1_200), "", ...bad, ...good.slice(1_200)].join("\n");
  const error = await importFailure(kb.import(source));
  assert.equal(error.code, "rejected");
  assert.equal(error.retryable, false);
  assert.equal(error.report.imported, 1_500);
  assert.equal(error.report.failed, bad.length);
  assert.equal(error.report.lines, 1_507);
  assert.equal(error.report.lastLine, 1_507);
  assert.equal(error.report.firstRefusedLine, 1_202);
  assert.deepEqual(error.report.errors.map((one) => one.line), [1202, 1203, 1204, 1205, 1206, 1207]);
  assert.equal((await kb.count()).count, 1_500);
});

test("bytes that are no UTF-8 are the server's to refuse, and change nothing else", async () => {
  const kb = w.client();
  const broken = new Uint8Array([...new TextEncoder().encode('{"text":"'), 0xff, 0x22, 0x7d, 0x0a]);
  const error = await importFailure(kb.import([lines(2), broken, lines(3)]));
  assert.deepEqual(error.report.errors.map((one) => one.line), [3]);
  assert.equal(error.report.imported, 5);
  assert.equal((await kb.count()).count, 3);
});

test("a quota ends an import, which says where", async () => {
  const admin = w.client();
  await admin.request("POST", "/v1/admin/tenants", { json: { name: "small", limits: { facts: 49 } } });
  const kb = w.client({ tenant: "small" });
  const error = await importFailure(kb.import(lines(60)));
  assert.equal(error.code, "quota_exceeded");
  assert.equal(error.status, 429);
  assert.equal(error.details?.limit, "facts");
  assert.equal(error.report.imported, 49);
  assert.equal(error.report.lastLine, 49);
  assert.match(error.message, /after line 49/);
  assert.equal((await kb.count()).count, 49);
});

test("an import that ended early goes on after its last line", async () => {
  const kb = w.through();
  const ended = {
    status: 503,
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      status: "error",
      code: "overloaded",
      message: "the import stopped after line 20: the server is stopping",
      retryable: true,
      blame: "host",
      imported: 19,
      failed: 11,
      first_refused_line: 3,
      last_line: 20,
      lines: 30,
      errors: [
        { status: "error", code: "invalid_request", message: "of the third line", retryable: false,
          blame: "caller", line: 3 },
        { status: "error", code: "overloaded", message: "of the first line that was left out",
          retryable: true, blame: "host", line: 21 },
      ],
      took_ms: 1,
    }),
  };
  w.proxy.faults = [ended];
  const error = await importFailure(kb.import(lines(30)));
  assert.equal(error.report.imported, 29);
  assert.deepEqual(error.report.errors.map((one) => one.line), [3]);
  const again = w.proxy.seen[1]?.body.split("\n") ?? [];
  assert.match(again[0] ?? "", /"f20"/);
  assert.equal(again.length, 11, "ten lines and the end of the last one");
});

test("an import goes on over a restart of the server, and loses nothing", async () => {
  const listen = `127.0.0.1:${await freePort()}`;
  const first = await Server.start({ listen });
  const kb = new Kenning({ server: first.url });
  let second: Server | undefined;
  async function* source(): AsyncGenerator<ImportPiece> {
    for (const line of facts(3_500)) {
      if (line.fact_id === "f2500") {
        await first.end("SIGKILL");
        second = await Server.start({ listen, folder: first.folder });
      }
      yield line;
    }
  }
  try {
    assert.equal((await kb.import(source())).imported, 3_500);
    assert.equal((await kb.count()).count, 3_500);
  } finally {
    await (second ?? first).remove();
  }
});

test("an export gives every fact, and can be left in the middle", async () => {
  const kb = w.client();
  await kb.import(facts(1_200));
  const seen: string[] = [];
  for await (const one of kb.export()) {
    seen.push(one.id);
    if (seen.length === 10) break;
  }
  assert.equal(seen[0], "f1199");
  assert.equal((await all(kb.export())).length, 1_200);
  assert.equal((await all(kb.export({ filter: { nothing: 1 } }))).length, 0);
});

test("an export is imported elsewhere as it stands", async () => {
  const kb = w.client();
  await kb.import([...facts(700), { text: "with metadata", metadata: { a: [1, { b: null }] } }]);
  const copy = w.client();
  assert.equal((await copy.import(kb.exportLines())).imported, 701);
  assert.deepEqual(await all(copy.export()), await all(kb.export()));
});

test("an export goes on where the connection broke, and has every fact once", async () => {
  const kb = w.through();
  await kb.import(facts(2_000));
  const whole = await all(kb.export());
  w.proxy.faults = ["cut before", { cutAt: 20_000 }, "cut after", "pass", { cutAt: 20_000 }, busy];
  assert.deepEqual(await all(kb.export()), whole);
  w.proxy.faults = ["pass", { cutAt: 1 }, { cutAt: 30_000 }];
  const text = await new Response(kb.exportLines()).text();
  assert.deepEqual(text.trim().split("\n").map((line) => JSON.parse(line) as unknown), whole);
});

test("an export that cannot go on is an error, and never looks complete", async () => {
  const kb = w.through();
  await kb.import(facts(1_200));
  w.proxy.faults = ["pass", { status: 403 }];
  let seen = 0;
  const error = await failure((async () => {
    for await (const one of kb.export()) seen += one.id === "" ? 0 : 1;
  })());
  assert.equal(error.status, 403);
  assert.equal(seen, 500, "the facts of the first page came before");
  w.proxy.faults = ["pass", { status: 403 }];
  assert.equal((await failure(new Response(kb.exportLines()).text())).status, 403);
  w.proxy.faults = Array.from({ length: 20 }, () => "cut before" as const);
  const late = await failure(all(kb.export({ deadlineMs: 500 })));
  assert.match(late.code, /connection_failed|deadline_exceeded/);
});

test("an export goes on over a restart of the server", async () => {
  const listen = `127.0.0.1:${await freePort()}`;
  let server = await Server.start({ listen });
  const kb = new Kenning({ server: server.url });
  try {
    await kb.import(facts(1_200));
    const seen: string[] = [];
    for await (const one of kb.export()) {
      seen.push(one.id);
      if (seen.length !== 700) continue;
      await server.end("SIGKILL");
      server = await Server.start({ listen, folder: server.folder });
    }
    // Facts of one microsecond are in the order of their ids.
    assert.deepEqual(seen.sort(), facts(1_200).map((one) => one.fact_id).sort());
  } finally {
    await server.remove();
  }
});

test("facts that an export leaves out are not left out silently", async () => {
  const kb = w.through();
  const fact = { id: "a", content: "a", metadata: {}, timestamp: "2026-01-01T00:00:00Z" };
  const page = (next_cursor: string | null): Fault => ({
    status: 200,
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ facts: [fact], next_cursor, withheld: 3 }),
  });
  const pages = [page("next"), page(null)];
  w.proxy.faults = [...pages];
  const error = await failure(all(kb.export()));
  assert.equal(error.code, "incomplete");
  assert.match(error.message, /^6 facts/);
  w.proxy.faults = [...pages];
  assert.equal((await failure(new Response(kb.exportLines()).text())).code, "incomplete");
  const told: number[] = [];
  w.proxy.faults = [...pages];
  const got = await all(kb.export({ onWithheld: (count) => told.push(count) }));
  assert.deepEqual(told, [6]);
  assert.equal(got.length, 2);
});

/** The first `count` changes; the caller makes them after the stream has begun. */
async function follow(changes: AsyncIterable<ChangeEvent>, count: number): Promise<string[]> {
  const seen: string[] = [];
  for await (const change of changes) {
    seen.push(change.kind === "gap" ? "gap" : `${change.kind} ${change.id}`);
    if (seen.length === count) break;
  }
  return seen;
}

test("changes are followed as they happen", async () => {
  const kb = w.client();
  await kb.store({ text: "before", fact_id: "before" });
  const following = follow(kb.changes({ after: kb.revision ?? 0 }), 3);
  await kb.store({ text: "one", fact_id: "one" });
  await kb.update("one", { text: "ONE" });
  await kb.delete("one");
  assert.deepEqual(await following, ["stored one", "changed one", "deleted one"]);
});

test("what there is can be read without following", async () => {
  const kb = w.through();
  await kb.import(facts(300));
  const first = await all(kb.changes({ after: 0, follow: false }));
  assert.equal(first.length, 300);
  const middle = first[149]?.kind === "stored" ? first[149].revision : 0;
  const rest = await all(kb.changes({ after: middle, follow: false }));
  assert.equal(rest.length, 150);
  w.proxy.faults = [{ cutAt: 3_000 }, "cut before", { cutAt: 3_000 }];
  const broken = await all(kb.changes({ after: 0, follow: false }));
  assert.deepEqual(broken, first, "each once and in order, although the connection broke");
});

test("changes go on after the last one that was seen, over cuts and a restart", async () => {
  const listen = `127.0.0.1:${await freePort()}`;
  const first = await Server.start({ listen });
  const kb = new Kenning({ server: first.url });
  const following = follow(kb.changes({ after: 0 }), 40);
  for (const line of facts(20)) await kb.store(line);
  await first.end();
  const second = await Server.start({ listen, folder: first.folder });
  try {
    for (const line of facts(40).slice(20)) await kb.store(line);
    assert.deepEqual(await following, facts(40).map((line) => `stored ${line.fact_id}`));
  } finally {
    await second.remove();
  }
});

test("a stream that breaks before its first event goes on from where it began", async () => {
  const kb = w.through();
  await kb.store({ text: "one", fact_id: "one" });
  const revision = kb.revision ?? 0;
  w.proxy.faults = [{ cutAt: 0 }];
  const following = follow(kb.changes(), 1);
  while (w.proxy.count("GET", "/v1/changes") < 2) await new Promise((next) => setTimeout(next, 5));
  const positions = w.proxy.seen
    .filter((seen) => seen.path.startsWith("/v1/changes"))
    .map((seen) => seen.headers["last-event-id"]);
  assert.equal(positions[0], undefined);
  assert.ok(Number(positions[1]) >= revision, `from ${positions[1]}, after ${revision}`);
  await kb.store({ text: "two", fact_id: "two" });
  assert.deepEqual(await following, ["stored two"]);
});

test("a stream that falls silent is taken for broken, and connected again", async () => {
  const kb = w.through();
  await kb.store({ text: "one", fact_id: "one" });
  // The server says something every 15 seconds: within 200 ms of silence there is nothing.
  const following = follow(kb.changes({ after: 0, silenceMs: 200 }), 2);
  while (w.proxy.count("GET", "/v1/changes") < 2) await new Promise((next) => setTimeout(next, 5));
  await kb.store({ text: "two", fact_id: "two" });
  assert.deepEqual(await following, ["stored one", "stored two"]);
  const positions = w.proxy.seen
    .filter((seen) => seen.path.startsWith("/v1/changes"))
    .map((seen) => seen.headers["last-event-id"]);
  assert.equal(positions[0], "0");
  assert.ok(Number(positions[1]) > 0, "it goes on from where it was");
});

test("changes that cannot be followed are an error", async () => {
  const kb = w.through();
  w.proxy.faults = Array.from({ length: 20 }, () => "cut before" as const);
  const error = await failure(all(kb.changes({ deadlineMs: 500 })));
  assert.match(error.code, /connection_failed|deadline_exceeded/);
  w.proxy.faults = [{ status: 200, headers: { "content-type": "text/html" }, body: "log in" }];
  assert.equal((await failure(all(kb.changes()))).code, "unexpected_answer");
});
