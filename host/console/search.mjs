// Search as you type; one setting, or two side by side.

import { get, isAbort, session } from "./api.mjs";
import { button, debounced, h, icon, put, segmented, skeleton, toggle } from "./dom.mjs";
import { count, milliseconds, plural } from "./format.mjs";
import { errorBox } from "./feedback.mjs";
import { facetChips, fieldsOf, filterOf } from "./facets.mjs";
import { hitCard, moves } from "./hits.mjs";
import { address, amend } from "./router.mjs";
import { defaults, find, optionsPanel } from "./settings.mjs";

export function open(page, here) {
  const view = new Search(page, here.params);
  view.begin();
  return { stop: () => view.stop(), moved: (there) => view.moved(there) };
}

/** One column: a setting, and what was found with it. */
class Column {
  constructor(name, setting) {
    Object.assign(this, { name, setting, found: null, cancel: null });
    this.status = h("p", { class: "found", "aria-live": "polite" });
    this.notes = h("div", {});
    this.hits = h("ol", { class: "hits" });
    this.more = h("div", { class: "row row-center" });
    this.options = h("div", {});
    this.element = h(
      "section",
      { class: "column", "aria-label": `Results ${name}` },
      this.options,
      this.status,
      this.notes,
      this.hits,
      this.more,
    );
  }
}

class Search {
  constructor(page, params) {
    this.page = page;
    this.chosen = new Map();
    this.fields = [];
    this.facets = {};
    this.withoutFacets = "";
    this.columns = [new Column("A", { ...defaults(), mode: params.get("mode") ?? "hybrid" })];
    this.input = h("input", {
      id: "query",
      class: "query",
      type: "search",
      placeholder: "Ask, or name a word",
      autocomplete: "off",
      spellcheck: "false",
      "aria-label": "Query",
      value: params.get("q") ?? "",
      dir: "auto",
      maxlength: 65536,
    });
    this.later = debounced(180, () => this.run());
  }

  async begin() {
    this.bar = h("div", { class: "search-bar" });
    this.chips = h("div", { class: "facets", "aria-label": "Filters", role: "group" });
    this.body = h("div", { class: "columns" });
    put(
      this.page,
      h(
        "div",
        { class: "search-head" },
        h("h1", { class: "hidden" }, "Search"),
        h("div", { class: "query-box" }, icon("search", 22), this.input),
        this.bar,
        this.chips,
      ),
      this.body,
    );
    this.input.addEventListener("input", () => this.later());
    this.input.addEventListener("keydown", (event) => this.onKey(event));
    this.page.addEventListener("keydown", (event) => this.onHitKey(event));
    this.drawBar();
    this.drawColumns();
    if (matchMedia("(min-width: 900px)").matches) this.input.focus();
    try {
      const facts = (await get("/v1/facts", { limit: 100 })).facts;
      this.fields = fieldsOf(facts);
      this.isEmpty = facts.length === 0;
    } catch {
      this.isEmpty = false;
    }
    this.run();
  }

  stop() {
    this.later.cancel();
    for (const column of this.columns) column.cancel?.abort();
  }

  moved(here) {
    const text = here.params.get("q") ?? "";
    if (text !== this.input.value) {
      this.input.value = text;
      this.run();
    }
    this.input.focus();
  }

  onKey(event) {
    if (event.key === "Enter") {
      this.later.cancel();
      this.run();
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      this.columns[0].hits.querySelector(".hit-open")?.focus();
    }
  }

  onHitKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || !event.target.classList.contains("hit-open")) return;
    event.preventDefault();
    const all = [...this.page.querySelectorAll(".hit-open")];
    const next = all[all.indexOf(event.target) + step];
    (next ?? (step < 0 ? this.input : event.target)).focus();
  }

  drawBar() {
    const isPair = this.columns.length === 2;
    put(
      this.bar,
      !isPair &&
        segmented(
          "Mode",
          [
            ["hybrid", "Hybrid", "By meaning and by words"],
            ["vector", "Meaning", "By vectors"],
            ["text", "Words", "By words (BM25)"],
          ],
          this.columns[0].setting.mode,
          (mode) => {
            this.columns[0].setting.mode = mode;
            this.run();
          },
        ),
      h("div", { class: "spacer" }),
      button(isPair ? "End the comparison" : "Compare", () => this.compare(!isPair), {
        icon: "compare",
        kind: "quiet",
      }),
      !isPair &&
        button("Options", () => this.toggleOptions(), {
          kind: "quiet",
          "aria-expanded": String(Boolean(this.isOpen)),
        }),
    );
  }

  toggleOptions() {
    this.isOpen = !this.isOpen;
    this.drawBar();
    this.drawColumns();
  }

  compare(isPair) {
    const first = this.columns[0];
    if (isPair) {
      const mode = first.setting.mode === "text" ? "hybrid" : "text";
      this.columns.push(new Column("B", { ...structuredClone(first.setting), mode }));
    } else {
      this.columns.pop().cancel?.abort();
    }
    this.drawBar();
    this.drawColumns();
    this.run();
  }

  drawColumns() {
    const isPair = this.columns.length === 2;
    put(
      this.body,
      this.columns.map((column) => column.element),
    );
    this.body.classList.toggle("pair", isPair);
    for (const column of this.columns) {
      const isShown = isPair || this.isOpen;
      put(
        column.options,
        isShown &&
          optionsPanel(column, isPair, () => {
            this.later();
          }),
      );
    }
  }

  /** Asks for what the page says now. An earlier question that is still open is given up. */
  async run() {
    const text = this.input.value;
    amend({ q: text, mode: this.columns[0].setting.mode === "hybrid" ? "" : this.columns[0].setting.mode });
    if (!text.trim()) return this.drawNothing();
    await Promise.all(this.columns.map((column) => this.ask(column, text)));
    if (this.columns.length === 2) this.drawMoves();
  }

  async ask(column, text, cursor) {
    column.cancel?.abort();
    const mine = new AbortController();
    column.cancel = mine;
    column.element.setAttribute("aria-busy", "true");
    if (!column.found)
      put(column.hits, h("li", { class: "hit" }, skeleton(3)), h("li", { class: "hit" }, skeleton(3)));
    try {
      const facets = this.withoutFacets ? [] : this.fields;
      const question = { text, filter: filterOf(this.chosen), facets, cursor };
      const found = await find(column.setting, question, mine.signal);
      if (column.cancel !== mine) return;
      if (cursor) found.results = [...column.found.results, ...found.results];
      column.found = found;
      if (found.facets) this.facets = found.facets;
      this.drawFound(column);
    } catch (error) {
      if (isAbort(error) || column.cancel !== mine) return;
      if (error.details?.pointer === "/facets" && !this.withoutFacets) {
        this.withoutFacets = error.message;
        return this.ask(column, text, cursor);
      }
      column.found = null;
      put(column.hits);
      put(column.more);
      put(column.status);
      put(
        column.notes,
        errorBox(error, () => this.run()),
      );
    } finally {
      if (column.cancel === mine) column.element.removeAttribute("aria-busy");
    }
  }

  drawFound(column) {
    const { results, degraded = [], took_ms: took, next_cursor: next, withheld } = column.found;
    put(
      column.status,
      h("b", {}, results.length ? plural(results.length, "hit") : "Nothing found"),
      ` in ${milliseconds(took)}`,
      column.setting.mode !== "hybrid" && `, by ${column.setting.mode === "text" ? "words" : "meaning"} alone`,
      column.found.note && ` · ${column.found.note}`,
    );
    put(
      column.notes,
      degraded.map((sentence) => h("p", { class: "notice notice-warn" }, sentence)),
      withheld
        ? h(
            "p",
            { class: "notice notice-warn" },
            `${plural(withheld, "hit")} left out: a guest returned them spoilt.`,
          )
        : null,
      !results.length && this.nothingFound(column),
    );
    const best = Math.max(1e-9, ...results.map((hit) => share(hit)));
    put(
      column.hits,
      results.map((hit, at) => hitCard(hit, at, best, (name, value) => this.choose(name, value))),
    );
    put(column.more, next && button("More", () => this.ask(column, this.input.value, next)));
    this.drawFacets();
  }

  nothingFound(column) {
    const { minRelevance, mode } = column.setting;
    const advice = [
      this.chosen.size && "a filter is set: remove a chip above",
      minRelevance > 0 && "a floor of relevance is set: lower it in the options",
      mode === "text" && "by words alone only facts with one of these words are found: try Hybrid",
    ].filter(Boolean);
    return h(
      "div",
      { class: "empty" },
      h(
        "p",
        {},
        advice.length
          ? `Perhaps ${advice.join("; or ")}.`
          : "No fact is near to this. Other words, or a fact that says it?",
      ),
      h("a", { class: "button", href: address("facts", [], { new: "1" }) }, "Store a fact"),
    );
  }

  drawNothing() {
    for (const column of this.columns) {
      column.cancel?.abort();
      column.found = null;
      put(column.status);
      put(column.notes);
      put(column.hits);
      put(column.more);
    }
    this.facets = {};
    this.drawFacets();
    put(this.columns[0].notes, this.isEmpty ? this.teachFirst() : this.teach());
  }

  teachFirst() {
    return h(
      "div",
      { class: "empty empty-large" },
      h("h2", {}, `The tenant ${session.tenant} has no facts yet`),
      h(
        "p",
        {},
        "A fact is a sentence or a page of text, with metadata if you like. Once it is stored, ask for it in other words.",
      ),
      h(
        "a",
        { class: "button primary", href: address("facts", [], { new: "1" }) },
        icon("plus"),
        h("span", {}, "Store the first fact"),
      ),
    );
  }

  teach() {
    return h(
      "div",
      { class: "empty empty-large" },
      h("h2", {}, "Ask in your own words"),
      h(
        "p",
        {},
        "Hybrid search knows what words mean and which words are there. Each hit shows what either said of it, and how likely it answers.",
      ),
      h(
        "p",
        { class: "hint" },
        h("kbd", {}, "/"),
        " comes back here from anywhere, ",
        h("kbd", {}, "↓"),
        " goes into the hits, ",
        h("kbd", {}, "?"),
        " lists the other keys.",
      ),
    );
  }

  choose(name, value) {
    const key = JSON.stringify(value);
    const values = this.chosen.get(name) ?? new Map();
    if (values.has(key)) values.delete(key);
    else values.set(key, value);
    if (values.size) this.chosen.set(name, values);
    else this.chosen.delete(name);
    this.drawFacets();
    this.run();
  }

  drawFacets() {
    put(
      this.chips,
      facetChips(this.facets, this.chosen, (name, value) => this.choose(name, value)),
      this.withoutFacets && h("p", { class: "hint" }, this.withoutFacets),
    );
  }

  drawMoves() {
    const [a, b] = this.columns;
    if (!a.found || !b.found) return;
    const shared = moves(a, b);
    const most = Math.max(a.found.results.length, b.found.results.length);
    for (const column of this.columns)
      column.status.append(h("span", { class: "pill" }, `${count(shared)} of ${count(most)} the same`));
  }
}

const share = ({ explain }) =>
  (explain?.vector ? Math.max(0, explain.vector.share) : 0) + (explain?.text ? Math.max(0, explain.text.share) : 0);
