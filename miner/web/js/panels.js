// The panels that show the status, the validators and the log of decisions.

import { $, ago, bytes, count, el, pairs, say, seconds, short, show, table, words } from "./dom.js";
import { identities, lacking, readiness, several, whose } from "./identities.js";

export function status(now) {
  const queue = now.queue;
  identities(now.identities);
  if (now.ready && lacking()) say($("badge"), `Ready, ${readiness()} identities`, "warn");
  else if (now.ready) say($("badge"), queue.in_flight ? "Ready, at work" : "Ready", "good");
  else say($("badge"), `Not ready: ${now.reasons.join("; ")}`, "warn");
  pairs($("facts"), [
    ["version", now.version], ["preset", now.preset], ["device", now.device],
    ["hotkey", several() ? null : short(now.hotkey)], ["identities ready", readiness()],
    ["up", seconds(Math.floor(now.uptime_seconds))],
  ]);
  pairs($("queue"), [
    ["Waiting", queue.depth], ["At work", queue.in_flight], ["Takes new work", queue.accepting ? "yes" : "no"],
    ["A job takes", seconds(queue.service_seconds)], ["Oldest waits", queue.oldest_seconds && seconds(queue.oldest_seconds)],
  ]);
  show($("queue-jobs"), queue.jobs.slice(0, 12), (jobs) => jobs.map((job) => el("li", {},
    el("span", { class: "mono" }, job.id.slice(0, 8)), el("span", { class: "end" }, doing(job)))));
  show($("workers"), now.workers.map((one) => ({ ...one, heartbeat_age_seconds: null })), (all) => all.map(worker));
  generator(now);
  plan(now);
  const journal = now.journal;
  pairs($("counts"), [
    ...Object.entries(now.counters).map(([name, value]) => [sentence(words(name)), count(value)]),
    ["Results kept", `${count(journal.results)} (${bytes(journal.result_bytes)})`],
    ["Journal", bytes(journal.file_bytes)], ["Without outcome", journal.unfinished], ["Journal failed", journal.failed],
  ]);
}

