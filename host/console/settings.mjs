// The settings of a search, their panel, and the request that they make.

import { api, get, session } from "./api.mjs";
import { field, h, put, segmented } from "./dom.mjs";

/** A setting that asks for nothing special. */
export const defaults = () => ({
  mode: "hybrid",
  fusion: "score",
  topK: 10,
  minRelevance: 0,
  diversity: 0,
  halfLife: "",
  generation: "",
  without: [],
});

/** Sends a search. With another generation or without an extension it is a preview, which is the operator's. */
export async function find(setting, { text, filter, facets, cursor }, signal) {
  const json = {
    query: text,
    top_k: setting.topK,
    mode: setting.mode,
    explain: true,
    highlights: true,
    filter,
    cursor,
  };
  if (setting.mode === "hybrid" && setting.fusion !== "score") json.fusion = setting.fusion;
  if (setting.minRelevance > 0) json.min_relevance = setting.minRelevance;
  if (setting.diversity > 0) json.diversity = setting.diversity;
  if (setting.halfLife) json.recency = { half_life: setting.halfLife };
  if (facets?.length && !cursor) json.facets = facets;
  if (!setting.generation && !setting.without.length) return api("POST", "/v1/search", { json, signal });
  return preview(setting, json, signal);
}

/** The operator's answer has ids and figures; the facts are read with the tenant's own key. */
async function preview(setting, { facets, highlights, ...json }, signal) {
  const query = { generation: setting.generation, without: setting.without.join(",") };
  const found = await api("POST", `/v1/admin/tenants/${encodeURIComponent(session.tenant)}/preview`, {
    json,
    query,
    signal,
  });
  const facts = await Promise.all(found.results.map((hit) => readFact(hit.id, signal)));
  const results = found.results.map((hit, at) => ({ ...hit, doc_id: hit.id, ...facts[at] }));
  const what = [
    setting.generation && `logic generation ${found.generation}`,
    setting.without.length && `without ${setting.without.join(", ")}`,
  ];
  return { ...found, results, note: `${what.filter(Boolean).join(", ")}; nothing is recorded` };
}

async function readFact(id, signal) {
  try {
    const { content, metadata } = await get(`/v1/facts/${encodeURIComponent(id)}`, {}, { signal });
    return { content, metadata };
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return { content: `(${error.message})`, metadata: {} };
  }
}

/** Which guests there are to choose from, for the operator. */
async function guests() {
  const [logic, extensions] = await Promise.all([
    get("/v1/admin/logic"),
    get(`/v1/admin/tenants/${encodeURIComponent(session.tenant)}/extensions`),
  ]);
  return { logic, extensions: extensions.extensions };
}

/** The panel of one column. */
export function optionsPanel(column, isPair, changed) {
  const { setting } = column;
  const set = (name) => (value) => {
    setting[name] = value;
    changed();
  };
  const range = (label, name, hint, max = 1) => {
    const shown = h("output", {}, setting[name].toFixed(2));
    const input = h("input", {
      type: "range",
      min: 0,
      max,
      step: 0.05,
      value: setting[name],
      oninput: () => {
        shown.textContent = Number(input.value).toFixed(2);
        set(name)(Number(input.value));
      },
    });
    return field(h("span", {}, label, " ", shown), input, hint);
  };
  const halfLife = h(
    "select",
    { class: "input", onchange: () => set("halfLife")(halfLife.value) },
    [
      ["", "does not count"],
      ["1d", "halves in a day"],
      ["7d", "halves in a week"],
      ["30d", "halves in 30 days"],
      ["365d", "halves in a year"],
    ].map(([value, text]) => h("option", { value, selected: value === setting.halfLife }, text)),
  );
  const topK = h(
    "select",
    { class: "input", onchange: () => set("topK")(Number(topK.value)) },
    [5, 10, 20, 50, 100].map((number) =>
      h("option", { value: number, selected: number === setting.topK }, String(number)),
    ),
  );
  const guestBox = h("div", { class: "guests" });
  guests().then(
    (known) => drawGuests(guestBox, known, setting, changed),
    () => {},
  );
  return h(
    "fieldset",
    { class: "options" },
    h("legend", {}, isPair ? `Setting ${column.name}` : "Options"),
    isPair &&
      segmented(
        `Mode of ${column.name}`,
        [
          ["hybrid", "Hybrid"],
          ["vector", "Meaning"],
          ["text", "Words"],
        ],
        setting.mode,
        set("mode"),
      ),
    h(
      "div",
      { class: "options-grid" },
      field("Hits", topK),
      field("Age", halfLife),
      range("Least relevance", "minRelevance"),
      range("Diversity", "diversity"),
      field(
        "Fusion",
        select(
          [
            ["score", "by scores"],
            ["rank", "by ranks"],
          ],
          setting.fusion,
          set("fusion"),
        ),
      ),
    ),
    guestBox,
  );
}

function select(choices, value, onchange) {
  const element = h(
    "select",
    { class: "input", onchange: () => onchange(element.value) },
    choices.map(([one, text]) => h("option", { value: one, selected: one === value }, text)),
  );
  return element;
}

function drawGuests(box, { logic, extensions }, setting, changed) {
  const live = logic.active ?? logic.built_in?.generation;
  const numbers = [...new Set([logic.built_in?.generation, ...logic.generations.map((one) => one.number)])].filter(
    (one) => one && one !== live,
  );
  if (!numbers.length && !extensions.length) return;
  const pick = select(
    [["", `live (${live})`], ...numbers.map((one) => [String(one), `generation ${one}`])],
    setting.generation,
    (value) => {
      setting.generation = value;
      changed();
    },
  );
  put(
    box,
    numbers.length > 0 && field("Logic", pick),
    extensions.map(
      ({ name, paused }) =>
        !paused &&
        h(
          "label",
          { class: "toggle" },
          h("input", {
            type: "checkbox",
            role: "switch",
            checked: !setting.without.includes(name),
            onchange: (event) => {
              setting.without = setting.without.filter((one) => one !== name);
              if (!event.target.checked) setting.without.push(name);
              changed();
            },
          }),
          h("span", {}, name),
        ),
    ),
  );
}
