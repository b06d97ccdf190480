// Tenants: their keys, their quotas and what is used of them.

import { api, get, isAbort, session } from "./api.mjs";
import { button, command, field, h, iconButton, put, skeleton } from "./dom.mjs";
import { complain, confirm, dialog, errorBox, say } from "./feedback.mjs";
import { ago, bytes, compact, count, moment, plural } from "./format.mjs";
import { address, go, place } from "./router.mjs";
import { VirtualList } from "./virtual.mjs";

/** The quotas, in the order in which they are shown. */
export const QUOTAS = [
  ["facts", "Facts"],
  ["bytes", "Bytes"],
  ["requests_per_second", "Requests per second"],
  ["concurrent_calls", "Calls at once"],
  ["fuel_per_minute", "Fuel per minute"],
  ["embedding_tokens_per_minute", "Embedding tokens per minute"],
  ["extensions", "Extensions"],
  ["proof_requests", "Requests kept for proofs"],
];

export function open(page, here) {
  const view = new Tenants(page);
  view.begin(here);
  return { stop: () => view.stop(), moved: (there) => view.moved(there) };
}

class Tenants {
  constructor(page) {
    this.page = page;
    this.all = [];
    this.list = new VirtualList({
      label: "Tenants",
      render: (tenant) => this.row(tenant),
      row: 56,
      className: "tenant-rows",
    });
    this.filter = h("input", {
      class: "input",
      type: "search",
      placeholder: "Find a tenant",
      "aria-label": "Find a tenant by its name",
      autocomplete: "off",
    });
    this.filter.addEventListener("input", () => this.show());
  }

  begin(here) {
    this.status = h("span", { class: "status-line", "aria-live": "polite" });
    this.notes = h("div", {});
    this.detail = h("section", { class: "detail", "aria-label": "Tenant" });
    put(
      this.page,
      h("h1", { class: "hidden" }, "Tenants"),
      h(
        "div",
        { class: "split" },
        h(
          "div",
          { class: "list-side" },
          h("div", { class: "toolbar" }, h("p", { class: "title", "aria-hidden": "true" }, "Tenants"), this.status),
          h(
            "div",
            { class: "toolbar" },
            h("div", { class: "grow" }, this.filter),
            button("New", () => this.create(), { icon: "plus", kind: "primary" }),
          ),
          this.notes,
          this.list.element,
        ),
        this.detail,
      ),
    );
    this.reload();
    this.moved(here);
  }

  stop() {
    clearInterval(this.timer);
  }

  moved(here) {
    clearInterval(this.timer);
    const name = here.parts[0];
    this.page.classList.toggle("has-detail", Boolean(name));
    if (name) {
      put(this.detail, skeleton(8));
      this.read(name);
      this.timer = setInterval(() => !document.hidden && this.refresh(name), 3000);
    } else {
      put(
        this.detail,
        h(
          "div",
          { class: "empty" },
          h(
            "p",
            {},
            "A tenant is the unit of isolation: its facts, keys, quotas and extensions are its own, and no guest can name another.",
          ),
          h("p", { class: "hint" }, "Choose one to see its quotas and keys, or make one:"),
          command("kenning tenant create acme facts=100000 requests_per_second=50"),
        ),
      );
    }
    this.list.set(this.list.items);
  }

  async reload() {
    try {
      this.all = (await get("/v1/admin/tenants")).tenants;
      this.show();
    } catch (error) {
      put(
        this.notes,
        errorBox(error, () => this.reload()),
      );
    }
  }

  show() {
    const wanted = this.filter.value.trim().toLowerCase();
    const found = this.all.filter(({ name }) => name.toLowerCase().includes(wanted));
    put(
      this.status,
      wanted ? `${count(found.length)} of ${plural(this.all.length, "tenant")}` : plural(this.all.length, "tenant"),
    );
    put(
      this.notes,
      !this.all.length &&
        h(
          "div",
          { class: "empty" },
          h("p", {}, "There is no tenant yet."),
          session.isOpen
            ? h(
                "p",
                { class: "hint" },
                "On a server without keys a tenant exists from its first fact, or once you create it here to give it quotas or a language.",
              )
            : null,
        ),
    );
    this.list.set(found, { toTop: true });
  }

