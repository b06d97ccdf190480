// All facts, newest first: browse, open, store, import, export, follow.

import { follow, get, isAbort, send, failure, session } from "./api.mjs";
import { button, command, debounced, h, icon, put, skeleton, toggle } from "./dom.mjs";
import { complain, errorBox, say } from "./feedback.mjs";
import { ago, compact, count, moment, plural } from "./format.mjs";
import { editor, firstFact, isDirty } from "./editor.mjs";
import { isMarked, onDeletion } from "./deletion.mjs";
import { chooseFile, importPanel } from "./importing.mjs";
import { address, amend, go, place } from "./router.mjs";
import { VirtualList } from "./virtual.mjs";

/** Facts of one page. */
const PAGE = 100;

export function open(page, here) {
  const view = new Facts(page, here);
  view.begin(here);
  return { stop: () => view.stop(), moved: (there) => view.moved(there) };
}

class Facts {
  constructor(page, here) {
    this.page = page;
    this.items = [];
    this.ends = new AbortController();
    this.fresh = 0;
    this.isLive = true;
    this.list = new VirtualList({
      label: "Facts, newest first",
      render: (fact, at) => this.row(fact, at),
      onEnd: () => this.more(),
      row: 76,
      className: "fact-list",
    });
    this.filter = h("input", {
      class: "input",
      type: "search",
      placeholder: "Containing this text",
      "aria-label": "Only facts that contain this text",
      value: here.params.get("contains") ?? "",
      autocomplete: "off",
    });
    this.filter.addEventListener(
      "input",
      debounced(200, () => this.reload()),
    );
  }

  begin(here) {
    this.status = h("span", { class: "status-line", "aria-live": "polite" });
    this.news = h("div", { class: "news", "aria-live": "polite" });
    this.live = h(
      "div",
      {},
      toggle("Live", true, (isOn) => this.setLive(isOn)),
    );
    this.detail = h("section", { class: "detail", "aria-label": "Fact" });
    this.left = h("div", { class: "list-side" });
    put(this.page, h("h1", { class: "hidden" }, "Facts"), h("div", { class: "split" }, this.left, this.detail));
    put(
      this.left,
      h(
        "div",
        { class: "toolbar" },
        h("p", { class: "title", "aria-hidden": "true" }, "Facts"),
        this.status,
        h("div", { class: "spacer" }),
        this.live,
      ),
      h(
        "div",
        { class: "toolbar" },
        h("div", { class: "grow" }, this.filter),
        button("New", () => go("facts", [], { new: "1" }), { icon: "plus", kind: "primary" }),
        button("Import", () => chooseFile((file) => this.import(file)), { icon: "upload" }),
        button("Export", () => this.export(), { icon: "download" }),
      ),
      this.news,
      this.list.element,
    );
    this.acceptDrops();
    this.stopDeletion = onDeletion(() => this.redraw());
    this.setLive(true);
    this.reload();
    this.moved(here);
  }

  stop() {
    this.ends.abort();
    this.cancel?.abort();
    this.stopDeletion?.();
  }

  /** Another fact of the same list is opened, or none. */
  moved(here) {
    const id = here.parts[0];
    const isNew = here.params.get("new") === "1";
    this.page.classList.toggle("has-detail", Boolean(id || isNew));
    if (isNew) put(this.detail, editor({ onSaved: (saved) => this.saved(saved), onClose: () => this.close() }));
    else if (id) this.openFact(id);
    else put(this.detail, this.teach());
    for (const row of this.list.rows.values()) this.markRow(row, id);
  }

  markRow(row, id) {
    const link = row.querySelector("a");
    if (link?.dataset.id === id) link.setAttribute("aria-current", "true");
    else link?.removeAttribute("aria-current");
  }

  async openFact(id) {
    put(this.detail, skeleton(6));
    try {
      const fact = await get(`/v1/facts/${encodeURIComponent(id)}`);
      if (place().parts[0] !== id) return;
      put(this.detail, editor({ fact, onSaved: (saved) => this.saved(saved), onClose: () => this.close() }));
    } catch (error) {
      put(
        this.detail,
        errorBox(error, () => this.openFact(id)),
        h("a", { class: "button", href: address("facts") }, "Back to the list"),
      );
    }
  }

