// A search field with a list of suggestions: the combobox pattern of the ARIA Authoring Practices.

import { el, newElementId } from "./dom.js";
import { counted } from "./format.js";

const WAIT = 150; // milliseconds after a keystroke

/**
 * Return a search field.
 *
 * `search(text, signal)` resolves to groups `{ title, options }` of options `{ text, detail, choose }`.
 */
export function combobox({ label, placeholder, search }) {
  const listId = newElementId("options");
  const list = el("div", { id: listId, class: "options", role: "listbox", "aria-label": label, hidden: true });
  const status = el("p", { class: "hidden", role: "status" });
  const input = el("input", {
    type: "search", role: "combobox", "aria-label": label, "aria-autocomplete": "list", "aria-expanded": "false",
    "aria-controls": listId, autocomplete: "off", autocapitalize: "none", spellcheck: "false", placeholder,
  });
  let options = [], active = -1, shownFor = null, timer, running = new AbortController();

  function close() {
    clearTimeout(timer);
    running.abort();
    list.hidden = true;
    shownFor = null;
    input.setAttribute("aria-expanded", "false");
    activate(-1);
  }

  function activate(index) {
    options[active]?.node.setAttribute("aria-selected", "false");
    active = index;
    const node = options[active]?.node;
    if (!node) return input.removeAttribute("aria-activedescendant");
    node.setAttribute("aria-selected", "true");
    node.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", node.id);
  }

  function choose(option) {
    input.value = "";
    close();
    option.choose();
  }

  function show(groups) {
    active = -1;
    input.removeAttribute("aria-activedescendant");
    const filled = groups.filter((group) => group.options.length);
    options = filled.flatMap((group) => group.options.map((option) => ({ ...option, node: nodeOf(option) })));
    let next = 0;
    list.replaceChildren(...filled.map((group) => {
      const titleId = newElementId("group");
      return el(
        "div", { role: "group", "aria-labelledby": titleId },
        el("p", { id: titleId, class: "group-title" }, group.title),
        group.options.map(() => options[next++].node),
      );
    }));
    if (!options.length) list.append(el("p", { class: "group-title" }, "No results"));
    status.textContent = options.length ? counted(options.length, "result") : "No results";
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
  }

  function nodeOf(option) {
    return el(
      "div",
      {
        id: newElementId("option"), role: "option", "aria-selected": "false",
        pointerdown: (event) => event.preventDefault(), // keeps the focus in the field
        click: () => choose(option),
      },
      el("span", { dir: "auto" }, option.text),
      option.detail == null ? null : el("span", { class: "id", dir: "auto" }, option.detail),
    );
  }

  async function refresh() {
    clearTimeout(timer);
    running.abort();
    running = new AbortController();
    const { signal } = running, text = input.value.trim();
    if (!text) return close();
    try {
      const groups = await search(text, signal);
      if (signal.aborted) return;
      show(groups);
      shownFor = text;
    } catch (error) {
      if (signal.aborted) return;
      options = [];
      list.replaceChildren(el("p", { class: "group-title" }, error.message));
      list.hidden = false;
      status.textContent = error.message;
    }
  }

  async function move(step) {
    if (list.hidden) await refresh();
    if (!options.length) return;
    const next = active === -1 && step < 0 ? options.length - 1 : active + step;
    activate((next + options.length) % options.length);
  }

  async function accept() {
    if (shownFor !== input.value.trim()) await refresh();
    const option = options[Math.max(active, 0)];
    if (option && !list.hidden) choose(option);
  }

  const keys = {
    ArrowDown: () => move(1),
    ArrowUp: () => move(-1),
    Enter: accept,
    Escape: () => {
      if (list.hidden) input.value = "";
      else close();
    },
  };
  input.addEventListener("keydown", (event) => {
    if (!(event.key in keys) || event.isComposing) return;
    event.preventDefault();
    keys[event.key]();
  });
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(refresh, WAIT);
  });
  input.addEventListener("focus", () => input.value && refresh());
  input.addEventListener("blur", close);
  return el("div", { class: "combobox" }, input, list, status);
}
