// A tenant's extensions: what runs, what it costs, what it writes; and how another comes in.

import { api, get, session } from "./api.mjs";
import { button, command, field, h, iconButton, put, skeleton } from "./dom.mjs";
import { complain, confirm, dialog, errorBox, say } from "./feedback.mjs";
import { compact, count, milliseconds, plural } from "./format.mjs";
import {
  acceptComponents,
  Costs,
  dropZone,
  eventList,
  generationTable,
  rollBack,
  senders,
  stateOf,
  statePill,
} from "./guest.mjs";
import { Install, nameOf } from "./install.mjs";
import { logPanel } from "./logs.mjs";
import { address, go } from "./router.mjs";

const EVERY = 2000;

export function open(page, here) {
  const view = new Extensions(page);
  view.begin(here);
  return { stop: () => view.stop(), moved: (there) => view.moved(there) };
}

const base = () => `/v1/admin/tenants/${encodeURIComponent(session.tenant)}/extensions`;

class Extensions {
  constructor(page) {
    this.page = page;
    this.all = null;
    this.ends = new AbortController();
  }

  begin(here) {
    this.notes = h("div", {});
    this.installing = h("div", {});
    this.list = h("div", { class: "guest-list" });
    this.detail = h("section", { class: "guest-detail", "aria-label": "Extension" });
    put(
      this.page,
      h(
        "div",
        { class: "toolbar" },
        h("h1", {}, "Extensions"),
        h("span", { class: "status-line" }, `of ${session.tenant}, in their order`),
      ),
      this.notes,
      this.installing,
      this.list,
      dropZone("Drop a .wasm here to install it", (file) => this.install(file)),
      this.detail,
    );
    acceptComponents(this.page, (file) => this.install(file));
    put(this.list, skeleton(3));
    this.reload().then(() => this.moved(here));
    this.timer = setInterval(() => !document.hidden && this.reload(), EVERY);
  }

  stop() {
    clearInterval(this.timer);
    this.ends.abort();
    this.shown?.abort();
    this.panel?.cancel?.abort();
  }

  async reload() {
    try {
      this.all = (await get(base(), {}, { signal: this.ends.signal })).extensions;
      put(this.notes);
      this.draw();
      const one = this.all.find(({ name }) => name === this.name);
      if (one && this.costs) this.feed(one);
    } catch (error) {
      if (error.name === "AbortError") return;
      put(
        this.notes,
        errorBox(error, () => this.reload()),
      );
      if (!this.all) put(this.list);
    }
  }

  draw() {
    const text = JSON.stringify([this.all, this.name]);
    if (text === this.drawn) return;
    this.drawn = text;
    const had = document.activeElement?.closest?.(".guest-row")?.dataset.name;
    if (this.all.length) this.list.setAttribute("role", "list");
    else this.list.removeAttribute("role");
    put(
      this.list,
      this.all.map((one) => this.row(one)),
      !this.all.length && this.teach(),
    );
    if (had) this.list.querySelector(`[data-name="${CSS.escape(had)}"]`)?.focus();
  }

  teach() {
    return h(
      "div",
      { class: "empty empty-large" },
      h("h2", {}, "No extensions yet"),
      h(
        "p",
        {},
        "An extension is a WebAssembly component of the tenant's own: it redacts, splits, tags, filters or reorders facts, in a sandbox, in a fresh instance for every call. Write one in Rust, JavaScript or Python:",
      ),
      command("kenning new extension hello --lang rust\ncd hello && make"),
      h(
        "p",
        { class: "hint" },
        "Then drop the .wasm here. It is checked and proved on recent requests before anything changes, and you can go back at any time.",
      ),
    );
  }

  row(extension) {
    const { name, order, hooks = {}, live } = extension;
    const [kind] = stateOf(extension);
    return h(
      "div",
      { role: "listitem" },
      h(
        "a",
        {
          class: `guest-row is-${kind}`,
          href: address("extensions", [name]),
          data: { name },
          "aria-current": name === this.name ? "true" : null,
        },
        h("span", { class: "guest-order", title: "Order: smaller runs earlier" }, String(order)),
        h(
          "span",
          { class: "grow" },
          h("b", {}, name),
          h("span", { class: "muted" }, Object.keys(hooks).join(", ") || "not loaded on this host"),
        ),
        h(
          "span",
          { class: "guest-figures muted" },
          live
            ? `generation ${live.generation} · ${plural(live.calls, "call")} · ${milliseconds(live.mean_us / 1000)} · ${compact(live.mean_fuel)} fuel`
            : `generation ${extension.active}`,
        ),
        statePill(extension),
      ),
    );
  }

  moved(here) {
    const name = here.parts[0];
    if (name === this.name && name) return;
    this.name = name;
    this.shown?.abort();
    this.costs = null;
    put(this.detail);
    if (this.all) this.draw();
    const one = this.all?.find((extension) => extension.name === name);
    if (name && one) this.show(one);
    else if (name && this.all)
      put(this.detail, h("p", { class: "notice" }, `${session.tenant} has no extension ${name}.`));
  }

