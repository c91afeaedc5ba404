// All models and their health.

import { count, el, fill, megabytes, name, number, svg } from "./dom.js";
import { get, ifAllowed } from "./server.js";

const COLUMNS = [
  ["Task", "", (row) => row.task ?? "–"],
  ["State", "", (row) => state(row.state)],
  ["Lag", "num", (row) => count(row.lag_entries)],
  ["Examples/s", "num", (row) => count(row.rate)],
  ["Loss", "num", (row) => number(row.progressive_loss)],
  ["Recent loss", "", (row) => spark(row.recent_loss)],
  ["Constant’s", "num", (row) => number(row.constant_loss)],
  ["Late loss", "num", (row) => number(row.late_loss)],
  ["Memory", "num", (row) => megabytes(row.bytes)],
  ["Rejected", "num", (row) => count(row.rejected)],
];

export const state = (word) => el("span", { class: `state ${word}` }, word.replace("_", " "));

export function spark(values) {
  if (!values || values.length < 2) return "–";
  const least = Math.min(...values), most = Math.max(...values);
  const spread = Math.max(most - least, 0.05 * Math.abs(most), 1e-12), low = (least + most - spread) / 2;
  const points = values.map((y, i) => `${((i / (values.length - 1)) * 88 + 1).toFixed(1)},${(22 - ((y - low) / spread) * 20).toFixed(1)}`);
  const words = `from ${number(values[0])} to ${number(values.at(-1))}`;
  return svg("svg", { class: "spark", viewBox: "0 0 90 24", role: "img", "aria-label": words }, svg("polyline", { points: points.join(" ") }));
}

export function modelsView() {
  const body = el("tbody"), note = el("p", { class: "soft" }), troubles = el("div");
  const filter = el("input", { type: "search", id: "filter", oninput: () => show(), autocomplete: "off" });
  const head = el("tr", null, el("th", { scope: "col" }, "Model"), COLUMNS.map(([title, kind]) => el("th", { scope: "col", class: kind }, title)));
  let rows = null;

  function show() {
    if (!rows) return;
    const part = filter.value.toLowerCase();
    const chosen = rows.filter((row) => row.model.toLowerCase().includes(part));
    fill(body, chosen.map((row) => el(
      "tr", null,
      el("th", { scope: "row" }, el("a", { href: `#/models/${encodeURIComponent(row.model)}` }, name(row.model))),
      COLUMNS.map(([title, kind, text]) => el("td", { class: kind, "data-label": title }, text(row))),
    )));
    fill(troubles, rows.filter((row) => row.error).map((row) => el("p", { class: "notice bad" }, name(row.model), ": ", name(row.error))));
    note.textContent = rows.length ? `${chosen.length} of ${rows.length} ${rows.length === 1 ? "model" : "models"}` : "There are no models yet: make one with ‘learner create MODEL’.";
  }

  return {
    title: "learner: models",
    parts: [
      el("div", { class: "bar" }, el("h1", null, "Models"), el("label", { class: "inline" }, "Filter", filter)),
      troubles,
      el("section", { class: "card", "aria-label": "Models" }, el("div", { class: "scroll" }, el("table", { class: "models" }, el("thead", null, head), body)), note),
    ],
    async read() {
      const found = await ifAllowed(get("models"));
      if (found instanceof Error) note.textContent = `${found.message}. A model’s page is at #/models/NAME.`;
      else show((rows = found));
    },
  };
}
