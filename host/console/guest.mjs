// What logic and extensions have in common: generations, events, what live calls cost.

import { api, get } from "./api.mjs";
import { LineChart } from "./charts.mjs";
import { button, h, icon, put } from "./dom.mjs";
import { complain, confirm, say } from "./feedback.mjs";
import { ago, bytes, compact, count, milliseconds, moment, percent, plural, shortDigest } from "./format.mjs";

const EVENTS = {
  promoted: "promoted",
  rolled_back: "rolled back",
  rolled_back_by_itself: "rolled back by the server",
  quarantined: "put into quarantine",
  removed: "removed",
  settings_changed: "settings changed",
};

/** Who sent which generation, from the records of acts; empty where they cannot be read. */
export async function senders(isMine) {
  const found = new Map();
  try {
    const { records } = await get("/v1/admin/audit", { limit: 200 });
    for (const record of records.filter(isMine)) {
      const number = record.result?.answered?.generation;
      const isSwap = record.result?.answered?.promoted === true;
      if (number && isSwap && !found.has(number))
        found.set(number, {
          who: record.who,
          key: record.key_id,
          reason: record.parameters?.reason,
          from: record.from,
        });
    }
  } catch {
    // Without the records, nobody is named.
  }
  return found;
}

/** The state of the live generation, in a word and a colour. */
export function stateOf(guest) {
  const { live } = guest;
  if (guest.problem) return ["bad", "cannot be loaded"];
  if (guest.paused) return ["warn", "paused"];
  if (live?.quarantined_for_ms) return ["bad", `in quarantine for ${milliseconds(live.quarantined_for_ms)}`];
  if (live && live.failures > 0) return ["warn", `${count(live.failures)} of ${plural(live.calls, "call")} failed`];
  return ["good", "live"];
}

export const statePill = (guest) => {
  const [kind, text] = stateOf(guest);
  return h("span", { class: `pill is-${kind}` }, h("span", { class: "dot", "aria-hidden": "true" }), text);
};

/** The generations, newest first. `rollBack(number)` goes back to one. */
export function generationTable(guest, who, rollBack) {
  const rows = [...guest.generations].reverse();
  const builtIn =
    guest.built_in && !rows.some((one) => one.number === guest.built_in.generation)
      ? [
          {
            number: guest.built_in.generation,
            digest: guest.built_in.digest,
            isBuiltIn: true,
            active: guest.active === null,
          },
        ]
      : [];
  return h(
    "table",
    { class: "table cards" },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        ["Generation", "State", "Digest", "Who and when", ""].map((name) =>
          h("th", {}, name || h("span", { class: "hidden" }, "Act")),
        ),
      ),
    ),
    h(
      "tbody",
      {},
      [...rows, ...builtIn].map((one) => {
        const by = who.get(one.number);
        return h(
          "tr",
          { class: one.active ? "is-live" : "" },
          h("td", { "data-label": "Generation" }, h("b", {}, String(one.number))),
          h(
            "td",
            { "data-label": "State" },
            one.active
              ? h("span", { class: "pill is-good" }, "live")
              : one.rolled_back
                ? h("span", { class: "pill is-bad" }, "rolled back")
                : h("span", { class: "pill" }, "older"),
            one.forced_by &&
              h("span", { class: "pill is-warn", title: by?.reason ?? "" }, `forced by ${one.forced_by}`),
            by?.reason && h("div", { class: "muted" }, `“${by.reason}”`),
          ),
          h(
            "td",
            { "data-label": "Digest" },
            h("code", { title: one.digest }, shortDigest(one.digest)),
            one.bytes && h("div", { class: "muted" }, bytes(one.bytes)),
            one.grants?.length > 0 && h("div", { class: "muted" }, `grants: ${one.grants.join(", ")}`),
          ),
          h(
            "td",
            { "data-label": "Who and when" },
            one.isBuiltIn
              ? "comes with the server"
              : h(
                  "div",
                  {},
                  by ? `${by.who}${by.key ? ` ${by.key}` : ""}` : h("span", { class: "muted" }, "not on record"),
                ),
            one.staged_at &&
              h(
                "time",
                { class: "muted", datetime: one.staged_at, title: moment(one.staged_at) },
                ago(one.staged_at),
              ),
          ),
          h(
            "td",
            {},
            !one.active &&
              rollBack &&
              button("Roll back to this", () => rollBack(one.number), { kind: "small", icon: "undo" }),
          ),
        );
      }),
    ),
  );
}

