// The frame of the page: sections, tenant, keys, theme, keyboard.

import { api, changeSession, get, identify, onSession, probe, session } from "./api.mjs";
import { add, button, field, h, icon, iconButton, put } from "./dom.mjs";
import { complain, dialog, errorBox, say } from "./feedback.mjs";
import { address, go, place } from "./router.mjs";

const SECTIONS = [
  ["search", "Search", "s", () => import("./search.mjs")],
  ["facts", "Facts", "f", () => import("./facts.mjs")],
  ["extensions", "Extensions", "e", () => import("./extensions.mjs")],
  ["logic", "Logic", "l", () => import("./logic.mjs")],
  ["tenants", "Tenants", "t", () => import("./tenants.mjs")],
  ["audit", "Audit", "a", () => import("./audit.mjs")],
  ["failures", "Failures", "x", () => import("./failures.mjs")],
  ["server", "Server", "v", () => import("./server.mjs")],
];

const main = document.getElementById("main");
const navigation = document.getElementById("sections");

/** What was opened last: its way to stop what it began. */
let current = { key: "", stop: () => {} };

function drawSections() {
  put(
    navigation,
    SECTIONS.map(([name, label]) =>
      h(
        "a",
        { class: "section", href: address(name), data: { section: name } },
        icon(name, 20),
        h("span", {}, label),
      ),
    ),
  );
}

/** Opens what the address names. A section that knows how goes to another place by itself. */
async function route() {
  const here = place();
  const tenant = here.params.get("tenant") || "default";
  if (session.isOpen !== false && tenant !== session.tenant) changeSession({ tenant });
  const known = SECTIONS.find(([name]) => name === here.section) ?? SECTIONS[0];
  for (const link of navigation.children) {
    const isHere = link.dataset.section === known[0];
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    link.href = address(link.dataset.section);
    if (isHere && navigation.scrollWidth > navigation.clientWidth)
      link.scrollIntoView({ inline: "center", block: "nearest" });
  }
  document.title = `${known[1]} · Kenning`;
  const key = `${known[0]} ${session.tenant} ${session.tenantKey} ${session.adminKey}`;
  if (current.key === key && current.moved) return current.moved(here);
  current.stop();
  const page = h("div", { class: `page page-${known[0]}` });
  const mine = { key, stop: () => {} };
  current = mine;
  try {
    const module = await known[3]();
    if (current !== mine) return;
    put(main, page);
    main.scrollTop = 0;
    const opened = module.open(page, here) ?? {};
    Object.assign(mine, { stop: () => {}, ...opened });
  } catch (error) {
    console.error(error);
    put(
      main,
      h(
        "div",
        { class: "page" },
        errorBox(error, () => location.reload()),
      ),
    );
  }
}

/** Opens the section again, as it is for whoever asks now. */
function reopen() {
  current.stop();
  current = { key: "", stop: () => {} };
  drawTop();
  route();
}

/** The tenant that everything is about. */
function drawTenant() {
  const holder = document.getElementById("tenant");
  if (session.isOpen === false) {
    const name = session.tenantKey ? session.tenant : "no tenant's key";
    return put(holder, h("span", { class: "tenant-fixed", title: "The tenant of your key" }, name));
  }
  put(
    holder,
    h(
      "button",
      { type: "button", class: "tenant-button", "aria-haspopup": "dialog", onclick: chooseTenant },
      h("span", { class: "tenant-label" }, "tenant"),
      h("b", {}, session.tenant),
    ),
  );
}

async function chooseTenant() {
  const list = h("div", { class: "tenant-list", role: "list" });
  const input = h("input", { class: "input", type: "search", placeholder: "acme", autocomplete: "off" });
  let names = [session.tenant];
  const box = dialog("Which tenant?", (close) => {
    const choose = (name) => {
      close();
      go(place().section, [], { tenant: name === "default" ? "" : name });
    };
    const draw = () => {
      const wanted = input.value.trim();
      const found = names.filter((name) => name.includes(wanted)).slice(0, 50);
      const isNew = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(wanted) && !names.includes(wanted);
      put(
        list,
        found.map((name) =>
          h(
            "div",
            { role: "listitem" },
            h(
              "button",
              {
                type: "button",
                class: "menu-item",
                "aria-current": name === session.tenant ? "true" : null,
                onclick: () => choose(name),
              },
              name,
            ),
          ),
        ),
        isNew &&
          h(
            "div",
            { role: "listitem" },
            h(
              "button",
              { type: "button", class: "menu-item", onclick: () => choose(wanted) },
              `Use “${wanted}”: it exists from its first fact`,
            ),
          ),
      );
    };
    input.addEventListener("input", draw);
    input.addEventListener("keydown", (event) => event.key === "Enter" && list.querySelector("button")?.click());
    draw();
    get("/v1/admin/tenants").then(
      (answer) => {
        names = [...new Set(["default", session.tenant, ...answer.tenants.map((one) => one.name)])].sort();
        draw();
      },
      () => {},
    );
    return [field("Name", input), list];
  });
  box.querySelector("input").focus();
}

function drawTop() {
  drawTenant();
  const isDark = document.documentElement.dataset.theme;
  const theme =
    isDark === "dark"
      ? ["Use the system's colours", "moon", ""]
      : isDark === "light"
        ? ["Use dark colours", "sun", "dark"]
        : ["Use light colours", "auto", "light"];
  put(
    document.getElementById("top-actions"),
    session.isOpen === false && iconButton("Keys", "key", () => askForKey()),
    iconButton(theme[0], theme[1], () => setTheme(theme[2])),
    iconButton("Keyboard and help", "help", showKeys),
  );
}

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  drawTop();
}

