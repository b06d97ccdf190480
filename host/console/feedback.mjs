// What the page tells without being asked: short notes, errors, dialogs.

import { add, button, h, iconButton, newId } from "./dom.mjs";
import { address } from "./router.mjs";

const STAYS = 6000;

function show(place, kind, content, { actions = [], stays = STAYS } = {}) {
  const note = h("div", { class: `toast toast-${kind}` }, h("div", { class: "toast-text" }, content));
  const close = () => {
    clearTimeout(timer);
    note.remove();
  };
  for (const [label, work] of actions) {
    note.append(
      button(
        label,
        () => {
          close();
          work();
        },
        { kind: "small" },
      ),
    );
  }
  note.append(iconButton("Close this note", "close", close));
  const holder = document.getElementById(place);
  holder.append(note);
  while (holder.children.length > 4) holder.firstChild.remove();
  const timer = stays ? setTimeout(close, stays) : null;
  return close;
}

/** A short note. `actions` are pairs of a label and what it does. */
export const say = (text, options) => show("toasts", "good", text, options);

/** An error, with a link to why. */
export function complain(error, what) {
  if (error?.name === "AbortError" || error?.status === 401) return;
  if (!error?.code) console.error(error);
  const text = what ? `${what}: ${error.message}` : error.message;
  const content = [h("p", {}, text)];
  if (error.requestId) content.push(why(error));
  show("alerts", "bad", content, { stays: 12_000 });
}

/** Where to read why a request failed. */
function why(error) {
  return h(
    "p",
    { class: "toast-why" },
    h("a", { href: address("failures", [error.requestId]) }, "Why?"),
    " ",
    h("code", {}, error.requestId),
  );
}

/** An error in its place on the page. */
export function errorBox(error, retry) {
  return h(
    "div",
    { class: "notice notice-bad" },
    h("p", {}, error.message),
    error.requestId && why(error),
    error.needs
      ? button("Give a key", () => document.dispatchEvent(new CustomEvent("kenning-key-wanted")), { kind: "small" })
      : retry && button("Try again", retry, { kind: "small" }),
  );
}

/** A dialog. Returns its element, already open; what `content` gets is the way to close it. */
export function dialog(title, content, { wide = false } = {}) {
  const id = newId("dialog");
  const element = h("dialog", { class: wide ? "dialog dialog-wide" : "dialog", "aria-labelledby": id });
  const close = () => element.close();
  element.append(h("div", { class: "dialog-head" }, h("h2", { id }, title), iconButton("Close", "close", close)));
  add(element, h("div", { class: "dialog-body" }, content(close)));
  element.addEventListener("close", () => element.remove());
  element.addEventListener("click", (event) => event.target === element && close());
  document.body.append(element);
  element.showModal();
  return element;
}

/** Asks before something that cannot be taken back. `typed`, if given, must be typed first. */
export function confirm(title, text, label, work, { typed, kind = "danger", input } = {}) {
  dialog(title, (close) => {
    const box =
      typed || input
        ? h("input", {
            type: "text",
            class: "input",
            "aria-label": typed ? `Type ${typed}` : input,
            placeholder: typed ?? input,
            autocomplete: "off",
          })
        : null;
    const act = button(
      label,
      async () => {
        act.disabled = true;
        try {
          await work(box?.value.trim());
          close();
        } catch (error) {
          act.disabled = false;
          complain(error, title);
        }
      },
      { kind },
    );
    const isReady = () => (typed ? box.value === typed : !input || box.value.trim().length > 2);
    act.disabled = !isReady();
    box?.addEventListener("input", () => (act.disabled = !isReady()));
    return [h("p", {}, text), box, h("div", { class: "row row-end" }, button("Cancel", close), act)];
  });
}
