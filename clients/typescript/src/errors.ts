import type { Blame } from "./internal.js";
import type { ErrorBody, ErrorCode, ErrorDetails, RefusedLine } from "./types.js";

/**
 * Codes of this client, where no error of the server came:
 *
 * | code | when |
 * |---|---|
 * | `connection_failed` | the server cannot be reached, or the connection broke |
 * | `deadline_exceeded` | no answer came in time |
 * | `unexpected_answer` | what answered is not Kenning: a proxy, another program |
 * | `incomplete` | an export left out facts that an extension spoilt |
 */
export type ClientErrorCode =
  | "connection_failed"
  | "deadline_exceeded"
  | "unexpected_answer"
  | "incomplete";

/** Who has to act for the request to succeed. `network`: whatever is between client and server. */
export type ErrorBlame = Blame | "network";

/** What is known of a failure, for the constructor of {@link KenningError}. */
export interface Failure {
  code: ErrorCode | ClientErrorCode;
  message: string;
  status?: number;
  retryable?: boolean;
  blame?: ErrorBlame;
  details?: ErrorDetails | undefined;
  requestId?: string | undefined;
  retryAfterMs?: number | undefined;
  answer?: unknown;
  cause?: unknown;
}

/** A request that failed. */
export class KenningError extends Error {
  /** What went wrong: a code of the server, or one of this client. */
  readonly code: ErrorCode | ClientErrorCode;
  /** The HTTP status; 0 if there was no answer. */
  readonly status: number;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;
  /** Who has to act. */
  readonly blame: ErrorBlame;
  /** Particulars, such as a limit or a JSON pointer; `outcome: "unknown"` if a write may have happened. */
  readonly details: ErrorDetails | undefined;
  /** The request's name in the server's log. */
  readonly requestId: string | undefined;
  /** How long the server asks to wait, in milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** The answer's whole body, if it was JSON. */
  readonly answer: unknown;
  /** How often the request was tried. */
  attempts = 1;
  /** Whether an earlier attempt of this request may have taken effect. */
  earlierOutcomeUnknown = false;

  constructor(failure: Failure) {
    super(failure.message, failure.cause === undefined ? {} : { cause: failure.cause });
    this.name = "KenningError";
    this.code = failure.code;
    this.status = failure.status ?? 0;
    this.retryable = failure.retryable ?? false;
    this.blame = failure.blame ?? "caller";
    this.details = failure.details;
    this.requestId = failure.requestId;
    this.retryAfterMs = failure.retryAfterMs;
    this.answer = failure.answer;
  }

  /** Whether a write may have happened although this error came. */
  get outcomeUnknown(): boolean {
    return this.details?.outcome === "unknown";
  }
}

/** What an import took. */
export interface ImportReport {
  /** Lines whose facts are stored. */
  imported: number;
  /** Lines that were refused. */
  failed: number;
  /** Lines that were sent, blank ones too. */
  lines: number;
  /** The first line that was refused; `null` if there is none. The first line is 1. */
  firstRefusedLine: number | null;
  /** The last line that was taken or refused: continue from the line after it. */
  lastLine: number;
  /** The first 1,000 refused lines, in their order. */
  errors: RefusedLine[];
}

/** An import that did not take every line. What was taken is stored. */
export class ImportError extends KenningError {
  /** What was taken, and which lines were refused. */
  readonly report: ImportReport;

  constructor(failure: Failure, report: ImportReport) {
    super(failure);
    this.name = "ImportError";
    this.report = report;
  }
}

/** Whether `value` is an error of Kenning, and of this code if one is given. */
export function isKenningError(
  value: unknown,
  code?: ErrorCode | ClientErrorCode,
): value is KenningError {
  return value instanceof KenningError && (code === undefined || value.code === code);
}

/** Whether `body` is an error of the server. */
export function isErrorBody(body: unknown): body is ErrorBody {
  if (typeof body !== "object" || body === null) return false;
  const { status, code, message } = body as Record<string, unknown>;
  return status === "error" && typeof code === "string" && typeof message === "string";
}
