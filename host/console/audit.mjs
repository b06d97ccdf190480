// Who did what: every administrative act, newest first.

import { get } from "./api.mjs";
import { button, h, put } from "./dom.mjs";
import { errorBox } from "./feedback.mjs";
import { ago, moment } from "./format.mjs";
import { VirtualList } from "./virtual.mjs";

/** Acts by method and route, in words. */
const WORDS = {
  "POST /v1/admin/tenants": "created a tenant",
  "PATCH /v1/admin/tenants/{t}": "changed a tenant",
  "DELETE /v1/admin/tenants/{t}": "deleted a tenant",
  "POST /v1/admin/tenants/{t}/rotate-key": "made a key",
  "POST /v1/admin/tenants/{t}/revoke-key": "revoked a key",
  "POST /v1/admin/logic": "sent a logic",
  "POST /v1/admin/logic/rollback": "rolled the logic back",
  "PUT /v1/admin/tenants/{t}/extensions/{name}": "sent an extension",
  "DELETE /v1/admin/tenants/{t}/extensions/{name}": "removed an extension",
  "PATCH /v1/admin/tenants/{t}/extensions/{name}": "changed an extension",
  "POST /v1/admin/tenants/{t}/extensions/{name}/rollback": "rolled an extension back",
  "POST /v1/admin/digests/{digest}/revoke": "revoked a digest",
  "DELETE /v1/admin/digests/{digest}/revoke": "allowed a digest",
};

/** An act in words. */
export function worded({ method, route, parameters = {}, result }) {
  const what = WORDS[`${method} ${route}`] ?? `${method} ${route}`;
  const answered = result?.answered ?? {};
  const notes = [
    parameters.dry_run === "true"
      ? "only to prove it"
      : answered.promoted
        ? `promoted as generation ${answered.generation}`
        : answered.unchanged
          ? "it was live already"
          : "",
    parameters.force === "true" && "forced",
    parameters.reason && `“${parameters.reason}”`,
  ];
  return [what, notes.filter(Boolean).join(", ")];
}

export function open(page) {
  const view = new Audit(page);
  view.begin();
  return { stop: () => clearInterval(view.timer) };
}

class Audit {
  constructor(page) {
    this.page = page;
    this.items = [];
    this.list = new VirtualList({
      label: "Acts, newest first",
      render: (record) => row(record),
      onEnd: () => this.more(),
      row: 64,
      className: "audit-list",
    });
  }

  begin() {
    this.notes = h("div", { "aria-live": "polite" });
    put(
      this.page,
      h(
        "div",
        { class: "list-side" },
        h(
          "div",
          { class: "toolbar" },
          h("h1", {}, "Audit"),
          h("span", { class: "status-line" }, "What operators did, newest first"),
          h("div", { class: "spacer" }),
          button("Read again", () => this.reload(), { kind: "small" }),
        ),
        this.notes,
        this.list.element,
      ),
    );
    this.reload();
  }

  async reload() {
    this.items = [];
    this.isDone = false;
    this.isLoading = false;
    await this.more();
    this.list.set(this.items, { toTop: true });
    put(
      this.notes,
      !this.items.length &&
        !this.failed &&
        h(
          "div",
          { class: "empty" },
          h("h2", {}, "Nothing was done yet"),
          h(
            "p",
            {},
            "Each act is here before it is done: who, when, from where, and how it ended. Facts and secrets never are.",
          ),
        ),
    );
  }

  async more() {
    if (this.isLoading || this.isDone) return;
    this.isLoading = true;
    this.failed = false;
    try {
      const { records } = await get("/v1/admin/audit", { limit: 100, before: this.items.at(-1)?.id });
      this.items.push(...records);
      this.isDone = records.length < 100;
      this.list.grown();
    } catch (error) {
      this.failed = true;
      this.isDone = true;
      put(
        this.notes,
        errorBox(error, () => this.reload()),
      );
    }
    this.isLoading = false;
  }
}

function row(record) {
  const [what, note] = worded(record);
  const { result } = record;
  const isGood = result && result.status < 400;
  const name = record.path.replace(/^\/v1\/admin\//, "");
  return h(
    "div",
    { class: "audit-row", tabindex: "0" },
    h("span", {
      class: `state-dot ${result === null ? "is-warn" : isGood ? "is-good" : "is-bad"}`,
      title: result === null ? "interrupted, or its result could not be written" : String(result.status),
    }),
    h(
      "div",
      { class: "grow" },
      h(
        "div",
        {},
        h("b", {}, what),
        note && ` · ${note}`,
        result && !isGood && h("span", { class: "bad" }, ` · ${result.code ?? result.status}`),
      ),
      h(
        "div",
        { class: "muted ellipsis" },
        h("code", {}, name),
        ` · ${record.who}${record.key_id ? ` ${record.key_id}` : ""}${record.from ? ` from ${record.from}` : ""}`,
      ),
    ),
    h("time", { class: "muted", datetime: record.time, title: moment(record.time) }, ago(record.time)),
  );
}