  async show(extension) {
    const { name } = extension;
    this.shown?.abort();
    this.shown = new AbortController();
    this.costs = new Costs();
    this.generations = h("div", {});
    this.events = h("div", {});
    this.title = h("div", { class: "card-head" });
    put(
      this.detail,
      h("section", { class: "card" }, this.title, (this.problem = h("div", {})), this.generations),
      h("section", { class: "card" }, h("h3", {}, "Cost of its hooks"), this.costs.element),
      h("section", { class: "card" }, logPanel(`${base()}/${encodeURIComponent(name)}/logs`, this.shown.signal)),
      h("section", { class: "card" }, h("h3", {}, "What happened"), this.events),
    );
    this.who = new Map();
    this.feed(extension);
    this.who = await senders((record) => record.path === `${base()}/${encodeURIComponent(name)}`);
    this.fed = "";
    const now = this.all.find((one) => one.name === name);
    if (now && this.name === name) this.feed(now);
  }

  feed(extension) {
    this.costs.add(extension.live);
    const { name, generations, events, paused, problem, active } = extension;
    const text = JSON.stringify([
      generations,
      events,
      paused,
      problem,
      active,
      extension.order,
      extension.hooks,
      stateOf(extension),
      [...this.who.keys()],
    ]);
    if (text === this.fed) return;
    this.fed = text;
    put(
      this.title,
      h("h2", {}, name),
      statePill(extension),
      h("div", { class: "spacer" }),
      button("Settings", () => this.settings(extension), { kind: "small" }),
      button(
        paused ? "Resume" : "Pause",
        () => this.change(name, { paused: !paused }, paused ? "runs again" : "is paused"),
        { kind: "small", icon: paused ? "play" : "pause" },
      ),
      generations.length > 1 && button("Roll back", () => this.back(name), { kind: "small", icon: "undo" }),
      button("Remove", () => this.remove(name), { kind: "small danger-quiet", icon: "trash" }),
      iconButton("Close", "close", () => go("extensions")),
    );
    put(
      this.problem,
      problem &&
        h("p", { class: "notice notice-bad" }, problem, " Install it again, roll it back, pause or remove it."),
    );
    put(
      this.generations,
      generationTable(extension, this.who, (number) => this.back(name, number)),
    );
    put(this.events, eventList(events));
  }

  back(name, number) {
    rollBack(`${base()}/${encodeURIComponent(name)}/rollback`, {}, number, () => this.again());
  }

  /** Reads everything anew, also who did what. */
  async again() {
    await this.reload();
    const one = this.all?.find(({ name }) => name === this.name);
    if (one) this.show(one);
    else if (this.name) go("extensions");
  }

  async change(name, json, what) {
    try {
      await api("PATCH", `${base()}/${encodeURIComponent(name)}`, { json });
      say(`${name} ${what}.`);
      this.again();
    } catch (error) {
      complain(error, name);
    }
  }

  settings(extension) {
    const active = extension.generations.find((one) => one.active);
    const order = h("input", { class: "input", type: "number", step: 1, value: extension.order });
    const policy = h(
      "select",
      { class: "input" },
      [
        ["close", "the call fails"],
        ["leave-out", "the call goes on without it"],
      ].map(([value, text]) => h("option", { value, selected: value === active?.settings?.on_failure }, text)),
    );
    const keep = h("option", { value: "", selected: !active?.settings?.on_failure }, "as each hook does by itself");
    policy.prepend(keep);
    const grants = ["storage", "index", "embedding"].map((grant) => [
      grant,
      h("input", { type: "checkbox", checked: active?.grants?.includes(grant) }),
    ]);
    dialog(`Settings of ${extension.name}`, (close) =>
      h(
        "form",
        {
          onsubmit: (event) => {
            event.preventDefault();
            close();
            const json = {
              order: Number(order.value),
              grants: [
                ...grants.filter(([, input]) => input.checked).map(([grant]) => grant),
                // Those without a box stay, such as hosts.
                ...(active?.grants ?? []).filter((grant) => !grants.some(([boxed]) => boxed === grant)),
              ],
            };
            if (policy.value) json.on_failure = policy.value;
            this.change(extension.name, json, "has new settings");
          },
        },
        field("Order", order, "Smaller runs earlier."),
        field("If a hook fails", policy),
        h(
          "fieldset",
          { class: "checks-row" },
          h("legend", {}, "It may use"),
          grants.map(([grant, input]) => h("label", { class: "check" }, input, h("span", {}, grant))),
        ),
        h(
          "div",
          { class: "row row-end" },
          button("Cancel", close),
          h("button", { type: "submit", class: "button primary" }, h("span", {}, "Save")),
        ),
      ),
    );
  }

  remove(name) {
    confirm(
      `Remove ${name}?`,
      "Its hooks run no more from the next call on. Its generations are forgotten; its component must be sent again to come back.",
      "Remove",
      async () => {
        await api("DELETE", `${base()}/${encodeURIComponent(name)}`);
        say(`${name} is removed.`);
        go("extensions");
        this.reload();
      },
    );
  }

  install(file) {
    const name = nameOf(file);
    const known = this.all?.find((one) => one.name === name);
    const active = known?.generations.find((one) => one.active);
    this.panel = new Install({
      file,
      name,
      isExtension: true,
      title: known ? `A new generation of ${name}` : "A new extension",
      settings: { order: known?.order, grants: active?.grants, policy: active?.settings?.on_failure },
      target: (called) => ({ path: `${base()}/${encodeURIComponent(called)}`, method: "PUT" }),
      onDone: async (called) => {
        await this.reload();
        if (this.name === called) this.again();
        else go("extensions", [called]);
      },
      onClose: () => put(this.installing),
    });
    put(this.installing, this.panel.element);
    this.panel.element.scrollIntoView({ block: "nearest" });
    this.panel.prove.focus();
    if (known) say(`${name} is there already: ${count(known.generations.length)} generations.`);
  }
}
