// The view of a user: recommendations with explanations, and the history; both change with each event.

import { bodyId, call, model, newEventId, path } from "./api.js";
import { confirmDialog } from "./dialogs.js";
import { announce, button, el, isolated } from "./dom.js";
import { done, feedback } from "./feedback.js";
import { counted } from "./format.js";
import { historyList } from "./history.js";
import { empty, heading, problem, section } from "./layout.js";
import { nameOf } from "./links.js";
import { rankedList } from "./lists.js";
import { because } from "./reasons.js";
import { refreshStatus } from "./status.js";

const LENGTH = 10;
const FIRST = 15; // interactions
const MORE = 50;
const LONGEST = 1000;

/** Return the view of a user. */
export function userView(user, signal) {
  const recommended = section("Recommendations");
  const history = section("History");
  const eraseButton = button("Erase user…", erase, { class: "quiet", hidden: true });
  const state = { after: undefined, shown: FIRST, fresh: null, isBusy: false };
  const eventIds = new Map(); // by item and value, so that an event that is sent again counts once

  async function load() {
    await Promise.all([loadRecommendations(), loadHistory()]);
  }

  async function loadRecommendations() {
    try {
      const { values } = await model();
      const list = await listOf(user, state.after, signal);
      recommended.describe(descriptionOf(list));
      eraseButton.hidden = false;
      if (!list.items.length) return recommended.fill(empty("There are no more items to recommend."));
      recommended.fill(rankedList(list.items, { more: (item) => ({
        below: list.known ? because(user, item.item, { after: state.after, signal }) : null,
        control: feedback(nameOf(item), values === "needed", (value) => send(item, value, list.list_id)),
      }) }));
    } catch (error) {
      if (!signal.aborted) recommended.fill(problem(error, loadRecommendations));
    }
  }

  async function loadHistory() {
    try {
      const { values } = await model();
      const found = await historyOf(user, state.shown, state.after, signal);
      history.describe(counted(found.count, "interaction"));
      if (!found.items.length) return history.fill(empty("No interactions yet."));
      const list = historyList(found.items, { areRatings: values === "needed", fresh: state.fresh });
      const isMore = found.count > found.items.length && state.shown < LONGEST;
      history.fill(list, isMore ? button("Show more", showMore, { class: "quiet" }) : null);
    } catch (error) {
      if (!signal.aborted) history.fill(problem(error, loadHistory));
    }
  }

  async function showMore() {
    const old = state.shown;
    state.shown = Math.min(LONGEST, old + MORE);
    await loadHistory();
    history.content.querySelectorAll("a")[old]?.focus();
  }

  async function send(item, value, listId) {
    if (state.isBusy) return;
    state.isBusy = true;
    recommended.content.setAttribute("aria-busy", "true");
    const position = positionOfFocus(recommended.content);
    try {
      const kinds = await model();
      const name = `${item.item} ${value}`;
      eventIds.set(name, eventIds.get(name) ?? newEventId());
      const { offset } = await call("v1/events", { method: "POST", body: {
        event_id: eventIds.get(name),
        user: bodyId(user, kinds.user_ids), item: bodyId(item.item, kinds.item_ids),
        type: value === null ? "play" : "rating", list_id: listId, ...(value === null ? {} : { value }),
      } });
      eventIds.delete(name);
      Object.assign(state, { after: offset, fresh: String(item.item) });
      await load();
      announce(`${done(nameOf(item), value)} The recommendations and the history have been updated.`);
      refreshStatus();
      focusRow(recommended.content, position);
    } catch (error) {
      recommended.warn(error);
    } finally {
      state.isBusy = false;
      recommended.content.removeAttribute("aria-busy");
    }
  }

  async function erase() {
    const text = "This erases all interactions of the user from the log and from the model. It cannot be undone.";
    if (!(await confirmDialog(`Erase user ${user}?`, text, "Erase"))) return;
    try {
      const { offset } = await call(path`v1/users/${user}`, { method: "DELETE" });
      Object.assign(state, { after: offset, fresh: null });
      await load();
      announce(`User ${user} has been erased.`);
    } catch (error) {
      history.warn(error);
    }
  }

  load();
  return el(
    "div",
    {},
    heading("User", isolated(user), { action: eraseButton }),
    el("div", { class: "columns" }, recommended.node, history.node),
  );
}

/** Return a list for a user; all items are listed if the model was saved without its interactions. */
async function listOf(user, after, signal) {
  const url = path`v1/users/${user}/recommendations`;
  try {
    return await call(url, { query: { n: LENGTH, after }, signal });
  } catch (error) {
    if (error.status !== 409) throw error;
    return { ...(await call(url, { query: { n: LENGTH, after, exclude_seen: false }, signal })), isOfAll: true };
  }
}

function descriptionOf({ known, isOfAll }) {
  if (!known) return "This user is not in the model yet, so popular items are listed.";
  return isOfAll ? "The highest scores among all items." : "The highest scores among items that the user has not interacted with.";
}

async function historyOf(user, n, after, signal) {
  try {
    return await call(path`v1/users/${user}/history`, { query: { n, after }, signal });
  } catch (error) {
    if (error.status === 404) return { count: 0, items: [] };
    throw error;
  }
}

function positionOfFocus(content) {
  return [...content.querySelectorAll("li")].findIndex((row) => row.contains(document.activeElement));
}

/** Focus the row that is now at a position. */
function focusRow(content, position) {
  if (position < 0) return;
  const rows = content.querySelectorAll("li");
  rows[Math.min(position, rows.length - 1)]?.querySelector(".control [tabindex='0'], .control button")?.focus();
}
