// The logic: the server's, or the tenant's own.

import { get, session } from "./api.mjs";
import { button, h, put, segmented, skeleton } from "./dom.mjs";
import { errorBox } from "./feedback.mjs";
import {
  acceptComponents,
  Costs,
  dropZone,
  eventList,
  generationTable,
  rollBack,
  senders,
  statePill,
} from "./guest.mjs";
import { Install } from "./install.mjs";

const EVERY = 2000;

export function open(page) {
  const view = new Logic(page);
  view.begin();
  return { stop: () => view.stop() };
}

class Logic {
  constructor(page) {
    this.page = page;
    this.own = false;
    this.ends = new AbortController();
    this.who = new Map();
  }

  begin() {
    this.notes = h("div", {});
    this.installing = h("div", {});
    this.body = h("div", {}, skeleton(4));
    put(
      this.page,
      h(
        "div",
        { class: "toolbar" },
        h("h1", {}, "Logic"),
        h("span", { class: "status-line" }, "decides what a fact is and how search ranks"),
        h("div", { class: "spacer" }),
        segmented(
          "Whose logic",
          [
            ["server", "The server's"],
            ["tenant", `Of ${session.tenant}`],
          ],
          "server",
          (which) => {
            this.own = which === "tenant";
            this.fed = "";
            this.drawFrame();
            this.reload(true);
          },
        ),
      ),
      this.notes,
      this.installing,
      this.body,
      dropZone("Drop a logic's .wasm here to replace it", (file) => this.install(file)),
    );
    acceptComponents(this.page, (file) => this.install(file));
    this.drawFrame();
    this.reload(true);
    this.timer = setInterval(() => !document.hidden && this.reload(), EVERY);
  }

  stop() {
    clearInterval(this.timer);
    this.ends.abort();
    this.panel?.cancel?.abort();
  }

  drawFrame() {
    this.costs = new Costs();
    this.title = h("div", { class: "card-head" });
    this.about = h("div", {});
    this.generations = h("div", {});
    this.events = h("div", {});
    put(
      this.body,
      h("section", { class: "card" }, this.title, this.about, this.generations),
      h("section", { class: "card" }, h("h3", {}, "Cost of a call"), this.costs.element),
      h("section", { class: "card" }, h("h3", {}, "What happened"), this.events),
    );
  }

  query() {
    return this.own ? { tenant: session.tenant } : {};
  }

  async reload(withSenders = false) {
    const { own } = this;
    try {
      const guest = await get("/v1/admin/logic", this.query(), { signal: this.ends.signal });
      if (own !== this.own) return;
      put(this.notes);
      this.feed(guest);
      if (!withSenders) return;
      this.who = await senders(
        (record) =>
          record.route === "/v1/admin/logic" && (record.parameters?.tenant ?? "") === (own ? session.tenant : ""),
      );
      this.fed = "";
      if (own === this.own) this.feed(guest);
    } catch (error) {
      if (error.name === "AbortError") return;
      put(
        this.notes,
        errorBox(error, () => this.reload(true)),
      );
    }
  }

  feed(guest) {
    this.costs.add(guest.live);
    const { live, ...rest } = guest;
    const text = JSON.stringify([rest, live?.generation, live?.quarantined_for_ms, [...this.who]]);
    if (text === this.fed) return;
    this.fed = text;
    const isFallback = this.own && guest.active === null;
    put(
      this.title,
      h("h2", {}, this.own ? `Logic of ${session.tenant}` : "Logic of the server"),
      statePill(guest),
      h("div", { class: "spacer" }),
      guest.generations.length > 0 &&
        guest.active !== null &&
        button("Roll back", () => this.back(), { kind: "small", icon: "undo" }),
    );
    put(
      this.about,
      isFallback &&
        h(
          "p",
          { class: "muted" },
          `${session.tenant} has no logic of its own: it uses the server's. Drop one below to give it one.`,
        ),
      !this.own &&
        guest.active === null &&
        h(
          "p",
          { class: "muted" },
          "The logic that comes with the server answers. Replace it below: it is proved on the recent requests of all tenants first.",
        ),
      guest.pinned &&
        h(
          "p",
          { class: "notice notice-warn" },
          `Pinned to generation ${guest.pinned.to}, because this tenant alone failed with generation ${guest.pinned.from}. Roll back to generation 1 to end this.`,
        ),
      guest.problem && h("p", { class: "notice notice-bad" }, guest.problem),
    );
    put(
      this.generations,
      guest.generations.length || guest.built_in
        ? generationTable(guest, this.who, (number) => this.back(number))
        : null,
    );
    put(this.events, eventList(guest.events) ?? h("p", { class: "muted" }, "Nothing yet."));
  }

  back(number) {
    rollBack("/v1/admin/logic/rollback", this.query(), number, () => this.reload(true));
  }

  install(file) {
    this.panel = new Install({
      file,
      title: this.own ? `A logic for ${session.tenant}` : "A new logic for every tenant without its own",
      isExtension: false,
      target: () => ({ path: "/v1/admin/logic", method: "POST", query: this.query() }),
      onDone: () => this.reload(true),
      onClose: () => put(this.installing),
    });
    put(this.installing, this.panel.element);
    this.panel.element.scrollIntoView({ block: "nearest" });
    this.panel.prove.focus();
  }
}
