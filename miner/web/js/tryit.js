// The box for one's own prompt: order, watch, offer to open.

import { get, order, Refused } from "./api.js";
import { $, el, seconds, total } from "./dom.js";
import { doing } from "./panels.js";
import { openViewer } from "./viewer.js";

const LOOK_MS = 400;
const PATIENCE = 20; // looks in a row that may fail: the miner may be starting again

export function tryBox(changed, usual) {
  $("try").addEventListener("submit", async (event) => {
    event.preventDefault();
    $("try-go").disabled = true;
    try {
      await run(Object.fromEntries(new FormData($("try"))), changed, usual);
    } catch (error) {
      tell(error.message, true);
    } finally {
      $("try-go").disabled = false;
      $("try-progress").hidden = true;
    }
  });
}

async function run(fields, changed, usual) {
  tell("Asking…");
  const { id } = await order(fields);
  $("try-progress").hidden = false;
  $("try-bar").value = 0;
  changed();
  const began = performance.now();
  const job = await finished(id, (now) => {
    const passed = (performance.now() - began) / 1000;
    $("try-bar").value = 1 - Math.exp((-1.6 * passed) / Math.max(0.5, usual() ?? 10));
    tell(`${doing(now)}…`);
  });
  changed();
  if (job.state === "failed") throw new Refused(job.message ?? "The job failed.", job.status);
  tell(`Done in ${seconds(total(job.timings))}.`);
  const open = el("button", { type: "button" }, "Open it");
  open.addEventListener("click", () => openViewer(job));
  $("try-says").append(open);
}

async function finished(id, look) {
  for (let missed = 0; ;) {
    try {
      const job = await get(`/jobs/${id}`);
      if (job.state === "done" || job.state === "failed") return job;
      look(job);
      missed = 0;
    } catch (error) {
      missed += 1;
      if (error.status || missed > PATIENCE) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

function tell(text, bad = false) {
  const says = $("try-says");
  if (says.textContent !== text) says.textContent = text;
  says.classList.toggle("bad", bad);
}
