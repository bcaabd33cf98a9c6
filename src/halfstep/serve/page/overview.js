// The start view.

import { call, model } from "./api.js";
import { el, isolated } from "./dom.js";
import { counted } from "./format.js";
import { linkToItem, userLink } from "./links.js";
import { empty, heading, problem, section } from "./layout.js";

const USERS = 12;
const ITEMS = 10;

/** Return the start view. */
export function overview(signal) {
  const summary = el("p", { class: "muted" }, "\u00a0");
  const items = section("Popular items", "The items with the most interactions.");
  const users = section("Users", "Some of the users in the model.");

  const visitor = section("Visitors", "Visitors without an id also get recommendations.");
  visitor.fill(el("a", { href: "#visitor" }, "Try it as a visitor"));

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
          : empty("There are no users in the model yet."),
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
