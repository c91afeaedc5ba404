// One model: its health, losses, features, what was rejected, its candidates, and questions to it.

import { askForm } from "./ask.js";
import { lossChart } from "./chart.js";
import { ago, announce, bar, count, el, fill, megabytes, name, number, signed, svg } from "./dom.js";
import { spark, state } from "./models.js";
import { get, ifAllowed, modelPath } from "./server.js";

const WEIGHTS_MS = 30000, REJECTED_MS = 10000, LAGS = 60;
const PAUSE = 20; // between two readings of the losses, which are many after a while, in times of what one takes

// Show a part; where the token is not for it, the server's words.
async function section(place, promise, show) {
  const found = await ifAllowed(promise);
  fill(place, found instanceof Error ? el("p", { class: "soft" }, found.message) : show(found));
}

export function modelView(model) {
  const path = modelPath(model), isCandidate = model.includes("/"), chart = lossChart(), ask = isCandidate ? null : askForm(model);
  const badge = el("p"), kind = el("p", { class: "soft" }), facts = el("dl", { class: "facts" }), notices = el("div"), beside = el("div");
  const effects = el("div", null, "reading …"), rejected = el("div", null, "reading …"), lags = [];
  const prefix = el("input", { type: "search", autocomplete: "off", oninput: () => (weightsAt = 0) });
  let weightsAt = 0, rejectedAt = 0, progressDue = 0, before = null;

  const readWeights = () => section(effects, get(`${path}/weights?n=12&prefix=${encodeURIComponent(prefix.value)}`), effectTable);
  const readRejected = () => section(rejected, get(`${path}/rejected?n=6`), rejectedList);

  const health = el("div", { class: "stack" },
    el("section", { class: "card", "aria-label": "Health" }, facts),
    el("section", { "aria-labelledby": "losses" }, chart.figure),
    beside);
  const body = el("div", { class: "stack" },
    health,
    ask?.section ?? el("p", { class: "soft" }, `A candidate answers no requests: ask ${model.split("/")[0]}, the model beside it.`),
    el("div", { class: "columns" },
      el("section", { class: "card", "aria-labelledby": "strongest" },
        el("div", { class: "bar" }, el("h2", { id: "strongest" }, "Strongest features"), el("label", { class: "inline" }, "Starting with", prefix)),
        el("p", { class: "soft" }, "The effect is how much a feature changes the score from example to example."), effects),
      el("section", { class: "card", "aria-labelledby": "rejected" },
        el("h2", { id: "rejected" }, "Rejected last"), rejected)));

  async function readProgress() {
    const started = Date.now();
    if (started < progressDue) return;
    chart.show(await get(`${path}/progress`));
    progressDue = Date.now() + PAUSE * (Date.now() - started);
  }

  function showStatus(row, status) {
    const now = row?.state ?? "none";
    if (before && before !== now) announce(`${model} is ${now.replace("_", " ")} now.`);
    before = now;
    lags.push(status.lag_entries);
    if (lags.length > LAGS) lags.shift();
    fill(badge, state(now));
    kind.textContent = `${status.task}, ${status.loss} loss`;
    fill(facts, factsOf(row, status, lags));
    fill(notices, noticesOf(row, status));
    const compared = isCandidate ? [status] : status.candidates;
    fill(beside, compared.length ? candidates(compared, isCandidate) : null);
  }

  return {
    title: `learner: ${model}`,
    close: () => chart.close(),
    parts: [
      el("p", null, el("a", { href: "#/" }, "← All models")),
      el("div", { class: "bar" }, el("div", null, el("h1", null, name(model)), kind), badge),
      notices,
      body,
    ],
    async read() {
      try {
        await readAll();
        body.hidden = false;
      } catch (error) {
        if (![400, 404, 500].includes(error.status)) throw error;
        body.hidden = true;
        fill(notices, el("p", { class: "notice bad", role: "alert" }, name(error.message)));
      }
    },
  };

  async function readAll() {
    const [rows, status] = await Promise.all(["models", path].map((each) => ifAllowed(get(each))));
    health.hidden = status instanceof Error;
    if (health.hidden) fill(notices, el("p", { class: "notice" }, name(status.message)));
    else {
      showStatus(rows.find((each) => each.model === model), status);
      await readProgress();
    }
    const now = Date.now();
    if (now - weightsAt > WEIGHTS_MS) {
      weightsAt = now;
      await readWeights();
    }
    if (now - rejectedAt > REJECTED_MS) {
      rejectedAt = now;
      await readRejected();
    }
    await ask?.prepare();
  }
}

function factsOf(row, status, lags) {
  const figures = status.progress, owner = status.owner;
  const share = figures.constant_loss ? figures.loss / figures.constant_loss - 1 : null;
  const beside = share === null ? null : `${Math.abs(share * 100).toFixed(0)}% ${share < 0 ? "below" : "above"} the best constant’s ${number(figures.constant_loss)}`;
  const fact = (title, value, more) => el("div", null, el("dt", null, title), el("dd", null, value, more && el("small", null, more)));
  return [
    fact("Examples learned", count(figures.examples ?? 0), `${count(figures.rate ?? 0)}/s before the last commit`),
    fact("Lag", `${count(status.lag_entries)} entries`, lags.length > 1 && Math.max(...lags) > 0 ? spark(lags) : `${count(status.requests_waiting)} requests waiting`),
    fact("Progressive loss", number(figures.loss), beside),
    figures.late_examples ? fact("Late loss", number(figures.late_loss), `of ${count(figures.late_examples)} examples`) : null,
    figures.answered_examples ? fact("Answered loss", number(figures.answered_loss), `of ${count(figures.answered_examples)} answers`) : null,
    fact("Rejected", count(figures.rejected ?? 0), `${count(status.rejected_kept)} kept`),
    fact("Features", count(status.features), `${megabytes(figures.bytes)} in the worker, ${megabytes(row?.bytes)} on the server`),
    fact("Last commit", status.committed ? ago(status.now - status.committed) : "none yet", status.commits === 1 ? "1 commit" : `${count(status.commits)} commits`),
    fact("Worker process", "worker" in owner ? name(owner.pid) : "none", "worker" in owner ? name(`on ${owner.host}, durability ${owner.durability}`) : "start one with ‘learner worker’"),
  ];
}

