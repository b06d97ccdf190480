/**
 * Sends requests: addresses them, repeats what may pass, and ends in time.
 *
 * | what failed | repeated |
 * |---|---|
 * | the connection was refused: nothing was sent | always |
 * | the connection broke, or no answer came in time | where the request may be done twice |
 * | an error with `retryable`, after its `Retry-After` | unless a write may have happened that must not be done twice |
 * | 429 or 503 of a proxy | always |
 * | 502 or 504 of a proxy | where the request may be done twice |
 * | every other error | never |
 */

import { KenningError, isErrorBody } from "./errors.js";
import { Deadline, backoff, environment, retryAfterMs, sleep } from "./internal.js";

const DEFAULT_SERVER = "http://127.0.0.1:7171";
const DEADLINE_MS = 30_000;
const ATTEMPT_MS = 15_000;

/** The longest that a timer can wait. */
const LONGEST_MS = 2 ** 31 - 1;

/** How much an error quotes of an answer that is not Kenning's. */
const QUOTED = 200;

/** Codes of Node.js for connections that were never made. */
const NEVER_SENT = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/** How to reach a server. */
export interface KenningOptions {
  /**
   * The server's address. Left out, it is `KENNING_SERVER`; in a page of a browser, the page's own
   * origin; otherwise `http://127.0.0.1:7171`.
   */
  server?: string | URL;
  /** The tenant, on a server without keys; `KENNING_TENANT`, or `default`, if left out. */
  tenant?: string;
  /** The tenant's key; `KENNING_KEY` if left out. */
  key?: string;
  /** How long a call may take with all of its attempts, in milliseconds; 30,000 if left out. */
  deadlineMs?: number;
  /** How long one attempt may take, in milliseconds; 15,000 if left out. */
  attemptMs?: number;
  /** Whether reads wait for what this client has written; `true` if left out. */
  readYourWrites?: boolean;
  /** What sends requests; the global `fetch` if left out. */
  fetch?: typeof fetch;
}

/** What every call takes. */
export interface CallOptions {
  /** Ends the call, which then rejects with the signal's reason. */
  signal?: AbortSignal;
  /** How long this call may take with all of its attempts, in milliseconds. */
  deadlineMs?: number;
  /** How long one attempt of it may take, in milliseconds. */
  attemptMs?: number;
}

/** One request. */
export interface Request {
  method: "GET" | "POST" | "PATCH" | "PUT" | "DELETE";
  /** Below the server's address, with a slash in front. */
  path: string;
  query?: Record<string, string | number | boolean | undefined>;
  /** Sent as JSON. */
  json?: unknown;
  /** Sent as it is, with the content type in `headers`. */
  body?: string | Uint8Array<ArrayBuffer> | Blob;
  headers?: Record<string, string>;
  /** Whether doing it twice is as good as once. */
  repeatable: boolean;
  /** Whether it reads: then it waits for this client's writes. */
  reads?: boolean;
  /** Whether it writes: then an attempt without an answer may have taken effect. */
  writes?: boolean;
  /** How long it and one attempt of it may take where nobody says so. */
  patience?: { deadlineMs: number; attemptMs: number };
  /** Errors after which it is not repeated, although they may pass. */
  ends?: (error: KenningError) => boolean;
}

/** An answer whose body is still to be read. */
export interface Open {
  response: Response;
  /** The next bytes; `undefined` at the end. Ends with an error if they take longer than `ms`. */
  read(ms: number): Promise<Uint8Array | undefined>;
  /** Gives the connection up, unless the body has been read. */
  close(): void;
}

export class Transport {
  /** The latest revision that a write of this client was answered with. */
  revision: number | undefined;
  readonly #base: string;
  readonly #patience: { deadlineMs?: number; attemptMs?: number };
  readonly #headers: Record<string, string>;
  readonly #readsOwnWrites: boolean;
  readonly #fetch: typeof fetch;