  close() {
    go("facts", [], {});
  }

  saved(id) {
    this.ownChange = id;
    this.reload({ quietly: true });
    if (place().parts[0] === id) this.openFact(id);
    else go("facts", [id]);
  }

  teach() {
    return h(
      "div",
      { class: "empty" },
      h("p", {}, "Choose a fact to read, change or delete it."),
      h(
        "p",
        { class: "hint" },
        "Drop a file of JSON Lines anywhere on this page to import it: a fact a line, such as",
      ),
      command('{"text": "Mia keeps a cat.", "metadata": {"topic": "people"}}'),
    );
  }

  /** Reads the list anew. */
  async reload({ quietly = false } = {}) {
    this.cancel?.abort();
    this.cancel = new AbortController();
    this.cursor = null;
    this.isDone = false;
    this.isLoading = false;
    this.fresh = 0;
    put(this.news);
    amend({ contains: this.filter.value });
    if (!quietly) put(this.status, "reading…");
    const kept = this.items;
    this.items = [];
    await this.more(kept);
    this.counted();
  }

  async counted() {
    try {
      const stats = await get("/v1/stats", {}, { signal: this.ends.signal });
      const pending = stats.pending ? `, ${count(stats.pending)} waiting for their vectors` : "";
      put(this.status, `${plural(stats.facts, "fact")}${pending}`);
      clearTimeout(this.again);
      if (stats.pending && !this.ends.signal.aborted) this.again = setTimeout(() => this.counted(), 1500);
    } catch {
      put(this.status);
    }
  }

  /** The next page, if there is one. */
  async more(kept) {
    if (this.isLoading || this.isDone || !this.cancel) return;
    this.isLoading = true;
    const mine = this.cancel;
    try {
      const query = { limit: PAGE, cursor: this.cursor, query: this.filter.value };
      const answer = await get("/v1/facts", query, { signal: mine.signal });
      if (mine !== this.cancel) return;
      this.items.push(...answer.facts);
      this.cursor = answer.next_cursor;
      this.isDone = !answer.next_cursor;
      this.isLoading = false;
      if (kept || !this.list.items.length) this.show();
      else this.list.grown();
    } catch (error) {
      if (mine !== this.cancel) return;
      this.isLoading = false;
      if (isAbort(error)) return;
      this.isDone = true;
      put(
        this.news,
        errorBox(error, () => this.reload()),
      );
    }
  }

  show() {
    this.list.set(this.items);
    const isEmpty = !this.items.length && this.isDone;
    this.left.classList.toggle("is-empty", isEmpty);
    this.emptyBox?.remove();
    if (!isEmpty) return;
    this.emptyBox = this.filter.value
      ? h(
          "div",
          { class: "empty" },
          h("p", {}, "No fact contains this text. The list looks for the letters; the search knows what words mean."),
          h("a", { class: "button", href: address("search", [], { q: this.filter.value }) }, "Search for it"),
        )
      : firstFact(() => this.reload());
    this.left.append(this.emptyBox);
  }

  row(fact, at) {
    const tags = Object.entries(fact.metadata ?? {}).slice(0, 3);
    const link = h(
      "a",
      {
        class: `fact-row ${isMarked(fact.id) ? "is-going" : ""}`,
        href: address("facts", [fact.id], { contains: this.filter.value }),
        data: { id: fact.id },
      },
      h("span", { class: "fact-text", dir: "auto" }, fact.content.slice(0, 400)),
      h(
        "span",
        { class: "fact-meta" },
        h("code", {}, fact.id),
        tags.map(([name, value]) =>
          h("span", { class: "tag" }, h("span", { class: "tag-name" }, name), short(value)),
        ),
        h("time", { datetime: fact.timestamp, title: moment(fact.timestamp) }, ago(fact.timestamp)),
      ),
    );
    if (place().parts[0] === fact.id) link.setAttribute("aria-current", "true");
    return link;
  }

  redraw() {
    this.list.set(this.items);
    if (!place().parts[0]) return;
    if (isMarked(place().parts[0])) this.close();
  }

