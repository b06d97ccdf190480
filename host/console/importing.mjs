// An import of a file: how far it is, and which lines were refused.

import { send, get } from "./api.mjs";
import { button, h, iconButton, put } from "./dom.mjs";
import { bytes, count, milliseconds, plural } from "./format.mjs";

/** Lets the reader choose a file. */
export function chooseFile(work, accept = ".jsonl,.ndjson,.json,.txt") {
  const input = h("input", { type: "file", accept, class: "hidden", "aria-label": "File" });
  input.addEventListener("change", () => {
    if (input.files[0]) work(input.files[0]);
    input.remove();
  });
  input.addEventListener("cancel", () => input.remove());
  document.body.append(input);
  input.click();
}

/** The panel of an import, which begins at once. */
export function importPanel(file, onEnd, onClose) {
  const cancel = new AbortController();
  const bar = h("progress", { max: 100, value: 0, "aria-label": "Progress of the import" });
  const line = h("p", { "aria-live": "polite" }, "beginning…");
  const result = h("div", {});
  const stop = button("Stop", () => cancel.abort());
  const panel = h(
    "div",
    { class: "import" },
    h(
      "div",
      { class: "detail-head" },
      iconButton("Back to the list", "back", onClose, { class: "icon-button only-narrow" }),
      h("h2", {}, `Import of ${file.name}`),
      h("div", { class: "spacer" }),
      iconButton("Close", "close", onClose, { class: "icon-button only-wide" }),
    ),
    h("p", { class: "hint" }, `${bytes(file.size)}. What was taken is stored, also if you stop.`),
    bar,
    line,
    h("div", { class: "row" }, stop),
    result,
  );
  run(file, cancel, (progress) => {
    bar.value = file.size ? (100 * progress.bytes) / file.size : 100;
    put(
      line,
      `${plural(progress.lines, "line")} read, ${count(progress.imported)} stored, ${count(progress.failed)} refused`,
      progress.waiting_for && ` · waiting: ${progress.waiting_for}`,
    );
  })
    .then(
      (answer) => {
        bar.value = 100;
        put(
          line,
          h("b", {}, `${plural(answer.imported ?? 0, "fact")} stored`),
          answer.failed ? `, ${plural(answer.failed, "line")} refused` : "",
          answer.took_ms !== undefined && ` in ${milliseconds(answer.took_ms)}`,
        );
        put(
          result,
          answer.status === "error" && h("p", { class: "notice notice-bad" }, answer.message),
          refused(answer),
        );
      },
      (error) => {
        put(line, error.name === "AbortError" ? "Stopped. What was taken so far is stored." : error.message);
      },
    )
    .finally(() => {
      stop.remove();
      onEnd();
    });
  return panel;
}

/** Sends the file and asks how far it is meanwhile. Resolves with the answer, whatever its status. */
async function run(file, cancel, onProgress) {
  const id = crypto.randomUUID?.() ?? `console-${Math.random().toString(36).slice(2)}${Date.now()}`;
  let isOver = false;
  const sent = send("POST", "/v1/import", {
    body: file,
    type: "application/x-ndjson",
    signal: cancel.signal,
    headers: { "x-kenning-import-id": id },
  });
  const ended = sent.finally(() => (isOver = true));
  ended.catch(() => {});
  while (!isOver) {
    await Promise.race([ended.catch(() => {}), new Promise((next) => setTimeout(next, 400))]);
    if (isOver) break;
    await get(`/v1/imports/${id}`).then(onProgress, () => {});
  }
  const response = await ended;
  const body = await response.json().catch(() => null);
  return body ?? { status: "error", message: `The server answered ${response.status}.` };
}

function refused(answer) {
  const lines = answer.errors ?? [];
  if (!lines.length) return null;
  return h(
    "div",
    {},
    h("h3", {}, "Refused lines"),
    h(
      "div",
      { class: "table-box", tabindex: "0", role: "region", "aria-label": "Refused lines" },
      h(
        "table",
        { class: "table cards" },
        h("thead", {}, h("tr", {}, h("th", {}, "Line"), h("th", {}, "Code"), h("th", {}, "What is wrong"))),
        h(
          "tbody",
          {},
          lines
            .slice(0, 200)
            .map((one) =>
              h(
                "tr",
                {},
                h("td", { "data-label": "Line" }, count(one.line)),
                h("td", { "data-label": "Code" }, h("code", {}, one.code)),
                h("td", { "data-label": "What is wrong" }, one.message),
              ),
            ),
        ),
      ),
    ),
    lines.length > 200 && h("p", { class: "hint" }, `and ${count(lines.length - 200)} more`),
  );
}
