// Elements are built from text only, so that ids and titles are never parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** Return an HTML element; attributes that are functions are listeners, and missing children are skipped. */
export function el(name, attributes = {}, ...children) {
  return build(document.createElement(name), attributes, children);
}

/** Return a button with a click handler. */
export function button(text, click, attributes = {}) {
  return el("button", { type: "button", click, ...attributes }, text);
}

/** Return an SVG element. */
export function svg(name, attributes = {}, ...children) {
  return build(document.createElementNS(SVG, name), attributes, children);
}

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return node;
}

/** Return a text whose direction does not affect the text around it. */
export function isolated(text) {
  return el("bdi", {}, String(text));
}

/** Tell screen readers what has happened. */
export function announce(text) {
  document.getElementById("announcement").textContent = text;
}

let count = 0;

/** Return an id for an element that is different from all others. */
export function newElementId(prefix) {
  count += 1;
  return `${prefix}-${count}`;
}
