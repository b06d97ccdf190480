// One fact, to read and change; and the form for a new one.

import { api, session } from "./api.mjs";
import { button, command, field, h, iconButton, newId } from "./dom.mjs";
import { complain, say } from "./feedback.mjs";
import { ago, bytes, moment, utf8 } from "./format.mjs";
import { GRACE, remove } from "./deletion.mjs";

const TEXT_BYTES = 262_144;
const METADATA_BYTES = 65_536;

/** Texts longer than this are shown without the browser's spelling help, which is slow there. */
const LONG = 20_000;

/** The metadata in a field, or what is wrong with it. */
export function readMetadata(text) {
  if (!text.trim()) return { value: {} };
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { problem: `Not JSON: ${error.message}` };
  }
  if (value === null || typeof value !== "object" || Array.isArray(value))
    return { problem: 'An object is wanted, such as {"topic": "people"}.' };
  if (utf8(text) > METADATA_BYTES)
    return { problem: `Too long: ${bytes(utf8(text))} of at most ${bytes(METADATA_BYTES)}.` };
  return { value };
}

/** Changes that were not saved, by fact: whoever looks at another one and comes back finds them again. */
const drafts = new Map();

/** Whether a fact has changes that were not saved. */
export const isDirty = (id) => drafts.has(draftOf(id));

const draftOf = (id) => `${session.tenant} ${id ?? ""}`;

/** The form of a fact; of a new one without `fact`. */
export function editor({ fact, onSaved, onClose }) {
  const mine = draftOf(fact?.id);
  const text = h("textarea", {
    class: "input text-input",
    rows: 10,
    dir: "auto",
    required: true,
    value: fact?.content ?? "",
    spellcheck: (fact?.content.length ?? 0) > LONG ? "false" : null,
    placeholder: fact ? null : "Mia keeps a cat, a dog and two parrots.",
  });
  const metadata = h("textarea", {
    class: "input code-input",
    rows: 6,
    spellcheck: "false",
    value: fact ? JSON.stringify(fact.metadata ?? {}, null, 2) : "",
    placeholder: '{"topic": "people"}',
  });
  const id = h("input", {
    class: "input",
    type: "text",
    maxlength: 128,
    pattern: "[A-Za-z0-9_][A-Za-z0-9._\\-]*",
    placeholder: "made for you if left empty",
    autocomplete: "off",
  });
  const size = h("span", { class: "size" });
  const problem = h("p", { class: "problem", role: "alert", id: newId("problem") });
  metadata.setAttribute("aria-errormessage", problem.id);
  const save = h("button", { class: "button primary", type: "submit" }, h("span", {}, fact ? "Save" : "Store"));

  // As the fields have them: a field knows one kind of line break.
  const before = { text: text.value, metadata: metadata.value };
  const draft = drafts.get(mine);
  if (draft) text.value = draft.text;
  if (draft) metadata.value = draft.metadata;

  const check = () => {
    const used = utf8(text.value);
    size.textContent = `${bytes(used)} of ${bytes(TEXT_BYTES)}`;
    size.classList.toggle("is-bad", used > TEXT_BYTES);
    const read = readMetadata(metadata.value);
    problem.textContent = used > TEXT_BYTES ? "The text is too long." : (read.problem ?? "");
    metadata.setAttribute("aria-invalid", String(Boolean(read.problem)));
    const isSame =
      fact &&
      text.value === before.text &&
      !read.problem &&
      JSON.stringify(read.value) === JSON.stringify(fact.metadata ?? {});
    save.disabled = Boolean(problem.textContent) || !text.value.trim() || Boolean(isSame);
    return read.value;
  };
  const keep = () => {
    check();
    const isAsBefore = text.value === before.text && metadata.value === before.metadata;
    if (isAsBefore) drafts.delete(mine);
    else drafts.set(mine, { text: text.value, metadata: metadata.value });
  };
  text.addEventListener("input", keep);
  metadata.addEventListener("input", keep);
  const leave = () => {
    drafts.delete(mine);
    onClose();
  };

  const submit = async (event) => {
    event.preventDefault();
    const value = check();
    if (save.disabled) return;
    save.disabled = true;
    try {
      const stored = fact
        ? await change(fact, text.value === before.text ? null : text.value, value)
        : await store(text.value, value, id.value.trim());
      say(
        fact
          ? `${stored.id} is changed.`
          : `${stored.id} is stored${stored.indexed ? " and found by meaning." : "; its vector follows."}`,
      );
      drafts.delete(mine);
      onSaved(stored.id);
    } catch (error) {
      save.disabled = false;
      problem.textContent = error.message;
      if (error.requestId && error.status >= 500) complain(error);
    }
  };
  const form = h(
    "form",
    {
      class: "editor",
      onsubmit: submit,
      onkeydown: (event) => event.key === "Enter" && event.ctrlKey && form.requestSubmit(),
    },
    h(
      "div",
      { class: "detail-head" },
      iconButton("Back to the list", "back", onClose, { class: "icon-button only-narrow" }),
      h("h2", {}, fact ? h("code", {}, fact.id) : "A new fact"),
      h("div", { class: "spacer" }),
      fact &&
        button("Delete", () => remove(fact.id), {
          icon: "trash",
          kind: "danger-quiet",
          title: `It can be undone for ${GRACE / 1000} seconds`,
        }),
      iconButton("Close", "close", onClose, { class: "icon-button only-wide" }),
    ),
    fact &&
      h(
        "p",
        { class: "hint" },
        "Stored ",
        h("time", { datetime: fact.timestamp, title: moment(fact.timestamp) }, ago(fact.timestamp)),
        `, ${moment(fact.timestamp)}`,
      ),
    draft && h("p", { class: "notice notice-warn" }, "These are your changes from before, not saved yet."),
    field(h("span", {}, "Text ", size), text),
    field("Metadata", metadata, "A JSON object. Searches filter by it, and its values become chips."),
    !fact && field("Id", id, "Letters, digits, “.”, “_” and “-”. The same id with the same text stays one fact."),
    problem,
    h("div", { class: "row" }, save, button("Cancel", leave)),
  );
  check();
  return form;
}