  constructor(options: KenningOptions) {
    this.#base = baseOf(options.server ?? environment("KENNING_SERVER") ?? ownOrigin());
    this.#patience = checked(options);
    this.#readsOwnWrites = options.readYourWrites ?? true;
    // Browsers' `fetch` must be called as a function of the window.
    this.#fetch = options.fetch ?? ((input, init) => fetch(input, init));
    const tenant = options.tenant ?? environment("KENNING_TENANT");
    const key = options.key ?? environment("KENNING_KEY");
    this.#headers = {
      ...(tenant === undefined ? {} : { "x-kenning-tenant": tenant }),
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
    };
    // A value that no header can have is refused here rather than with every call.
    new Headers(this.#headers);
  }

  /** The time that a call has; `otherwise` where nobody says. */
  deadline(options: CallOptions, otherwise = DEADLINE_MS): Deadline {
    return new Deadline(checked(options).deadlineMs ?? this.#patience.deadlineMs ?? otherwise);
  }

  /** Sends a request and reads its answer as JSON. */
  async json<T>(request: Request, options: CallOptions = {}): Promise<T> {
    return (await this.textAndJson<T>(request, options)).json;
  }

  /** Sends a request, and gives its answer both as it came and as JSON. */
  textAndJson<T>(
    request: Request,
    options: CallOptions = {},
  ): Promise<{ text: string; json: T }> {
    return this.#repeat(request, options, async (exchange) => {
      const response = await exchange.send(this.#fetch);
      const text = await response.text();
      this.#see(request, response);
      if (!response.ok) throw refusal(response, text);
      return { text, json: parsed(response, text) as T };
    });
  }

  /** Sends a request, and leaves a successful answer's body to be read. */
  open(request: Request, options: CallOptions = {}): Promise<Open> {
    return this.#repeat(request, options, async (exchange) => {
      const response = await exchange.send(this.#fetch);
      if (!response.ok) throw refusal(response, await response.text());
      return exchange.open(response);
    });
  }

  /**
   * Waits before the next attempt.
   *
   * @throws `error`, if the time that is left is too short for that
   */
  async pause(
    error: KenningError,
    failures: number,
    deadline: Deadline,
    signal?: AbortSignal,
  ): Promise<void> {
    const wait = backoff(failures, error.retryAfterMs);
    if (wait >= deadline.left()) throw error;
    await sleep(wait, signal);
  }

  async #repeat<T>(
    request: Request,
    options: CallOptions,
    attempt: (exchange: Exchange) => Promise<T>,
  ): Promise<T> {
    const deadline = this.deadline(options, request.patience?.deadlineMs);
    const attemptMs = checked(options).attemptMs ?? this.#patience.attemptMs ??
      request.patience?.attemptMs ?? ATTEMPT_MS;
    let outcomeUnknown = false;
    let before: KenningError | undefined;
    for (let attempts = 1; ; attempts++) {
      options.signal?.throwIfAborted();
      const ms = Math.min(attemptMs, deadline.left());
      if (before !== undefined && ms === 0) throw before;
      const exchange = new Exchange(this.#url(request), this.#init(request, ms), options.signal);
      try {
        return await exchange.within(ms, () => attempt(exchange));
      } catch (thrown) {
        const error = exchange.failure(thrown, request, ms, before);
        before = error;
        error.attempts = attempts;
        error.earlierOutcomeUnknown = outcomeUnknown;
        if (!this.#mayRepeat(request, error)) throw error;
        outcomeUnknown ||= error.outcomeUnknown;
        if (!this.#forgetRevision(error)) {
          await this.pause(error, attempts, deadline, options.signal);
        }
      }
    }
  }

  #mayRepeat(request: Request, error: KenningError): boolean {
    if (!error.retryable || request.ends?.(error) === true) return false;
    return request.repeatable || !error.outcomeUnknown;
  }

  /**
   * Where the tenant was deleted and created again, or restored from a backup, its revisions are
   * lower than the one that this client waits for, which then never comes.
   */
  #forgetRevision(error: KenningError): boolean {
    const details = error.details as { asked?: number; stored?: number } | undefined;
    const { asked, stored } = details ?? {};
    if (asked === undefined || stored === undefined || stored >= asked) return false;
    if (this.revision !== asked) return false;
    this.revision = stored;
    return true;
  }

  #url(request: Request): string {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(request.query ?? {})) {
      if (value !== undefined) query.set(name, String(value));
    }
    const text = query.toString();
    return this.#base + request.path + (text === "" ? "" : `?${text}`);
  }

  #init(request: Request, ms: number): RequestInit {
    const headers = new Headers({ ...this.#headers, ...request.headers });
    // The server gives up a little earlier, so that its answer, which says more, comes in time.
    if (request.json !== undefined || request.reads === true || request.method === "DELETE") {
      headers.set("x-kenning-timeout-ms", String(Math.max(1, Math.floor(ms * 0.9))));
    }
    if (request.reads === true && this.#readsOwnWrites && this.revision !== undefined) {
      headers.set("x-kenning-min-revision", String(this.revision));
    }
    if (request.json !== undefined && !headers.has("content-type")) {
      headers.set("content-type", "application/json");
    }
    const body = request.json === undefined ? request.body : JSON.stringify(request.json);
    return {
      method: request.method,
      headers,
      redirect: "manual",
      ...(body === undefined ? {} : { body }),
    };
  }

  #see(request: Request, response: Response): void {
    const revision = Number(response.headers.get("x-kenning-revision") ?? Number.NaN);
    if (request.writes === true && Number.isSafeInteger(revision)) {
      this.revision = Math.max(this.revision ?? 0, revision);
    }
  }
}