export function doing(job) {
  if (job.state === "queued" || !job.stage) return job.state === "queued" ? "waits" : job.state;
  return job.steps && job.steps[1] > 1 ? `${words(job.stage)} ${job.steps[0]}/${job.steps[1]}` : words(job.stage);
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function worker(one) {
  const memory = Object.entries(one.memory_bytes).map(([name, value]) => `${words(name)} ${bytes(value)}`);
  return el("div", { class: "worker" },
    el("p", {}, el("strong", {}, `Worker ${one.name}`), el("span", {}, `${one.state} on ${one.device ?? "nothing yet"}`)),
    one.restarts ? el("p", {}, el("span", {}, "Restarts"), el("span", {}, String(one.restarts))) : null,
    memory.length ? el("p", { class: "meter" }, memory.join(", ")) : null,
    one.last_error ? el("p", { class: "bad-text" }, one.last_error) : null);
}

const STATES = { closed: "primary at work", open: "rolled back", half_open: "trying the primary", pinned: "held by the operator" };
const CAUSES = { hand: "by hand" };

function generator(now) {
  const state = now.rollback;
  pairs($("generator"), [
    ["New jobs go to", now.generator ?? "–"],
    ["State", state && (STATES[state.state] ?? words(state.state))],
    ["Rollback offered", state && (state.offered ? "yes" : "no")],
    ["Cause", state?.cause && (CAUSES[state.cause] ?? words(state.cause))],
    ["Smaller steps", state?.steps?.map(words).join(", ")],
    ["Away for", state?.away_seconds ? seconds(state.away_seconds) : null],
    ["First result after", state?.first_result_seconds && seconds(state.first_result_seconds)],
  ]);
}

function plan(now) {
  const made = now.plan ?? now.workers.find((one) => one.plan)?.plan;
  pairs($("plan"), [
    ["Preset", now.preset], ["Runs on", now.device], ["Workers", now.workers.length],
    ["Loading took", loading(now.workers)], ["Planned for", made?.card?.name],
  ]);
  show($("plan-table"), made?.stages ?? [], (stages) => stages.length ? [table("Where each part lies",
    ["Part", "Numbers", "Lies", "Peak"],
    stages.map((one) => [words(one.component), one.precision, one.residency, bytes(one.peak_bytes)]))] : []);
}

function loading(workers) {
  const all = workers.flatMap((one) => Object.values(one.load_seconds));
  return all.length ? seconds(all.reduce((sum, one) => sum + one, 0)) : null;
}

export function validators({ asked, peers }, jobs) {
  const seen = new Map();
  for (const job of jobs) {
    const tally = seen.get(job.requester) ?? { jobs: 0, failed: 0, at: 0, whose: new Set() };
    tally.jobs += 1;
    tally.failed += job.state === "failed" ? 1 : 0;
    tally.at = Math.max(tally.at, job.accepted_at);
    if (whose(job)) tally.whose.add(whose(job));
    seen.set(job.requester, tally);
  }
  const rows = asked.length ? asked.map(pulled) : peers.slice(0, 16).map((peer) => called(peer, seen.get(peer.hotkey)));
  const ours = several() ? ["Identity"] : [];
  const heads = asked.length ? ["Validator", ...ours, "State", "Tasks", "Accepted", "Score", "Average", "Reward"]
    : ["Validator", "Stake", "Jobs", "Failed", ...ours, "Last"];
  const caption = asked.length ? "Validators that this miner asks for tasks" : "Validators of the subnet, and their share of the last jobs";
  show($("validators"), [heads, rows], () => rows.length ? [table(caption, heads, rows)]
    : [el("p", { class: "quiet" }, "None is known: this miner neither serves nor asks validators, or the chain has not been read.")]);
}

function pulled(one) {
  const state = one.state === "cooldown" ? `waits ${seconds(one.cooldown_seconds)}` : one.state;
  const fixed = (value) => (value === null ? null : value.toFixed(3));
  return [name(one), ...(several() ? [one.identity] : []), state, count(one.tasks), count(one.accepted), fixed(one.score), fixed(one.average_score), fixed(one.reward)];
}

function called(peer, tally) {
  const served = several() ? [tally?.whose.size ? [...tally.whose].sort().join(", ") : null] : [];
  return [name(peer), count(peer.stake), tally ? count(tally.jobs) : "0", tally ? count(tally.failed) : "0", ...served, tally ? ago(tally.at) : null];
}

const name = (one) => `${one.uid ?? "?"} · ${short(one.hotkey)}`;

export function rollbacks(events) {
  const lines = events.slice(-12).reverse();
  show($("rollbacks"), [lines, minute()], () => lines.length ? lines.map((event) => el("li", {},
    el("span", {}, event.detail.generator ? `to ${event.detail.generator}` : words(event.kind)),
    when(event.at),
    el("span", { class: "detail" }, said(event.detail))))
    : [el("li", { class: "quiet" }, "No rollback on record.")]);
}

function said({ state, cause }) {
  return [STATES[state] ?? words(state ?? ""), CAUSES[cause] ?? words(cause ?? "")].filter(Boolean).join(": ");
}

export function decisions(events) {
  const lines = events.slice(-12).reverse();
  show($("decisions"), [lines, minute()], () => lines.length ? lines.map((event) => el("li", {},
    el("span", {}, words(event.kind)), when(event.at),
    el("span", { class: "detail" }, Object.entries(event.detail).filter(told).slice(0, 6).map(([key, value]) => `${words(key)} ${plain(value)}`).join(", "))))
    : [el("li", { class: "quiet" }, "Nothing was decided yet.")]);
}

const told = ([, value]) => value !== null && value !== "" && !(Array.isArray(value) && !value.length);

function plain(value) {
  return short(typeof value === "object" ? JSON.stringify(value) : String(value));
}

const minute = () => Math.floor(Date.now() / 10000);
const when = (at) => el("time", { datetime: new Date(at * 1000).toISOString() }, ago(at));