const store = (text, metadata, id) =>
  api("POST", "/v1/facts", { json: { text, metadata, ...(id ? { fact_id: id } : {}) } });

/** Sends only what is different. */
function change(fact, text, metadata) {
  const json = {};
  if (text !== null) json.text = text;
  if (JSON.stringify(metadata) !== JSON.stringify(fact.metadata ?? {})) json.metadata = metadata;
  return api("PATCH", `/v1/facts/${encodeURIComponent(fact.id)}`, { json });
}

const SAMPLES = [
  ["mia-pets", "Mia keeps a cat, a dog and two parrots.", { topic: "people" }],
  ["staging-port", "The staging server listens on port 7171.", { topic: "network", year: 2026 }],
  ["ledger-backup", "The ledger is copied to the vault every night at two.", { topic: "operations", year: 2026 }],
  ["tea-cupboard", "Green tea is in the upper cupboard, behind the flour.", { topic: "kitchen" }],
  ["release-friday", "Nothing is released on a Friday after lunch.", { topic: "operations" }],
  ["noor-allergy", "Noor must not eat peanuts.", { topic: "people" }],
];

/** What an empty tenant shows: what a fact is, a form that stores one, and facts to try with. */
export function firstFact(onSaved) {
  const text = h("input", {
    class: "input",
    type: "text",
    placeholder: "Noor must not eat peanuts.",
    autocomplete: "off",
    required: true,
    dir: "auto",
  });
  const put = async (drafts) => {
    try {
      const answer = await api("POST", "/v1/facts/batch", { json: { facts: drafts } });
      const bad = answer.results.find((one) => one.status === "error");
      if (bad) throw new Error(bad.message);
      say(
        drafts.length === 1
          ? "Your first fact is stored. Search for it in other words."
          : "Six facts are stored. Search for “Which animals live with her?”.",
      );
      onSaved();
    } catch (error) {
      complain(error, "Store");
    }
  };
  const form = h(
    "form",
    {
      class: "row row-fields",
      onsubmit: (event) => {
        event.preventDefault();
        if (text.value.trim()) put([{ text: text.value }]);
      },
    },
    h("div", { class: "grow" }, field("Your first fact", text)),
    h("button", { class: "button primary", type: "submit" }, h("span", {}, "Store")),
  );
  return h(
    "div",
    { class: "empty empty-large" },
    h("h2", {}, "No facts yet"),
    h(
      "p",
      {},
      "A fact is what an agent should know: a sentence, or up to 256 KiB of text, with metadata if you like. It is durable once it is stored, and found by meaning a moment later.",
    ),
    form,
    h(
      "div",
      { class: "row" },
      button("Store six samples", () =>
        put(SAMPLES.map(([id, sample, metadata]) => ({ fact_id: id, text: sample, metadata }))),
      ),
    ),
    h("p", { class: "hint" }, "Or from a terminal:"),
    command(`curl -s ${location.origin}/v1/facts --json '{"text": "Noor must not eat peanuts."}'`),
    h("p", { class: "hint" }, "Or drop a file of JSON Lines here."),
  );
}
