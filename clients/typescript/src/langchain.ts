/**
 * A vector store for LangChain.js. It has the module of its own `kenning/langchain`, so that only
 * who uses it needs `@langchain/core`.
 */

import { Document, type DocumentInterface } from "@langchain/core/documents";
import type { EmbeddingsInterface } from "@langchain/core/embeddings";
import { VectorStore, type MaxMarginalRelevanceSearchOptions } from "@langchain/core/vectorstores";

import { Kenning } from "./client.js";
import { KenningError, isErrorBody } from "./errors.js";
import { uuid } from "./internal.js";
import type { KenningOptions } from "./transport.js";
import type { Fact, Filter, Hit, Query } from "./types.js";

/** Facts that one request stores. */
const BATCH = 100;

/** What one request holds at most, in UTF-16 units of its JSON: a server takes 5 MiB. */
const BATCH_LENGTH = 1024 * 1024;

/** Requests under way at once, where each document takes one. */
const AT_ONCE = 8;

/** What a search takes beside the query: options of `POST /v1/search`. */
export type SearchDefaults = Pick<
  Query,
  "mode" | "fusion" | "min_relevance" | "diversity" | "recency"
>;

/** Which tenant holds the documents. */
export interface KenningVectorStoreConfig {
  /** The client, or how to make one. */
  client?: Kenning | KenningOptions;
  /** Options of every search. */
  search?: SearchDefaults;
}

/** What adding documents takes. */
export interface AddOptions {
  /** Ids, one for each document; otherwise a document's own id counts, or a new one. */
  ids?: string[];
}

/** What to delete. */
export interface DeleteOptions {
  /** Documents by their ids; those that are not there are passed over. */
  ids?: string[];
  /** Every document that matches. */
  filter?: Filter;
}

/**
 * Documents in a tenant of Kenning.
 *
 * Made with embeddings, it sends their vectors: the tenant was created with
 * `{ "embedder": "given", "dimensions": N }`. Made with {@link onServer}, the server embeds texts
 * and queries, and searches by words, too.
 *
 * A document's text and metadata are those of the fact with its id. A document whose id is there
 * already replaces that one.
 */
export class KenningVectorStore extends VectorStore {
  declare FilterType: Filter;
  /** The client that this store uses. */
  readonly client: Kenning;
  readonly #search: SearchDefaults;
  readonly #embedsHere: boolean;

  constructor(embeddings: EmbeddingsInterface, config: KenningVectorStoreConfig = {}) {
    super(embeddings, {});
    const { client = {} } = config;
    this.client = client instanceof Kenning ? client : new Kenning(client);
    this.#search = config.search ?? {};
    this.#embedsHere = !(embeddings instanceof ServerEmbeddings);
  }

  /** A store whose texts and queries are embedded by the server. */
  static onServer(config: KenningVectorStoreConfig = {}): KenningVectorStore {
    return new KenningVectorStore(new ServerEmbeddings(), config);
  }

  _vectorstoreType(): string {
    return "kenning";
  }

