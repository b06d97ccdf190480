import type { components } from "./openapi.js";

export type Blame = components["schemas"]["Blame"];

/** A variable of the environment, where there is one: a browser has none. */
export function environment(name: string): string | undefined {
  const scope = globalThis as { process?: { env?: Record<string, string | undefined> } };
  const value = scope.process?.env?.[name];
  return value === "" ? undefined : value;
}

/** A random UUID, also in pages that are not served over TLS, which have no `randomUUID`. */
export function uuid(): string {
  if (typeof crypto.randomUUID === "function") return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** The members that a draft may have its id in. */
const IDS = ["fact_id", "id", "doc_id"] as const;

/** Whether a draft says which fact it is. */
export function hasId(draft: object): boolean {
  return IDS.some((name) => (draft as Partial<Record<string, unknown>>)[name] != null);
}

/** A draft without the members that could say which fact it is. */
export function withoutIds(draft: object): object {
  const members = Object.entries(draft);
  return Object.fromEntries(members.filter(([name]) => !IDS.some((id) => id === name)));
}

/** Waits; rejects with the signal's reason once it is aborted. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const aborted = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", aborted);
      resolve();
    }, ms);
    signal?.addEventListener("abort", aborted, { once: true });
  });
}

/** The moment by which something must be over. */
export class Deadline {
  readonly #end: number;

  constructor(ms: number) {
    this.#end = performance.now() + ms;
  }

  /** Milliseconds that are left; 0 once it has passed. */
  left(): number {
    return Math.max(0, this.#end - performance.now());
  }
}

const FIRST_WAIT_MS = 100;
const LAST_WAIT_MS = 5_000;

/**
 * How long to wait after this many failures: twice as long each time, with jitter, so that clients
 * that failed together do not return together. Never less than the server asks for.
 */
export function backoff(failures: number, askedMs: number | undefined): number {
  const most = Math.min(LAST_WAIT_MS, FIRST_WAIT_MS * 2 ** (failures - 1));
  const own = most * (0.5 + Math.random() / 2);
  return askedMs === undefined ? own : askedMs + Math.random() * most;
}

/** `Retry-After` in milliseconds: seconds, or a date. */
export function retryAfterMs(value: string | null): number | undefined {
  if (value === null) return undefined;
  if (/^\s*\d+\s*$/.test(value)) return Number(value) * 1_000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}
