// Why a request failed.

import { failed, get } from "./api.mjs";
import { button, command, field, h, put, skeleton } from "./dom.mjs";
import { errorBox } from "./feedback.mjs";
import { ago, bytes, compact, milliseconds, moment, plural } from "./format.mjs";
import { address, go } from "./router.mjs";

export function open(page, here) {
  const view = new Failures(page);
  view.begin(here);
  return { stop: () => clearInterval(view.timer), moved: (there) => view.moved(there) };
}

class Failures {
  constructor(page) {
    this.page = page;
  }

  begin(here) {
    this.input = h("input", {
      class: "input",
      type: "text",
      placeholder: "0d9c2f5e-7a41-4a6e-9f0e-2f6d3c1b8a77",
      autocomplete: "off",
      spellcheck: "false",
    });
    this.result = h("div", { "aria-live": "polite" });
    this.recent = h("div", {});
    const form = h(
      "form",
      {
        class: "row row-fields",
        onsubmit: (event) => {
          event.preventDefault();
          const id = this.input.value.trim();
          if (id) go("failures", [id]);
        },
      },
      h(
        "div",
        { class: "grow" },
        field(
          "Why did request … fail?",
          this.input,
          "The id is in the answer's header x-request-id, in the server's log, and on every error that this page shows.",
        ),
      ),
      h("button", { class: "button primary", type: "submit" }, h("span", {}, "Explain")),
    );
    put(
      this.page,
      h("div", { class: "toolbar" }, h("h1", {}, "Failures")),
      h("section", { class: "card" }, form),
      this.result,
      this.recent,
    );
    this.timer = setInterval(() => !document.hidden && this.reload(), 4000);
    this.reload();
    this.moved(here);
  }

  moved(here) {
    const id = here.parts[0];
    if (!id) return put(this.result);
    this.input.value = id;
    this.explain(id);
  }

  async explain(id) {
    put(this.result, h("section", { class: "card" }, skeleton(5)));
    try {
      put(this.result, explanation(await get(`/v1/admin/requests/${encodeURIComponent(id)}`)));
    } catch (error) {
      const own = failed.find((one) => one.error.requestId === id);
      put(
        this.result,
        own &&
          h(
            "section",
            { class: "card" },
            h("h2", {}, own.error.code),
            h("p", {}, own.error.message),
            h(
              "p",
              { class: "hint" },
              own.error.body.blame === "caller"
                ? "The request itself was wrong, so the server keeps no record of it; this is what it answered."
                : "The server keeps no record of it; this is what it answered.",
            ),
          ),
        !own && errorBox(error),
      );
    }
  }

  async reload() {
    let known = [];
    let isListed = true;
    try {
      known = (await get("/v1/admin/requests", { limit: 100 })).requests;
    } catch {
      isListed = false;
    }
    const ids = new Set(known.map((one) => one.request_id));
    const own = failed.filter(({ error }) => !ids.has(error.requestId));
    put(
      this.recent,
      isListed &&
        this.table(
          "Failed lately, on every host",
          known.map((one) => ({
            id: one.request_id,
            time: one.time,
            code: one.code,
            what: `${one.method} ${one.route}`,
            blame: one.blame,
            note: one.call?.tenant ? `tenant ${one.call.tenant}` : one.host,
          })),
        ),
      own.length > 0 &&
        this.table(
          "Refused to this tab",
          own.map(({ error, path, time }) => ({
            id: error.requestId,
            time,
            code: error.code,
            what: path,
            blame: error.body.blame ?? "",
            note: error.message,
          })),
        ),
      !known.length &&
        !own.length &&
        h(
          "div",
          { class: "empty empty-large" },
          h("h2", {}, "Nothing failed lately"),
          h(
            "p",
            {},
            "When a guest traps, a backend is away or a deadline passes, the call is here with the guests that ran, where its time and fuel went, and the place in the sources. Texts of facts and queries never are.",
          ),
          h("p", { class: "hint" }, "The same in a terminal:"),
          command("kenning why REQUEST-ID"),
        ),
    );
  }

  table(title, rows) {
    if (!rows.length) return null;
    return h(
      "section",
      { class: "card" },
      h("h2", {}, title),
      h(
        "table",
        { class: "table cards" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["When", "Code", "Request", "Whose fault", ""].map((name) =>
              h("th", {}, name || h("span", { class: "hidden" }, "More")),
            ),
          ),
        ),
        h(
          "tbody",
          {},
          rows.map(({ id, time, code, what, blame, note }) =>
            h(
              "tr",
              {},
              h("td", { "data-label": "When" }, h("time", { datetime: time, title: moment(time) }, ago(time))),
              h("td", { "data-label": "Code" }, h("code", { class: "bad" }, code)),
              h("td", { "data-label": "Request" }, h("div", {}, what), h("div", { class: "muted" }, note)),
              h("td", { "data-label": "Whose fault" }, blame),
              h(
                "td",
                {},
                id &&
                  h("a", { href: address("failures", [id]), "aria-label": `Why did request ${id} fail?` }, "Why?"),
              ),
            ),
          ),
        ),
      ),
    );
  }
}

