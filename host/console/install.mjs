// A component on its way in: check, prove, compare, promote.

import { swap } from "./api.mjs";
import { pair } from "./charts.mjs";
import { button, field, h, icon, iconButton, put, skeleton } from "./dom.mjs";
import { confirm, errorBox, say } from "./feedback.mjs";
import { bytes, compact, milliseconds, percent, plural } from "./format.mjs";

const STEPS = [
  ["sending", "Send the component"],
  ["loading", "Load the live generation"],
  ["compiling", "Verify and compile"],
  ["proving", "Prove it on recent requests"],
];
const GRANTS = [
  ["storage", "read facts"],
  ["index", "search"],
  ["embedding", "make vectors"],
];
const CHECKS = {
  digest: "Digest",
  size: "Size",
  component: "Component",
  imports: "Imports",
  exports: "Exports",
  grants: "Grants",
  compiled: "Compiled",
  linked: "Linked",
  started: "Started",
  "self-test": "Its own test",
  replay: "Recent requests",
  errors: "Errors",
  overlap: "Overlap",
  fuel: "Fuel",
  time: "Time",
};

/** A name for an extension, from its file's. */
export const nameOf = (file) =>
  file.name
    .replace(/\.wasm$/, "")
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, "-")
    .replace(/^-+/, "")
    .slice(0, 63) || "extension";

/** The panel of one component. `target(name)` is where it goes: `{ path, method, query }`. */
export class Install {
  constructor({ file, title, isExtension, name, settings = {}, target, onDone, onClose }) {
    Object.assign(this, { file, isExtension, target, onDone, onClose });
    this.name = h("input", {
      class: "input",
      value: name ?? "",
      pattern: "[a-z0-9][a-z0-9\\-]{0,62}",
      required: true,
      autocomplete: "off",
    });
    this.order = h("input", {
      class: "input",
      type: "number",
      step: 1,
      value: settings.order ?? "",
      placeholder: "stays, or 0",
    });
    this.policy = h(
      "select",
      { class: "input" },
      [
        ["", "as each hook does by itself"],
        ["close", "the call fails"],
        ["leave-out", "the call goes on without it"],
      ].map(([value, text]) => h("option", { value, selected: value === (settings.policy ?? "") }, text)),
    );
    this.grants = GRANTS.map(([grant, what]) => [
      grant,
      h("input", { type: "checkbox", checked: settings.grants?.includes(grant) }),
      what,
    ]);
    const boxed = (grant) => GRANTS.some(([name]) => name === grant);
    this.further = (settings.grants ?? []).filter((grant) => !boxed(grant));
    this.bounds = [
      ["max_errors_percent", "Most errors, %"],
      ["min_overlap_percent", "Least overlap, %"],
      ["max_fuel_percent", "Most fuel, %"],
      ["max_time_percent", "Most time, %"],
    ].map(([bound, label]) => [
      bound,
      label,
      h("input", { class: "input", type: "number", min: 0, step: 1, placeholder: "the server's" }),
    ]);
    this.steps = h("ol", { class: "steps" });
    this.result = h("div", {});
    this.acts = h("div", { class: "row" });
    this.prove = h("button", { class: "button primary", type: "submit" }, h("span", {}, "Check and prove"));
    this.element = h(
      "section",
      { class: "card install", "aria-label": title },
      h(
        "div",
        { class: "card-head" },
        h("h2", {}, title),
        h("div", { class: "spacer" }),
        iconButton("Close", "close", () => this.close()),
      ),
      h("p", { class: "hint" }, h("code", {}, file.name), ` · ${bytes(file.size)}`, (this.digest = h("span", {}))),
      h(
        "form",
        {
          onsubmit: (event) => {
            event.preventDefault();
            this.run({ dry_run: true });
          },
        },
        isExtension &&
          h(
            "div",
            { class: "options-grid" },
            field("Name", this.name),
            field("Order", this.order, "Smaller runs earlier."),
            field("If a hook fails", this.policy),
          ),
        isExtension &&
          h(
            "fieldset",
            { class: "checks-row" },
            h("legend", {}, "It may"),
            this.grants.map(([grant, input, what]) =>
              h("label", { class: "check" }, input, h("span", {}, `${what} (${grant})`)),
            ),
          ),
        h(
          "details",
          {},
          h("summary", {}, "Bounds of the proof"),
          h(
            "div",
            { class: "options-grid" },
            this.bounds.map(([, label, input]) => field(label, input)),
          ),
        ),
        h("div", { class: "row" }, this.prove, h("span", { class: "hint" }, "Nothing changes until you promote it.")),
      ),
      this.steps,
      this.result,
      this.acts,
    );
    this.identify();
  }

