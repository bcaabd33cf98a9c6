// The view that the page begins with.

import { call, model } from "./api.js";
import { el, isolated } from "./dom.js";
import { counted } from "./format.js";
import { linkToItem, userLink } from "./links.js";
import { empty, heading, problem, section } from "./layout.js";

const USERS = 12;
const ITEMS = 10;

/** Return the view that the page begins with. */
export function overview(signal) {
  const summary = el("p", { class: "muted" }, "\u00a0");
  const items = section("Popular items", "The items with the most interactions.");
  const users = section("Users", "Some of the users that the model knows.");

  const visitor = section("Visitors", "Someone whom the model does not know gets recommendations, too.");
  visitor.fill(el("a", { href: "#visitor" }, "Choose items as a visitor"));

  async function load() {
    try {
      const [described, foundItems, foundUsers] = await Promise.all([
        model(),
        call("v1/items", { query: { n: ITEMS }, signal }),
        call("v1/users", { query: { n: USERS }, signal }),
      ]);
      summary.textContent =
        `${counted(described.users, "user")}, ${counted(described.items, "item")}, rank ${described.rank}`;
      items.fill(el("ol", { class: "rows", role: "list" }, foundItems.items.map((item) =>
        el("li", { class: "row" }, el("div", { class: "name" }, linkToItem(item))))));
      users.fill(
        foundUsers.users.length
          ? el("ul", { class: "chips", role: "list" }, foundUsers.users.map((user) =>
            el("li", {}, el("a", { href: userLink(user) }, isolated(user)))))
          : empty("The model knows no users yet."),
      );
    } catch (error) {
      if (!signal.aborted) items.fill(problem(error, load));
    }
  }

  load();
  return el(
    "div",
    {},
    heading("Overview", "Recommendations", { below: summary }),
    el("div", { class: "columns" }, items.node, el("div", { class: "stack" }, users.node, visitor.node)),
  );
}
