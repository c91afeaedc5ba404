// Elements and numbers as text. Whatever comes from the server goes into text nodes and attributes, never into HTML.

const SVG = "http://www.w3.org/2000/svg";

function build(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export const el = (name, attributes, ...children) => build(document.createElement(name), attributes, children);
export const svg = (name, attributes, ...children) => build(document.createElementNS(SVG, name), attributes, children);

// Characters that show nothing, or turn the direction of what follows, as escapes.
export const shown = (text) =>
  String(text).replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);

export const name = (text) => el("bdi", { class: "name" }, shown(text));

export function number(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  if (value < 0) return `−${number(-value, digits)}`;
  if (value >= 1e7 || value < 1e-4) return value.toExponential(2).replace("e+", "e");
  if (value >= 1000) return value.toLocaleString("en", { maximumFractionDigits: 0 });
  return value.toLocaleString("en", { maximumSignificantDigits: digits });
}

export const count = (value) => (value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en"));
export const signed = (value) => (value > 0 ? "+" : value < 0 ? "−" : "") + number(Math.abs(value));
export const megabytes = (value) => (value === null || value === undefined ? "–" : `${(value / 1e6).toFixed(1)} MB`);

export function ago(seconds) {
  if (seconds < 90) return `${Math.max(Math.round(seconds), 0)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h ago` : `${Math.round(seconds / 86400)} days ago`;
}

export function announce(text) {
  const region = document.getElementById("announce");
  if (region.textContent !== text) region.textContent = text;
}

// Put new children into a place, unless they are as before: so that focus and selection stay.
export function fill(place, ...children) {
  const made = el(place.localName, null, ...children);
  if (made.innerHTML !== place.innerHTML) place.replaceChildren(...made.childNodes);
}

// A bar from the middle: to the right where it raises, to the left where it lowers.
export function bar(share) {
  const size = Math.abs(share) * 49;
  return svg("svg", { class: "diverging", viewBox: "0 0 100 14", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("line", { x1: 50, x2: 50, y1: 0, y2: 14, "vector-effect": "non-scaling-stroke" }),
    svg("rect", { class: share < 0 ? "down" : "up", x: share < 0 ? 50 - size : 50, width: size, y: 2, height: 10 }));
}
