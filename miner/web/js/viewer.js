// The dialog with one splat in three dimensions, and what is known of its job.

import { splat } from "./api.js";
import { $, ago, bytes, count, pairs, say, seconds, short, title, total, words } from "./dom.js";
import { whose } from "./identities.js";

let scene = null; // of the open dialog
let turn = 0; // counts openings: what loads for an earlier one is dropped

export function prepareViewer() {
  const dialog = $("viewer");
  $("viewer-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", leave);
  $("viewer-reset").addEventListener("click", () => scene?.reset());
  $("viewer-spin").addEventListener("click", () => spin(!scene?.spinning));
  $("canvas").addEventListener("keydown", pressed);
}

export async function openViewer(job) {
  const mine = ++turn;
  describe(job);
  say($("viewer-says"), "Loading…");
  $("canvas").dataset.state = "loading";
  $("viewer").showModal();
  $("canvas").focus();
  try {
    const [{ View }, data] = await Promise.all([import("./scene.js"), splat(job.id)]);
    if (mine !== turn) return;
    const view = new View($("canvas"));
    scene = view;
    await view.load(data, job.format);
    if (mine !== turn) return;
    say($("viewer-says"), "");
    $("canvas").dataset.state = "shown";
  } catch (error) {
    if (mine !== turn) return;
    $("canvas").dataset.state = "failed";
    say($("viewer-says"), `It cannot be shown: ${error.message}`);
  }
}

function leave() {
  turn += 1;
  spin(false);
  scene?.dispose();
  scene = null;
  $("canvas").dataset.state = "";
}

function describe(job) {
  say($("viewer-title"), title(job));
  const link = $("viewer-download");
  link.href = `/jobs/${job.id}/splat?original`;
  say(link, `Download ${job.format.toUpperCase()}`);
  pairs($("viewer-facts"), [
    ["Generator", job.generator], ["Gaussians", count(job.gaussians)], ["Size", bytes(job.bytes)],
    ["Score", job.score === null ? "not checked" : job.score.toFixed(3)],
    ["Candidates", job.candidates > 1 ? job.candidates : null],
    ["Seed", job.seed], ["Asked by", short(job.requester)], ["Of", whose(job)], ["Through", job.intake],
    ["Finished", ago(job.finished_at)], ["Job", short(job.id)],
  ]);
  pairs($("viewer-timings"), [
    ...Object.entries(job.timings).map(([stage, value]) => [words(stage), seconds(value)]),
    ["together", seconds(total(job.timings))],
  ]);
}

function spin(on) {
  if (scene) scene.spin(on);
  $("viewer-spin").setAttribute("aria-pressed", String(Boolean(on && scene)));
}

const KEYS = {
  ArrowLeft: (view) => view.turn(-0.15, 0), ArrowRight: (view) => view.turn(0.15, 0),
  ArrowUp: (view) => view.turn(0, -0.12), ArrowDown: (view) => view.turn(0, 0.12),
  "+": (view) => view.zoom(0.88), "=": (view) => view.zoom(0.88), "-": (view) => view.zoom(1.14),
  0: (view) => view.reset(),
};

function pressed(event) {
  const act = KEYS[event.key];
  if (!act || !scene || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act(scene);
}
