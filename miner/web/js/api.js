// Asking the miner. Every failure is an Error with a line for people; `status` is 0 where nobody answered.

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const LIMIT_MS = 8000;

async function call(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { signal: AbortSignal.timeout(LIMIT_MS), ...options });
  } catch {
    throw new Refused("The miner does not answer.", 0);
  }
  if (response.ok) return response;
  let message = `The miner answered ${response.status}.`;
  try { message = (await response.json()).error.message; } catch { /* not one of its own answers */ }
  throw new Refused(message, response.status);
}

async function json(path, options) {
  const response = await call(path, options);
  try { return await response.json(); } catch { throw new Refused("The miner broke off.", 0); }
}

export const get = (path) => json(path);

export const signIn = (token) => json("/session", { method: "POST", body: new URLSearchParams({ token }) });

export const order = (fields) => json("/generate", {
  method: "POST", body: new URLSearchParams(fields), headers: { Prefer: "respond-async" },
});

export async function splat(id) {
  const response = await call(`/jobs/${id}/splat`, { signal: AbortSignal.timeout(120000) });
  return new Uint8Array(await response.arrayBuffer());
}
