/** The vector store for LangChain.js, on a server that embeds by itself and with vectors of its own. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Document } from "@langchain/core/documents";
import { Embeddings } from "@langchain/core/embeddings";
import { SyntheticEmbeddings } from "@langchain/core/utils/testing";

import { KenningVectorStore } from "../src/langchain.js";
import { all, busy, failure, world } from "./support.js";

const w = world();

const documents = [
  new Document({ pageContent: "Mia keeps a cat.", metadata: { topic: "pets" }, id: "cat" }),
  new Document({ pageContent: "The port is 7171.", metadata: { topic: "network" }, id: "port" }),
  new Document({ pageContent: "Ada prefers tea.", metadata: { topic: "people", n: [1] } }),
];

test("documents that the server embeds are added, found, fetched, replaced and deleted", async () => {
  const client = w.client();
  const store = KenningVectorStore.onServer({ client });
  const ids = await store.addDocuments(documents);
  assert.deepEqual(ids.slice(0, 2), ["cat", "port"]);
  assert.equal((await client.count()).count, 3);

  const found = await store.similaritySearchWithScore("which port", 2);
  assert.deepEqual(found[0]?.[0], documents[1]);
  assert.ok(found.every(([, score]) => score >= 0 && score <= 1));
  const people = await store.similaritySearch("anything", 4, { topic: "people" });
  assert.deepEqual(people.map((document) => document.metadata), [{ topic: "people", n: [1] }]);

  const fetched = await store.getByIds(["port", "nothing", "cat"]);
  assert.deepEqual(fetched, [documents[1], documents[0]]);

  const changed = new Document({ pageContent: "Mia keeps two cats.", metadata: {}, id: "cat" });
  await store.addDocuments([changed]);
  assert.deepEqual(await store.getByIds(["cat"]), [changed]);

  await store.delete({ ids: ["cat", "nothing"] });
  await store.delete({ filter: { topic: "network" } });
  assert.deepEqual((await all(client.list())).map((fact) => fact.id), [ids[2]]);
  await assert.rejects(store.delete({}), TypeError);
});

test("a retriever searches by similarity and with diversity", async () => {
  const store = KenningVectorStore.onServer({ client: w.client() });
  await store.addDocuments(documents);
  const retriever = store.asRetriever({ k: 1, filter: { topic: "pets" } });
  assert.deepEqual(await retriever.invoke("cat"), [documents[0]]);
  const diverse = store.asRetriever({ k: 2, searchType: "mmr", searchKwargs: { lambda: 0.3 } });
  assert.equal((await diverse.invoke("cat")).length, 2);
});

test("any number of documents is added, and a refused one is named", async () => {
  const client = w.client();
  const store = KenningVectorStore.onServer({ client });
  const many = Array.from({ length: 250 }, (_, n) => new Document({ pageContent: `fact ${n}` }));
  const ids = await store.addDocuments(many);
  assert.equal(new Set(ids).size, 250);
  assert.equal((await client.count()).count, 250);
  const blank = [new Document({ pageContent: "x" }), new Document({ pageContent: " ", id: "blank" })];
  const error = await failure(store.addDocuments(blank));
  assert.equal(error.code, "invalid_request");
  assert.match(error.message, /the document blank was refused, after 1 were stored/);
  await assert.rejects(store.addDocuments(blank, { ids: ["one"] }), RangeError);
});

test("vectors of the caller's are refused where the server embeds", async () => {
  const store = KenningVectorStore.onServer({ client: w.client() });
  await assert.rejects(store.addVectors([[1]], [new Document({ pageContent: "x" })]), TypeError);
  await assert.rejects(store.similaritySearchVectorWithScore([1], 1), TypeError);
});

/** Vectors that say which of three words a text has. */
class WordEmbeddings extends Embeddings {
  constructor() {
    super({});
  }

  override embedDocuments(texts: string[]): Promise<number[][]> {
    return Promise.all(texts.map((text) => this.embedQuery(text)));
  }

  override async embedQuery(text: string): Promise<number[]> {
    return ["cat", "port", "tea"].map((word) => (text.includes(word) ? 1 : 0.01));
  }
}

