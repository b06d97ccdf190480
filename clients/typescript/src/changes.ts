/** Following changes: connects again where the stream ended, after the last event that was seen. */

import { KenningError } from "./errors.js";
import { EventParser } from "./events.js";
import { sleep } from "./internal.js";
import type { CallOptions, Open, Transport } from "./transport.js";
import type { ChangeEvent } from "./types.js";

/** How long a stream may say nothing. The server says something every 15 seconds. */
const SILENCE_MS = 60_000;

/** What following changes takes. */
export interface ChangesOptions extends CallOptions {
  /** The revision after which to begin; with what happens from now on, if left out. */
  after?: number;
  /** `false` ends with the changes that there are; `true` if left out. */
  follow?: boolean;
  /** How long the stream may be silent before it counts as broken, in milliseconds; 60,000. */
  silenceMs?: number;
}

export class Changes {
  readonly #transport: Transport;
  readonly #options: ChangesOptions;
  /** The position after the last event that the caller has. */
  #position: number | undefined;
  /** Where a stream that does not follow ends. */
  #last: number | undefined;
  #retryMs = 1_000;
  #failures = 0;

  constructor(transport: Transport, options: ChangesOptions) {
    this.#transport = transport;
    this.#options = options;
    this.#position = options.after;
  }

  async *run(): AsyncGenerator<ChangeEvent, void, undefined> {
    for (;;) {
      const stream = await this.#connect();
      try {
        yield* this.#events(stream);
      } finally {
        stream.close();
      }
      if (this.#isComplete()) return;
      const wait = this.#retryMs * Math.min(2 ** this.#failures, 16);
      await sleep(wait * (0.5 + Math.random() / 2), this.#options.signal);
      this.#failures += 1;
    }
  }

  async #connect(): Promise<Open> {
    const stream = await this.#transport.open(
      {
        method: "GET",
        path: "/v1/changes",
        query: { follow: this.#options.follow },
        headers: {
          accept: "text/event-stream",
          ...(this.#position === undefined ? {} : { "last-event-id": String(this.#position) }),
        },
        repeatable: true,
      },
      this.#options,
    );
    const type = stream.response.headers.get("content-type") ?? "";
    if (!type.startsWith("text/event-stream")) {
      stream.close();
      const message = `the answer is ${type || "of no type"}, and not a stream of events`;
      throw new KenningError({ code: "unexpected_answer", message, status: stream.response.status });
    }
    const revision = stream.response.headers.get("x-kenning-revision");
    if (revision !== null && /^\d+$/.test(revision)) {
      this.#last ??= Number(revision);
      // Without a position of the caller's the stream begins here, even if it breaks at once.
      this.#position ??= Number(revision);
    }
    return stream;
  }

  /** The events of one connection, which ends as it likes. */
  async *#events(stream: Open): AsyncGenerator<ChangeEvent, void, undefined> {
    const parser = new EventParser();
    const silence = this.#options.silenceMs ?? SILENCE_MS;
    for (;;) {
      let bytes: Uint8Array | undefined;
      try {
        bytes = await stream.read(silence);
      } catch (thrown) {
        if (thrown instanceof KenningError) return;
        throw thrown;
      }
      if (bytes === undefined) return;
      for (const { id, data } of parser.push(bytes)) {
        this.#retryMs = parser.retryMs ?? this.#retryMs;
        // Before the caller has it: whoever stops here has seen it.
        if (id !== undefined && /^\d+$/.test(id)) this.#position = Number(id);
        if (data === undefined) continue;
        this.#failures = 0;
        yield event(data);
      }
    }
  }

  #isComplete(): boolean {
    if (this.#options.follow !== false) return false;
    return (this.#position ?? 0) >= (this.#last ?? 0);
  }
}

function event(data: string): ChangeEvent {
  try {
    return JSON.parse(data) as ChangeEvent;
  } catch {
    const message = `an event is not JSON: ${JSON.stringify(data.slice(0, 200))}`;
    throw new KenningError({ code: "unexpected_answer", message, blame: "network" });
  }
}