export function eventList(events) {
  if (!events.length) return null;
  return h(
    "ol",
    { class: "events" },
    [...events]
      .reverse()
      .slice(0, 30)
      .map((event) =>
        h(
          "li",
          {},
          h("span", {
            class: `state-dot ${event.what === "promoted" ? "is-good" : event.what === "settings_changed" || event.what === "rolled_back" ? "" : "is-bad"}`,
          }),
          h(
            "div",
            {},
            h("b", {}, `Generation ${event.generation} ${EVENTS[event.what] ?? event.what}`),
            event.to ? ` to ${event.to}` : "",
            event.why && h("div", { class: "muted" }, event.why),
          ),
          h("time", { class: "muted", datetime: event.at, title: moment(event.at) }, ago(event.at)),
        ),
      ),
  );
}

/** Charts of what calls of the live generation cost, fed by readings of its totals. */
export class Costs {
  constructor() {
    this.time = new LineChart({
      title: "Time of a call",
      series: [["mean", "accent"]],
      format: (value) => milliseconds(value / 1000),
    });
    this.fuel = new LineChart({ title: "Fuel of a call", series: [["mean", "vector"]], format: compact });
    this.calls = new LineChart({
      title: "Calls",
      series: [
        ["calls", "accent"],
        ["failed", "bad"],
      ],
      format: (value) => `${compact(value)}/s`,
    });
    this.summary = h("p", { class: "muted", "aria-live": "off" });
    this.element = h(
      "div",
      {},
      this.summary,
      h(
        "div",
        { class: "charts charts-small" },
        [this.time, this.fuel, this.calls].map((chart) => chart.element),
      ),
    );
  }

  add(live, now = performance.now()) {
    if (!live) return put(this.summary, "Nothing was called yet on this host.");
    put(
      this.summary,
      `${plural(live.calls, "call")} on this host, ${count(live.failures)} failed`,
      live.calls
        ? `; a call takes ${milliseconds(live.mean_us / 1000)} and ${compact(live.mean_fuel)} fuel in the mean`
        : "",
      live.calls && live.failures ? ` (${percent(live.failures / live.calls, 1)})` : "",
    );
    const before = this.before;
    this.before = { ...live, now };
    if (!before || before.generation !== live.generation || live.calls < before.calls) {
      return live.calls && !before ? this.push(live.mean_us, live.mean_fuel, 0, 0) : undefined;
    }
    const calls = live.calls - before.calls;
    const mean = (name) => (calls ? (live[name] * live.calls - before[name] * before.calls) / calls : null);
    const seconds = (now - before.now) / 1000;
    this.push(mean("mean_us"), mean("mean_fuel"), calls / seconds, (live.failures - before.failures) / seconds);
  }

  push(time, fuel, calls, failures) {
    this.time.push(time);
    this.fuel.push(fuel);
    this.calls.push(calls, failures);
  }
}

/** Asks and rolls back; `path` is the guest's rollback. */
export function rollBack(path, query, number, done) {
  const where = number ? `to generation ${number}` : "to the newest older generation that was never rolled back from";
  confirm(
    "Roll back?",
    `The guest goes back ${where}. Calls in progress keep what they began with; no call fails because of it.`,
    "Roll back",
    async () => {
      const answer = await api("POST", path, { query: { ...query, generation: number } });
      say(`Generation ${answer.to} answers now.`);
      done();
    },
    { kind: "primary" },
  );
}

/** A place to drop a component, or to choose one. */
export function dropZone(text, onFile) {
  const zone = h(
    "button",
    { type: "button", class: "drop", onclick: () => input.click() },
    icon("upload", 22),
    h("b", {}, text),
    h("span", { class: "muted" }, "or choose a file"),
  );
  const input = h("input", {
    type: "file",
    accept: ".wasm,application/wasm",
    class: "hidden",
    tabindex: "-1",
    "aria-label": text,
    onchange: () => {
      if (input.files[0]) onFile(input.files[0]);
      input.value = "";
    },
  });
  return h("div", {}, zone, input);
}

/** Takes components that are dropped anywhere on the page. */
export function acceptComponents(page, onFile) {
  const over = (isOver) => (event) => {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    event.preventDefault();
    page.classList.toggle("is-over", isOver);
  };
  page.addEventListener("dragover", over(true));
  page.addEventListener("dragleave", over(false));
  page.addEventListener("drop", (event) => {
    over(false)(event);
    const file = event.dataTransfer?.files[0];
    if (file?.name.endsWith(".wasm")) onFile(file);
    else if (file) complain({ code: "file", message: `${file.name} is no component: its name should end in .wasm` });
  });
}
