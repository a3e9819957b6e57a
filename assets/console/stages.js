// Where a frame's time goes: the gateway's own histograms, out of `/metrics`.
import { $, el, svg } from "./dom.js";

const FAMILY = "callbridge_stage_seconds";
const SIZE = { width: 220, height: 44 };

/** Reads the metrics and draws a small histogram of each stage; says so if they may not be read. */
export async function showStages(gateway) {
  let text;
  try {
    text = await (await gateway.fetch("GET", "/metrics")).text();
  } catch (error) {
    $("stages-note").textContent = `The metrics cannot be read here: ${error.message}`;
    $("stages").replaceChildren();
    return;
  }
  const stages = parse(text).filter(({ count }) => count > 0);
  $("stages-note").textContent = stages.length
    ? "Since the start of the gateway, over all calls."
    : "Nothing has been measured since the start of the gateway.";
  $("stages").replaceChildren(...stages.map(card));
}

/** The histograms of the stages: `{ name, count, sum, buckets: [{ to, count }] }`, in seconds. */
export function parse(text) {
  const stages = new Map();
  for (const line of text.split("\n")) {
    const match = /^(\w+?)_(bucket|sum|count)\{([^}]*)\} (\S+)/.exec(line);
    if (!match || match[1] !== FAMILY) continue;
    const labels = Object.fromEntries([...match[3].matchAll(/(\w+)="([^"]*)"/g)].map((one) => one.slice(1)));
    const stage = stages.get(labels.stage) ?? { name: labels.stage, count: 0, sum: 0, buckets: [] };
    stages.set(labels.stage, stage);
    const value = Number(match[4]);
    if (match[2] === "bucket") stage.buckets.push({ to: Number(labels.le.replace("+Inf", "Infinity")), upTo: value });
    else stage[match[2]] = value;
  }
  for (const stage of stages.values()) {
    stage.buckets.sort((one, other) => one.to - other.to);
    stage.buckets.forEach((bucket, index) => {
      bucket.count = bucket.upTo - (stage.buckets[index - 1]?.upTo ?? 0);
    });
  }
  return [...stages.values()];
}

/** The bound that so many of a hundred stay below, in seconds. */
function percentile({ count, buckets }, percent) {
  return buckets.find(({ upTo }) => upTo >= (count * percent) / 100)?.to ?? Infinity;
}

function card(stage) {
  const shown = stage.buckets.slice(
    stage.buckets.findIndex(({ count }) => count > 0), stage.buckets.findLastIndex(({ count }) => count > 0) + 1,
  );
  const most = Math.max(...shown.map(({ count }) => count));
  const step = Math.min(24, SIZE.width / shown.length);
  const bars = shown.map(({ count }, index) => {
    const height = count ? Math.max(2, (count / most) * SIZE.height) : 0;
    return svg("rect", { x: index * step + 1, y: SIZE.height - height, width: step - 2, height, rx: 1.5 });
  });
  const words = `half within ${written(percentile(stage, 50))}, 95 of 100 within ${written(percentile(stage, 95))}`;
  const label = `${stage.name}: ${stage.count} times, ${words}`;
  const drawing = svg("svg", { class: "bars", viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, role: "img", "aria-label": label }, ...bars);
  const bounds = el("p", { class: "bounds", "aria-hidden": "true" },
    el("span", {}, written(shown[0].to)), el("span", {}, written(shown.at(-1).to)));
  return el("li", { class: "stage" },
    el("h3", {}, stage.name.replaceAll("_", " ")),
    drawing, bounds,
    el("p", { class: "figures" }, el("span", {}, `p50 ≤ ${written(percentile(stage, 50))}`),
      el("span", {}, `p95 ≤ ${written(percentile(stage, 95))}`), el("span", {}, `${stage.count.toLocaleString()} ×`)));
}

function written(seconds) {
  if (seconds === Infinity) return "more";
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  return seconds < 1 ? `${Number((seconds * 1000).toPrecision(3))} ms` : `${Number(seconds.toPrecision(3))} s`;
}