  row({ name, keys, limits, language }) {
    const set = Object.entries(limits ?? {}).filter(([, value]) => value !== null && value !== undefined);
    const link = h(
      "a",
      { class: "tenant-row", href: address("tenants", [name]) },
      h("b", {}, name),
      h(
        "span",
        { class: "muted" },
        [
          plural(keys, "key"),
          language !== "en" && `language ${language}`,
          set.length ? plural(set.length, "quota") : "no quotas",
        ]
          .filter(Boolean)
          .join(" · "),
      ),
    );
    if (place().parts[0] === name) link.setAttribute("aria-current", "true");
    return link;
  }

  async read(name) {
    try {
      const tenant = await get(`/v1/admin/tenants/${encodeURIComponent(name)}`);
      if (place().parts[0] === name) this.draw(tenant);
    } catch (error) {
      put(
        this.detail,
        errorBox(error, () => this.read(name)),
        h("a", { class: "button", href: address("tenants") }, "Back to the list"),
      );
    }
  }

  async refresh(name) {
    const tenant = await get(`/v1/admin/tenants/${encodeURIComponent(name)}`).catch(() => null);
    if (tenant && place().parts[0] === name && this.quotas) put(this.quotas, quotaBars(tenant));
  }

  draw(tenant) {
    this.quotas = h("div", { class: "quotas" }, quotaBars(tenant));
    const { name } = tenant;
    put(
      this.detail,
      h(
        "div",
        { class: "detail-head" },
        iconButton("Back to the list", "back", () => go("tenants"), { class: "icon-button only-narrow" }),
        h("h2", {}, name),
        h("div", { class: "spacer" }),
        session.isOpen &&
          name !== session.tenant &&
          h("a", { class: "button", href: address("facts", [], { tenant: name }) }, "Its facts"),
        button("Delete", () => this.remove(name), { icon: "trash", kind: "danger-quiet" }),
      ),
      h(
        "p",
        { class: "hint" },
        tenant.created
          ? `Created ${ago(tenant.created)}, ${moment(tenant.created)}`
          : "Never created: it exists from its first fact",
        ` · language ${tenant.language}`,
        tenant.embedder === "given" && ` · gives its own vectors of ${tenant.dimensions} dimensions`,
      ),
      h(
        "section",
        { class: "card" },
        h(
          "div",
          { class: "card-head" },
          h("h3", {}, "Quotas"),
          h("div", { class: "spacer" }),
          button("Change", () => this.change(tenant), { kind: "small" }),
        ),
        this.quotas,
      ),
      h(
        "section",
        { class: "card" },
        h(
          "div",
          { class: "card-head" },
          h("h3", {}, "Keys"),
          h("div", { class: "spacer" }),
          button("New key", () => this.rotate(name), { kind: "small", icon: "key" }),
        ),
        this.keys(tenant),
      ),
    );
  }

