// The search for users and items.

import { call, model } from "./api.js";
import { combobox } from "./combobox.js";
import { itemLink, nameOf, userLink } from "./links.js";

const ITEMS = 8;
const USERS = 5;
const INTEGER = /^(0|-?[1-9]\d*)$/;

/** Return the search field of the page. */
export function searchField() {
  return combobox({
    label: "Search for a user or an item",
    placeholder: "Search for a user or an item",
    search: (text, signal) => Promise.all([userGroup(text, signal), itemGroup(text, signal, openItem)]),
  });
}

/** Return the suggestions of items for a text. */
export async function itemGroup(text, signal, choose) {
  const { items } = await call("v1/items", { query: { query: text, n: ITEMS }, signal });
  const options = items.map((item) => ({
    text: nameOf(item), detail: item.title === null ? null : String(item.item), choose: () => choose(item),
  }));
  return { title: "Items", options };
}

async function userGroup(text, signal) {
  const [{ users }, { user_ids: kind }] = await Promise.all([
    call("v1/users", { query: { query: text, n: USERS }, signal }), model(),
  ]);
  const options = users.map((user) => ({ text: String(user), choose: () => openUser(user) }));
  const isValid = kind === "string" || INTEGER.test(text);
  if (isValid && !users.map(String).includes(text)) {
    options.push({ text, detail: "new user", choose: () => openUser(text) });
  }
  return { title: "Users", options };
}

function openItem(item) {
  location.hash = itemLink(item.item);
}

function openUser(user) {
  location.hash = userLink(user);
}
