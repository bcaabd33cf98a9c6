// Explanations of recommendations, requested when their rows become visible.

import { call, limited, path } from "./api.js";
import { el, isolated } from "./dom.js";
import { itemLink, nameOf } from "./links.js";

const REASONS = 2;
const atOnce = limited(3);
const seen = new WeakMap();
let areSupported = true; // not all models support explanations
const observer = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    observer.unobserve(target);
    seen.get(target)();
  }
}, { rootMargin: "200px" });

/** Return a paragraph with the interactions that contribute most to a score. */
export function because(user, item, { after, signal }) {
  const node = el("p", { class: "because" }, "\u00a0"); // reserves the height of the text
  seen.set(node, () => atOnce(async () => {
    if (signal.aborted || !areSupported) return;
    try {
      const url = path`v1/users/${user}/explanations/${item}`;
      const explained = await call(url, { query: { n: REASONS, after }, signal });
      node.replaceChildren(...sentence(explained.because.filter((reason) => reason.contribution > 0)));
    } catch (error) {
      if (error.status === 409) areSupported = false;
      node.replaceChildren(); // the list is useful without explanations
    }
  }));
  observer.observe(node);
  return node;
}

function sentence(reasons) {
  if (!reasons.length) return ["no interaction raises its score"];
  const links = reasons.map((reason) => el("a", { href: itemLink(reason.item) }, isolated(nameOf(reason))));
  return ["because of ", ...links.flatMap((link, index) => (index ? [" and ", link] : [link]))];
}
