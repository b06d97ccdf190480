/**
 * Exports, a page at a time.
 *
 * `GET /v1/export` sends the same pages in one answer. But what broke in the middle of that could
 * not be continued, and `fetch` of Node.js takes an answer that was cut for a whole one if its head
 * has `connection: close`, as answers have while a server stops. A page is whole or it is no JSON.
 */

import { KenningError } from "./errors.js";
import type { CallOptions, Transport } from "./transport.js";
import type { Fact, FactPage, Filter } from "./types.js";

/** Facts in a page: as many as in a piece of `GET /v1/export`. */
const PAGE = 500;

/** What an export takes. */
export interface ExportOptions extends CallOptions {
  /** Only facts that match. */
  filter?: Filter;
  /**
   * Called at the end with the number of facts that are left out because an extension spoilt them.
   * Without it, such an export ends with an error of the code `incomplete`.
   */
  onWithheld?: (count: number) => void;
}

/** A page, and each of its facts as the server wrote it. */
interface Page {
  facts: Fact[];
  texts: string[];
}

/** The pages of an export. The deadline is for each of them. */
export async function* exportedPages(
  transport: Transport,
  options: ExportOptions,
): AsyncGenerator<Page, void, undefined> {
  const filter = options.filter === undefined ? undefined : JSON.stringify(options.filter);
  let cursor: string | undefined;
  let withheld = 0;
  do {
    const query = { filter, limit: PAGE, cursor };
    const { text, json: page } = await transport.textAndJson<FactPage>(
      { method: "GET", path: "/v1/facts", query, repeatable: true, reads: true },
      options,
    );
    yield { facts: page.facts, texts: objectsInArray(text) };
    withheld += page.withheld ?? 0;
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined);
  if (withheld === 0) return;
  if (options.onWithheld === undefined) throw incomplete(withheld);
  options.onWithheld(withheld);
}

/** An export as JSON Lines, of which a page is read whenever the reader wants one. */
export function exportedLines(
  transport: Transport,
  options: ExportOptions,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const pages = exportedPages(transport, options);
  const encoder = new TextEncoder();
  return new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      async pull(controller) {
        // A page without a fact is not the end.
        for (let text = ""; text === ""; ) {
          const next = await pages.next();
          if (next.done === true) return controller.close();
          text = next.value.texts.map((line) => `${line}\n`).join("");
          if (text !== "") controller.enqueue(encoder.encode(text));
        }
      },
      async cancel() {
        await pages.return();
      },
    },
    { highWaterMark: 0 },
  );
}

/**
 * The texts of the objects in the array that the object `json` has. They are not made again from
 * what was read: numbers may have more digits than JavaScript's have.
 */
export function objectsInArray(json: string): string[] {
  const objects: string[] = [];
  let [depth, start, isText] = [0, 0, false];
  for (let at = 0; at < json.length; at++) {
    const letter = json[at];
    if (isText) {
      if (letter === "\\") at += 1;
      else if (letter === '"') isText = false;
    } else if (letter === '"') {
      isText = true;
    } else if (letter === "{" || letter === "[") {
      depth += 1;
      if (depth === 3) start = at;
    } else if (letter === "}" || letter === "]") {
      depth -= 1;
      if (depth === 2) objects.push(json.slice(start, at + 1));
    }
  }
  return objects;
}

function incomplete(withheld: number): KenningError {
  return new KenningError({
    code: "incomplete",
    message: `${withheld} facts are left out of the export, because an extension spoilt them; ` +
      "give `onWithheld` if that is expected",
    blame: "guest",
  });
}
