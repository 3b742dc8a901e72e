// Stage timings of the last finished jobs, as stacked bars and as a table.

import { $, el, seconds, show, svg, table, title, total, words } from "./dom.js";

const BARS = 10;
const ROW = 26, LEFT = 150, RIGHT = 62, BOTTOM = 24;
const WAITED = "waited";

export function chart(jobs) {
  const done = jobs.filter((job) => job.state === "done" && total(job.timings) > 0).slice(0, BARS);
  const rows = done.map((job) => ({ name: title(job), parts: parts(job) }));
  const stages = [...new Set(rows.flatMap((row) => Object.keys(row.parts)))];
  stages.sort((a, b) => (a === WAITED ? -1 : b === WAITED ? 1 : 0));
  const width = Math.max(320, Math.min(900, $("chart").clientWidth || 640));
  show($("chart"), [rows, width], () => rows.length ? [legend(stages), bars(rows, stages, width)]
    : [el("p", { class: "quiet" }, "No finished job to show.")]);
  $("chart-table-box").hidden = !rows.length;
  show($("chart-table"), rows, () => rows.length ? [table("Seconds by stage, newest first",
    ["Job", ...stages.map(words), "together"],
    rows.map((row) => [row.name.slice(0, 32), ...stages.map((stage) => row.parts[stage]?.toFixed(2)), total(row.parts).toFixed(2)]))] : []);
}

function parts(job) {
  const waited = job.begun_at && job.accepted_at ? Math.max(0, job.begun_at - job.accepted_at) : 0;
  const kept = Object.entries(job.timings).filter(([, value]) => value > 0);
  return { ...(waited > 0.01 ? { [WAITED]: waited } : {}), ...Object.fromEntries(kept) };
}

const color = (stages, stage) => (stage === WAITED ? "c0" : `c${1 + (stages.filter((one) => one !== WAITED).indexOf(stage) % 8)}`);

function legend(stages) {
  return el("ul", { class: "legend" }, ...stages.map((stage) => el("li", {},
    svg("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, svg("rect", { width: 10, height: 10, rx: 2, class: color(stages, stage) })),
    words(stage))));
}

function bars(rows, stages, width) {
  const height = rows.length * ROW + BOTTOM;
  const left = width < 480 ? 104 : LEFT;
  const longest = Math.max(...rows.map((row) => total(row.parts)));
  const step = nice(longest / 4);
  const scale = (width - left - RIGHT) / Math.max(longest, step);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": describe(rows) });
  for (let at = 0; at <= longest + 1e-9; at += step) {
    const x = left + at * scale;
    picture.append(svg("line", { class: "grid", x1: x, x2: x, y1: 0, y2: height - BOTTOM + 4 }),
      svg("text", { x, y: height - 6, "text-anchor": "middle" }, `${+at.toFixed(2)} s`));
  }
  rows.forEach((row, index) => picture.append(...bar(row, stages, index * ROW, left, scale)));
  return picture;
}

function bar(row, stages, y, left, scale) {
  const fits = left < LEFT ? 12 : 20;
  const label = row.name.length > fits ? `${row.name.slice(0, fits - 1)}…` : row.name;
  const made = [svg("text", { class: "name", x: left - 8, y: y + 17, "text-anchor": "end" }, label)];
  let x = left;
  for (const stage of stages) {
    const value = row.parts[stage];
    if (!value) continue;
    made.push(svg("rect", { class: color(stages, stage), x, y: y + 4, width: Math.max(0.5, value * scale), height: ROW - 8 },
      svg("title", {}, `${words(stage)}: ${seconds(value)}`)));
    x += value * scale;
  }
  made.push(svg("text", { x: x + 6, y: y + 17 }, seconds(total(row.parts))));
  return made;
}

function nice(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-3)));
  return [1, 2, 5, 10].find((factor) => factor * power >= value) * power;
}

function describe(rows) {
  const sums = rows.map((row) => total(row.parts));
  return `Stage timings of the last ${rows.length} jobs, ${seconds(Math.min(...sums))} to ${seconds(Math.max(...sums))}; the table below has the numbers.`;
}
