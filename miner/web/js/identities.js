// Our hotkeys where there are several: a table of them, and whose a job is. Of a single one the page's head speaks.

import { $, count, el, seconds, short, show, table } from "./dom.js";

let known = [];

export const several = () => known.length > 1;
export const lacking = () => several() && known.some((one) => !one.ready);
export const readiness = () => (several() ? `${known.filter((one) => one.ready).length} of ${known.length}` : null);

// The operator's own jobs were asked of none of them.
export const whose = (job) => (several() && job.requester !== "local" ? job.identity : null);

const HEADS = ["Identity", "State", "Waiting", "Hotkey", "Standing", "Peers", "Read"];

export function identities(all) {
  known = all;
  $("identities-box").hidden = !several();
  if (!several()) return;
  show($("identities"), all.map(row), (rows) => [drawn(rows)]);
  const troubles = all.filter((one) => !one.ready).map(({ name, reasons }) => [name, reasons.join("; ")]);
  show($("identities-troubles"), troubles, () => troubles.map(([name, reasons]) =>
    el("li", {}, el("strong", {}, name), el("span", { class: "bad-text" }, reasons))));
}

function row({ name, ready, waiting, hotkey, chain, peers }) {
  return [name, ready ? "ready" : "not ready", count(waiting), short(hotkey), chain && place(chain), peers && count(peers.count), age(peers)];
}

// Without the columns of which nothing is known of any.
function drawn(rows) {
  const shown = HEADS.map((_, index) => rows.some((cells) => cells[index] !== null));
  const kept = (cells) => cells.filter((_, index) => shown[index]);
  const body = rows.map(([name, state, ...others]) =>
    kept([name, el("span", { class: state === "ready" ? "good-text" : "bad-text" }, state), ...others]));
  return table("The hotkeys of this miner", kept(HEADS), body);
}

function place({ netuid, standing }) {
  if (!standing) return `netuid ${netuid} not read yet`;
  return standing.registered ? `uid ${standing.uid} on ${netuid}, rank ${standing.rank} of ${standing.neurons}` : `not registered on ${netuid}`;
}

function age(peers) {
  return peers?.age_seconds ? `${seconds(Math.floor(peers.age_seconds))} ago` : null;
}
