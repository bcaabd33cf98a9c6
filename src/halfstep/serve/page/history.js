// Interactions of a user.

import { el } from "./dom.js";
import { asNumber, asTime } from "./format.js";
import { linkToItem } from "./links.js";

/** Return a list of interactions, most recent first; `fresh` marks the item of an event that was just sent. */
export function historyList(items, { areRatings, fresh = null }) {
  return el("ol", { class: "rows plain", role: "list" }, items.map((item) => el(
    "li",
    { class: String(item.item) === fresh ? "row history fresh" : "row history" },
    el("div", { class: "name" }, linkToItem(item)),
    el(
      "div",
      { class: "muted" },
      item.value === null ? null : el("span", { class: "value" }, areRatings ? "★ " : "× ", asNumber(item.value)),
      item.time === null ? null : timeOf(item.time),
    ),
  )));
}

function timeOf(seconds) {
  return el("time", { datetime: new Date(1000 * seconds).toISOString() }, asTime(seconds));
}
