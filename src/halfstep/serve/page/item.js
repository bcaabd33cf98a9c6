// The view of an item: similar items.

import { call, path } from "./api.js";
import { button, el, isolated } from "./dom.js";
import { empty, heading, problem, section } from "./layout.js";
import { rankedList } from "./lists.js";
import { chooseForVisitor } from "./visitor.js";

const LENGTH = 12;

/** Return the view of an item. */
export function itemView(item, signal) {
  const title = isolated(item);
  const id = el("p", { class: "id", dir: "auto" });
  const similar = section("Similar items", "Items with the most similar factors; 1 is the highest similarity.");
  const found = { item, title: null };

  const choose = button("Add to the visitor's history", () => {
    chooseForVisitor(found);
    location.hash = "#visitor";
  }, { class: "quiet", hidden: true });

  async function load() {
    try {
      const answer = await call(path`v1/items/${item}/similar`, { query: { n: LENGTH }, signal });
      Object.assign(found, { item: answer.item, title: answer.title });
      choose.hidden = false;
      if (answer.title !== null) {
        title.textContent = answer.title;
        id.textContent = item;
        document.title = `${answer.title} · halfstep`;
      }
      if (!answer.items.length) return similar.fill(empty("No similar items."));
      similar.fill(rankedList(answer.items, { scoreName: "Similarity", limit: 1 }));
    } catch (error) {
      if (!signal.aborted) similar.fill(problem(error, load));
    }
  }

  load();
  return el(
    "div",
    {},
    heading("Item", title, { below: id, action: choose }),
    el("div", { class: "narrow" }, similar.node),
  );
}
