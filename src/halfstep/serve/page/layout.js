// Components shared by all views.

import { button, el } from "./dom.js";

const LASTING = [404, 409, 422]; // errors that a retry does not fix

/** Return the heading of a view, with an optional action. */
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

/** Return an error message, with a retry button if a retry can help. */
export function problem(error, retry) {
  const isLasting = LASTING.includes(error.status);
  return el(
    "div",
    { class: "problem", role: "alert" },
    el("p", {}, error.message),
    isLasting || !retry ? null : button("Try again", retry),
  );
}

/** Return the text that replaces an empty list. */
export function empty(text) {
  return el("p", { class: "empty" }, text);
}