test("documents with vectors of the caller's are added, found, replaced and deleted", async () => {
  await w.client().request("POST", "/v1/admin/tenants", {
    json: { name: "vectors", embedder: "given", dimensions: 3 },
  });
  const client = w.client({ tenant: "vectors" });
  const embeddings = new WordEmbeddings();
  const store = await KenningVectorStore.fromDocuments(documents, embeddings, { client });
  const [first] = await store.similaritySearchWithScore("any port", 3);
  assert.deepEqual(first?.[0], documents[1]);
  assert.ok((first?.[1] ?? 0) > 0.99, "the cosine similarity");
  const found = await store.similaritySearchVectorWithScore([1, 0, 0], 2, { topic: "people" });
  assert.deepEqual(found.map(([document]) => document.pageContent), ["Ada prefers tea."]);
  const moved = new Document({ pageContent: "The tea is in the port.", metadata: {}, id: "cat" });
  await store.addVectors([[0, 1, 1]], [moved]);
  const [nearest] = await store.similaritySearchVectorWithScore([0, 1, 1], 1);
  assert.deepEqual(nearest?.[0], moved);
  const hybrid = new KenningVectorStore(embeddings, { client, search: { mode: "hybrid" } });
  assert.deepEqual((await hybrid.similaritySearch("7171 port", 1))[0], documents[1]);
  const diverse = store.asRetriever({ k: 2, searchType: "mmr", searchKwargs: { lambda: 0.3 } });
  assert.equal((await diverse.invoke("port")).length, 2);
  const texts = await KenningVectorStore.fromTexts(["a cat"], { n: 1 }, embeddings, { client });
  assert.equal((await texts.similaritySearch("cat", 1, { n: 1 }))[0]?.pageContent, "a cat");
  await store.delete({ ids: ["cat", "port"] });
  assert.equal((await client.count()).count, 2);
  const wrong = await failure(store.addVectors([[1, 2]], [new Document({ pageContent: "x" })]));
  assert.equal(wrong.code, "invalid_request");
});

test("vectors of the caller's are sent with each document and with each query", async () => {
  // Only the requests are looked at here, and each is answered by the proxy.
  const embeddings = new SyntheticEmbeddings({ vectorSize: 4 });
  const client = w.through();
  const json = { "content-type": "application/json" };
  const stored = { status: "success", message: "Fact stored successfully", fact_id: "cat" };
  const hit = { id: "cat", doc_id: "cat", content: "Mia keeps a cat.", metadata: { topic: "pets" } };
  const found = {
    status: 200,
    headers: json,
    body: JSON.stringify({
      results: [{ ...hit, score: 0.9, similarity: 0.8, relevance: 0.7 }],
      degraded: [],
      next_cursor: null,
      took_ms: 1,
    }),
  };
  w.proxy.faults = [
    busy,
    { status: 200, headers: json, body: JSON.stringify({ results: [stored] }) },
    found,
    found,
    found,
  ];
  const store = await KenningVectorStore.fromDocuments(documents.slice(0, 1), embeddings, { client });
  const scored = await store.similaritySearchWithScore("cat", 3, { topic: "pets" });
  assert.deepEqual(scored, [[documents[0], 0.8]]);
  await store.similaritySearchVectorWithScore([1, 0, 0, 0], 2);
  const hybrid = new KenningVectorStore(embeddings, { client, search: { mode: "hybrid" } });
  assert.equal((await hybrid.similaritySearchWithScore("cat", 3))[0]?.[1], 0.7);
  const bodies = w.proxy.seen.map((seen) => JSON.parse(seen.body) as Record<string, unknown>);
  const vector = await embeddings.embedQuery("cat");
  const [ofText] = await embeddings.embedDocuments(["Mia keeps a cat."]);
  assert.deepEqual(bodies[1], {
    facts: [
      { text: hit.content, metadata: hit.metadata, fact_id: "cat", mode: "upsert", vector: ofText },
    ],
  });
  assert.deepEqual(bodies[2], {
    query: "cat", vector, mode: "vector", top_k: 3, filter: { topic: "pets" },
  });
  assert.deepEqual(bodies[3], { vector: [1, 0, 0, 0], mode: "vector", top_k: 2 });
  assert.deepEqual(bodies[4], { query: "cat", vector, mode: "hybrid", top_k: 3 });
  await assert.rejects(store.addVectors([], documents), RangeError);
});
