// Lists of items with scores.

import { el } from "./dom.js";
import { asScore } from "./format.js";
import { linkToItem } from "./links.js";

/**
 * Return a list of items with scores.
 *
 * A score of `limit`, by default the largest one, fills its bar. `more(item)` returns further parts of a row.
 */
export function rankedList(items, { scoreName = "Score", limit, more = () => ({}) } = {}) {
  const largest = limit ?? Math.max(...items.map((item) => item.score));
  return el("ol", { class: "rows", role: "list" }, items.map((item) => {
    const { below, control } = more(item);
    return el(
      "li",
      { class: control ? "row with-control" : "row" },
      el("div", { class: "name" }, linkToItem(item), below),
      score(item.score, largest, scoreName),
      control && el("div", { class: "control" }, control),
    );
  }));
}

function score(value, largest, name) {
  const fill = el("span", { class: "fill" });
  fill.style.width = `${largest > 0 ? Math.max(0, (100 * value) / largest) : 0}%`;
  return el(
    "div",
    { class: "score", title: name },
    el("span", { class: "bar", "aria-hidden": "true" }, fill),
    el("span", { class: "hidden" }, `${name} `),
    el("span", { class: "number" }, asScore(value)),
  );
}
