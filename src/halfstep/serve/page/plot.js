// Plots of the last hour as SVG.

import { el, newElementId, svg } from "./dom.js";

const WIDTH = 320, HEIGHT = 150;
const LEFT = 40, RIGHT = 8, TOP = 12, BOTTOM = 30;
const right = WIDTH - RIGHT, bottom = HEIGHT - BOTTOM;

/**
 * Return a plot of a value for each minute, the last one being now.
 *
 * Missing values are null. `kind` is "bars" or "line", `format` formats a value of the axis.
 */
export function plot({ title, unit, summary, values, kind, format, least }) {
  const largest = niceLimit(Math.max(least, ...values.filter((value) => value !== null)));
  const x = (index) => LEFT + ((right - LEFT) * (index + 0.5)) / values.length;
  const y = (value) => bottom - ((bottom - TOP) * value) / largest;
  const titleId = newElementId("plot"), summaryId = newElementId("plot");
  return el(
    "figure",
    { class: "plot" },
    el("figcaption", { id: titleId }, title, " ", el("span", { class: "unit" }, unit)),
    svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-labelledby": `${titleId} ${summaryId}` },
      axes(values.length, largest, y, format),
      kind === "bars" ? bars(values, x, y) : line(values, x, y),
    ),
    el("p", { id: summaryId, class: "muted" }, summary),
  );
}

function axes(minutes, largest, y, format) {
  const rows = [0, largest / 2, largest].map((value) => svg(
    "g", {},
    svg("line", { class: value ? "grid" : "axis", x1: LEFT, x2: right, y1: y(value), y2: y(value) }),
    svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, format(value)),
  ));
  const labels = [[LEFT, "start", `${minutes} min ago`], [(LEFT + right) / 2, "middle", `${minutes / 2}`],
    [right, "end", "now"]];
  return [...rows, ...labels.map(([position, anchor, text]) =>
    svg("text", { x: position, y: HEIGHT - 12, "text-anchor": anchor }, text))];
}

function bars(values, x, y) {
  const width = (0.7 * (right - LEFT)) / values.length;
  return values.map((value, index) => (value
    ? svg("rect", { class: "mark", x: x(index) - width / 2, y: y(value), width, height: bottom - y(value) })
    : null));
}

function line(values, x, y) {
  const points = values.map((value, index) => (value === null ? null : [x(index).toFixed(1), y(value).toFixed(1)]));
  const steps = points.map((point, index) => point && `${points[index - 1] ? "L" : "M"}${point.join(" ")}`);
  const last = points.findLast((point) => point);
  return [
    svg("path", { class: "curve", d: steps.filter((step) => step).join("") }),
    last ? svg("circle", { class: "mark", cx: last[0], cy: last[1], r: 3 }) : null,
  ];
}

/** Return the smallest axis limit that is at least a value: 1, 2, 4, 6 or 10 times a power of ten. */
function niceLimit(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 10].map((factor) => factor * power).find((limit) => limit >= value * 0.999);
}
