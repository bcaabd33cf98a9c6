// Links within this page, which are fragments of its URL.

import { el } from "./dom.js";

export const userLink = (user) => `#user=${encodeURIComponent(user)}`;
export const itemLink = (item) => `#item=${encodeURIComponent(item)}`;

/** Return the title of an item, or its id if it has none. */
export function nameOf(item) {
  return item.title ?? String(item.item);
}

/** Return a link to an item. */
export function linkToItem(item) {
  return el("a", { href: itemLink(item.item), dir: "auto" }, nameOf(item));
}

/** Return the view that a fragment names, and its id. */
export function parseFragment(fragment) {
  const [, view, id] = /^#?([a-z]*)=?([^]*)$/.exec(fragment) ?? [null, "", ""];
  try {
    return { view, id: decodeURIComponent(id) };
  } catch {
    return { view, id }; // typed by hand, with a percent sign
  }
}
