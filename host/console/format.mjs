// Numbers, times and sizes for people, in plain English.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const count = (number) => whole.format(number ?? 0);
export const compact = (number) => (Math.abs(number) < 10_000 ? trim(number) : short.format(number));
export const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** A number with as many decimal places as it needs, at most two. */
export function trim(number) {
  const size = Math.abs(number);
  return whole.format(0) === "0" && size >= 100
    ? whole.format(number)
    : String(Number(number.toFixed(size >= 10 ? 1 : 2)));
}

export function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  let rest = number ?? 0;
  while (rest >= 1024 && at < units.length - 1) {
    rest /= 1024;
    at += 1;
  }
  return `${at ? trim(rest) : rest} ${units[at]}`;
}

export function milliseconds(number) {
  if (number >= 60_000) return `${trim(number / 60_000)} min`;
  if (number >= 1000) return `${trim(number / 1000)} s`;
  if (number >= 1) return `${trim(number)} ms`;
  return `${Math.round(number * 1000)} µs`;
}

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const STEPS = [
  [60, "second"],
  [60, "minute"],
  [24, "hour"],
  [30, "day"],
  [12, "month"],
  [Infinity, "year"],
];

/** "3 minutes ago"; the text itself where it is no time. */
export function ago(text) {
  const time = Date.parse(text);
  if (Number.isNaN(time)) return text ?? "";
  let rest = (time - Date.now()) / 1000;
  if (Math.abs(rest) < 5) return "just now";
  for (const [size, unit] of STEPS) {
    if (Math.abs(rest) < size) return relative.format(Math.round(rest), unit);
    rest /= size;
  }
  return text;
}

/** The moment itself, in the reader's zone. */
export function moment(text) {
  const time = new Date(text);
  return Number.isNaN(time.getTime())
    ? String(text ?? "")
    : time.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
}

export const shortDigest = (digest) => (digest ?? "").replace("sha256:", "").slice(0, 12);
export const utf8 = (text) => new TextEncoder().encode(text).length;
