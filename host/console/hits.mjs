// A hit: what it says, with the query's words marked, and why it stands where it stands.

import { h, s } from "./dom.mjs";
import { trim } from "./format.mjs";
import { address } from "./router.mjs";

/** Characters of a hit that are shown before "Show all". */
const SHOWN = 420;

export function hitCard(hit, at, best, choose) {
  const text = h("div", { class: "hit-text", dir: "auto" });
  const draw = (isWhole) =>
    text.replaceChildren(...(isWhole ? [hit.content] : passages(hit)), ...more(hit, isWhole, draw));
  draw(false);
  return h(
    "li",
    { class: "hit", data: { id: hit.id } },
    h(
      "div",
      { class: "hit-main" },
      h(
        "div",
        { class: "hit-head" },
        h("span", { class: "hit-rank" }, String(at + 1)),
        h("a", { class: "hit-open", href: address("facts", [hit.id]) }, hit.id),
        h("span", { class: "hit-move" }),
      ),
      text,
      metadataChips(hit.metadata, choose),
    ),
    figures(hit, best),
  );
}

function more(hit, isWhole, draw) {
  if (hit.content.length <= SHOWN && !isCut(hit)) return [];
  return [
    " ",
    h("button", { type: "button", class: "link", onclick: () => draw(!isWhole) }, isWhole ? "Less" : "Show all"),
  ];
}

const isCut = (hit) => (hit.highlights ?? []).some((one) => one.matches.length) && hit.content.length > SHOWN;

/** The text with marks: whole if it is short, otherwise its passages. */
function passages(hit) {
  const { content, highlights = [] } = hit;
  if (content.length <= SHOWN)
    return marked(
      Array.from(content),
      highlights.flatMap(({ start, matches }) => matches.map((one) => [start + one.start, start + one.end])),
    );
  if (!highlights.length) return [`${content.slice(0, SHOWN)}…`];
  return highlights.flatMap(({ text, start, matches }, at) => [
    at || start > 0 ? "… " : "",
    ...marked(
      Array.from(text),
      matches.map((one) => [one.start, one.end]),
    ),
    at === highlights.length - 1 ? " …" : " ",
  ]);
}

function marked(characters, ranges) {
  const parts = [];
  let from = 0;
  for (const [start, end] of ranges.sort(([a], [b]) => a - b)) {
    if (start < from) continue;
    parts.push(characters.slice(from, start).join(""), h("mark", {}, characters.slice(start, end).join("")));
    from = end;
  }
  return [...parts, characters.slice(from).join("")];
}

/** Metadata as chips; those with a simple value filter by it. */
export function metadataChips(metadata, choose) {
  const pairs = Object.entries(metadata ?? {}).flatMap(([name, value]) =>
    (Array.isArray(value) && value.every((one) => typeof one !== "object") ? value : [value]).map((one) => [
      name,
      one,
    ]),
  );
  if (!pairs.length) return null;
  return h(
    "div",
    { class: "tags" },
    pairs.slice(0, 8).map(([name, value]) => {
      const text = typeof value === "object" ? JSON.stringify(value) : String(value);
      const content = [h("span", { class: "tag-name" }, name), text.length > 40 ? `${text.slice(0, 40)}…` : text];
      if (!choose || value === null || typeof value === "object") return h("span", { class: "tag" }, content);
      return h(
        "button",
        {
          type: "button",
          class: "tag",
          title: `Only facts whose ${name} is ${text}`,
          onclick: () => choose(name, value),
        },
        content,
      );
    }),
    pairs.length > 8 && h("span", { class: "tag" }, `+${pairs.length - 8}`),
  );
}

function figures(hit, best) {
  const { explain = {}, relevance = 0, similarity, score } = hit;
  return h(
    "div",
    { class: "hit-figures" },
    h(
      "div",
      { class: "relevance", title: "How likely the fact answers the query" },
      gauge(relevance),
      h("div", {}, h("b", {}, `${Math.round(relevance * 100)} %`), h("span", {}, "relevance")),
    ),
    leg("meaning", "vector", explain.vector, best),
    leg("words", "text", explain.text, best),
    h(
      "p",
      { class: "hit-score" },
      `score ${trim(score ?? 0)}`,
      similarity !== undefined && ` · cosine ${similarity.toFixed(2)}`,
    ),
  );
}

function gauge(share) {
  const around = 2 * Math.PI * 13;
  return s(
    "svg",
    { viewBox: "0 0 32 32", width: 30, height: 30, class: "gauge", "aria-hidden": "true" },
    s("circle", { cx: 16, cy: 16, r: 13, class: "gauge-back" }),
    s("circle", {
      cx: 16,
      cy: 16,
      r: 13,
      class: "gauge-front",
      "stroke-dasharray": `${around * Math.min(1, share)} ${around}`,
      transform: "rotate(-90 16 16)",
    }),
  );
}

/** What one half of the search said: its rank, and its share of the score as a bar. */
function leg(name, kind, said, best) {
  if (!said)
    return h(
      "div",
      { class: "leg leg-none" },
      h("span", { class: "leg-name" }, name),
      h("span", { class: "leg-rank" }, "not found"),
    );
  const width = Math.max(0, Math.min(1, said.share / best));
  return h(
    "div",
    {
      class: `leg leg-${kind}`,
      title: `${name}: rank ${said.rank}, ${kind === "vector" ? "cosine" : "BM25"} ${said.score.toFixed(3)}, share ${said.share.toFixed(3)}`,
    },
    h("span", { class: "leg-name" }, name),
    h("span", { class: "leg-rank" }, `#${said.rank}`),
    h("span", { class: "leg-bar" }, h("span", { style: { width: `${100 * width}%` } })),
    h("span", { class: "leg-share" }, trim(said.share)),
  );
}

/** Writes into column B how each hit moved against A, and into A what B does not have. Returns how
 *  many they share. */
export function moves(a, b) {
  const placeIn = (column) => new Map(column.found.results.map((hit, at) => [hit.id, at]));
  const [inA, inB] = [placeIn(a), placeIn(b)];
  const write = (column, others, isSecond) => {
    [...column.hits.children].forEach((card, at) => {
      const other = others.get(card.dataset.id);
      const note = card.querySelector(".hit-move");
      const step = other === undefined ? null : other - at;
      note.className = `hit-move ${step === null ? "is-only" : step > 0 ? "is-up" : step < 0 ? "is-down" : ""}`;
      note.textContent =
        step === null
          ? `only in ${column.name}`
          : !isSecond
            ? ""
            : step > 0
              ? `↑ ${step}`
              : step < 0
                ? `↓ ${-step}`
                : "same place";
    });
  };
  write(a, inB, false);
  write(b, inA, true);
  return [...inA.keys()].filter((id) => inB.has(id)).length;
}
