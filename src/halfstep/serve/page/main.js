// The page: one view at a time, selected by the fragment of the URL.

import { askForKey, onKeyNeeded, storedKey } from "./api.js";
import { keyDialog } from "./dialogs.js";
import { announce } from "./dom.js";
import { itemView } from "./item.js";
import { parseFragment } from "./links.js";
import { overview } from "./overview.js";
import { searchField } from "./search.js";
import { startStatus } from "./status.js";
import { userView } from "./user.js";
import { visitorView } from "./visitor.js";

const view = document.getElementById("view");
const keyButton = document.getElementById("key");
let leaving = new AbortController();

function show({ isNavigation }) {
  leaving.abort();
  leaving = new AbortController();
  const target = parseFragment(location.hash);
  view.replaceChildren(viewOf(target, leaving.signal));
  const heading = view.querySelector("h1");
  document.title = `${heading.textContent} · halfstep`;
  if (!isNavigation) return;
  scrollTo(0, 0);
  heading.focus();
  announce(heading.textContent);
}

function viewOf({ view: name, id }, signal) {
  if (name === "user" && id) return userView(id, signal);
  if (name === "item" && id) return itemView(id, signal);
  if (name === "visitor") return visitorView(signal);
  return overview(signal);
}

onKeyNeeded(async (reason) => {
  keyButton.hidden = false;
  return keyDialog(reason);
});
keyButton.hidden = storedKey() === null;
keyButton.addEventListener("click", async () => {
  if (await askForKey("The new key replaces the one in this tab.")) location.reload();
});
document.getElementById("skip").addEventListener("click", () => view.querySelector("h1").focus());
document.getElementById("search").append(searchField());
addEventListener("hashchange", () => show({ isNavigation: true }));
show({ isNavigation: false });
startStatus(document.getElementById("status"));
