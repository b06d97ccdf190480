// The log of an extension, as it is written.

import { get, isAbort } from "./api.mjs";
import { h, put, toggle } from "./dom.mjs";
import { errorBox } from "./feedback.mjs";

const EVERY = 1500;

/** Lines that are kept on the page. */
const MOST = 500;

/** A panel that asks for new lines until `signal`. */
export function logPanel(path, signal) {
  const lines = h("ol", { class: "log", tabindex: "0", "aria-label": "Log, oldest first" });
  const note = h("p", { class: "hint" }, "It has written nothing yet. Lines are kept in memory only, on this host.");
  const problem = h("div", {});
  let [after, withReplays, begun] = [0, false, 0];
  const ask = async () => {
    const mine = begun;
    while (!signal.aborted && mine === begun) {
      try {
        const answer = document.hidden
          ? { lines: [] }
          : await get(path, { after, replays: withReplays ? "true" : "" }, { signal });
        if (mine !== begun) return;
        put(problem);
        append(answer.lines);
      } catch (error) {
        if (isAbort(error)) return;
        put(problem, errorBox(error));
      }
      await new Promise((next) => setTimeout(next, EVERY));
    }
  };
  const append = (fresh) => {
    if (!fresh.length) return;
    const isAtEnd = lines.scrollTop + lines.clientHeight > lines.scrollHeight - 30;
    for (const one of fresh) {
      after = Math.max(after, one.number);
      lines.append(
        h(
          "li",
          { class: `is-${one.level.toLowerCase()}` },
          h("time", { datetime: one.time }, clock(one.time)),
          h("span", { class: "log-level" }, one.level.toLowerCase()),
          h("span", { class: "muted" }, `gen ${one.generation}`),
          one.replay && h("span", { class: "pill" }, "replay"),
          h("span", { class: "log-text", dir: "auto" }, one.message),
        ),
      );
    }
    while (lines.children.length > MOST) lines.firstChild.remove();
    note.hidden = true;
    if (isAtEnd) lines.scrollTop = lines.scrollHeight;
  };
  const restart = () => {
    begun += 1;
    after = 0;
    put(lines);
    note.hidden = false;
    ask();
  };
  ask();
  return h(
    "div",
    {},
    h(
      "div",
      { class: "card-head" },
      h("h3", {}, "Log"),
      h("div", { class: "spacer" }),
      toggle("With replays", false, (isOn) => {
        withReplays = isOn;
        restart();
      }),
    ),
    problem,
    note,
    lines,
  );
}

const clock = (text) => new Date(text).toLocaleTimeString("en-GB");
