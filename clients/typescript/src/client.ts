import { Changes, type ChangesOptions } from "./changes.js";
import { KenningError, isErrorBody, type ImportReport } from "./errors.js";
import { exportedLines, exportedPages, type ExportOptions } from "./exporting.js";
import { Import, type ImportOptions, type ImportSource } from "./importing.js";
import { backoff, hasId, sleep, uuid } from "./internal.js";
import {
  Transport,
  type CallOptions,
  type KenningOptions,
  type Request,
} from "./transport.js";
import type {
  BatchResult,
  Change,
  ChangeEvent,
  Count,
  Deleted,
  Draft,
  Fact,
  FactPage,
  FactsDeleted,
  Filter,
  Query,
  SearchAnswer,
  SearchResult,
  Stats,
  Stored,
} from "./types.js";

/** What a store takes. */
export interface StoreOptions extends CallOptions {
  /** Stands for the draft's id if it has none; a random one if left out. 1 to 255 bytes. */
  idempotencyKey?: string;
}

/** What an update takes. */
export interface UpdateOptions extends CallOptions {
  /** Whether the metadata is a merge patch (RFC 7396). */
  merge?: boolean;
}

/** Which facts to list, and in pages of how many. */
export interface ListOptions extends CallOptions {
  /** Only facts whose content contains this, ignoring case. */
  query?: string;
  /** Only facts that match. */
  filter?: Filter;
  /** Facts in a page, 1 to 1,000; 100 if left out. */
  pageSize?: number;
  /** `next_cursor` of the page before the first one. */
  cursor?: string;
}

/** Facts that are read page by page while they are iterated over. */
export interface FactList extends AsyncIterable<Fact> {
  /** The same as whole pages, each with its `next_cursor`. */
  pages(): AsyncGenerator<FactPage, void, undefined>;
}

/** What a count takes. */
export interface CountOptions extends CallOptions {
  /** Only facts that match. */
  filter?: Filter;
}

/** What a deletion by filter did. */
export interface DeletedFacts {
  /** Facts that are known to be deleted. After a broken connection there may be more. */
  deleted: number;
  /** Facts that match but are kept, because an extension spoilt them. */
  withheld: number;
}

/** A request of the caller's own. */
export interface RawRequest {
  /** Added to the address. */
  query?: Record<string, string | number | boolean | undefined>;
  /** Sent as JSON. */
  json?: unknown;
  /** Sent as it is, as `application/octet-stream` unless `headers` says otherwise. */
  body?: string | Uint8Array<ArrayBuffer> | Blob;
  headers?: Record<string, string>;
  /**
   * Whether doing it twice is as good as once; then it is repeated after a broken connection, too.
   * Only `GET`, if left out.
   */
  repeatable?: boolean;
}

/**
 * A tenant's facts on a server.
 *
 * Each call is repeated where that may help, and ends within its deadline with a result or a
 * {@link KenningError}. A client has no connection to close: `fetch` keeps them.
 */
export class Kenning {
  readonly #transport: Transport;

  constructor(options: KenningOptions = {}) {
    this.#transport = new Transport(options);
  }

  /**
   * The latest revision that a write of this client was answered with. Reads wait for it, also on
   * another host. Set it to another client's to read what that one has written.
   */
  get revision(): number | undefined {
    return this.#transport.revision;
  }

  set revision(revision: number | undefined) {
    this.#transport.revision = revision;
  }

