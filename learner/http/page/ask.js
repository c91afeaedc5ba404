// A question: a record in, its prediction, what each feature adds, and what changes when a field is edited.

import { announce, bar, el, fill, name, number, shown, signed } from "./dom.js";
import { get, modelPath, post } from "./server.js";

const MOST_ROWS = 20, WAIT_MS = 400;
const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
const remembered = (model) => `learner record ${model}`;

// The JSON of a field: text that was typed, by what the field held before.
function jsonOf(text, before, kind) {
  if (text === "") return undefined;
  if (typeof before === "string" || (before === undefined && kind && kind !== "number" && kind !== "money")) return JSON.stringify(text);
  if (NUMBER.test(text)) return text;
  if (["true", "false"].includes(text)) return text;
  if (before !== null && typeof before === "object") {
    try {
      return JSON.stringify(JSON.parse(text));
    } catch { /* it is sent as text: the server says what is wrong */ }
  }
  return JSON.stringify(text);
}

const textOf = (value) => (value === undefined || value === null ? "" : typeof value === "string" ? value : JSON.stringify(value));

export function askForm(model) {
  const path = modelPath(model), fields = el("div", { class: "fields" }), result = el("div", { class: "stack" }), error = el("div");
  const pasted = el("textarea", { id: "pasted", spellcheck: "false", "aria-describedby": "pasted-hint" });
  const paste = el("details", null, el("summary", null, "A record in JSON"), el("div", { class: "stack" },
    el("label", null, "Record", pasted), el("p", { class: "soft", id: "pasted-hint" }, "A map of fields, as {\"price\": 3, \"city\": \"Lyon\"}."),
    el("p", null, el("button", { type: "button", onclick: takePasted }, "Make fields of it"))));
  const keep = el("button", { type: "button", hidden: true, onclick: () => setBaseline(latest) }, "Compare with this from now on");
  const form = el("form", { class: "stack", hidden: true, onsubmit: (event) => { event.preventDefault(); ask(); }, oninput: edited }, fields,
    el("p", { class: "bar" }, el("button", { class: "main" }, "Predict"), keep));
  const section = el("section", { class: "card ask", "aria-labelledby": "ask" },
    el("h2", { id: "ask" }, "Ask"),
    el("p", { class: "soft" }, "Predict a record, then edit a field: the difference is shown by feature."), paste, form, error, result);
  let record = {}, kinds = {}, baseline = null, latest = null, isPrepared = false, timer, asked = 0;

  function setFields(values, of) {
    record = values;
    kinds = of ?? Object.fromEntries(Object.keys(values).map((field) => [field, null]));
    baseline = latest = null;
    const names = [...new Set([...Object.keys(kinds), ...Object.keys(values)])];
    fields.replaceChildren(...names.map((field) => el("label", null, shown(field),
      el("input", { name: field, autocomplete: "off", spellcheck: "false", value: textOf(values[field]), placeholder: kinds[field] ?? "" }))));
    fill(result);
    fill(error);
    keep.hidden = true;
    form.hidden = !names.length;
    paste.open = form.hidden;
  }

  function takePasted() {
    try {
      const values = JSON.parse(pasted.value);
      if (values === null || typeof values !== "object" || Array.isArray(values)) throw new Error("a map of fields is needed");
      setFields(Object.assign(Object.create(null), values), null);
      paste.open = false;
      fields.querySelector("input")?.focus();
      ask();
    } catch (problem) {
      say(`The record must be a map of fields in JSON (${problem.message}).`);
    }
  }

  const inputs = () => [...fields.querySelectorAll("input")];

  function body() {
    const parts = inputs().map((input) => [input.name, jsonOf(input.value, record[input.name], kinds[input.name])]).filter(([, json]) => json !== undefined);
    return `{${parts.map(([field, json]) => `${JSON.stringify(field)}: ${json}`).join(", ")}}`;
  }

  function say(text) {
    fill(error, text && el("p", { class: "error", role: "alert" }, name(text)));
  }

  function edited() {
    for (const input of inputs()) input.parentNode.classList.toggle("changed", Boolean(baseline) && input.value !== baseline.values[input.name]);
    if (!baseline) return;
    clearTimeout(timer);
    timer = setTimeout(ask, WAIT_MS);
  }

  async function ask() {
    clearTimeout(timer);
    const mine = ++asked, json = body(), values = Object.assign(Object.create(null), Object.fromEntries(inputs().map((input) => [input.name, input.value])));
    try {
      const compared = baseline; // asked again, too: the model may have learned since, and only the edit should show
      const [reply, before] = await Promise.all([json, compared?.json].map((each) => each && post(`${path}/predict`, `{"record": ${each}, "explain": true}`)));
      if (mine !== asked) return;
      sessionStorage.setItem(remembered(model), json);
      latest = { reply, values, json };
      say("");
      if (compared) showChange((baseline = { ...compared, reply: before }));
      else setBaseline(latest);
    } catch (problem) {
      if (mine === asked) say(problem.message);
    }
  }

  function setBaseline(chosen) {
    baseline = chosen;
    keep.hidden = true;
    edited();
    clearTimeout(timer);
    const { reply } = chosen;
    announce(`Prediction: ${said(reply)}`);
    fill(result, answer(reply), notes(reply), addsOf(reply), labels(reply));
  }

  function showChange({ reply: then }) {
    const now = latest.reply;
    const was = sums(then), is = sums(now);
    const rows = [...new Set([...was.keys(), ...is.keys()])].map((feature) => [feature, was.get(feature) ?? null, is.get(feature) ?? null])
      .map(([feature, a, b]) => [feature, a, b, (b ?? 0) - (a ?? 0)]).filter((row) => Math.abs(row[3]) > 1e-12).sort((a, b) => Math.abs(b[3]) - Math.abs(a[3]));
    keep.hidden = false;
    announce(`Prediction: ${said(now)}, before ${said(then)}.`);
    const isSame = now.task !== "multiclass" || then.label === now.label;
    fill(result, answer(now, then, isSame), notes(now),
      isSame ? table(rows.map(([feature, a, b, by]) => [feature, a === null ? "–" : signed(a), b === null ? "–" : signed(b), by]), ["Feature", "Added before", "Adds now", "Change"])
        : addsOf(now), labels(now));
  }

  return {
    section,
    // Make the form once: of the record that was asked last, or pushed last, or of the fields that the model names.
    async prepare() {
      if (isPrepared) return;
      isPrepared = true;
      let found = { fields: {}, record: null };
      try {
        found = await get(`${path}/fields`);
      } catch (problem) {
        if (problem.status !== 403) throw ((isPrepared = false), problem);
        say(problem.message);
      }
      const last = sessionStorage.getItem(remembered(model));
      if (inputs().length) return;
      const values = Object.assign(Object.create(null), last ? JSON.parse(last) : found.record ?? {});
      delete values[found.target];
      setFields(values, Object.assign(Object.create(null), found.fields));
    },
  };
}