let keyDialog = null;

/** Where the reader was asked already: what refreshes by itself does not ask again. */
let askedAt = "";

/** A request was refused for want of a key. */
function onKeyWanted({ detail }) {
  const at = `${detail?.needs} ${current.key}`;
  if (detail && at === askedAt) return;
  askedAt = at;
  askForKey(detail?.needs);
}

/** Asks for a key. It is kept in memory, and gone with the tab. */
function askForKey(needs) {
  if (keyDialog?.open) return;
  const input = h("input", {
    class: "input",
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
  });
  const problem = h("p", { class: "problem", role: "alert" });
  const has = [session.tenantKey && `tenant ${session.tenant}`, session.adminKey && "operator"].filter(Boolean);
  const title = { operator: "This needs the admin key", tenant: "Facts need a tenant's key" }[has.length && needs];
  keyDialog = dialog(title ?? "This server needs a key", (close) => {
    const form = h(
      "form",
      {
        onsubmit: async (event) => {
          event.preventDefault();
          problem.textContent = "";
          try {
            const key = input.value.trim();
            const found = await identify(key);
            if (found.kind === "tenant") changeSession({ tenantKey: key, tenant: found.tenant });
            else changeSession({ adminKey: key });
            close();
            say(found.kind === "tenant" ? `You are the tenant ${found.tenant}.` : "You are the operator.");
            // Facts are not the operator's.
            const isHidden = !session.tenantKey && ["search", "facts"].includes(place().section);
            if (isHidden) history.replaceState(null, "", address("tenants"));
            reopen();
          } catch (error) {
            problem.textContent = error.message;
          }
        },
      },
      field(
        "Key",
        input,
        "A tenant's key reads and writes its facts. The admin key is for everything else. You may give one after the other; the page remembers both until the tab closes, and stores neither.",
      ),
      problem,
      has.length > 0 &&
        h(
          "p",
          { class: "hint" },
          `You are: ${has.join(" and ")}. `,
          button(
            "Forget the keys",
            () => {
              changeSession({ tenantKey: "", adminKey: "", tenant: "default" });
              close();
              reopen();
            },
            { kind: "small" },
          ),
        ),
      h(
        "div",
        { class: "row row-end" },
        h("button", { class: "button primary", type: "submit" }, h("span", {}, "Use this key")),
      ),
    );
    return form;
  });
  input.focus();
}

const KEYS = [
  ["/", "to the search"],
  ["g, then s f e l t a x v", "to a section: search, facts, extensions, logic, tenants, audit, failures, server"],
  ["↑ ↓ Home End", "in a list"],
  ["Enter", "open what is chosen"],
  ["n", "a new fact, in Facts"],
  ["Ctrl Enter", "save, in a form"],
  ["Esc", "close, or leave a field"],
  ["?", "this list"],
];

function showKeys() {
  dialog("Keyboard", () => [
    h(
      "dl",
      { class: "keys" },
      KEYS.map(([key, what]) => [
        h(
          "dt",
          {},
          key.split(" ").map((one) => (/^[a-z,]{2,}/.test(one) ? ` ${one} ` : h("kbd", {}, one))),
        ),
        h("dd", {}, what),
      ]),
    ),
    h(
      "p",
      { class: "hint" },
      "Everything here goes through the API at ",
      h("a", { href: "/openapi.json", target: "_blank", rel: "noopener" }, "/openapi.json"),
      ". Keys stay in this tab's memory; nothing is asked of other servers.",
    ),
  ]);
}

let pending = "";

function onKey(event) {
  const inField =
    /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) && !/^(checkbox|radio)$/.test(event.target.type);
  if (event.key === "Escape" && inField && !event.target.closest("dialog")) return event.target.blur();
  if (inField || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (pending === "g") {
    pending = "";
    const found = SECTIONS.find(([, , key]) => key === event.key);
    if (found) go(found[0]);
    return;
  }
  if (event.key === "g") {
    pending = "g";
    setTimeout(() => (pending = ""), 1500);
  } else if (event.key === "/") {
    event.preventDefault();
    if (place().section === "search") document.getElementById("query")?.focus();
    else go("search");
  } else if (event.key === "?") {
    showKeys();
  } else if (event.key === "n" && place().section === "facts") {
    event.preventDefault();
    go("facts", [], { new: "1" });
  }
}

/** Whether the server is ready, at the top of every page. */
async function watchReadiness() {
  const pill = document.getElementById("readiness");
  for (;;) {
    let [state, text] = ["bad", "unreachable"];
    try {
      const response = await fetch("/readyz", { cache: "no-store", credentials: "omit" });
      const body = await response.json();
      [state, text] = response.ok ? ["good", "ready"] : ["warn", "not ready"];
      pill.title = body.reason ?? "The server takes requests.";
    } catch {
      pill.title = "The server does not answer.";
    }
    pill.dataset.state = state;
    pill.querySelector(".readiness-text").textContent = text;
    document.dispatchEvent(new CustomEvent("kenning-ready", { detail: { state, reason: pill.title } }));
    await new Promise((next) => setTimeout(next, document.hidden ? 15_000 : 4000));
  }
}

async function start() {
  drawSections();
  document.getElementById("skip").addEventListener("click", () => main.focus());
  addEventListener("hashchange", route);
  addEventListener("keydown", onKey);
  document.addEventListener("kenning-key-wanted", onKeyWanted);
  onSession(drawTenant);
  const asked = place().params.get("tenant");
  if (asked) session.tenant = asked;
  watchReadiness();
  await probe().catch((error) => error.status !== 403 && complain(error));
  drawTop();
  await route();
  document.documentElement.dataset.started = "true";
}

start();