  /**
   * Stores a fact. Without a `fact_id` the server makes one; the store happens once all the same.
   * Where the id is taken, the draft's `mode` says what happens.
   */
  store(draft: Draft | string, options: StoreOptions = {}): Promise<Stored> {
    const fact = typeof draft === "string" ? { text: draft } : draft;
    const key = options.idempotencyKey ?? uuid();
    return this.#write("POST", "/v1/facts", fact, options, {
      headers: hasId(fact) ? {} : { "idempotency-key": key },
    });
  }

  /**
   * Stores up to 100 facts, each on its own: the outcomes are in the order of the drafts, and one
   * that was refused has the `status` `error`. Drafts without an id are given one, so that
   * what may have been stored can be sent again; those whose errors may pass are sent again, too.
   * For more facts, use {@link import}.
   */
  storeBatch(
    drafts: readonly (Draft | string)[],
    options: CallOptions = {},
  ): Promise<BatchResult[]> {
    const facts = drafts.map((draft) => {
      const fact = typeof draft === "string" ? { text: draft } : draft;
      return hasId(fact) ? fact : { ...fact, fact_id: uuid() };
    });
    return this.#each(facts, options, (left, call) =>
      this.#write<{ results: BatchResult[] }>("POST", "/v1/facts/batch", { facts: left }, call));
  }

  /** Reads a fact. One that is not there is an error of the code `not_found`. */
  get(id: string, options: CallOptions = {}): Promise<Fact> {
    return this.#read("GET", factPath(id), {}, options);
  }

  /** Facts, newest first. */
  list(options: ListOptions = {}): FactList {
    const pages = (): AsyncGenerator<FactPage, void, undefined> => this.#pages(options);
    return {
      pages,
      async *[Symbol.asyncIterator]() {
        for await (const page of pages()) yield* page.facts;
      },
    };
  }

  async *#pages(options: ListOptions): AsyncGenerator<FactPage, void, undefined> {
    const { query, filter, pageSize: limit } = options;
    let cursor = options.cursor;
    do {
      const asked = { query, filter: filterText(filter), limit, cursor };
      const page = await this.#read<FactPage>("GET", "/v1/facts", { query: asked }, options);
      yield page;
      cursor = page.next_cursor ?? undefined;
    } while (cursor !== undefined);
  }

  /**
   * Changes a fact's text, its metadata, or both. The metadata replaces the fact's, or with `merge`
   * is merged into it: then a member that is `null` is removed, and all others stay.
   */
  update(id: string, change: Change, options: UpdateOptions = {}): Promise<Stored> {
    const type = options.merge === true ? "application/merge-patch+json" : "application/json";
    return this.#write("PATCH", factPath(id), change, options, {
      headers: { "content-type": type },
    });
  }

  /** Deletes a fact. One that is not there is an error of the code `not_found`. */
  async delete(id: string, options: CallOptions = {}): Promise<Deleted> {
    try {
      return await this.#write("DELETE", factPath(id), undefined, options);
    } catch (error) {
      const isDone = error instanceof KenningError && error.earlierOutcomeUnknown &&
        error.code === "not_found";
      if (!isDone) throw error;
      // The attempt whose answer did not arrive has deleted it.
      return { status: "success", message: "Fact deleted successfully", id, fact_id: id };
    }
  }

  /** Searches by meaning and by words, best first. A text is a query without options. */
  search(query: Query | string, options: CallOptions = {}): Promise<SearchAnswer> {
    const json = typeof query === "string" ? { query } : query;
    return this.#read("POST", "/v1/search", { json }, options);
  }

  /** The pages of a search, each of up to `top_k` hits. */
  async *searchPages(
    query: Query | string,
    options: CallOptions = {},
  ): AsyncGenerator<SearchAnswer, void, undefined> {
    const asked = typeof query === "string" ? { query } : query;
    let cursor = asked.cursor;
    do {
      const page = await this.search({ ...asked, cursor: cursor ?? null }, options);
      yield page;
      cursor = page.next_cursor;
    } while (cursor != null);
  }

  /** Up to 20 searches in one request. One that failed has the `status` `error`. */
  searchBatch(
    searches: readonly (Query | string)[],
    options: CallOptions = {},
  ): Promise<SearchResult[]> {
    const all = searches.map((search) => typeof search === "string" ? { query: search } : search);
    return this.#each(all, options, (left, call) => {
      const json = { searches: left };
      return this.#read<{ results: SearchResult[] }>("POST", "/v1/search/batch", { json }, call);
    });
  }

  /** How many facts there are, or match. */
  count(options: CountOptions = {}): Promise<Count> {
    const query = { filter: filterText(options.filter) };
    return this.#read("GET", "/v1/count", { query }, options);
  }

  /**
   * Deletes every fact that matches, in as many requests as it takes: the deadline is for each of
   * them. An empty filter is refused.
   *
   * @throws {KenningError} with what was deleted before in `details.deleted`
   */
  async deleteMatching(filter: Filter, options: CallOptions = {}): Promise<DeletedFacts> {
    const total: DeletedFacts = { deleted: 0, withheld: 0 };
    let cursor: string | undefined;
    let failures = 0;
    let deadline = this.#transport.deadline(options);
    for (;;) {
      const query = { filter: filterText(filter), cursor };
      const answer = await this.#write<FactsDeleted>(
        "DELETE",
        "/v1/facts",
        undefined,
        options,
        { query },
      );
      total.deleted += answer.deleted;
      total.withheld += answer.withheld ?? 0;
      if (answer.complete) return total;
      if (answer.deleted > 0 || (answer.next_cursor ?? undefined) !== cursor) {
        failures = 0;
        deadline = this.#transport.deadline(options);
      }
      cursor = answer.next_cursor ?? undefined;
      if (answer.error === undefined) continue;
      const { code, message, retryable, blame, details } = answer.error;
      const stopped = new KenningError({
        code,
        message: `after ${total.deleted} facts were deleted: ${message}`,
        retryable,
        blame,
        details: { ...details, deleted: total.deleted } as KenningError["details"],
        answer,
      });
      if (!retryable) throw stopped;
      failures += 1;
      await this.#transport.pause(stopped, failures, deadline, options.signal);
    }
  }

  /** Figures of the tenant and of the server. */
  stats(options: CallOptions = {}): Promise<Stats> {
    return this.#read("GET", "/v1/stats", {}, options);
  }

  /**
   * Every fact, or those that match, newest first. It is read a page at a time while it is iterated
   * over, and the deadline is for each page; so it goes on over broken connections and restarts.
   */
  async *export(options: ExportOptions = {}): AsyncGenerator<Fact, void, undefined> {
    for await (const page of exportedPages(this.#transport, options)) yield* page.facts;
  }

  /** The export as JSON Lines, for a file or for {@link import}. It can be cancelled. */
  exportLines(options: ExportOptions = {}): ReadableStream<Uint8Array<ArrayBuffer>> {
    return exportedLines(this.#transport, options);
  }

  /**
   * Stores facts of any number: objects, or JSON Lines as text, bytes, a file or a stream. They are
   * sent while they are read, and the deadline begins again whenever some were taken.
   *
   * @throws {ImportError} if a line was refused or the import ended early; its `report` says what
   *   was taken, and which lines were not
   */
  import(source: ImportSource, options: ImportOptions = {}): Promise<ImportReport> {
    return new Import(this.#transport, options).run(source);
  }

  /**
   * The tenant's changes as they happen: ids and revisions, never texts. It connects again by
   * itself after the last change that was seen, and ends with an error if that fails for as long as
   * the deadline. A `gap` says that changes are no longer kept: read all facts again.
   */
  changes(options: ChangesOptions = {}): AsyncGenerator<ChangeEvent, void, undefined> {
    return new Changes(this.#transport, options).run();
  }

  /** Calls any route, such as those below `/v1/admin`, and reads its answer as JSON. */
  request<T = unknown>(
    method: Request["method"],
    path: string,
    request: RawRequest = {},
    options: CallOptions = {},
  ): Promise<T> {
    const { query, json, body, headers = {}, repeatable = method === "GET" } = request;
    const type = body === undefined ? {} : { "content-type": "application/octet-stream" };
    return this.#transport.json<T>(
      {
        method,
        path,
        repeatable,
        headers: { ...type, ...headers },
        writes: method !== "GET",
        ...(query === undefined ? {} : { query }),
        ...(json === undefined ? {} : { json }),
        ...(body === undefined ? {} : { body }),
      },
      options,
    );
  }

  /**
   * The outcomes of items that are sent together. Those that failed and may pass are sent again
   * while there is time; nobody says when a used-up quota is worth another attempt.
   */
  async #each<T, R>(
    items: T[],
    options: CallOptions,
    send: (left: T[], options: CallOptions) => Promise<{ results: R[] }>,
  ): Promise<R[]> {
    const deadline = this.#transport.deadline(options);
    const { results } = await send(items, options);
    for (let failures = 1; ; failures++) {
      const left = results.flatMap((result, at) => (mayPass(result) ? [at] : []));
      const wait = backoff(failures, undefined);
      if (left.length === 0 || wait >= deadline.left()) return results;
      await sleep(wait, options.signal);
      const call = { ...options, deadlineMs: Math.max(1, deadline.left()) };
      const again = await send(left.flatMap((at) => items.slice(at, at + 1)), call).catch(
        (error: unknown) => {
          if (error instanceof KenningError) return undefined;
          throw error;
        },
      );
      if (again === undefined) return results;
      left.forEach((at, index) => {
        const result = again.results[index];
        if (result !== undefined) results[at] = result;
      });
    }
  }

  #read<T>(
    method: Request["method"],
    path: string,
    rest: Pick<Request, "query" | "json">,
    options: CallOptions,
  ): Promise<T> {
    const request: Request = { method, path, ...rest, repeatable: true, reads: true };
    return this.#transport.json(request, options);
  }

  /** All writes here may be done twice: they name the fact, and what it is to be. */
  #write<T>(
    method: Request["method"],
    path: string,
    json: unknown,
    options: CallOptions,
    rest: Pick<Request, "query" | "headers"> = {},
  ): Promise<T> {
    return this.#transport.json(
      { method, path, json, ...rest, repeatable: true, writes: true },
      options,
    );
  }
}

function mayPass(result: unknown): boolean {
  return isErrorBody(result) && result.retryable && result.code !== "quota_exceeded";
}

function factPath(id: string): string {
  // `fetch` would take these for folders.
  if (typeof id !== "string" || /^\.{0,2}$/.test(id)) {
    throw new KenningError({
      code: "invalid_request",
      message: `this is no fact's id: ${JSON.stringify(id)}`,
      details: { pointer: "/id" },
    });
  }
  return `/v1/facts/${encodeURIComponent(id)}`;
}

function filterText(filter: Filter | undefined): string | undefined {
  return filter === undefined ? undefined : JSON.stringify(filter);
}
