// Questions in modal dialogs.

import { button, el } from "./dom.js";

/** Ask for an API key; resolve to null if none is given. */
export function keyDialog(reason) {
  const input = el("input", { type: "password", id: "key-input", autocomplete: "off", spellcheck: "false" });
  return ask(
    "API key",
    [
      el("p", {}, reason ?? "This server requires an API key. Its operator can create one with “halfstep keys add”."),
      el("label", { for: "key-input" }, "Key"),
      input,
      el("p", { class: "muted" }, "The key is kept only in this tab, until the tab is closed."),
    ],
    "Use key",
    { first: input, answer: () => input.value.trim() || null },
  );
}

/** Ask for confirmation of an action that cannot be undone; resolve to true or null. */
export function confirmDialog(title, text, action) {
  return ask(title, [el("p", {}, text)], action, { answer: () => true, isDanger: true });
}

function ask(title, content, action, { first, answer, isDanger = false }) {
  return new Promise((resolve) => {
    let result = null;
    const accept = (event) => {
      event.preventDefault();
      result = answer();
      if (result !== null) dialog.close();
    };
    const cancel = button("Cancel", () => dialog.close());
    const dialog = el(
      "dialog",
      { "aria-labelledby": "dialog-title", close: () => { dialog.remove(); resolve(result); } },
      el(
        "form",
        { submit: accept },
        el("h2", { id: "dialog-title" }, title),
        ...content,
        el("div", { class: "buttons" }, cancel, el("button", { class: isDanger ? "danger" : "primary" }, action)),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
    (first ?? cancel).focus();
  });
}
