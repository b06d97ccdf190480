// `/metrics` in Prometheus' text format: read it, and see what happened between two readings.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/** What is asked by this page and by probes, which is nobody's load. */
const OWN = /^\/(metrics|readyz|livez|healthz|console|$)/;

/** One reading: by family, its samples with their labels. */
export class Reading {
  constructor(text, time = performance.now()) {
    this.time = time;
    this.families = new Map();
    for (const line of text.split("\n")) {
      const found = line[0] === "#" ? null : LINE.exec(line);
      if (!found) continue;
      const labels = Object.fromEntries(
        [...(found[2] ?? "").matchAll(LABEL)].map(([, name, value]) => [name, value]),
      );
      const list = this.families.get(found[1]) ?? [];
      list.push({ labels, value: Number(found[3]), key: found[2] ?? "" });
      this.families.set(found[1], list);
    }
  }

  samples(name) {
    return this.families.get(name) ?? [];
  }

  sum(name, isMeant = () => true) {
    return this.samples(name)
      .filter(({ labels }) => isMeant(labels))
      .reduce((sum, { value }) => sum + value, 0);
  }

  has(name) {
    return this.families.has(name);
  }
}

export async function read(signal) {
  const response = await fetch("/metrics", { cache: "no-store", credentials: "omit", signal });
  return new Reading(await response.text());
}

export const isCaller = ({ route = "" }) => !OWN.test(route);

/** What happened between two readings. */
export class Between {
  constructor(before, after) {
    Object.assign(this, { before, after, seconds: Math.max(0.001, (after.time - before.time) / 1000) });
  }

  /** How much a counter grew. A server that was started again counts from zero. */
  grown(name, isMeant) {
    const grown = this.after.sum(name, isMeant) - this.before.sum(name, isMeant);
    return grown >= 0 ? grown : this.after.sum(name, isMeant);
  }

  rate(name, isMeant) {
    return this.grown(name, isMeant) / this.seconds;
  }

  /** The mean of a histogram's values; `null` if there were none. */
  mean(name, isMeant) {
    const times = this.grown(`${name}_count`, isMeant);
    return times > 0 ? this.grown(`${name}_sum`, isMeant) / times : null;
  }

  /** The value below which `share` of a histogram's values lie, within its bucket by straight line. */
  quantile(name, share, isMeant = () => true) {
    const bounds = new Map();
    for (const [reading, sign] of [
      [this.after, 1],
      [this.before, -1],
    ]) {
      for (const { labels, value } of reading.samples(`${name}_bucket`)) {
        if (!isMeant(labels)) continue;
        const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
        bounds.set(bound, (bounds.get(bound) ?? 0) + sign * value);
      }
    }
    const sorted = [...bounds].sort(([a], [b]) => a - b);
    const all = sorted.at(-1)?.[1] ?? 0;
    if (all <= 0) return null;
    let [lower, below] = [0, 0];
    for (const [bound, upTo] of sorted) {
      if (upTo >= share * all) {
        if (bound === Infinity) return lower;
        return lower + (bound - lower) * ((share * all - below) / Math.max(1e-9, upTo - below));
      }
      [lower, below] = [bound, upTo];
    }
    return lower;
  }

  /** How much each value of a label grew, the most first. */
  by(name, label) {
    const values = new Set(this.after.samples(name).map(({ labels }) => labels[label]));
    return [...values]
      .map((value) => [value, this.grown(name, (labels) => labels[label] === value)])
      .filter(([, grown]) => grown > 0)
      .sort(([, a], [, b]) => b - a);
  }
}
