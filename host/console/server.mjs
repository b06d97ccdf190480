// The server at a glance: whether it is ready, its load, and what it waits for.

import { get, session } from "./api.mjs";
import { bars, LineChart } from "./charts.mjs";
import { h, put } from "./dom.mjs";
import { bytes, compact, count, milliseconds, percent, plural, trim } from "./format.mjs";
import { Between, isCaller, read } from "./metrics.mjs";
import { address } from "./router.mjs";

const EVERY = 2000;

const seconds = (value) => milliseconds(1000 * value);
const perSecond = (value) => `${trim(value)}/s`;

export function open(page) {
  const view = new Server(page);
  view.begin();
  return { stop: () => view.stop() };
}

/** Requests whose time is how long somebody wanted to listen. */
const isTimed = (labels) => isCaller(labels) && labels.route !== "/v1/changes" && labels.route !== "/v1/import";

class Server {
  constructor(page) {
    this.page = page;
    this.ends = new AbortController();
    const chart = (title, series, format, note) => new LineChart({ title, series, format, note });
    this.charts = {
      requests: chart(
        "Requests",
        [
          ["all", "accent"],
          ["4xx", "warn"],
          ["5xx", "bad"],
        ],
        perSecond,
      ),
      latency: chart(
        "Latency",
        [
          ["median", "accent"],
          ["95 %", "vector"],
          ["99 %", "text"],
        ],
        seconds,
      ),
      refused: chart(
        "Refusals",
        [
          ["errors", "bad"],
          ["quotas", "warn"],
          ["connections", "plain"],
        ],
        perSecond,
      ),
      guests: chart(
        "Guests",
        [
          ["mean time of a call", "accent"],
          ["with imports", "vector"],
        ],
        seconds,
      ),
      fuel: chart("Fuel", [["used", "accent"]], (value) => `${compact(value)}/s`),
      storage: chart(
        "Storage, one operation",
        [
          ["read", "accent"],
          ["write", "text"],
        ],
        seconds,
        "Redis, or the embedded database",
      ),
      embedder: chart(
        "Embedder",
        [
          ["texts", "accent"],
          ["from the cache", "plain"],
        ],
        perSecond,
      ),
      embedding: chart(
        "Time for a vector",
        [
          ["waited for", "accent"],
          ["a batch", "vector"],
        ],
        seconds,
      ),
      pending: chart("Embedder's queue", [["facts without a vector", "vector"]], compact, "of all tenants"),
      index: chart(
        "Index",
        [
          ["this tenant's facts not in it", "accent"],
          ["tenants behind other hosts", "bad"],
        ],
        compact,
      ),
      memory: chart("Memory of the indexes", [["in use", "accent"]], bytes, "bounded by index_bytes"),
      stall: chart("Delay of the runtime", [["99 %", "accent"]], seconds, "how late a timer fires"),
      hooks: chart(
        "Hooks",
        [
          ["failed", "bad"],
          ["left out", "warn"],
        ],
        perSecond,
      ),
      bodies: chart("Bodies in memory", [["bytes", "accent"]], bytes),
    };
  }

  begin() {
    this.ready = h("div", { class: "card ready-card" });
    this.tiles = h("div", { class: "tiles" });
    this.codes = h("div", {});
    this.routes = h("div", {});
    this.limits = h("div", {});
    put(
      this.page,
      h(
        "div",
        { class: "toolbar" },
        h("h1", {}, "Server"),
        h("span", { class: "status-line" }, "refreshes every two seconds"),
      ),
      this.ready,
      this.tiles,
      h(
        "div",
        { class: "charts" },
        Object.values(this.charts).map((chart) => h("div", { class: "card" }, chart.element)),
      ),
      h(
        "div",
        { class: "halves" },
        h("section", { class: "card" }, h("h2", {}, "Errors by code"), this.codes),
        h("section", { class: "card" }, h("h2", {}, "Requests by route"), this.routes),
      ),
      h("details", { class: "card" }, h("summary", {}, "Limits in force"), this.limits),
    );
    this.onReady = (event) => this.drawReady(event.detail);
    document.addEventListener("kenning-ready", this.onReady);
    const pill = document.getElementById("readiness");
    this.drawReady({ state: pill.dataset.state ?? "warn", reason: pill.title || "asking…" });
    this.loop();
  }

  stop() {
    this.ends.abort();
    document.removeEventListener("kenning-ready", this.onReady);
  }

  drawReady({ state, reason }) {
    const title = state === "good" ? "Ready" : state === "warn" ? "Not ready" : "Unreachable";
    this.ready.dataset.state = state;
    put(
      this.ready,
      h("span", { class: "dot", "aria-hidden": "true" }),
      h("div", {}, h("b", {}, title), h("p", { class: "muted" }, reason)),
    );
  }

  async loop() {
    const { signal } = this.ends;
    while (!signal.aborted) {
      if (!document.hidden) {
        const [reading, stats] = await Promise.all([
          read(signal).catch(() => null),
          this.canStat() ? get("/v1/stats", {}, { signal }).catch(() => null) : null,
        ]);
        if (signal.aborted) return;
        if (reading) this.drawReading(reading, stats);
        if (stats) this.drawStats(stats);
      }
      await new Promise((next) => setTimeout(next, EVERY));
    }
  }