  setLive(isOn) {
    this.following?.abort();
    if (!isOn) return this.live.classList.remove("is-live");
    this.following = new AbortController();
    this.ends.signal.addEventListener("abort", () => this.following.abort());
    follow(
      this.following.signal,
      (kind, change) => this.changed(kind, change),
      (isThere) => this.live.classList.toggle("is-live", isThere),
    );
  }

  /** Somebody changed something: a fact that is shown is read again, new ones are offered. */
  async changed(kind, change) {
    const at = this.items.findIndex((fact) => fact.id === change.id);
    clearTimeout(this.recount);
    this.recount = setTimeout(() => this.counted(), 600);
    if (kind === "deleted" && at >= 0) {
      this.items.splice(at, 1);
      return this.show();
    }
    if (kind === "changed" && place().parts[0] === change.id) this.openChanged(change.id);
    if (kind === "changed" && at >= 0) {
      const fact = await get(`/v1/facts/${encodeURIComponent(change.id)}`).catch(() => null);
      // The list may have been read anew meanwhile.
      const now = this.items.findIndex((one) => one.id === change.id);
      if (!fact || now < 0) return;
      this.items[now] = fact;
      return this.list.set(this.items);
    }
    if (kind === "stored" && at < 0) this.offer();
    if (kind === "gap") this.offer();
  }

  /** The fact that is open was changed, perhaps by somebody else. */
  openChanged(id) {
    if (this.ownChange === id) this.ownChange = null;
    else if (!isDirty(id)) this.openFact(id);
    else
      put(
        this.news,
        h("p", { class: "notice notice-warn" }, `${id} was changed by somebody else. Saving yours replaces that.`),
      );
  }

  offer() {
    if (this.list.element.scrollTop < 40 && !this.isImporting) return this.reloadSoon();
    this.fresh += 1;
    put(
      this.news,
      h(
        "button",
        {
          type: "button",
          class: "news-button",
          onclick: () => {
            this.list.element.scrollTop = 0;
            this.reload();
          },
        },
        `${plural(this.fresh, "new fact")}: show`,
      ),
    );
  }

  reloadSoon() {
    clearTimeout(this.soon);
    this.soon = setTimeout(() => !this.ends.signal.aborted && this.reload({ quietly: true }), 300);
  }

  acceptDrops() {
    const over = (isOver) => (event) => {
      if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
      event.preventDefault();
      this.page.classList.toggle("is-over", isOver);
    };
    this.page.addEventListener("dragover", over(true));
    this.page.addEventListener("dragleave", over(false));
    this.page.addEventListener("drop", (event) => {
      over(false)(event);
      const file = event.dataTransfer?.files[0];
      if (file) this.import(file);
    });
  }

  import(file) {
    this.page.classList.add("has-detail");
    this.isImporting = true;
    put(
      this.detail,
      importPanel(
        file,
        () => {
          this.isImporting = false;
          this.reload({ quietly: true });
        },
        () => this.moved(place()),
      ),
    );
  }

  /** Writes every fact into a file, as it arrives. */
  async export() {
    try {
      const response = await send("GET", "/v1/export", { signal: this.ends.signal });
      if (!response.ok) throw failure(response, await response.json().catch(() => null));
      const reader = response.body.getReader();
      const parts = [];
      for (let size = 0; ;) {
        const { value, done } = await reader.read();
        if (done) break;
        parts.push(value);
        size += value.length;
        put(this.status, `exporting: ${compact(size / 1024)} KiB`);
      }
      const link = h("a", {
        href: URL.createObjectURL(new Blob(parts, { type: "application/x-ndjson" })),
        download: `${session.tenant}.jsonl`,
      });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
      say(`Exported to ${session.tenant}.jsonl.`);
    } catch (error) {
      complain(error, "Export");
    }
    this.counted();
  }
}

function short(value) {
  const isPlain = Array.isArray(value) && value.every((one) => typeof one !== "object");
  const text = isPlain ? value.join(", ") : typeof value === "object" ? JSON.stringify(value) : String(value);
  return text.length > 24 ? `${text.slice(0, 24)}…` : text;
}
