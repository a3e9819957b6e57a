// Small helpers of the console: making elements, and writing times.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

/** An element of the page, with its attributes and what stands in it. Text only, never HTML. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same of a drawing. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Milliseconds of a call as `1:05`, or with tenths as `1:05.2`; `1:02:05` from an hour on. */
export function clock(ms, { tenths = false } = {}) {
  const all = Math.max(0, tenths ? Math.round(ms / 100) / 10 : Math.floor(ms / 1000));
  const [hours, minutes] = [Math.floor(all / 3600), Math.floor(all / 60) % 60];
  const seconds = (all % 60).toFixed(tenths ? 1 : 0).padStart(tenths ? 4 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${seconds}` : `${minutes}:${seconds}`;
}

/** A length for people: `840 ms`, `3.2 s`, `2:05 min`. */
export function length(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${clock(ms)} min`;
}

/** A moment for people: the time of today, or the day before it. */
export function moment(iso) {
  const date = new Date(iso);
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  if (date.toDateString() === new Date().toDateString()) return time;
  return `${date.toLocaleDateString([], { day: "numeric", month: "short" })}, ${time}`;
}

/** The last part of a room's address: what people call it. */
export function roomName(url) {
  const path = url.split(/[?#]/)[0];
  return decodeURIComponent(path.split("/").filter(Boolean).pop() ?? url);
}

/** A function that runs `work` soon, once for all calls until then. */
export function soon(work, ms) {
  let timer = 0;
  return () => {
    timer ||= setTimeout(() => {
      timer = 0;
      work();
    }, ms);
  };
}
