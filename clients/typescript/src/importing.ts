/**
 * Imports of any length, in requests of about a megabyte.
 *
 * One request for all of it would be simpler, but no browser can send a stream over HTTP/1.1, and
 * what broke in the middle could not be sent again. A part can: every line has an id, which is added
 * where the caller gave none, and a line that is stored already is taken again.
 */

import { ImportError, KenningError, type ImportReport } from "./errors.js";
import { hasId, uuid, withoutIds, type Deadline } from "./internal.js";
import { LineSplitter, joined } from "./lines.js";
import type { CallOptions, Request, Transport } from "./transport.js";
import type { ErrorDetails, ImportFact, RefusedLine, StoreMode } from "./types.js";

const PART_BYTES = 1024 * 1024;
const PART_LINES = 1_000;

/** The server itself waits for storage for up to 40 seconds before it gives a part up. */
const PATIENCE = { deadlineMs: 120_000, attemptMs: 60_000 };

/** A longer wait is not begun: it is for a quota that only deletions make room in. */
const LONGEST_WAIT_MS = 30_000;

/** Refused lines that a report names. */
const REPORTED = 1_000;

const NEWLINE = new Uint8Array([0x0a]);

/** How the last line of an export begins that left out facts. The server skips it. */
const WITHHELD = '{"withheld":';

/** A piece of an import: facts, or JSON Lines as text or bytes, cut anywhere. */
export type ImportPiece = ImportFact | string | Uint8Array;

/** What can be imported. */
export type ImportSource =
  | ReadableStream<ImportPiece>
  | AsyncIterable<ImportPiece>
  | Iterable<ImportPiece>
  | Blob
  | string
  | Uint8Array;

/** What an import takes. */
export interface ImportOptions extends CallOptions {
  /**
   * What becomes of a line whose id is taken, if it has no `mode` itself: with other content it is
   * refused (`insert`, if left out), or it replaces the fact (`upsert`, `update`).
   */
  mode?: StoreMode;
  /** Called after each part, with what was taken so far. */
  onProgress?: (report: Readonly<ImportReport>) => void;
}

/** A line of the whole import. */
interface Line {
  bytes: Uint8Array;
  /** Whether it holds a fact: it is neither blank nor the last line of an export. */
  counts: boolean;
}

/** The server's counts of one part. */
interface PartAnswer {
  failed: number;
  last_line: number;
  errors: RefusedLine[];
}

export class Import {
  readonly #transport: Transport;
  readonly #options: ImportOptions;
  readonly #report: ImportReport = {
    imported: 0,
    failed: 0,
    lines: 0,
    firstRefusedLine: null,
    lastLine: 0,
    errors: [],
  };
  #part: Line[] = [];
  #bytes = 0;

  constructor(transport: Transport, options: ImportOptions) {
    this.#transport = transport;
    this.#options = options;
  }

  /**
   * Imports all of it.
   *
   * @throws {ImportError} if a line was refused, or the import ended early
   */
  async run(source: ImportSource): Promise<ImportReport> {
    for await (const line of linesOf(source, this.#options.signal)) {
      if (this.#part.length >= PART_LINES || this.#bytes + line.bytes.length > PART_BYTES) {
        await this.#send();
      }
      this.#part.push(line);
      this.#bytes += line.bytes.length + 1;
    }
    await this.#send();
    const { failed, lines, firstRefusedLine } = this.#report;
    if (failed === 0) return this.#report;
    const message =
      `${failed} of ${lines} lines were refused; the first is line ${firstRefusedLine}, and ` +
      "`report.errors` says why";
    throw new ImportError({ code: "rejected", message, status: 422 }, this.#report);
  }

  /** Sends what has been gathered, until all of it is taken or refused. */
  async #send(): Promise<void> {
    let deadline = this.#deadline();
    for (let failures = 0; this.#part.length > 0; ) {
      const error = await this.#attempt(deadline.left());
      if (error === undefined) continue;
      const counts = partial(error);
      if (counts !== undefined && counts.last_line > 0) {
        this.#took(counts.last_line, counts.errors);
        deadline = this.#deadline();
        failures = 0;
      }
      failures += 1;
      const isLong = (error.retryAfterMs ?? 0) > LONGEST_WAIT_MS;
      if (!error.retryable || isLong) throw this.#ended(error);
      try {
        await this.#transport.pause(error, failures, deadline, this.#options.signal);
      } catch (thrown) {
        throw thrown === error ? this.#ended(error) : thrown;
      }
    }
  }

  #deadline(): Deadline {
    return this.#transport.deadline(this.#options, PATIENCE.deadlineMs);
  }

  /** Sends the part once. The error, unless all of its lines were taken or refused by themselves. */
  async #attempt(deadlineMs: number): Promise<KenningError | undefined> {
    const lines = this.#part;
    const request: Request = {
      method: "POST",
      path: "/v1/import",
      query: { mode: this.#options.mode },
      body: joined(lines.flatMap((line) => [line.bytes, NEWLINE])),
      headers: { "content-type": "application/x-ndjson" },
      repeatable: true,
      writes: true,
      patience: PATIENCE,
      ends: (error) => partial(error) !== undefined,
    };
    const call = { ...this.#options, deadlineMs: Math.max(1, deadlineMs) };
    try {
      await this.#transport.json(request, call);
      this.#took(lines.length, []);
      return undefined;
    } catch (thrown) {
      if (!(thrown instanceof KenningError)) throw thrown;
      const counts = partial(thrown);
      if (thrown.code !== "rejected" || counts === undefined) return thrown;
      this.#took(lines.length, counts.errors);
      return undefined;
    }
  }

  /** Counts the first lines of the part, which are dealt with. */
  #took(count: number, errors: RefusedLine[]): void {
    const taken = this.#part.splice(0, count);
    const refused = errors.filter((error) => error.line <= count);
    const report = this.#report;
    const offset = report.lines;
    report.lines += taken.length;
    report.lastLine = report.lines;
    report.imported += taken.filter((line) => line.counts).length - refused.length;
    report.failed += refused.length;
    for (const error of refused) {
      const line = error.line + offset;
      report.firstRefusedLine ??= line;
      if (report.errors.length < REPORTED) report.errors.push({ ...error, line });
    }
    this.#bytes = this.#part.reduce((bytes, line) => bytes + line.bytes.length + 1, 0);
    this.#options.onProgress?.(report);
  }

  #ended(error: KenningError): ImportError {
    const message = `the import ended after line ${this.#report.lastLine}: ${error.message}`;
    const { code, status, retryable, blame, details, requestId, retryAfterMs, answer } = error;
    const ended = new ImportError(
      {
        code,
        message,
        status,
        retryable,
        blame,
        details: details as ErrorDetails | undefined,
        requestId,
        retryAfterMs,
        answer,
        cause: error,
      },
      this.#report,
    );
    ended.attempts = error.attempts;
    return ended;
  }
}

