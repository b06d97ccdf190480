// A list of any length: only the rows that can be seen are elements.

import { h } from "./dom.mjs";

/** Rows beyond the edge that are there already. */
const SPARE = 6;

/** Rows of one height, which `--row` of the style says; `render(item, at)` makes one. `onEnd` is
 *  called when the reader comes near the end. Arrow keys move between the rows' first links. */
export class VirtualList {
  constructor({ label, render, onEnd = () => {}, row = 72, className = "" }) {
    this.items = [];
    this.rows = new Map();
    this.render = render;
    this.onEnd = onEnd;
    this.fallback = row;
    this.space = h("div", { class: "virtual-space", role: "list", "aria-label": label });
    this.element = h("div", { class: `virtual ${className}` }, this.space);
    this.element.addEventListener("scroll", () => this.later(), { passive: true });
    this.element.addEventListener("keydown", (event) => this.onKey(event));
    this.sized = new ResizeObserver(() => this.draw());
    this.sized.observe(this.element);
  }

  /** Shows these instead. Keeps the place, unless `toTop`. */
  set(items, { toTop = false } = {}) {
    this.items = items;
    for (const row of this.rows.values()) row.remove();
    this.rows.clear();
    if (toTop) this.element.scrollTop = 0;
    this.draw();
  }

  /** There are more items in the same array, at its end. */
  grown() {
    this.draw();
  }

  later() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  rowHeight() {
    return parseFloat(getComputedStyle(this.element).getPropertyValue("--row")) || this.fallback;
  }

  draw() {
    if (!this.element.isConnected) return;
    const height = this.rowHeight();
    const resized = height !== this.height;
    this.height = height;
    this.space.style.setProperty("height", `${this.items.length * height}px`);
    const first = Math.max(0, Math.floor(this.element.scrollTop / height) - SPARE);
    const seen = Math.ceil((this.element.clientHeight || 600) / height) + 2 * SPARE;
    const end = Math.min(this.items.length, first + seen);
    for (const [at, row] of this.rows) {
      if ((at < first || at >= end) && !row.contains(document.activeElement)) {
        row.remove();
        this.rows.delete(at);
      } else if (resized) {
        row.style.setProperty("top", `${at * height}px`);
      }
    }
    for (let at = first; at < end; at += 1) {
      if (!this.rows.has(at)) this.place(at, height);
    }
    if (end > this.items.length - 25) this.onEnd();
  }

  place(at, height) {
    const row = h(
      "div",
      {
        class: "virtual-row",
        role: "listitem",
        "aria-posinset": at + 1,
        "aria-setsize": this.items.length,
        style: { top: `${at * height}px`, height: `${height}px` },
        data: { at },
      },
      this.render(this.items[at], at),
    );
    this.rows.set(at, row);
    const next = [...this.rows].filter(([other]) => other > at).sort(([a], [b]) => a - b)[0];
    this.space.insertBefore(row, next ? next[1] : null);
  }

  onKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key];
    const at = Number(event.target.closest?.(".virtual-row")?.dataset.at ?? NaN);
    if (!step && event.key !== "Home" && event.key !== "End") return;
    if (Number.isNaN(at) || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
    event.preventDefault();
    const wanted = step ? at + step : event.key === "Home" ? 0 : this.items.length - 1;
    this.focus(Math.max(0, Math.min(this.items.length - 1, wanted)));
  }

  /** Brings a row into view and puts the focus on its link. */
  focus(at) {
    const [top, height] = [at * this.height, this.element.clientHeight];
    if (top < this.element.scrollTop) this.element.scrollTop = top;
    if (top + this.height > this.element.scrollTop + height) this.element.scrollTop = top + this.height - height;
    this.draw();
    this.rows.get(at)?.querySelector("a, button")?.focus({ preventScroll: true });
  }
}