/** One attempt: a request, its answer, and the clock that ends both. */
class Exchange {
  readonly #url: string;
  readonly #init: RequestInit;
  readonly #signal: AbortSignal | undefined;
  readonly #controller = new AbortController();
  readonly #aborted = (): void => this.#controller.abort(this.#signal?.reason);
  #isLate = false;
  #isOpen = false;

  constructor(url: string, init: RequestInit, signal: AbortSignal | undefined) {
    this.#url = url;
    this.#init = init;
    this.#signal = signal;
    signal?.addEventListener("abort", this.#aborted, { once: true });
  }

  send(using: typeof fetch): Promise<Response> {
    return using(this.#url, { ...this.#init, signal: this.#controller.signal });
  }

  /** Runs `work`, which is given up after `ms`. */
  async within<T>(ms: number, work: () => Promise<T>): Promise<T> {
    const late = (): void => {
      this.#isLate = true;
      this.#controller.abort();
    };
    const timer = setTimeout(late, Math.min(ms, LONGEST_MS));
    try {
      return await work();
    } finally {
      clearTimeout(timer);
      if (!this.#isOpen) this.#release();
    }
  }

  open(response: Response): Open {
    this.#isOpen = true;
    const reader = response.body?.getReader();
    const request: Request = { method: "GET", path: "", repeatable: true };
    return {
      response,
      read: async (ms) => {
        try {
          const next = await this.within(ms, async () => reader?.read());
          if (next?.value !== undefined) return next.value;
        } catch (thrown) {
          this.#release();
          throw this.failure(thrown, request, ms);
        }
        this.#release();
        return undefined;
      },
      close: () => {
        this.#release();
        this.#controller.abort();
      },
    };
  }

  #release(): void {
    this.#isOpen = false;
    this.#signal?.removeEventListener("abort", this.#aborted);
  }

  /**
   * What was thrown as an error of Kenning.
   *
   * @throws the signal's reason, if the caller ended the call
   */
  failure(thrown: unknown, request: Request, ms: number, before?: KenningError): KenningError {
    if (thrown instanceof KenningError) return thrown;
    if (this.#signal?.aborted === true) throw this.#signal.reason;
    const neverSent = !this.#isLate && isNeverSent(thrown);
    const isRead = request.repeatable && request.writes !== true;
    return new KenningError({
      code: this.#isLate ? "deadline_exceeded" : "connection_failed",
      message: this.#isLate
        ? `${this.#place()} did not answer within ${Math.round(ms)} ms` +
          (before === undefined ? "" : `; the attempt before failed, too: ${before.message}`)
        : `${this.#place()} ${neverSent ? "cannot be reached" : "broke the connection"}: ` +
          reason(thrown),
      retryable: true,
      blame: "network",
      details: neverSent || isRead ? undefined : { outcome: "unknown" },
      cause: thrown,
    });
  }

  #place(): string {
    return new URL(this.#url).origin;
  }
}

/** The server's error in an answer, or one that says that the answer is not the server's. */
function refusal(response: Response, text: string): KenningError {
  const { status } = response;
  const common = {
    status,
    requestId: response.headers.get("x-request-id") ?? undefined,
    retryAfterMs: retryAfterMs(response.headers.get("retry-after")),
  };
  const body = json(text);
  if (body === undefined && isJson(response)) throw new Error("the answer ends in the middle");
  if (isErrorBody(body)) {
    const { code, message, retryable, blame, details } = body;
    return new KenningError({ ...common, code, message, retryable, blame, details, answer: body });
  }
  if (response.type === "opaqueredirect" || (status >= 300 && status < 400)) {
    const to = response.headers.get("location");
    const message = `the server's address leads elsewhere${to === null ? "" : `, to ${to}`}: ` +
      "give that address as `server`";
    return new KenningError({ ...common, code: "unexpected_answer", message, answer: body });
  }
  const quoted = text.length > QUOTED ? `${text.slice(0, QUOTED)}…` : text;
  return new KenningError({
    ...common,
    code: "unexpected_answer",
    message: `status ${status} without an error of Kenning: ${JSON.stringify(quoted)}`,
    retryable: [429, 502, 503, 504].includes(status),
    blame: "network",
    details: [502, 504].includes(status) ? { outcome: "unknown" } : undefined,
    answer: body,
  });
}

function parsed(response: Response, text: string): unknown {
  const body = json(text);
  if (body !== undefined) return body;
  // Node.js does not notice where an answer is cut whose head has `connection: close`.
  if (isJson(response)) throw new Error("the answer ends in the middle");
  const quoted = text.length > QUOTED ? `${text.slice(0, QUOTED)}…` : text;
  throw new KenningError({
    code: "unexpected_answer",
    message: `status ${response.status}, but not JSON: ${JSON.stringify(quoted)}`,
    status: response.status,
    requestId: response.headers.get("x-request-id") ?? undefined,
    blame: "network",
  });
}

function isJson(response: Response): boolean {
  return response.headers.get("content-type")?.startsWith("application/json") ?? false;
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isNeverSent(thrown: unknown): boolean {
  for (let error = thrown; error instanceof Error; error = error.cause) {
    if (NEVER_SENT.has((error as { code?: string }).code ?? "")) return true;
  }
  return false;
}

/** The innermost message: `fetch` itself says only that it failed. */
function reason(thrown: unknown): string {
  let error = thrown;
  while (error instanceof Error && error.cause instanceof Error) error = error.cause;
  if (!(error instanceof Error)) return String(error);
  return error.message || ((error as { code?: string }).code ?? error.name);
}

function baseOf(server: string | URL): string {
  let url: URL;
  try {
    url = new URL(server);
  } catch {
    throw new TypeError(`server is not a URL such as ${DEFAULT_SERVER}: ${String(server)}`);
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new TypeError(`server begins with http:// or https://, not ${url.protocol}`);
  }
  if (url.username !== "" || url.password !== "") {
    throw new TypeError("server contains a user or a password; give the tenant's key as `key`");
  }
  if (url.search !== "" || url.hash !== "") {
    throw new TypeError("server has neither a query nor a fragment");
  }
  return url.origin + url.pathname.replace(/\/+$/, "");
}

/** The origin of the page that this runs in, or where a server listens by default. */
function ownOrigin(): string {
  const page = (globalThis as { location?: { origin?: string } }).location?.origin;
  return page !== undefined && page.startsWith("http") ? page : DEFAULT_SERVER;
}

/** The times in `options`, if they can be kept. */
function checked({ deadlineMs, attemptMs }: Pick<CallOptions, "deadlineMs" | "attemptMs">): {
  deadlineMs?: number;
  attemptMs?: number;
} {
  for (const [name, value] of Object.entries({ deadlineMs, attemptMs })) {
    if (value === undefined || value > 0) continue;
    throw new RangeError(`${name} is a number of milliseconds above 0, not ${value}`);
  }
  return {
    ...(deadlineMs === undefined ? {} : { deadlineMs }),
    ...(attemptMs === undefined ? {} : { attemptMs }),
  };
}