  canStat() {
    return session.isOpen !== false || Boolean(session.tenantKey);
  }

  drawReading(reading, stats) {
    const { charts } = this;
    this.first ??= reading;
    if (this.last) {
      const since = new Between(this.last, reading);
      const status = (digit) => (labels) => isCaller(labels) && labels.status?.startsWith(digit);
      charts.requests.push(
        since.rate("kenning_http_requests_total", isCaller),
        since.rate("kenning_http_requests_total", status("4")),
        since.rate("kenning_http_requests_total", status("5")),
      );
      charts.latency.push(
        ...[0.5, 0.95, 0.99].map((share) => since.quantile("kenning_http_seconds", share, isTimed)),
      );
      charts.refused.push(
        since.rate("kenning_errors_total"),
        since.rate("kenning_quota_exceeded_total"),
        since.rate("kenning_connections_refused_total"),
      );
      const [inGuest, inHost] = [since.mean("kenning_guest_seconds"), since.mean("kenning_import_seconds")];
      charts.guests.push(inGuest, inGuest === null ? null : inGuest + (inHost ?? 0));
      charts.fuel.push(since.rate("kenning_guest_fuel_total"));
      charts.embedder.push(
        since.rate("kenning_embedded_texts_total"),
        since.rate("kenning_embedding_cache_hits_total"),
      );
      const waited = (on) => since.mean("kenning_wait_seconds", (labels) => labels.on === on);
      charts.storage.push(waited("storage"), waited("storage-write"));
      charts.embedding.push(waited("embedding"), since.mean("kenning_embedding_seconds"));
      charts.stall.push(since.quantile("kenning_runtime_stall_seconds", 0.99));
      charts.hooks.push(since.rate("kenning_hook_failures_total"), since.rate("kenning_hooks_left_out_total"));
      charts.bodies.push(reading.sum("kenning_bodies_bytes"));
      charts.memory.push(reading.sum("kenning_index_bytes"));
      charts.pending.push(Math.max(0, reading.sum("kenning_index_facts") - reading.sum("kenning_index_vectors")));
      charts.index.push(
        // One that is not loaded misses nothing: nobody searches it here.
        ["loading", "ready"].includes(stats?.index.state) ? Math.max(0, stats.facts - stats.index.facts) : null,
        reading.sum("kenning_index_tenants_behind"),
      );
    }
    this.last = reading;
    const none = new Between({ time: 0, sum: () => 0, samples: () => [] }, reading);
    const codes = none.by("kenning_errors_total", "code");
    put(
      this.codes,
      codes.length
        ? [
            bars(
              codes.slice(0, 12).map(([code, number]) => [code, number, "bad"]),
              count,
            ),
            h(
              "p",
              { class: "hint" },
              "Since the server started. ",
              h("a", { href: address("failures") }, "Why did a request fail?"),
            ),
          ]
        : h("p", { class: "muted" }, "None since the server started."),
    );
    const routes = none.by("kenning_http_requests_total", "route").filter(([route]) => isCaller({ route }));
    put(
      this.routes,
      routes.length ? bars(routes.slice(0, 12), count) : h("p", { class: "muted" }, "No requests yet."),
    );
  }

  drawStats(stats) {
    const { storage, embedding, index } = stats;
    const tile = (name, value, note) =>
      h(
        "div",
        { class: "tile" },
        h("span", { class: "muted" }, name),
        h("b", {}, value),
        note && h("span", { class: "muted ellipsis", title: note }, note),
      );
    put(
      this.tiles,
      tile(
        `Facts of ${stats.tenant}`,
        count(stats.facts),
        stats.pending ? `${count(stats.pending)} waiting for vectors` : "all found by meaning",
      ),
      tile("Index", bytes(index.bytes), `${plural(index.vectors, "fact")}, ${plural(index.windows, "vector")}`),
      tile("Storage", storage.backend === "redis" ? "Redis" : "Embedded", storage.address),
      tile(
        "Embedder",
        embedding.kind,
        `${embedding.model}${embedding.dimensions ? `, ${embedding.dimensions} dimensions` : ""}`,
      ),
      tile("Logic", `generation ${stats.generation}`, stats.digest),
      tile("Version", stats.version, `language ${stats.language}`),
      (stats.lost > 0 || stats.unreadable > 0) &&
        tile(
          "Damaged",
          count(stats.lost + stats.unreadable),
          `${count(stats.lost)} lost, ${count(stats.unreadable)} unreadable`,
        ),
    );
    if (this.limits.childElementCount) return;
    const unit = { milliseconds, bytes, fuel: compact, count };
    put(
      this.limits,
      h("p", { class: "hint" }, "Set under [limits] in kenning.toml."),
      h(
        "dl",
        { class: "limits" },
        Object.entries(stats.limits).map(([name, { value, unit: kind }]) =>
          h(
            "div",
            {},
            h("dt", {}, h("code", {}, name)),
            h("dd", {}, name.endsWith("percent") ? percent(value / 100) : (unit[kind] ?? count)(value)),
          ),
        ),
      ),
    );
  }
}