/** What an error of an import says was taken all the same. */
function partial(error: KenningError): PartAnswer | undefined {
  const { failed, last_line, errors } = (error.answer ?? {}) as Partial<PartAnswer>;
  if (typeof failed !== "number" || typeof last_line !== "number") return undefined;
  return { failed, last_line, errors: errors ?? [] };
}

async function* linesOf(source: ImportSource, signal?: AbortSignal): AsyncGenerator<Line> {
  const splitter = new LineSplitter();
  const encoder = new TextEncoder();
  let isFirst = true;
  const line = (bytes: Uint8Array): Line => {
    const made = withId(bytes, isFirst);
    isFirst = false;
    return made;
  };
  for await (const piece of until(piecesOf(source), signal)) {
    if (piece instanceof Uint8Array) {
      for (const bytes of splitter.push(piece)) yield line(bytes);
    } else if (typeof piece === "string") {
      for (const bytes of splitter.push(encoder.encode(piece))) yield line(bytes);
    } else {
      const rest = splitter.finish();
      if (rest !== undefined) yield line(rest);
      yield line(encoder.encode(serialized(piece)));
    }
  }
  const rest = splitter.finish();
  if (rest !== undefined) yield line(rest);
}

function serialized(fact: ImportFact): string {
  const text: string | undefined = JSON.stringify(fact);
  if (text === undefined) throw new TypeError(`an import takes facts, not ${typeof fact}`);
  return text;
}

async function* piecesOf(source: ImportSource): AsyncGenerator<ImportPiece> {
  if (typeof source === "string" || source instanceof Uint8Array) yield source;
  else if (source instanceof Blob) yield* chunksOf<ImportPiece>(source.stream());
  else if (source instanceof ReadableStream) yield* chunksOf(source);
  else yield* source;
}

/** The pieces until the signal is aborted, also while the next piece is waited for. */
async function* until<T>(pieces: AsyncGenerator<T>, signal?: AbortSignal): AsyncGenerator<T> {
  if (signal === undefined) return yield* pieces;
  let abort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
  });
  aborted.catch(() => {});
  try {
    for (;;) {
      signal.throwIfAborted();
      const next = await Promise.race([pieces.next(), aborted]);
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    if (abort !== undefined) signal.removeEventListener("abort", abort);
    // Not waited for: a source that gives nothing does not end either.
    pieces.return(undefined).catch(() => {});
  }
}

/** Not every browser can iterate over a stream. */
async function* chunksOf<T>(stream: ReadableStream<T>): AsyncGenerator<T> {
  const reader = stream.getReader();
  let isDone = false;
  try {
    while (!isDone) {
      const next = await reader.read();
      isDone = next.done;
      if (next.value !== undefined) yield next.value;
    }
  } finally {
    if (!isDone) await reader.cancel();
  }
}

/** The line, with an id. Where it cannot be read it stays as it is, and the server says why. */
function withId(bytes: Uint8Array, isFirst: boolean): Line {
  const asIs = (counts: boolean): Line => ({ bytes, counts });
  let text: string;
  let fact: unknown;
  try {
    // A mark of UTF-8 in front of the first line is taken off, and of no other.
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: !isFirst }).decode(bytes).trim();
    if (text === "" || text.startsWith(WITHHELD)) return asIs(false);
    fact = JSON.parse(text);
  } catch {
    return asIs(true);
  }
  if (typeof fact !== "object" || fact === null || Array.isArray(fact)) return asIs(true);
  if (hasId(fact)) return asIs(true);
  const id = uuid();
  const rest = withoutIds(fact);
  const isWritten = Object.keys(rest).length === Object.keys(fact).length;
  // What is written stays as it is written: numbers may have more digits than JavaScript's have.
  const named = isWritten && Object.keys(fact).length > 0
    ? text.replace("{", () => `{"fact_id":"${id}",`)
    : JSON.stringify({ ...rest, fact_id: id });
  return { bytes: new TextEncoder().encode(named), counts: true };
}