function noticesOf(row, status) {
  const texts = [row?.error, status.owner.trouble && `It only answers: ${status.owner.trouble}`, status.trouble, ...status.ends];
  const stopped = row?.state === "stopped" ? status.workers.filter((each) => each.state === "stopped").at(-1) : null;
  if (stopped) texts.push(`Its last worker stopped with code ${stopped.code ?? "?"}: ${stopped.reason ?? ""}`);
  return [...new Set(texts.filter(Boolean))].map((text) => el("p", { class: "notice" }, name(text)));
}

function effectTable({ weights, examples }) {
  if (!weights.length) return el("p", { class: "soft" }, examples ? "No feature’s name starts so." : "Nothing was learned yet.");
  const largest = Math.max(...weights.map((each) => Math.abs(each.effect))) || 1;
  return el("table", { class: "effects" },
    el("thead", null, el("tr", null, el("th", { scope: "col" }, "Feature"), el("th", { scope: "col", class: "num" }, "Effect"), el("th", { scope: "col" }, el("span", { class: "unseen" }, "Bar")))),
    el("tbody", null, weights.map((each) => el("tr", { title: `weight ${each.weight}` }, el("th", { scope: "row" }, name(each.name)),
      el("td", { class: "num", "data-label": "" }, signed(each.effect)), el("td", { class: "effect" }, bar(each.effect / largest))))));
}

function rejectedList(entries) {
  if (!entries.length) return el("p", { class: "soft" }, "Nothing was rejected.");
  return el("ol", { class: "rejected" }, entries.toReversed().map((entry) => el("li", null,
    el("p", null, name(entry.reason)),
    el("p", { class: "soft" }, `${entry.stage}, entry ${entry.entry}, ${ago(Date.now() / 1000 - parseInt(entry.id, 10) / 1000)}`),
    el("p", { class: "code", tabindex: 0, role: "group", "aria-label": "What came" }, name((entry.example ? JSON.stringify(entry.example) : entry.data).slice(0, 1000))))));
}

const TITLES = ["Candidate", "Examples", "Late loss", "The model’s", "Difference", "Interval", "Verdict"];

function candidates(listed, isCandidate) {
  const rows = listed.map((each) => [each.model.split("/")[1], each]);
  const reach = Math.max(...rows.map(([, { progress }]) => Math.max(Math.abs(progress?.beside_low ?? 0), Math.abs(progress?.beside_high ?? 0)))) || 1;
  const x = (value) => 50 + (Math.min(Math.max(value / reach, -1), 1)) * 48;
  return el("section", { class: "card", "aria-labelledby": "beside" },
    el("h2", { id: "beside" }, isCandidate ? "Compared with the model beside it" : "Candidates beside it"),
    el("p", { class: "soft" }, "The difference of the late losses on the same examples; below 0 the candidate is better. Its interval holds at all times at once (95%)."),
    el("div", { class: "scroll" }, el("table", { class: "models" },
      el("thead", null, el("tr", null, TITLES.map((title, i) => el("th", { scope: "col", class: i && i < 5 ? "num" : null }, title)))),
      el("tbody", null, rows.map(([title, each]) => {
        const p = each.progress ?? {}, n = p.beside_examples, cell = (i, kind, ...text) => el("td", { class: kind, "data-label": TITLES[i] }, ...text);
        const verdict = each.error ? "damaged" : p.beside_low === null ? "not decided" : p.beside_high < 0 ? "better" : p.beside_low > 0 ? "worse" : "not decided";
        return el("tr", null, el("th", { scope: "row" }, el("a", { href: `#/models/${encodeURIComponent(each.model)}` }, name(title))),
          cell(1, "num", count(n ?? 0)), cell(2, "num", n ? number(p.beside_late_loss) : "–"), cell(3, "num", n ? number(p.beside_old_late_loss) : "–"),
          cell(4, "num", n ? signed(p.beside_difference) : "–"),
          cell(5, null, n && p.beside_low !== null ? svg("svg", { class: "interval", viewBox: "0 0 100 18", preserveAspectRatio: "none", role: "img", "aria-label": `from ${signed(p.beside_low)} to ${signed(p.beside_high)}` },
            svg("line", { class: "zero", x1: 50, x2: 50, y1: 0, y2: 18, "vector-effect": "non-scaling-stroke" }),
            svg("line", { x1: x(p.beside_low), x2: x(p.beside_high), y1: 9, y2: 9, "vector-effect": "non-scaling-stroke" }),
            svg("line", { x1: x(p.beside_difference), x2: x(p.beside_difference), y1: 4, y2: 14, "vector-effect": "non-scaling-stroke" })) : "–"),
          cell(6, null, verdict));
      })))));
}
