/** Server-sent events, as the HTML standard has them. */

/** One event, or only a position: an `id` without data. */
export interface ServerEvent {
  /** The position after this event. */
  id: string | undefined;
  event: string;
  data: string | undefined;
}

/** Reads events from bytes. */
export class EventParser {
  /** How long the server asks to wait before connecting again, in milliseconds. */
  retryMs: number | undefined;
  readonly #decoder = new TextDecoder();
  #text = "";
  #id: string | undefined;
  #event = "";
  #data: string[] = [];

  /** The events that end in `bytes`. */
  *push(bytes: Uint8Array): Generator<ServerEvent> {
    this.#text += this.#decoder.decode(bytes, { stream: true });
    // A carriage return at the end may be half of a line's end.
    const whole = this.#text.endsWith("\r") ? this.#text.slice(0, -1) : this.#text;
    const lines = whole.split(/\r\n|\r|\n/);
    this.#text = (lines.pop() ?? "") + this.#text.slice(whole.length);
    for (const line of lines) {
      const event = this.#line(line);
      if (event !== undefined) yield event;
    }
  }

  #line(line: string): ServerEvent | undefined {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#event = value;
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    else if (field === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
    return undefined;
  }

  #dispatch(): ServerEvent {
    const data = this.#data.length === 0 ? undefined : this.#data.join("\n");
    const event = { id: this.#id, event: this.#event || "message", data };
    this.#data = [];
    this.#event = "";
    return event;
  }
}
