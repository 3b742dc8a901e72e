// The last jobs as tiles. A tile stays the same element while its job lives, so that focus is kept.

import { $, ago, el, say, seconds, title, total } from "./dom.js";
import { whose } from "./identities.js";
import { doing } from "./panels.js";
import { openViewer } from "./viewer.js";

const SHOWN = 12;
const TRIES = 3, AGAIN_MS = 5000;
const tiles = new Map();

export function results(jobs) {
  const wanted = jobs.slice(0, SHOWN).map(tile);
  const list = $("results");
  const ids = new Set(jobs.slice(0, SHOWN).map((job) => job.id));
  for (const [id, one] of tiles) if (!ids.has(id)) { one.item.remove(); tiles.delete(id); }
  wanted.forEach((item, index) => {
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
  });
}

function tile(job) {
  const opens = job.state === "done" && job.kept;
  let one = tiles.get(job.id);
  if (!one || one.opens !== opens) {
    const made = build(job, opens);
    one?.item.replaceWith(made.item);
    one = made;
    tiles.set(job.id, one);
  }
  if (!opens) say(one.shot, job.state === "done" ? "not kept any more" : job.state === "failed" ? "failed" : doing(job));
  say(one.first, line(job));
  say(one.second, `${job.generator ? `${job.generator}, ` : ""}${ago(job.finished_at ?? job.accepted_at)}`);
  say(one.third, whose(job) ? `asked of ${whose(job)}` : "");
  return one.item;
}

function line(job) {
  if (job.state === "failed") return job.message ?? job.code ?? "failed";
  if (job.state !== "done") return job.state === "queued" ? "waits" : "at work";
  return job.score === null ? seconds(total(job.timings)) : `${seconds(total(job.timings))}, score ${job.score.toFixed(2)}`;
}

function build(job, opens) {
  const shot = opens ? picture(job) : el("span", {});
  const [first, second, third] = [0, 1, 2].map(() => el("span", {}));
  const inside = [
    el("span", { class: "shot" }, shot),
    el("span", { class: "words" }, el("span", { class: "prompt" }, title(job)), first, second, third),
  ];
  const box = opens ? el("button", { type: "button", class: "tile", "data-job": job.id }, ...inside)
    : el("div", { class: "tile", "data-job": job.id }, ...inside);
  if (opens) box.addEventListener("click", () => openViewer(job));
  return { item: el("li", {}, box), opens, shot, first, second, third };
}

// A picture that fails may only have come at a bad moment: the miner was starting, or many were asked for.
function picture(job) {
  let left = TRIES;
  const image = el("img", { src: `/jobs/${job.id}/picture`, alt: "", loading: "lazy", decoding: "async", width: 192, height: 192 });
  image.addEventListener("error", () => {
    left -= 1;
    if (!left) image.replaceWith(el("span", {}, "no picture"));
    else setTimeout(() => { image.src = `/jobs/${job.id}/picture?try=${TRIES - left}`; }, AGAIN_MS);
  });
  return image;
}
