// Where the reader is: `#/facts/mia-pets?tenant=acme&q=cat`. Links and the back button work.

/** The parts of the address. */
export function place() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  return { section: parts[0] || "search", parts: parts.slice(1).filter(Boolean), params: new URLSearchParams(query) };
}

/** An address; parameters that are empty are left out. */
export function address(section, parts = [], params = {}) {
  const tenant = place().params.get("tenant");
  const all = { ...(tenant ? { tenant } : {}), ...params };
  const given = Object.entries(all).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(given).toString();
  return `#/${[section, ...parts].map(encodeURIComponent).join("/")}${query ? `?${query}` : ""}`;
}

export function go(section, parts, params) {
  location.hash = address(section, parts, params);
}

/** Changes the parameters of this place without a step in the history. */
export function amend(params) {
  const here = place();
  const all = { ...Object.fromEntries(here.params), ...params };
  history.replaceState(null, "", address(here.section, here.parts, all));
}