  keys({ name, keys }) {
    if (!keys.length)
      return h(
        "p",
        { class: "muted" },
        session.isOpen ? "None, and none is needed: this server has no keys." : "None: nobody can use this tenant.",
      );
    return h(
      "table",
      { class: "table cards" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", {}, "Id"),
          h("th", {}, "Created"),
          h("th", {}, "Valid"),
          h("th", {}, h("span", { class: "hidden" }, "Act")),
        ),
      ),
      h(
        "tbody",
        {},
        keys.map((key) =>
          h(
            "tr",
            {},
            h("td", { "data-label": "Id" }, h("code", {}, key.key_id)),
            h("td", { "data-label": "Created" }, key.created ? ago(key.created) : "unknown"),
            h("td", { "data-label": "Valid" }, key.expires ? `until ${moment(key.expires)}` : "until revoked"),
            h(
              "td",
              {},
              button(
                "Revoke",
                () =>
                  confirm(
                    "Revoke this key?",
                    `Whoever uses the key ${key.key_id} of ${name} is refused at once. This cannot be undone.`,
                    "Revoke",
                    async () => {
                      await api("POST", `/v1/admin/tenants/${encodeURIComponent(name)}/revoke-key`, {
                        json: { key_id: key.key_id },
                      });
                      say(`The key ${key.key_id} is revoked.`);
                      this.read(name);
                    },
                  ),
                { kind: "small danger-quiet" },
              ),
            ),
          ),
        ),
      ),
    );
  }

  create() {
    const name = h("input", {
      class: "input",
      required: true,
      pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]{0,62}",
      placeholder: "acme",
      autocomplete: "off",
    });
    const quotas = quotaFields({});
    const language = h("input", { class: "input", value: "en", pattern: "[a-z]{2,4}", autocomplete: "off" });
    form(
      "A new tenant",
      "Create",
      [
        field("Name", name, "Letters, digits, “.”, “_” and “-”."),
        field("Language of its texts", language, "An ISO 639 code such as en or de, or none."),
        h("details", {}, h("summary", {}, "Quotas"), quotas.element),
      ],
      async () => {
        const limits = quotas.read();
        const made = await api("POST", "/v1/admin/tenants", {
          json: { name: name.value, language: language.value, ...(Object.keys(limits).length ? { limits } : {}) },
        });
        await this.reload();
        go("tenants", [made.name]);
        showKey(made);
      },
    );
  }

  change(tenant) {
    const quotas = quotaFields(tenant.limits ?? {});
    form(
      `Quotas of ${tenant.name}`,
      "Save",
      [
        h("p", { class: "hint" }, "An empty field is no bound. A change applies from the next request."),
        quotas.element,
      ],
      async () => {
        await api("PATCH", `/v1/admin/tenants/${encodeURIComponent(tenant.name)}`, {
          json: { limits: quotas.read(true) },
        });
        say(`The quotas of ${tenant.name} are changed.`);
        this.read(tenant.name);
        this.reload();
      },
    );
  }

  async rotate(name) {
    try {
      const made = await api("POST", `/v1/admin/tenants/${encodeURIComponent(name)}/rotate-key`, { json: {} });
      showKey(made);
      this.read(name);
    } catch (error) {
      complain(error, "New key");
    }
  }

  remove(name) {
    confirm(
      `Delete the tenant ${name}?`,
      "Its facts, vectors, keys and extensions are deleted. This cannot be undone; export its facts first if you may need them. Type its name to go on.",
      "Delete everything",
      async () => {
        await api("DELETE", `/v1/admin/tenants/${encodeURIComponent(name)}`);
        say(`The tenant ${name} is deleted.`);
        go("tenants");
        this.reload();
      },
      { typed: name },
    );
  }
}

function form(title, label, content, work) {
  dialog(title, (close) => {
    const problem = h("p", { class: "problem", role: "alert" });
    return h(
      "form",
      {
        onsubmit: async (event) => {
          event.preventDefault();
          try {
            await work();
            close();
          } catch (error) {
            problem.textContent = error.message;
          }
        },
      },
      content,
      problem,
      h(
        "div",
        { class: "row row-end" },
        button("Cancel", close),
        h("button", { class: "button primary", type: "submit" }, h("span", {}, label)),
      ),
    );
  });
}

function quotaFields(limits) {
  const inputs = QUOTAS.map(([name, label]) => [
    name,
    label,
    h("input", {
      class: "input",
      type: "number",
      min: 0,
      step: 1,
      value: limits[name] ?? "",
      placeholder: "no bound",
    }),
  ]);
  return {
    element: h(
      "div",
      { class: "options-grid" },
      inputs.map(([, label, input]) => field(label, input)),
    ),
    read: (withEmpty) =>
      Object.fromEntries(
        inputs
          .filter(([, , input]) => withEmpty || input.value !== "")
          .map(([name, , input]) => [name, input.value === "" ? null : Number(input.value)]),
      ),
  };
}

/** What is used of each quota, as bars. */
export function quotaBars({ limits = {}, usage = {} }) {
  return QUOTAS.map(([name, label]) => {
    const { value = limits[name] ?? null, used = 0 } = usage[name] ?? {};
    const show = name === "bytes" ? bytes : compact;
    const share = value ? Math.min(1, used / value) : 0;
    return h(
      "div",
      { class: `quota ${share > 0.9 ? "is-full" : share > 0.7 ? "is-high" : ""}` },
      h("span", { class: "quota-name" }, label),
      h(
        "span",
        { class: "quota-figure" },
        usage[name] ? show(used) : "–",
        h("span", { class: "muted" }, value === null ? " of no bound" : ` of ${show(value)}`),
      ),
      h("span", { class: "quota-bar" }, h("span", { style: { width: `${100 * share}%` } })),
    );
  });
}

function showKey(made) {
  if (!made.key) return;
  dialog("The key, shown this once", (close) => [
    h(
      "p",
      {},
      `Give it to whoever calls as ${made.name}. Kenning keeps only its hash, and this page forgets it when you close this.`,
    ),
    command(made.key),
    h("p", { class: "hint" }, "It goes into the header Authorization: Bearer KEY."),
    h("div", { class: "row row-end" }, button("I have it", close, { kind: "primary" })),
  ]);
}