const sums = (reply) => new Map((reply.contributions ?? []).map(([feature, , , , adds]) => [feature, adds]));

// The label that the prediction, a probability, is of; null where it is a number.
function labelOf(reply) {
  if (reply.task === "multiclass") return reply.label;
  if (reply.task !== "binary") return null;
  return Object.entries(reply.probabilities ?? {}).find(([, p]) => p === reply.prediction)?.[0] ?? "1";
}

const percent = (p) => `${(100 * p).toFixed(1)}%`;

function said(reply) {
  if (reply.prediction === null) return "nothing was learned yet";
  const label = labelOf(reply);
  return label === null ? number(reply.prediction, 5) : `${shown(label)} ${percent(reply.prediction)}`;
}

function answer(reply, before, isSame) {
  const by = before && isSame ? reply.prediction - before.prediction : null;
  const change = by === null ? null : !by ? "no change" : `${labelOf(reply) === null ? signed(by) : `${signed(+(100 * by).toFixed(2))} points`} ${by < 0 ? "▼" : "▲"}`;
  return el("div", { class: "answer" },
    before && el("p", null, el("span", { class: "soft" }, "before "), name(said(before))),
    el("p", null, before && el("span", { class: "soft" }, "now "), el("span", { class: "value" }, name(said(reply)))),
    change && el("p", { class: by < 0 ? "down" : "up" }, change),
    reply.score === reply.prediction ? null : el("p", { class: "soft" }, `score ${signed(reply.score)}`));
}

function addsOf(reply) {
  const label = labelOf(reply);
  return [
    el("p", { class: "soft" }, label === null ? "What each feature adds to the prediction’s score:" : ["What each feature adds to the score of ", name(label), ":"]),
    table((reply.contributions ?? []).map(([feature, value, , , adds]) => [feature, number(value), adds]), ["Feature", "Value", "Adds"]),
  ].flat();
}

function notes(reply) {
  const about = [["unknown_fields", "Fields that the model has learned nothing of"], ["missing_fields", "Fields without a value"]];
  return [
    ...about.filter(([key]) => reply[key]?.length).map(([key, words]) => el("p", { class: "notice" }, `${words}: `, name(reply[key].join(", ")))),
    reply.notice ? el("p", { class: "notice" }, name(reply.notice)) : null,
  ];
}

function labels(reply) {
  if (!reply.probabilities) return null;
  const rows = Object.entries(reply.probabilities).sort((a, b) => b[1] - a[1]).slice(0, 10);
  return el("p", { class: "soft" }, "Labels: ", rows.map(([label, p], i) => [i ? ", " : "", name(label), ` ${percent(p)}`]).flat());
}

// The last number of a row is what its bar shows.
function table(rows, titles) {
  if (!rows.length) return el("p", { class: "soft" }, "No feature adds anything else than before.");
  const largest = Math.max(...rows.map((row) => Math.abs(row.at(-1)))) || 1;
  const line = (row) => el("tr", null, el("th", { scope: "row" }, name(row[0])), row.slice(1, -1).map((text, i) => el("td", { class: "num", "data-label": titles[i + 1] }, text)),
    el("td", { class: "num", "data-label": titles.at(-1) }, signed(row.at(-1))), el("td", { class: "effect" }, bar(row.at(-1) / largest)));
  return [
    el("div", { class: "scroll" }, el("table", { class: "effects adds" },
      el("thead", null, el("tr", null, titles.map((title, i) => el("th", { scope: "col", class: i ? "num" : null }, title)), el("th", { scope: "col" }, el("span", { class: "unseen" }, "Bar")))),
      el("tbody", null, rows.slice(0, MOST_ROWS).map(line)))),
    rows.length > MOST_ROWS ? el("p", { class: "soft" }, `and ${rows.length - MOST_ROWS} more that add less`) : null,
  ];
}