  /** Stores documents, and gives their ids. */
  async addDocuments(documents: DocumentInterface[], options: AddOptions = {}): Promise<string[]> {
    if (!this.#embedsHere) return this.#add(documents, undefined, options);
    const texts = documents.map((document) => document.pageContent);
    return this.addVectors(await this.embeddings.embedDocuments(texts), documents, options);
  }

  /** Stores documents with these vectors, one for each, and gives their ids. */
  async addVectors(
    vectors: number[][],
    documents: DocumentInterface[],
    options: AddOptions = {},
  ): Promise<string[]> {
    if (!this.#embedsHere) throw ownVectors();
    if (vectors.length !== documents.length) {
      throw new RangeError(`${vectors.length} vectors for ${documents.length} documents`);
    }
    return this.#add(documents, vectors, options);
  }

  /** The `k` documents that are nearest to this vector, with their cosine similarity. */
  async similaritySearchVectorWithScore(
    query: number[],
    k: number,
    filter?: Filter,
  ): Promise<[Document, number][]> {
    if (!this.#embedsHere) throw ownVectors();
    return this.#find({ vector: query, mode: "vector" }, k, filter);
  }

  /**
   * The `k` documents that fit best, best first. The score is the cosine similarity in a search by
   * vectors alone, and otherwise the relevance, from 0 to 1.
   */
  override async similaritySearchWithScore(
    query: string,
    k = 4,
    filter?: Filter,
  ): Promise<[Document, number][]> {
    return this.#find(await this.#query(query), k, filter);
  }

  override async similaritySearch(query: string, k = 4, filter?: Filter): Promise<Document[]> {
    const found = await this.similaritySearchWithScore(query, k, filter);
    return found.map(([document]) => document);
  }

  /**
   * Documents that fit, and differ from each other: the server's `diversity` is `1 - lambda`. The
   * server decides from how many candidates it selects, so `fetchK` has no effect.
   */
  override async maxMarginalRelevanceSearch(
    query: string,
    options: MaxMarginalRelevanceSearchOptions<Filter>,
  ): Promise<Document[]> {
    const { k, lambda = 0.5, filter } = options;
    const diverse = { ...(await this.#query(query)), diversity: 1 - lambda };
    const found = await this.#find(diverse, k, filter);
    return found.map(([document]) => document);
  }

  /** The documents with these ids, in their order, without those that are not there. */
  async getByIds(ids: string[]): Promise<Document[]> {
    const facts = await atOnce(ids, (id) => absent(this.client.get(id)));
    return facts.filter((fact) => fact !== undefined).map(toDocument);
  }

  override async delete({ ids, filter }: DeleteOptions): Promise<void> {
    if (ids === undefined && filter === undefined) {
      throw new TypeError("delete takes ids or a filter");
    }
    await atOnce(ids ?? [], (id) => absent(this.client.delete(id)));
    if (filter !== undefined) await this.client.deleteMatching(filter);
  }

  static override async fromTexts(
    texts: string[],
    metadatas: object[] | object,
    embeddings: EmbeddingsInterface,
    config: KenningVectorStoreConfig = {},
  ): Promise<KenningVectorStore> {
    const documents = texts.map((pageContent, at) => {
      const metadata = Array.isArray(metadatas) ? (metadatas as object[])[at] : metadatas;
      return new Document({ pageContent, metadata: { ...metadata } });
    });
    return this.fromDocuments(documents, embeddings, config);
  }

  static override async fromDocuments(
    documents: DocumentInterface[],
    embeddings: EmbeddingsInterface,
    config: KenningVectorStoreConfig = {},
  ): Promise<KenningVectorStore> {
    const store = new this(embeddings, config);
    await store.addDocuments(documents);
    return store;
  }

  async #query(text: string): Promise<Query> {
    if (!this.#embedsHere) return { query: text };
    const vector = await this.embeddings.embedQuery(text);
    // With vectors of the caller's a search by words is asked for, or does not take place.
    return { query: text, vector, mode: this.#search.mode ?? "vector" };
  }

  async #find(
    query: Query,
    k: number,
    filter: Filter | undefined,
  ): Promise<[Document, number][]> {
    const asked: Query = { ...this.#search, ...query, top_k: k, ...(filter && { filter }) };
    const { results } = await this.client.search(asked);
    const score = (hit: Hit): number =>
      asked.mode === "vector" ? (hit.similarity ?? hit.relevance) : hit.relevance;
    return results.map((hit) => [toDocument(hit), score(hit)]);
  }

  async #add(
    documents: DocumentInterface[],
    vectors: number[][] | undefined,
    { ids }: AddOptions,
  ): Promise<string[]> {
    if (ids !== undefined && ids.length !== documents.length) {
      throw new RangeError(`${ids.length} ids for ${documents.length} documents`);
    }
    const drafts = documents.map((document, at) => {
      const vector = vectors?.[at];
      return {
        text: document.pageContent,
        metadata: document.metadata,
        fact_id: ids?.[at] ?? document.id ?? uuid(),
        mode: "upsert" as const,
        ...(vector === undefined ? {} : { vector }),
      };
    });
    let stored = 0;
    for (const batch of batches(drafts)) {
      const results = await this.client.storeBatch(batch);
      for (const [at, result] of results.entries()) {
        const draft = batch[at];
        if (draft === undefined) continue;
        if (isErrorBody(result)) throw refused(result, draft.fact_id, stored);
        stored += 1;
      }
    }
    return drafts.map((draft) => draft.fact_id);
  }
}

/** Stands for the server's embedder, whose vectors never come here. */
class ServerEmbeddings implements EmbeddingsInterface {
  embedDocuments(): Promise<number[][]> {
    return Promise.reject(ownVectors());
  }

  embedQuery(): Promise<number[]> {
    return Promise.reject(ownVectors());
  }
}

function ownVectors(): TypeError {
  return new TypeError(
    "in this store the server embeds; to use vectors of your own, make it with embeddings, on a " +
      'tenant that was created with {"embedder": "given", "dimensions": N}',
  );
}

function toDocument(fact: Fact | Hit): Document {
  return new Document({ id: fact.id, pageContent: fact.content, metadata: fact.metadata });
}

function refused(error: unknown, id: string, stored: number): KenningError {
  const { code, message, retryable, blame, details } = error as KenningError;
  return new KenningError({
    code,
    message: `the document ${id} was refused, after ${stored} were stored: ${message}`,
    retryable,
    blame,
    details,
    answer: error,
  });
}

/** The result, or nothing where the server knows no such fact. */
async function absent<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof KenningError && error.code === "not_found") return undefined;
    throw error;
  }
}

/** Runs `work` for each item, some of them at once, and gives the results in the items' order. */
async function atOnce<T, R>(items: T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let at = 0; at < items.length; at += AT_ONCE) {
    results.push(...(await Promise.all(items.slice(at, at + AT_ONCE).map(work))));
  }
  return results;
}

function* batches<T>(drafts: T[]): Generator<T[]> {
  let batch: T[] = [];
  let length = 0;
  for (const draft of drafts) {
    const own = JSON.stringify(draft).length;
    if (batch.length > 0 && (batch.length === BATCH || length + own > BATCH_LENGTH)) {
      yield batch;
      [batch, length] = [[], 0];
    }
    batch.push(draft);
    length += own;
  }
  if (batch.length > 0) yield batch;
}
