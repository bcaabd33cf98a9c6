// The API reference, generated from the OpenAPI document.

import { call, onKeyNeeded } from "./api.js";
import { attempt } from "./attempt.js";
import { keyDialog } from "./dialogs.js";
import { el } from "./dom.js";
import { heading, problem } from "./layout.js";
import { bodyOf, fieldsOf, fieldTable, objectsIn, schemaId, typeOf } from "./schema.js";

const view = document.getElementById("view");

async function load() {
  try {
    const [api, model] = await Promise.all([call("openapi.json"), call("v1/model").catch(() => null)]);
    show(api, model);
  } catch (error) {
    view.replaceChildren(problem(error, load));
  }
}

function show(api, model) {
  const routes = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, route]) => ({ path, method, route, id: `${method}${path}` })));
  const schemas = Object.entries(api.components?.schemas ?? {});
  view.replaceChildren(
    heading(`API ${api.info.version}`, "API reference", { below: el("p", { class: "muted" }, api.info.description) }),
    el(
      "div", { class: "reference" },
      contents(routes, schemas),
      el("div", {}, routes.map((each) => routeCard(each, model)), schemas.map(schemaCard)),
    ),
  );
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

function contents(routes, schemas) {
  const link = (id, ...content) => el("li", {}, el("a", { href: `#${encodeURIComponent(id)}` }, ...content));
  return el(
    "nav", { "aria-label": "Contents" },
    el("h2", {}, "Routes"),
    el("ul", {}, routes.map(({ id, method, path }) => link(id, badge(method), el("code", {}, path)))),
    el("h2", {}, "Schemas"),
    el("ul", {}, schemas.map(([name]) => link(schemaId(name), el("code", {}, name)))),
  );
}

function badge(method) {
  return el("span", { class: `method ${method}` }, method.toUpperCase());
}

function routeCard({ id, method, path, route }, model) {
  const parameters = route.parameters ?? [], body = bodyOf(route);
  return el(
    "section", { class: "card route", id },
    el("h2", {}, badge(method), el("code", {}, path)),
    el("p", {}, route.description ?? route.summary),
    parameters.length ? [el("h3", {}, "Parameters"), fieldTable("Parameters", parameters.map((each) => ({
      name: each.name, schema: each.schema, isRequired: each.required, description: each.description,
    })))] : null,
    body ? [
      el("h3", {}, "Request"),
      el("p", {}, typeOf(body)),
      objectsIn(body).map((each, index) =>
        fieldTable(each.title, fieldsOf(each), { id: schemaId(each.title), isNamed: index > 0 })),
    ] : null,
    el("h3", {}, "Responses"),
    responses(route.responses),
    el("h3", {}, "Try it"),
    attempt(method, path, route, model),
  );
}

function responses(all) {
  return el("ul", { class: "responses" }, Object.entries(all).map(([status, { description, content }]) => {
    const schemas = Object.values(content ?? {}).map((each) => each.schema).filter((schema) => schema);
    return el("li", {}, el("code", {}, status), " ", schemas.length ? typeOf(schemas[0]) : description);
  }));
}

function schemaCard([name, schema]) {
  return el(
    "section", { class: "card route", id: schemaId(name) },
    el("h2", {}, el("code", {}, name)),
    el("p", {}, schema.description ?? ""),
    fieldTable(name, fieldsOf(schema)),
  );
}

onKeyNeeded(keyDialog);
load();