  close() {
    this.cancel?.abort();
    this.onClose();
  }

  async identify() {
    this.bytes = await this.file.arrayBuffer();
    if (!crypto.subtle) return;
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", this.bytes));
    const hex = [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    put(this.digest, " · sha256 ", h("code", { title: hex }, hex.slice(0, 12)));
  }

  query(more) {
    const query = { ...more };
    for (const [bound, , input] of this.bounds) query[bound] = input.value;
    if (this.isExtension) {
      query.order = this.order.value;
      query.on_failure = this.policy.value;
      const checked = this.grants.filter(([, input]) => input.checked).map(([grant]) => grant);
      // Those without a box stay, such as hosts.
      query.grant = [...checked, ...this.further].join(",");
    }
    return query;
  }

  /** Sends it, to prove or to promote, and shows each step. */
  async run(more) {
    this.bytes ??= await this.file.arrayBuffer();
    this.cancel?.abort();
    this.cancel = new AbortController();
    put(this.acts);
    put(this.result, skeleton(4));
    this.prove.disabled = true;
    const steps = more.dry_run
      ? STEPS
      : [...STEPS, ["promoting", "Promote"], ["following", "Wait for the other hosts"]];
    this.drawSteps(steps, "sending");
    try {
      const { path, method, query } = this.target(this.name.value);
      const report = await swap(
        path,
        method,
        this.bytes,
        { ...query, ...this.query(more) },
        ({ step, waited_ms: waited }) => this.drawSteps(steps, step, waited),
        this.cancel.signal,
      );
      put(this.steps);
      if (!more.dry_run) return this.promoted(report);
      this.drawReport(report);
      this.offer(report);
    } catch (error) {
      put(this.steps);
      if (error.name === "AbortError") return;
      if (error.details?.checks) {
        this.drawReport(error.details, error);
        this.offer(error.details, error);
      } else {
        put(this.result, errorBox(error));
      }
    } finally {
      this.prove.disabled = false;
    }
  }

  drawSteps(steps, now, waited) {
    const at = steps.findIndex(([name]) => name === now);
    put(
      this.steps,
      steps.map(([, label], index) =>
        h(
          "li",
          {
            class: index < at ? "is-done" : index === at ? "is-now" : "",
            "aria-current": index === at ? "step" : null,
          },
          h(
            "span",
            { class: "step-mark", "aria-hidden": "true" },
            index < at ? icon("check", 14) : String(index + 1),
          ),
          label,
          index === at && waited ? h("span", { class: "muted" }, ` ${milliseconds(waited)}`) : "",
        ),
      ),
    );
  }

  drawReport(report, error) {
    const failed = report.checks.filter((one) => !one.passed);
    const verdict =
      error && !report.proof
        ? "It does not fit this server"
        : failed.length
          ? "The proof says no"
          : report.unchanged
            ? "These bytes are live already"
            : "It may be promoted";
    put(
      this.result,
      h(
        "div",
        { class: `verdict ${failed.length || error ? "is-bad" : "is-good"}`, role: "status" },
        h("b", {}, verdict),
        h(
          "span",
          {},
          error?.message ??
            (failed.length
              ? failed.map((one) => one.detail).join("; ")
              : `${plural(report.checks.length, "check")} passed in ${milliseconds(report.took_ms)}`),
        ),
      ),
      h(
        "ol",
        { class: "checks" },
        report.checks.map((one) =>
          h(
            "li",
            { class: one.passed ? "is-good" : "is-bad" },
            icon(one.passed ? "check" : "close", 16),
            h("b", {}, CHECKS[one.check] ?? one.check),
            h("span", {}, one.detail),
          ),
        ),
      ),
      report.proof && this.comparison(report.proof),
    );
  }

  comparison(proof) {
    if (!proof.requests)
      return h(
        "p",
        { class: "notice" },
        "There were no recent requests to compare with. Search and store a little, and prove it again: the last requests of the tenant are kept in memory for this.",
      );
    return h(
      "div",
      {},
      h("h3", {}, `Compared on ${plural(proof.requests, "recent request")}`),
      h(
        "div",
        { class: "pairs" },
        h(
          "div",
          { class: "pair-figure" },
          h("h4", {}, "Errors"),
          h(
            "p",
            { class: "large" },
            h("b", { class: proof.worse ? "bad" : "good" }, String(proof.worse)),
            h("span", { class: "muted" }, ` of ${proof.requests} fail only with it`),
          ),
        ),
        h(
          "div",
          { class: "pair-figure" },
          h("h4", {}, "Overlap"),
          h(
            "p",
            { class: "large" },
            h("b", {}, proof.overlap === null ? "–" : percent(proof.overlap, 1)),
            h("span", { class: "muted" }, " of what callers see stays"),
          ),
        ),
        pair("Fuel", proof.fuel.live, proof.fuel.candidate, compact),
        pair("Median time", proof.median_us.live, proof.median_us.candidate, (us) => milliseconds(us / 1000)),
      ),
      proof.reasons.length > 0 &&
        h(
          "div",
          {},
          h("h4", {}, "Why requests fail with it"),
          h(
            "ul",
            { class: "plain" },
            proof.reasons.map((reason) => h("li", { class: "bad" }, reason)),
          ),
        ),
      proof.differing?.length > 0 && this.examples(proof.differing),
    );
  }

  /** Requests whose answers differ, side by side. */
  examples(differing) {
    const ids = (side, other) =>
      side.error
        ? h("p", { class: "bad" }, side.error)
        : h(
            "ol",
            { class: "ids" },
            side.ids.map((id) => h("li", { class: other.ids?.includes(id) ? "" : "is-only" }, h("code", {}, id))),
            !side.ids.length && h("li", { class: "muted" }, "nothing"),
          );
    return h(
      "div",
      {},
      h("h4", {}, "Requests whose answers differ"),
      differing.map((one) =>
        h(
          "details",
          { class: "example", open: differing.length < 3 },
          h(
            "summary",
            {},
            h("span", { class: "pill" }, one.kind),
            " ",
            one.request ?? "its text is the tenant's",
            one.overlap !== null &&
              one.overlap !== undefined &&
              h("span", { class: "muted" }, ` · ${percent(one.overlap)} the same`),
          ),
          h(
            "div",
            { class: "halves" },
            h("div", {}, h("h5", {}, "live"), ids(one.live, one.candidate)),
            h("div", {}, h("h5", {}, "candidate"), ids(one.candidate, one.live)),
          ),
        ),
      ),
    );
  }

  offer(report, error) {
    const missing = /\?grant=([a-z,]+)/.exec(error?.message ?? "")?.[1]?.split(",");
    if (missing) {
      return put(
        this.acts,
        button(
          `Grant ${missing.join(" and ")} and prove again`,
          () => {
            for (const [grant, input] of this.grants) if (missing.includes(grant)) input.checked = true;
            this.run({ dry_run: true });
          },
          { kind: "primary" },
        ),
      );
    }
    if (error && !report.proof) return put(this.acts);
    if (report.unchanged && !this.isExtension)
      return put(
        this.acts,
        button("Close", () => this.close()),
      );
    const isGood = report.checks.every((one) => one.passed);
    put(
      this.acts,
      isGood
        ? button("Promote", () => this.run({}), { kind: "primary", icon: "check" })
        : button("Promote all the same…", () => this.force(), { kind: "danger" }),
      button("Prove again", () => this.run({ dry_run: true })),
      button("Discard", () => this.close(), { kind: "quiet" }),
    );
  }

  force() {
    confirm(
      "Promote it against its proof?",
      "The record names you and your reason. If it is worse in use, the server still rolls it back by itself.",
      "Promote",
      (reason) => this.run({ force: true, reason }),
      { input: "The reason" },
    );
  }

  promoted(report) {
    say(report.unchanged ? "Nothing changed: these bytes were live." : `Generation ${report.generation} is live.`);
    put(
      this.result,
      h(
        "div",
        { class: "verdict is-good", role: "status" },
        h("b", {}, report.unchanged ? "Unchanged" : `Generation ${report.generation} is live`),
        h(
          "span",
          {},
          report.promotion_ms !== undefined
            ? `the change took ${milliseconds(report.promotion_ms)}; no call waited for it`
            : "",
        ),
        report.forced && h("span", {}, "forced; the record says who and why"),
      ),
      h(
        "p",
        { class: "hint" },
        "The server watches it for a while and goes back by itself if calls fail more often or become much slower.",
      ),
      report.behind?.length > 0 &&
        h("p", { class: "notice notice-warn" }, `These hosts have not followed yet: ${report.behind.join(", ")}`),
    );
    put(
      this.acts,
      button("Close", () => this.close(), { kind: "primary" }),
    );
    this.onDone(this.name.value, report);
  }
}
