// Making and updating elements, and numbers as people read them. No element is made from text:
// whatever the miner says is shown, never parsed.

export const $ = (id) => document.getElementById(id);

const SVG = "http://www.w3.org/2000/svg";

export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// Only what changed is written: a screen reader is told of changes and nothing else.
export function say(node, text, kind = null) {
  if (node.textContent !== text) node.textContent = text;
  if (kind !== null && node.dataset.kind !== kind) {
    node.classList.remove("good", "warn", "bad");
    if (kind) node.classList.add(kind);
    node.dataset.kind = kind;
  }
}

const last = new WeakMap();

// Puts new children in a node where what they show differs from the last time.
export function show(node, value, make) {
  const key = JSON.stringify(value);
  if (last.get(node) === key) return;
  last.set(node, key);
  node.replaceChildren(...make(value));
}

export function pairs(node, entries) {
  const shown = entries.filter(([, value]) => value !== null && value !== undefined && value !== "");
  const wrapped = node.classList.contains("facts");
  show(node, shown, () => shown.flatMap(([name, value]) => {
    const pair = [el("dt", {}, name), el("dd", {}, String(value))];
    return wrapped ? [el("div", {}, ...pair)] : pair;
  }));
}

export function table(caption, heads, rows) {
  const head = el("tr", {}, ...heads.map((text) => el("th", { scope: "col" }, text)));
  const body = rows.map((row) => el("tr", {}, ...row.map((cell) => el("td", {}, cell ?? "–"))));
  return el("table", {}, el("caption", {}, caption), el("thead", {}, head), el("tbody", {}, ...body));
}

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 10) return `${value.toFixed(value < 1 ? 2 : 1)} s`;
  if (value < 120) return `${Math.round(value)} s`;
  if (value < 7200) return `${Math.round(value / 60)} min`;
  if (value < 172800) return `${Math.round(value / 3600)} h`;
  return `${Math.round(value / 86400)} days`;
}

export function ago(unix) {
  if (!unix) return "–";
  const passed = Math.max(0, Math.floor(Date.now() / 1000 - unix));
  return passed < 10 ? (passed < 2 ? "now" : `${passed} s ago`) : `${seconds(passed)} ago`;
}

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let power = 0;
  while (value >= 1000 && power < units.length - 1) { value /= 1000; power += 1; }
  return `${value >= 100 || power === 0 ? Math.round(value) : value.toFixed(1)} ${units[power]}`;
}

export const count = (value) => (value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en"));
export const words = (name) => String(name).replaceAll("_", " ");
export const short = (key) => (key && key.length > 16 ? `${key.slice(0, 6)}…${key.slice(-4)}` : key);
export const total = (timings) => Object.values(timings).reduce((sum, one) => sum + (one || 0), 0);
export const title = (job) => job.prompt ?? "(a picture)";
