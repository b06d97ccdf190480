/** JSON Lines as bytes. */

import { KenningError } from "./errors.js";

const NEWLINE = 0x0a;

/** The longest line that is put together; a server takes 1 MiB unless it is told otherwise. */
const LONGEST = 64 * 1024 * 1024;

/** Cuts bytes into lines, without their newlines. */
export class LineSplitter {
  #partial: Uint8Array[] = [];
  #length = 0;

  /** The lines that end in `bytes`. */
  *push(bytes: Uint8Array): Generator<Uint8Array> {
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
      this.#add(bytes.subarray(start, end));
      yield this.#take();
      start = end + 1;
    }
    this.#add(bytes.subarray(start));
  }

  /** What is behind the last newline, if anything is. */
  finish(): Uint8Array | undefined {
    return this.#length === 0 ? undefined : this.#take();
  }

  #add(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#length += bytes.length;
    if (this.#length > LONGEST) {
      throw new KenningError({
        code: "too_large",
        message: `a line has more than ${LONGEST} bytes; is this JSON Lines?`,
        details: { limit: "line_bytes", allowed: LONGEST },
      });
    }
    this.#partial.push(bytes);
  }

  #take(): Uint8Array {
    const parts = this.#partial;
    const line = parts.length === 1 && parts[0] !== undefined ? parts[0] : joined(parts);
    this.#partial = [];
    this.#length = 0;
    return line;
  }
}

/** The parts behind each other. */
export function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
