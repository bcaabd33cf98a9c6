// Parts that views consist of.

import { button, el } from "./dom.js";

const LASTING = [404, 409, 422]; // errors that trying again does not help

/** Return the beginning of a view: what it is about, and what can be done with it. */
export function heading(eyebrow, title, { below, action } = {}) {
  return el(
    "header",
    { class: "heading" },
    el("div", {}, el("p", { class: "eyebrow" }, eyebrow), el("h1", { tabindex: "-1" }, title), below),
    action,
  );
}

/** Return a section with a title; `fill` replaces its content, `warn` shows an error above it. */
export function section(title, subtitle = "") {
  const content = el("div", { class: "content" });
  const note = el("p", { class: "muted" }, subtitle);
  const node = el("section", { class: "card" }, el("h2", {}, title), note, content);
  return {
    node,
    describe: (text) => (note.textContent = text),
    fill: (...children) => content.replaceChildren(...children.filter((child) => child != null)),
    warn(error) {
      content.querySelector(":scope > .problem")?.remove();
      content.prepend(problem(error));
    },
    content,
  };
}

/** Return an error, with a button that tries again if that can help. */
export function problem(error, retry) {
  const isLasting = LASTING.includes(error.status);
  return el(
    "div",
    { class: "problem", role: "alert" },
    el("p", {}, error.message),
    isLasting || !retry ? null : button("Try again", retry),
  );
}

/** Return a text for what is empty. */
export function empty(text) {
  return el("p", { class: "empty" }, text);
}
