// The status of the model: numbers that are refreshed while the page is visible, and plots of the last hour.

import { call } from "./api.js";
import { el } from "./dom.js";
import { asClock, asDuration, asPercent, asWhole, counted } from "./format.js";
import { problem } from "./layout.js";
import { plot } from "./plot.js";

const SECONDS = 5; // between two refreshes
const COLUMNS = ["Minute", "Events", "Lists", "Hits"];
const MINUTES = 60;
const RUNNING = 10; // minutes over which a hit rate is computed

const numbers = el("dl", { class: "numbers" });
const notes = el("div");
const plots = el("div", { class: "plots" });
const rows = el("tbody");
let timer, isLoading = false;

/** Show the status, and refresh it. */
export function startStatus(node) {
  node.append(
    el("h2", { id: "status-title" }, "Model status"),
    notes, numbers, plots,
    el(
      "details", {},
      el("summary", {}, "The last hour as a table"),
      el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The last hour" }, el(
        "table", {},
        el("thead", {}, el("tr", {}, COLUMNS.map((name) => el("th", { scope: "col" }, name)))),
        rows,
      )),
    ),
  );
  document.addEventListener("visibilitychange", refreshStatus);
  refreshStatus();
}

/** Request the numbers now. */
export async function refreshStatus() {
  clearTimeout(timer);
  if (document.hidden || isLoading) return;
  isLoading = true;
  try {
    const [described, { minutes }] = await Promise.all([
      call("v1/model"), call("v1/statistics", { query: { minutes: MINUTES } }),
    ]);
    show(described, minutes);
  } catch (error) {
    // shown once, so that screen readers do not repeat it with each refresh
    if (!notes.querySelector(".problem")) notes.replaceChildren(problem(error, refreshStatus));
    if (error.status === 401) return; // until a key is given
  } finally {
    isLoading = false;
  }
  timer = setTimeout(refreshStatus, 1000 * SECONDS);
}

function show(described, minutes) {
  const age = described.fitted === null ? "unknown" : asDuration((Date.now() - Date.parse(described.fitted)) / 1000);
  numbers.replaceChildren(
    number("Model age", age, "since the last fit to all data"),
    number("Lag", counted(described.lag, "event"), "stored, but not learned from yet"),
    number("Users", asWhole(described.users), "in the model"),
    number("Items", asWhole(described.items), "in the model"),
  );
  notes.replaceChildren(...[
    described.learns ? null : `The model does not learn from events: ${described.reason}`,
    described.last_error && `A new model file is not served: ${described.last_error}`,
    described.refused_events ? `The model could not learn from ${counted(described.refused_events, "event")}.` : null,
  ].filter((text) => text).map((text) => el("p", { class: "note" }, text)));
  const all = byMinute(minutes);
  plots.replaceChildren(...plotsOf(all));
  rows.replaceChildren(...all.filter((each) => each.events || each.lists).reverse().map((each) => el(
    "tr", {}, el("th", { scope: "row" }, asClock(each.time)),
    [each.events, each.lists, each.hits].map((count) => el("td", {}, asWhole(count))),
  )));
}

function number(name, value, meaning) {
  return el("div", {}, el("dt", {}, name), el("dd", {}, value), el("dd", { class: "muted" }, meaning));
}

/** Return all minutes of the last hour; the response has only those with events or lists. */
function byMinute(minutes) {
  const known = new Map(minutes.map((each) => [each.time, each]));
  const now = 60 * Math.floor(Date.now() / 60_000);
  return Array.from({ length: MINUTES }, (_, index) => {
    const time = now - 60 * (MINUTES - 1 - index);
    return known.get(time) ?? { time, events: 0, lists: 0, hits: 0 };
  });
}

function plotsOf(minutes) {
  const total = (name, some = minutes) => some.reduce((sum, each) => sum + each[name], 0);
  const rates = minutes.map((_, index) => {
    const last = minutes.slice(Math.max(0, index + 1 - RUNNING), index + 1);
    return total("lists", last) ? Math.min(1, total("hits", last) / total("lists", last)) : null;
  });
  const rate = total("lists") ? Math.min(1, total("hits") / total("lists")) : null;
  return [
    plot({
      title: "Events", unit: "per minute", kind: "bars", values: minutes.map((each) => each.events),
      summary: `${counted(total("events"), "event")} in the last hour`, format: asWhole, least: 4,
    }),
    plot({
      title: "Lists", unit: "per minute", kind: "bars", values: minutes.map((each) => each.lists),
      summary: `${counted(total("lists"), "list")} in the last hour`, format: asWhole, least: 4,
    }),
    plot({
      title: "Hit rate", unit: `% of lists, over ${RUNNING} minutes`, kind: "line", values: rates,
      summary: rate === null ? "No lists in the last hour"
        : `${asPercent(rate)} of lists in the last hour led to an event`,
      format: asPercent, least: 0.1,
    }),
  ];
}
