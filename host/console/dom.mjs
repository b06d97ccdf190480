// Elements, made of text and never of markup: what a fact or a guest says cannot become HTML here.

const SVG = "http://www.w3.org/2000/svg";

/** An element. A property that begins with `on` listens, `style` goes through the CSSOM, which the
 *  page's policy allows, and the others are attributes; `null`, `undefined` and `false` leave one out. */
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** The same for a drawing. */
export function s(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "value" && "value" in element) element.value = value;
    else if (name === "checked") element.checked = Boolean(value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  add(element, children);
  return element;
}

/** Appends texts and elements, however nested; nothing for `null`, `undefined` and `false`. */
export function add(element, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/** Replaces what is in an element. */
export function put(element, ...children) {
  element.replaceChildren();
  return add(element, children);
}

const ICONS = {
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13Zm4.8-1.7L21 21",
  facts: "M5 4h14v16H5zM8.5 8.5h7M8.5 12h7M8.5 15.5h4",
  extensions: "M4 9h5V7.5a2.5 2.5 0 1 1 5 0V9h5v5h-1.5a2.5 2.5 0 1 0 0 5H19v1H4z",
  logic: "M12 3l8 4.5v9L12 21l-8-4.5v-9zM12 12l8-4.5M12 12v9M12 12L4 7.5",
  tenants:
    "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7ZM2.5 20c0-3.6 2.9-6 6.5-6s6.5 2.4 6.5 6M16 4.3a3.5 3.5 0 0 1 0 6.4M18 14.5c2.1.8 3.5 2.8 3.5 5.5",
  audit: "M12 21a9 9 0 1 0-9-9 9 9 0 0 0 9 9ZM12 7v5l3.5 2",
  server: "M4 5h16v6H4zM4 13h16v6H4zM7.5 8h.01M7.5 16h.01",
  failures: "M12 4 2.8 20h18.4zM12 10v4.5M12 17.3v.01",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM12 2v2.5M12 19.5V22M4.9 4.9l1.8 1.8M17.3 17.3l1.8 1.8M2 12h2.5M19.5 12H22M4.9 19.1l1.8-1.8M17.3 6.7l1.8-1.8",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5Z",
  auto: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18",
  key: "M8 18a5 5 0 1 0 0-10 5 5 0 0 0 0 10ZM12 11l9-7M17 7l2.5 2.5",
  help: "M9 9a3 3 0 1 1 4.3 2.7c-.9.5-1.3 1.1-1.3 2.3M12 17.5v.01",
  close: "M6 6l12 12M18 6 6 18",
  plus: "M12 5v14M5 12h14",
  copy: "M9 9h11v11H9zM15 9V4H4v11h5",
  upload: "M12 16V4M7 9l5-5 5 5M4 20h16",
  download: "M12 4v12M7 11l5 5 5-5M4 20h16",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  back: "M15 5l-7 7 7 7",
  check: "M5 12.5l4.5 4.5L19 7.5",
  compare: "M12 4v16M4 8h4M4 12h4M4 16h4M16 8h4M16 12h4M16 16h4",
  undo: "M8 5 4 9l4 4M4 9h10a5.5 5.5 0 0 1 0 11H9",
  pause: "M8 5v14M16 5v14",
  play: "M7 5l12 7-12 7z",
};

/** A drawing of 24 by 24, for the eye only. */
export function icon(name, size = 18) {
  return s(
    "svg",
    { viewBox: "0 0 24 24", width: size, height: size, "aria-hidden": "true", class: "icon" },
    s("path", { d: ICONS[name] ?? "" }),
  );
}

/** A button with a word, and perhaps an icon before it. */
export function button(label, onclick, { icon: drawing, kind = "", ...rest } = {}) {
  return h(
    "button",
    { type: "button", class: `button ${kind}`, onclick, ...rest },
    drawing && icon(drawing),
    h("span", {}, label),
  );
}

/** A button that only an icon stands for; its name is for screen readers and the tool tip. */
export function iconButton(label, drawing, onclick, properties = {}) {
  return h(
    "button",
    { type: "button", class: "icon-button", title: label, "aria-label": label, onclick, ...properties },
    icon(drawing),
  );
}

let ids = 0;

/** An id that no other element has. */
export const newId = (prefix = "id") => `${prefix}-${++ids}`;

/** A labelled field. `hint` stands below it. */
export function field(label, control, hint) {
  const id = control.id || newId("field");
  control.id = id;
  const note = hint ? h("p", { class: "hint", id: `${id}-hint` }, hint) : null;
  if (note) control.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: id }, label), control, note);
}

/** A choice of a few, all of them visible. `choices` are pairs of value and label. */
export function segmented(label, choices, value, onchange) {
  const name = newId("choice");
  return h(
    "fieldset",
    { class: "segmented" },
    h("legend", { class: "hidden" }, label),
    choices.map(([one, text, title]) =>
      h(
        "label",
        { title },
        h("input", { type: "radio", name, value: one, checked: one === value, onchange: () => onchange(one) }),
        h("span", {}, text),
      ),
    ),
  );
}

/** A switch with its label. */
export function toggle(label, checked, onchange) {
  return h(
    "label",
    { class: "toggle" },
    h("input", { type: "checkbox", role: "switch", checked, onchange: (event) => onchange(event.target.checked) }),
    h("span", {}, label),
  );
}

/** A line of placeholders while something is on its way. */
export function skeleton(lines = 3) {
  return h(
    "div",
    { class: "skeletons", "aria-hidden": "true" },
    Array.from({ length: lines }, (_, at) =>
      h("div", { class: "skeleton", style: { width: `${92 - ((at * 17) % 40)}%` } }),
    ),
  );
}

/** A command to copy. */
export function command(text) {
  const copy = iconButton("Copy the command", "copy", async () => {
    await navigator.clipboard?.writeText(text).catch(() => {});
    copy.replaceChildren(icon("check"));
    setTimeout(() => copy.replaceChildren(icon("copy")), 1500);
  });
  return h("div", { class: "command" }, h("pre", { tabindex: "0", "aria-label": "Command" }, text), copy);
}

/** Calls `work` once it was not asked for `ms`. */
export function debounced(ms, work) {
  let timer;
  const later = (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), ms);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}
