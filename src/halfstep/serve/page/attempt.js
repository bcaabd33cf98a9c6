// Forms to try requests: fields, the command that sends the same request, and the response.

import { call, storedKey } from "./api.js";
import { button, el } from "./dom.js";
import { bodyOf, exampleOf } from "./schema.js";

const BASE = new URL("./", document.baseURI).href;

/** Return fields for the parameters, and the command that sends the request. */
export function attempt(method, path, route, model) {
  const body = bodyOf(route);
  const isSafe = method === "get" && "application/json" in (route.responses["200"].content ?? {});
  const fields = (route.parameters ?? []).map((parameter) => ({ parameter, input: inputFor(parameter) }));
  const bodyField = body && el("textarea", { rows: 6, spellcheck: "false" });
  const idTypes = { user: model?.user_ids, item: model?.item_ids };
  if (bodyField) bodyField.value = JSON.stringify(exampleOf(body, idTypes), null, 2);
  const command = el("pre", { tabindex: "0", "aria-label": "Command" });
  const answer = el("pre", { tabindex: "0", "aria-label": "Response", hidden: true });
  const copy = button("Copy", async () => {
    await navigator.clipboard.writeText(command.textContent);
    copy.textContent = "Copied";
  }, { hidden: !navigator.clipboard }); // the clipboard is missing without HTTPS

  function target() {
    const inPath = path.slice(1).replace(/\{(\w+)\}/g, (all, name) => {
      const value = fields.find(({ parameter }) => parameter.name === name)?.input.value;
      return value ? encodeURIComponent(value) : name.toUpperCase();
    });
    const query = fields.filter(({ parameter, input }) => parameter.in === "query" && input.value)
      .map(({ parameter, input }) => [parameter.name, input.value]);
    return query.length ? `${inPath}?${new URLSearchParams(query)}` : inPath;
  }

  function update() {
    copy.textContent = "Copy";
    command.textContent = [
      `curl${method === "get" ? "" : ` -X ${method.toUpperCase()}`} ${quoted(BASE + target())}`,
      storedKey() === null ? null : '-H "Authorization: Bearer $HALFSTEP_KEY"', // never the key itself
      bodyField && "-H 'Content-Type: application/json'",
      bodyField && `-d ${quoted(bodyField.value)}`,
    ].filter((part) => part).join(" \\\n  ");
  }

  async function send() {
    answer.hidden = false;
    answer.textContent = "…";
    try {
      answer.textContent = JSON.stringify(await call(target()), null, 2);
    } catch (error) {
      answer.textContent = error.message;
    }
    update();
  }

  const inputs = el(
    "div", { class: "inputs", input: update },
    fields.map(({ parameter, input }) => el("label", {}, parameter.name, input)),
    bodyField && el("label", { class: "body" }, "Body", bodyField),
  );
  update();
  return [
    inputs, command,
    el("div", { class: "actions" }, copy, isSafe ? button("Send", send) : null),
    answer,
  ];
}

function inputFor({ schema }) {
  const input = el("input", { autocomplete: "off", spellcheck: "false" });
  if (schema.default != null) input.placeholder = String(schema.default);
  return input;
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
