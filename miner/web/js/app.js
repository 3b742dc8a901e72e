// Keeps the page true: asks for what changes often every second, for the rest less often, and for
// nothing while nobody looks. When the miner is away it keeps asking, and goes on when it is back.

import { get, signIn } from "./api.js";
import { chart } from "./chart.js";
import { $, say } from "./dom.js";
import * as panels from "./panels.js";
import { results } from "./results.js";
import { tryBox } from "./tryit.js";
import { prepareViewer } from "./viewer.js";

const BEAT_MS = 1000, SLOW_BEATS = 8, LONGEST_MS = 5000;
const LISTED = 48;

let timer = 0, beat = 0, failures = 0, running = false, again = false;
let usual = null, jobs = [], validators = { asked: [], peers: [] };

async function round() {
  if (running) { again = true; return; }
  running = true;
  clearTimeout(timer);
  try {
    await look();
    failures = 0;
    $("notice").hidden = true;
  } catch (error) {
    failed(error);
  }
  running = false;
  const wait = Math.min(LONGEST_MS, BEAT_MS * 2 ** Math.min(failures, 4) / (failures ? 2 : 1));
  if (!document.hidden) timer = setTimeout(round, again ? 0 : wait);
  again = false;
}

async function look() {
  const slow = beat % SLOW_BEATS === 0;
  const [status, recent] = await Promise.all([get("/status"), get(`/jobs?limit=${LISTED}`)]);
  usual = status.queue.service_seconds;
  jobs = recent.jobs;
  if (slow) {
    const [turned, log, known] = await Promise.all([
      get("/events?limit=12&kind=rollback"), get("/events?limit=12"), get("/validators")]);
    validators = known;
    panels.rollbacks(turned.events);
    panels.decisions(log.events);
  }
  panels.status(status);
  panels.validators(validators, jobs);
  results(jobs);
  chart(jobs);
  beat += 1;
  document.body.dataset.rounds = String(beat);
}

function failed(error) {
  if (error.status === 401) {
    if (!$("signin").open) $("signin").showModal();
    return;
  }
  failures += 1;
  beat = 0; // when it is back, everything is asked for
  say($("badge"), error.status ? "Trouble" : "Not reachable", "bad");
  say($("notice"), `${error.message} The page tries again by itself and shows what it knew last.`);
  $("notice").hidden = false;
}

$("signin-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await signIn(new FormData(event.target).get("token"));
    event.target.reset();
    say($("signin-says"), "");
    $("signin").close();
    round();
  } catch (error) {
    say($("signin-says"), error.message);
  }
});
$("signin").addEventListener("cancel", (event) => event.preventDefault());
document.addEventListener("visibilitychange", () => { if (!document.hidden) round(); });
window.addEventListener("resize", () => chart(jobs));

prepareViewer();
tryBox(round, () => usual);
round();