/** What is known of a failed request, in the order in which it happened. */
function explanation(record) {
  const { call } = record;
  return h(
    "section",
    { class: "card explanation" },
    h(
      "div",
      { class: "card-head" },
      h("h2", {}, h("code", { class: "bad" }, record.code), ` · ${record.status}`),
      h("div", { class: "spacer" }),
      h("span", { class: "pill" }, `fault of the ${record.blame}`),
    ),
    record.message && h("p", {}, record.message),
    !record.message &&
      h(
        "p",
        { class: "muted" },
        MEANING[record.code] ?? "The answer's message is not kept, because it may quote a guest or a backend.",
      ),
    h(
      "p",
      { class: "hint" },
      `${record.method} ${record.route} on ${record.host}, ${moment(record.time)}, after ${milliseconds(record.took_ms)}`,
    ),
    Object.keys(record.details ?? {}).length > 0 &&
      h(
        "dl",
        { class: "facts-list" },
        Object.entries(record.details).map(([name, value]) =>
          h("div", {}, h("dt", {}, name), h("dd", {}, String(value))),
        ),
      ),
    record.served_by &&
      h(
        "p",
        {},
        `Logic generation ${record.served_by.generation}`,
        record.served_by.extensions && `, extensions ${record.served_by.extensions}`,
      ),
    call ? timeline(call, record.took_ms) : h("p", { class: "muted" }, "It ended before any guest was called."),
    h(
      "p",
      { class: "hint" },
      "Request ",
      h("code", {}, record.request_id),
      " ",
      button("Copy", () => navigator.clipboard?.writeText(record.request_id), { kind: "small quiet" }),
    ),
  );
}

const MEANING = {
  storage_unavailable: "Storage did not answer. See the server's readiness.",
  embedding_unavailable: "The embedder did not answer.",
  timeout: "The time that the call may take was over.",
  storage_full: "The disk, or the storage's own limit, is full.",
  guest_invalid: "A guest returned what it may not; the details name it.",
};

function timeline(call, took) {
  const most = Math.max(took, 0.001);
  const bar = (inGuest, inHost) =>
    h(
      "span",
      {
        class: "time-bar",
        title: `${milliseconds(inGuest)} in the guest, ${milliseconds(inHost)} in what it asked the host for`,
      },
      h("span", { class: "is-accent", style: { width: `${(100 * inGuest) / most}%` } }),
      h("span", { class: "is-vector", style: { width: `${(100 * inHost) / most}%` } }),
    );
  return h(
    "div",
    {},
    h("h3", {}, `What the call of ${call.tenant} did`),
    h(
      "p",
      { class: "hint" },
      `It was allowed ${milliseconds(call.allowed_ms)}`,
      call.admitted_after_ms !== undefined && `, and waited ${milliseconds(call.admitted_after_ms)} to be admitted`,
      ". ",
      h("i", { class: "swatch is-accent" }),
      " in the guest ",
      h("i", { class: "swatch is-vector" }),
      " in the host's functions",
    ),
    call.earlier_guests && h("p", { class: "muted" }, `${plural(call.earlier_guests, "guest")} ran before.`),
    h(
      "ol",
      { class: "runs" },
      call.guests.map((run) =>
        h(
          "li",
          { class: run.failed ? "run is-failed" : "run" },
          h(
            "div",
            { class: "run-head" },
            h("b", {}, run.component),
            ` generation ${run.generation} · `,
            h("code", {}, run.operation),
            h("div", { class: "spacer" }),
            h("span", {}, milliseconds(run.guest_ms + run.host_ms)),
          ),
          bar(run.guest_ms, run.host_ms),
          h(
            "p",
            { class: "muted" },
            `fuel ${compact(run.fuel_used)} of ${compact(run.fuel_limit)} · memory ${bytes(run.memory_bytes)} · ${plural(run.host_calls, "call")} to the host`,
          ),
          run.failed && h("p", { class: "bad" }, run.failed),
          run.stack?.length > 0 &&
            h("pre", { class: "stack", tabindex: "0", "aria-label": "Stack, innermost first" }, run.stack.join("\n")),
        ),
      ),
    ),
    call.running &&
      h(
        "p",
        { class: "bad" },
        `${call.running.component} generation ${call.running.generation} was still running ${call.running.operation} after ${milliseconds(call.running.for_ms)}.`,
      ),
  );
}
