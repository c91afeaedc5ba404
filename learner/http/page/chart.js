// The losses over time beside the best constant's, with axes, a legend that has the values, and the drift that was found.

import { count, el, number, svg } from "./dom.js";

const SERIES = [
  ["recent", "recent", "recent_loss"],
  ["constant", "best constant", "constant_loss"],
  ["progressive", "progressive", "progressive_loss"],
  ["late", "late", "late_loss"],
  ["answered", "answered", "answered_loss"],
];
const HEIGHT = 310, LEFT = 64, RIGHT = 12, TOP = 30, BOTTOM = 40;

// Round numbers within a range, about so many.
function ticks(low, high, n) {
  const rough = (high - low) / n, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((each) => each >= rough);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i++) found.push(i * step);
  return found;
}

const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");
const day = (seconds) => new Date(seconds * 1000).toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const tick = (value) => (Math.abs(value) >= 1e6 ? (+value.toPrecision(3)).toExponential().replace("e+", "e") : number(value, 3));
const short = (n) => (n >= 1e6 ? `${+(n / 1e6).toFixed(2)}M` : n >= 1e4 ? `${+(n / 1e3).toFixed(1)}k` : count(n));

// The range of the losses: rare high points at the start are cut off.
function range(points, series) {
  const values = points.flatMap((point) => series.map(([, , key]) => point[key])).filter((value) => value !== null);
  const sorted = values.toSorted((a, b) => a - b);
  const low = sorted[0], high = sorted[Math.floor((sorted.length - 1) * 0.98)];
  const margin = 0.06 * (high - low || Math.abs(high) || 1);
  return [low >= 0 ? Math.max(low - margin, 0) : low - margin, high + margin];
}

export function lossChart() {
  const figure = el("figure", { class: "card" }), legend = el("ul", { class: "legend" }), where = el("p", { class: "soft" });
  const over = el("select", { onchange: () => draw() }, el("option", { value: "examples" }, "examples"), el("option", { value: "time" }, "time"));
  const place = el("div", { class: "plot" }), events = el("div");
  let data = null, at = null, drawn = "";
  figure.append(
    el("div", { class: "bar" }, el("h2", { id: "losses" }, "Losses"), el("label", { class: "inline" }, "over", over)),
    legend, place, where, events,
  );
  const observer = new ResizeObserver(() => draw());
  observer.observe(place);

  function draw() {
    const width = place.clientWidth;
    if (!data || !width) return;
    const { points, drifts, unit } = data, key = over.value;
    if (!points.length) {
      place.replaceChildren(el("p", { class: "soft" }, "Nothing was learned yet."));
      return;
    }
    const series = SERIES.filter(([, , each]) => points.some((point) => point[each] !== null));
    const [low, high] = range(points, series);
    const first = key === "time" ? points[0].time : 0, last = Math.max(points.at(-1)[key], first + 1e-9);
    const x = (value) => LEFT + ((value - first) / (last - first)) * (width - LEFT - RIGHT);
    const y = (value) => TOP + ((high - Math.min(Math.max(value, low), high)) / (high - low)) * (HEIGHT - TOP - BOTTOM);
    const format = key === "examples" ? short : last - first > 86400 ? day : clock;
    const xs = key === "examples" ? ticks(first, last, width < 500 ? 4 : 8) : ticks(0, last - first, width < 500 ? 3 : 6).map((each) => each + first);
    const line = ([kind, , each]) => {
      const known = points.filter((point) => point[each] !== null).map((point) => `${x(point[key]).toFixed(1)},${y(point[each]).toFixed(1)}`);
      return svg("path", { class: kind, d: `M${known.join("L")}${known.length > 1 ? "" : "h0"}` }); // a point alone is a dot
    };
    const cursor = svg("g");
    const picture = svg(
      "svg", { class: "chart", viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, tabindex: 0, role: "application", "aria-roledescription": "line chart",
        "aria-label": `Losses over ${key}. Left and right arrow keys read the points.`, onkeydown: step, onpointermove: point, onpointerleave: () => mark(null), onblur: () => mark(null) },
      ticks(low, high, 5).map((value) => [
        svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
        svg("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, tick(value)),
      ]).flat(),
      svg("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM }),
      xs.map((value, i) => svg("text", { x: x(value), y: HEIGHT - BOTTOM + 16, "text-anchor": i === 0 && x(value) < LEFT + 20 ? "start" : x(value) > width - 30 ? "end" : "middle" }, format(value))),
      svg("text", { x: LEFT, y: 11, "text-anchor": "start" }, unit),
      svg("text", { x: width - RIGHT, y: HEIGHT - 6, "text-anchor": "end" }, key === "examples" ? "examples learned" : "time of the commit"),
      series.map(line),
      drifts.filter((each) => each[key] >= first).map((each) => [
        svg("line", { class: "drift", x1: x(each[key]), x2: x(each[key]), y1: TOP, y2: HEIGHT - BOTTOM }),
        svg("path", { class: "flag", d: `M${x(each[key]) - 5},${TOP - 6}h10l-5,8z` }),
      ]).flat(),
      cursor,
    );
    const focused = place.contains(document.activeElement);
    place.replaceChildren(picture);
    if (focused) picture.focus();

    function mark(index) {
      at = index;
      const shown = points[index ?? points.length - 1];
      cursor.replaceChildren(...(index === null ? [] : [svg("line", { class: "cursor", x1: x(shown[key]), x2: x(shown[key]), y1: TOP, y2: HEIGHT - BOTTOM })]));
      legend.replaceChildren(...series.map(([kind, title, each]) => el("li", null,
        svg("svg", { viewBox: "0 0 26 8", "aria-hidden": "true" }, svg("line", { class: kind, x1: 0, x2: 26, y1: 4, y2: 4, "stroke-width": kind === "recent" ? 1.5 : 3 })),
        `${title} `, el("b", null, number(shown[each])))));
      where.textContent = `${index === null ? "Now" : "Here"}: ${count(shown.examples)} examples, ${day(shown.time)}.`;
    }

    function point(event) {
      const value = first + ((event.clientX - picture.getBoundingClientRect().left - LEFT) / (width - LEFT - RIGHT)) * (last - first);
      let best = 0;
      points.forEach((each, i) => {
        if (Math.abs(each[key] - value) < Math.abs(points[best][key] - value)) best = i;
      });
      mark(best);
    }

    function step(event) {
      const by = { ArrowLeft: -1, ArrowRight: 1, Home: -points.length, End: points.length }[event.key];
      if (!by) return;
      event.preventDefault();
      mark(Math.min(Math.max((at ?? points.length - 1) + by, 0), points.length - 1));
      picture.setAttribute("aria-label", `${where.textContent} ${legend.textContent}`);
    }

    mark(at !== null && at < points.length ? at : null);
    events.replaceChildren(...drifts.slice(-3).toReversed().map((each) => el("p", { class: "soft" },
      `▼ The loss rose from ${number(each.before)} to ${number(each.after)}, found at ${count(each.examples)} examples (${day(each.time)}).`)));
  }

  return {
    figure,
    show(progress) {
      const text = JSON.stringify(progress);
      if (text === drawn) return;
      [data, drawn] = [progress, text];
      draw();
    },
    close: () => observer.disconnect(),
  };
}
