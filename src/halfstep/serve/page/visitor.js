// The view of an anonymous visitor, whose history is built here and not stored.

import { bodyId, call, model } from "./api.js";
import { combobox } from "./combobox.js";
import { announce, button, el } from "./dom.js";
import { done, feedback, stars } from "./feedback.js";
import { counted } from "./format.js";
import { empty, heading, problem, section } from "./layout.js";
import { linkToItem, nameOf } from "./links.js";
import { rankedList } from "./lists.js";
import { itemGroup } from "./search.js";

const LENGTH = 10;
const LIKED = 5; // stars of an item that was added without a rating
const chosen = new Map(); // items with values, by id, while the page is open

/** Add an item to the visitor's history. */
export function chooseForVisitor(item, value = null) {
  chosen.set(String(item.item), { ...item, value });
}

/** Return the view of a visitor. */
export function visitorView(signal) {
  const history = section("Your history");
  const recommended = section("Recommendations");
  const field = combobox({
    label: "Add an item", placeholder: "Add an item by title or id",
    search: async (text, stop) => [await itemGroup(text, stop, (item) => choose(item, null))],
  });

  async function choose(item, value) {
    chooseForVisitor(item, value);
    await update();
    const what = value === null ? `Added ${nameOf(item)}.` : done(nameOf(item), value);
    announce(`${what} The recommendations have been updated.`);
  }

  async function remove(item) {
    chosen.delete(String(item.item));
    await update();
    announce(`Removed ${nameOf(item)}.`);
    field.querySelector("input").focus();
  }

  async function update() {
    try {
      const kinds = await model();
      const needsValue = kinds.values === "needed";
      showHistory(needsValue);
      if (!chosen.size) return recommended.fill(empty("Add an item to get recommendations."));
      const items = [...chosen.values()].map(({ item, value }) => ({
        item: bodyId(item, kinds.item_ids), ...(needsValue ? { value: value ?? LIKED } : {}),
      }));
      const { lists: [list] } = await call("v1/recommendations", {
        method: "POST", body: { history: items, n: LENGTH }, signal,
      });
      if (!list.items.length) return recommended.fill(empty("There are no more items to recommend."));
      recommended.fill(rankedList(list.items, { more: (item) => ({
        control: feedback(nameOf(item), needsValue, (value) => choose(item, value)),
      }) }));
    } catch (error) {
      if (!signal.aborted) recommended.fill(problem(error, update));
    }
  }

  function showHistory(needsValue) {
    history.describe(chosen.size ? counted(chosen.size, "item") : "");
    if (!chosen.size) return history.fill(empty("No items yet."));
    history.fill(el("ul", { class: "rows plain", role: "list" }, [...chosen.values()].reverse().map((item) => el(
      "li",
      { class: "row with-control" },
      el("div", { class: "name" }, linkToItem(item)),
      el(
        "div",
        { class: "control" },
        needsValue ? stars(nameOf(item), (value) => choose(item, value), item.value ?? LIKED) : null,
        button("Remove", () => remove(item), { class: "quiet", "aria-label": `Remove ${nameOf(item)}` }),
      ),
    ))));
  }

  update();
  return el(
    "div",
    {},
    heading("Visitor", "Anonymous visitor", {
      below: el("p", { class: "muted" }, "Add items to a history, and see what the model recommends. Nothing is stored."),
    }),
    el("div", { class: "wide-search" }, field),
    el("div", { class: "columns" }, recommended.node, history.node),
  );
}
