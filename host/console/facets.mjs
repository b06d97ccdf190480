// Filters as chips: which fields there are, how often their values occur, and which are chosen.

import { h } from "./dom.mjs";
import { compact } from "./format.mjs";

/** The most fields that a search counts. */
const FIELDS = 8;

/** Values of a field that are shown as chips. */
const VALUES = 8;

/** The metadata fields of these facts that make useful filters, the most frequent first. */
export function fieldsOf(facts) {
  const seen = new Map();
  for (const { metadata } of facts) {
    for (const [name, value] of Object.entries(metadata ?? {})) {
      const values = Array.isArray(value) ? value : [value];
      if (!values.every((one) => ["string", "number", "boolean"].includes(typeof one))) continue;
      if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) || values.some((one) => String(one).length > 40)) continue;
      const known = seen.get(name) ?? { times: 0, values: new Set() };
      known.times += 1;
      values.forEach((one) => known.values.add(one));
      seen.set(name, known);
    }
  }
  const useful = [...seen].filter(([, { times, values }]) => times < 3 || values.size < times);
  return useful
    .sort(([, a], [, b]) => b.times - a.times)
    .slice(0, FIELDS)
    .map(([name]) => name);
}

/** The filter that the chosen chips stand for; `undefined` if none is. */
export function filterOf(chosen) {
  if (!chosen.size) return undefined;
  return Object.fromEntries([...chosen].map(([name, values]) => [name, { in: [...values.values()] }]));
}

/** The chips. Those that are chosen are there even if nothing has their value any more. */
export function facetChips(facets, chosen, choose) {
  const names = [...new Set([...chosen.keys(), ...Object.keys(facets)])];
  return names.map((name) => {
    const counted = facets[name]?.values ?? [];
    const picked = [...(chosen.get(name)?.values() ?? [])];
    const absent = picked
      .filter((value) => !counted.some((one) => one.value === value))
      .map((value) => ({ value, count: 0 }));
    const shown = [...counted.filter(({ value }) => value !== null && String(value).length < 60), ...absent].slice(
      0,
      VALUES + absent.length,
    );
    if (!shown.length) return null;
    return h(
      "div",
      { class: "facet" },
      h("span", { class: "facet-name" }, name),
      shown.map(({ value, count }) =>
        h(
          "button",
          {
            type: "button",
            class: "chip",
            "aria-pressed": String(picked.includes(value)),
            onclick: () => choose(name, value),
          },
          String(value),
          h("span", { class: "chip-count" }, compact(count)),
        ),
      ),
    );
  });
}
