// Charts of figures over time, drawn as paths; their words are HTML, so that they can be read and scaled.

import { h, put, s } from "./dom.mjs";
import { trim } from "./format.mjs";

const WIDTH = 300;
const HEIGHT = 80;

/** A chart of one or more lines that share a scale. `series` are pairs of a name and a colour's kind. */
export class LineChart {
  constructor({ title, series, format = trim, most = 90, note = "" }) {
    Object.assign(this, { title, series, format, most });
    this.values = series.map(() => []);
    this.lines = series.map(([, kind]) => s("path", { class: `chart-line is-${kind}` }));
    this.areas = series.map(([, kind], at) => (at === 0 ? s("path", { class: `chart-area is-${kind}` }) : null));
    this.cursor = s("line", { class: "chart-cursor", y1: 0, y2: HEIGHT, visibility: "hidden" });
    this.drawing = s(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", class: "chart-drawing" },
      [0.25, 0.5, 0.75].map((share) =>
        s("line", { class: "chart-grid", x1: 0, x2: WIDTH, y1: HEIGHT * share, y2: HEIGHT * share }),
      ),
      this.areas,
      this.lines,
      this.cursor,
    );
    this.none = h("span", { class: "chart-none", "aria-hidden": "true" }, "nothing yet");
    this.top = h("span", { class: "chart-top" });
    this.legend = h("div", { class: "chart-legend" });
    this.drawing.addEventListener("pointermove", (event) => this.point(event));
    this.drawing.addEventListener("pointerleave", () => this.point(null));
    this.element = h(
      "figure",
      { class: "chart" },
      h("figcaption", {}, h("b", {}, title), note && h("span", { class: "muted" }, ` ${note}`)),
      h("div", { class: "chart-box" }, this.drawing, this.top, this.none),
      this.legend,
    );
    this.draw();
  }

  /** Adds one figure for each series; `null` where there is none. */
  push(...figures) {
    figures.forEach((figure, at) => {
      this.values[at].push(figure);
      if (this.values[at].length > this.most) this.values[at].shift();
    });
    this.draw();
  }

  draw() {
    const known = this.values.flat().filter((value) => value !== null && Number.isFinite(value));
    const highest = known.length ? Math.max(...known) : 0;
    const scale = nice(highest);
    this.none.hidden = known.length > 0;
    this.top.textContent = known.length ? this.format(scale) : "";
    this.series.forEach((_, at) => {
      const points = this.points(this.values[at], scale);
      this.lines[at].setAttribute("d", path(points));
      this.areas[at]?.setAttribute(
        "d",
        points.length > 1 && points.every(Boolean)
          ? `${path(points)}L${points.at(-1)[0]} ${HEIGHT}L${points[0][0]} ${HEIGHT}Z`
          : "",
      );
    });
    this.write(null);
    const now = this.series.map(([name], at) => `${name} ${this.said(this.values[at].at(-1))}`).join(", ");
    this.drawing.setAttribute(
      "aria-label",
      `${this.title}: now ${now}; highest ${this.said(known.length ? highest : null)}`,
    );
  }

  points(values, scale) {
    const step = WIDTH / (this.most - 1);
    const from = this.most - values.length;
    return values.map((value, at) =>
      value === null || !Number.isFinite(value)
        ? null
        : [(from + at) * step, HEIGHT - 2 - (scale ? (value / scale) * (HEIGHT - 6) : 0)],
    );
  }

  point(event) {
    if (!event) {
      this.cursor.setAttribute("visibility", "hidden");
      return this.write(null);
    }
    const box = this.drawing.getBoundingClientRect();
    const at =
      Math.round(((event.clientX - box.left) / box.width) * (this.most - 1)) - (this.most - this.values[0].length);
    if (at < 0 || at >= this.values[0].length) return this.point(null);
    const x = ((this.most - this.values[0].length + at) / (this.most - 1)) * WIDTH;
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
    this.cursor.setAttribute("visibility", "visible");
    this.write(at);
  }

  write(at) {
    put(
      this.legend,
      this.series.map(([name, kind], index) => {
        const values = this.values[index];
        return h(
          "span",
          {},
          h("i", { class: `swatch is-${kind}` }),
          name,
          " ",
          h("b", {}, this.said(at === null ? values.at(-1) : values[at])),
        );
      }),
    );
  }

  said(value) {
    return value === null || value === undefined || !Number.isFinite(value) ? "–" : this.format(value);
  }
}

/** The next round number above. */
function nice(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((one) => one * power).find((one) => one >= value) ?? 10 * power;
}

function path(points) {
  let text = "";
  let isDown = false;
  for (const point of points) {
    if (point) text += `${isDown ? "L" : "M"}${point[0].toFixed(1)} ${point[1].toFixed(1)}`;
    isDown = Boolean(point);
  }
  return text;
}

/** Two figures beside each other, as bars on one scale. */
export function pair(label, live, candidate, format = trim, note = "") {
  const most = Math.max(live, candidate, 1e-9);
  const bar = (name, value, kind) =>
    h(
      "div",
      { class: "pair-row" },
      h("span", { class: "muted" }, name),
      h("span", { class: `pair-bar is-${kind}` }, h("span", { style: { width: `${(100 * value) / most}%` } })),
      h("b", {}, format(value)),
    );
  return h(
    "div",
    { class: "pair-figure" },
    h("h4", {}, label, note && h("span", { class: "muted" }, ` ${note}`)),
    bar("live", live, "plain"),
    bar("candidate", candidate, "accent"),
  );
}

/** Names with figures, as bars, the largest first. */
export function bars(rows, format = trim) {
  const most = Math.max(...rows.map(([, value]) => value), 1e-9);
  return h(
    "div",
    { class: "bars" },
    rows.map(([name, value, kind = "accent"]) =>
      h(
        "div",
        { class: "bar-row" },
        h("span", { class: "bar-name", title: name }, name),
        h("span", { class: `bar is-${kind}` }, h("span", { style: { width: `${(100 * value) / most}%` } })),
        h("b", {}, format(value)),
      ),
    ),
  );
}
