/** The parts that need no server. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { EventParser } from "../src/events.js";
import { objectsInArray } from "../src/exporting.js";
import { Deadline, backoff, retryAfterMs, uuid } from "../src/internal.js";
import { LineSplitter } from "../src/lines.js";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

test("events are the same wherever the bytes are cut", () => {
  const text = ": hello\r\nretry: 250\n\nid: 7\nevent: stored\ndata: {\"ü\":\ndata:1}\r\n\r\n" +
    "id: 9\r\rdata: last\n\nid: 10\nevent: half";
  const expected = [
    { id: undefined, event: "message", data: undefined },
    { id: "7", event: "stored", data: '{"ü":\n1}' },
    { id: "9", event: "message", data: undefined },
    { id: "9", event: "message", data: "last" },
  ];
  const whole = bytes(text);
  for (let size = 1; size <= whole.length; size++) {
    const parser = new EventParser();
    const events = [];
    for (let at = 0; at < whole.length; at += size) {
      events.push(...parser.push(whole.subarray(at, at + size)));
    }
    assert.deepEqual(events, expected, `in pieces of ${size}`);
    assert.equal(parser.retryMs, 250);
  }
});

test("lines are the same wherever the bytes are cut", () => {
  const whole = bytes("one\n\ntwo ü\r\nthree");
  for (let size = 1; size <= whole.length; size++) {
    const splitter = new LineSplitter();
    const lines = [];
    for (let at = 0; at < whole.length; at += size) {
      lines.push(...splitter.push(whole.subarray(at, at + size)));
    }
    const rest = splitter.finish();
    if (rest !== undefined) lines.push(rest);
    const texts = lines.map((line) => new TextDecoder().decode(line));
    assert.deepEqual(texts, ["one", "", "two ü\r", "three"], `in pieces of ${size}`);
  }
});

test("the objects of an array are cut out as they are written", () => {
  const objects = ['{"a":1.50,"b":{"c":["]","}\\\\","\\"{"]}}', "{}", '{ "d" : [ [ ] ] }'];
  const json = `{"facts": [${objects.join(" , ")}], "next_cursor":"a]}{[","withheld":3}`;
  assert.deepEqual(objectsInArray(json), objects);
  assert.equal((JSON.parse(json) as { facts: unknown[] }).facts.length, 3);
  assert.deepEqual(objectsInArray('{"facts":[],"next_cursor":null}'), []);
});

test("a line without an end is refused before it takes all memory", () => {
  const splitter = new LineSplitter();
  const piece = new Uint8Array(16 * 1024 * 1024).fill(0x20);
  assert.throws(() => {
    for (let n = 0; n < 5; n++) Array.from(splitter.push(piece));
  }, /is this JSON Lines/);
});

test("waits grow, differ, and are never shorter than the server asks", () => {
  for (let failures = 1; failures <= 20; failures++) {
    const most = Math.min(5_000, 100 * 2 ** (failures - 1));
    const waits = Array.from({ length: 50 }, () => backoff(failures, undefined));
    assert.ok(waits.every((wait) => wait >= most / 2 && wait <= most), `${failures}: ${waits}`);
    assert.ok(new Set(waits).size > 10, "with jitter");
    assert.ok(backoff(failures, 3_000) >= 3_000);
  }
});

test("Retry-After is a number of seconds or a date", () => {
  assert.equal(retryAfterMs(null), undefined);
  assert.equal(retryAfterMs("2"), 2_000);
  assert.equal(retryAfterMs("soon"), undefined);
  assert.equal(retryAfterMs("Wed, 21 Oct 2015 07:28:00 GMT"), 0);
  const later = retryAfterMs(new Date(Date.now() + 3_600_000).toUTCString()) ?? 0;
  assert.ok(later > 3_500_000 && later <= 3_600_000, String(later));
});

test("an id is a UUID of version 4, also without `randomUUID`", (context) => {
  const pattern = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
  assert.match(uuid(), pattern);
  const without = { getRandomValues: crypto.getRandomValues.bind(crypto) };
  context.mock.getter(globalThis, "crypto", () => without);
  const made = new Set(Array.from({ length: 100 }, uuid));
  assert.equal(made.size, 100);
  for (const id of made) assert.match(id, pattern);
});

test("a deadline without an end has time left", () => {
  assert.equal(new Deadline(Infinity).left(), Infinity);
});
