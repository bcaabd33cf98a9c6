// JSON Schemas as text and tables.

import { el } from "./dom.js";

/** Return the id of the section about a schema. */
export const schemaId = (name) => `schema-${name}`;

const nameIn = (reference) => reference.split("/").at(-1);

/** Return the schema of the body of a request, if it has one. */
export function bodyOf(route) {
  return route.requestBody?.content["application/json"]?.schema;
}

/** Return a type in words, such as "integer or string", with links to schemas. */
export function typeOf(schema) {
  if (schema.$ref) return [el("a", { href: `#${schemaId(nameIn(schema.$ref))}` }, nameIn(schema.$ref))];
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return choices.flatMap((choice, index) => (index ? [" or ", ...typeOf(choice)] : typeOf(choice)));
  if (schema.enum) return [schema.enum.map((value) => JSON.stringify(value)).join(" or ")];
  if ("const" in schema) return [JSON.stringify(schema.const)];
  if (schema.type === "array") return ["array of ", ...typeOf(schema.items ?? {})];
  if (schema.type === "object" && schema.title) return [schema.title];
  const limits = limitsOf(schema);
  return [[schema.format ?? schema.type ?? "any", limits && ` (${limits})`].filter((part) => part).join("")];
}

function limitsOf(schema) {
  return [
    schema.minimum === undefined ? null : `≥\u00a0${schema.minimum}`,
    schema.maximum === undefined ? null : `≤\u00a0${schema.maximum}`,
    schema.exclusiveMaximum === undefined ? null : `<\u00a0${schema.exclusiveMaximum}`,
    schema.minLength === undefined ? null : `≥\u00a0${schema.minLength} character`,
    schema.maxLength === undefined ? null : `≤\u00a0${schema.maxLength} characters`,
  ].filter((limit) => limit).join(", ");
}

/** Return a table of fields: `{ name, schema, isRequired, description }`. */
export function fieldTable(caption, fields, { id, isNamed = false } = {}) {
  return el(
    "table",
    { id },
    el("caption", { class: isNamed ? "" : "hidden" }, caption),
    el("thead", {}, el("tr", {}, ["Name", "Type", "Description"].map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, fields.map(({ name, schema, isRequired, description }) => el(
      "tr",
      {},
      el("th", { scope: "row" }, el("code", {}, name), isRequired && el("div", { class: "required" }, "required")),
      el("td", {}, typeOf(schema)),
      el("td", {}, [description ?? schema.description ?? "", defaultOf(schema)].filter((part) => part).join(" ")),
    ))),
  );
}

function defaultOf(schema) {
  return schema.default == null ? "" : `Default: ${JSON.stringify(schema.default)}.`;
}

/** Return the fields of an object. */
export function fieldsOf(schema) {
  const required = schema.required ?? [];
  return Object.entries(schema.properties ?? {}).map(([name, each]) => ({
    name, schema: each, isRequired: required.includes(name),
  }));
}

/** Return the objects that a schema consists of, each title once: alternatives, items of arrays and definitions. */
export function objectsIn(schema, found = new Map()) {
  if (schema.properties && !found.has(schema.title)) found.set(schema.title, schema);
  const parts = [schema.oneOf ?? [], schema.anyOf ?? [], schema.items ?? [], Object.values(schema.$defs ?? {})];
  for (const part of parts.flat()) objectsIn(part, found);
  return [...found.values()];
}

/** Return an example of the required fields of a schema, or of its first; `idTypes` has names of fields as keys. */
export function exampleOf(schema, idTypes, name = "text") {
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) {
    const choice = choices.find(({ type }) => type === idTypes[name]) ?? choices[0];
    return exampleOf(choice, idTypes, name);
  }
  if (schema.type === "object") {
    const fields = fieldsOf(schema), required = fields.filter((field) => field.isRequired);
    const shown = required.length ? required : fields.slice(0, 1);
    return Object.fromEntries(shown.map((field) => [field.name, exampleOf(field.schema, idTypes, field.name)]));
  }
  if (schema.type === "array") return [exampleOf(schema.items, idTypes, name.replace(/s$/, ""))];
  return { integer: 1, number: 1, boolean: true }[schema.type] ?? name.toUpperCase();
}
