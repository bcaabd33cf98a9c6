// Controls for feedback on an item: a button that reports a play, or a rating in stars.

import { button, el } from "./dom.js";
import { counted } from "./format.js";

const STARS = 5;

/** Return the control for an item; `act(value)` gets a number of stars, or null for models without values. */
export function feedback(name, needsValue, act) {
  if (needsValue) return stars(name, act);
  return button("Played", () => act(null), { "aria-label": `Played ${name}` });
}

/**
 * Return a group of stars.
 *
 * Arrow keys only move the focus: a rating is sent as an event, so it needs Enter, the space bar or a click.
 */
export function stars(name, act, chosen = 0) {
  const nodes = Array.from({ length: STARS }, (_, index) => button(
    "★",
    () => act(index + 1),
    {
      role: "radio", class: index < chosen ? "star filled" : "star",
      "aria-checked": String(index + 1 === chosen), "aria-label": counted(index + 1, "star"),
      tabindex: index === Math.max(chosen - 1, 0) ? "0" : "-1", title: counted(index + 1, "star"),
      keydown: (event) => move(event, index),
    },
  ));
  const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 };
  function move(event, index) {
    if (!(event.key in steps)) return;
    event.preventDefault();
    nodes[index].tabIndex = -1;
    const next = nodes[(index + steps[event.key] + STARS) % STARS];
    next.tabIndex = 0;
    next.focus();
  }
  return el("div", { class: "stars", role: "radiogroup", "aria-label": `Rate ${name}` }, nodes);
}

/** Return a confirmation, such as "Rated Fargo (1996) 4 stars." */
export function done(name, value) {
  return value === null ? `Played ${name}.` : `Rated ${name} ${counted(value, "star")}.`;
}
