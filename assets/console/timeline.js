// A call as a sequencer shows it: a lane for everybody, and what each of them did at its time.
import { clock, el, length, svg } from "./dom.js";

/** Heights in pixels. A speaker's lane has a bar, and the words below it. */
const RULER = 30;
const SPEAKER = 62;
const NARROW = 38;
const PAD = 8;
/** Pixels a second: at first while a call goes on, at least at first, and at most. */
const LIVE_SCALE = 36;
const FIRST_SCALE_MIN = 7;
const SCALE_MAX = 240;
/** No drawing is wider than browsers can scroll. */
const WIDTH_MAX = 4_000_000;
const TICKS_S = [0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
/** How wide a letter is, to know where a sentence has to end. */
const LETTER = 6.2;
/** How often a call that goes on is drawn. */
const FRAME_MS = 100;

/** Draws one call, and keeps drawing while it goes on. */
export class Timeline {
  #names = el("ol", { class: "seq-names", "aria-hidden": "true" });
  #back = svg("g", { class: "back" });
  #ticks = svg("g", { class: "ticks" });
  #blocks = svg("g");
  #head = svg("g", { class: "playhead", hidden: true }, svg("line", {}), svg("path", { d: "M-6 0h12l-6 8z" }));
  #svg = svg("svg", { class: "seq-drawing" }, this.#back, this.#ticks, this.#blocks, this.#head);
  #scroll = el("div", { class: "seq-scroll", tabindex: "0", role: "group", "aria-label": "Timeline: arrow keys go from one event to the next, Enter plays from there, plus and minus zoom" }, this.#svg);
  #tip = el("div", { class: "seq-tip", hidden: true, "aria-hidden": "true" });
  #now;
  #onSeek;
  #call = null;
  #lanes = [];
  #items = [];
  #nodes = new Map();
  #scale = LIVE_SCALE;
  #playMs = null;
  #pointed = null;
  #current = null;
  #isFollowing = true;
  #isStale = false;
  #drawnAt = 0;

  /** `now` tells the gateway's time in milliseconds; `onSeek` gets the time that was clicked. */
  constructor(place, { now, onSeek }) {
    this.#now = now;
    this.#onSeek = onSeek;
    place.replaceChildren(el("div", { class: "seq" }, this.#names, this.#scroll, this.#tip));
    this.#scroll.addEventListener("scroll", () => this.#onScroll());
    this.#scroll.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    this.#scroll.addEventListener("keydown", (event) => this.#onKey(event));
    this.#scroll.addEventListener("click", (event) => this.#onClick(event));
    this.#svg.addEventListener("pointerover", ({ target }) => this.#point(target.closest("[data-key]")?.dataset.key));
    this.#svg.addEventListener("pointerleave", () => this.#point(null));
    this.#scroll.addEventListener("focusin", ({ target }) => target.dataset?.key && this.#focus(target.dataset.key));
    this.#scroll.addEventListener("focusout", () => { this.#current = null; this.#showTip(); });
    new ResizeObserver(() => this.draw()).observe(this.#scroll);
    requestAnimationFrame((at) => this.#frame(at));
  }

  /** Shows this call, from its beginning or, while it goes on, at its end. */
  show(call) {
    const isSame = call && this.#call?.id === call.id;
    this.#call = call;
    if (!isSame) {
      this.#blocks.replaceChildren();
      this.#nodes.clear();
      [this.#playMs, this.#current, this.#pointed] = [null, null, null];
      this.#isFollowing = true;
      if (call) this.#scale = call.isLive ? LIVE_SCALE : Math.max(FIRST_SCALE_MIN, this.#fitting());
      this.#scroll.scrollLeft = 0;
    }
    this.draw();
  }

  /** The call has something new. */
  refresh() {
    this.#isStale = true;
  }

  /** Moves the playhead, and keeps it in sight while something plays. */
  play(ms, isPlaying) {
    this.#playMs = ms;
    const x = this.#x(ms);
    const { scrollLeft, clientWidth } = this.#scroll;
    if (isPlaying && (x < scrollLeft || x > scrollLeft + clientWidth - 40)) this.#scroll.scrollLeft = x - 40;
    this.#drawHead();
  }

  zoom(factor, atX = this.#scroll.clientWidth / 2) {
    const ms = (this.#scroll.scrollLeft + atX) / this.#scale * 1000;
    const least = Math.min(this.#fitting(), LIVE_SCALE);
    this.#scale = Math.min(SCALE_MAX, WIDTH_MAX / this.#seconds(), Math.max(least, this.#scale * factor));
    this.draw();
    if (!(this.#call?.isLive && this.#isFollowing)) this.#scroll.scrollLeft = this.#x(ms) - atX;
  }

  fit() {
    this.#scale = Math.min(SCALE_MAX, this.#fitting());
    this.draw();
  }

  draw() {
    if (!this.#call) return;
    this.#isStale = false;
    this.#lanes = lanesOf(this.#call);
    this.#items = itemsOf(this.#call, this.#lanes, this.#endMs());
    const height = RULER + this.#lanes.reduce((sum, lane) => sum + lane.height, 0);
    const width = Math.max(this.#scroll.clientWidth, this.#x(this.#endMs()) + (this.#call.isLive ? 60 : 12));
    set(this.#svg, { width, height });
    this.#drawNames();
    this.#drawBack(width);
    if (this.#call.isLive && this.#isFollowing) this.#scroll.scrollLeft = width;
    this.#drawView(height);
    this.#drawHead();
    this.#showTip();
  }

  // -------------------------------------------------------------- time and place

  #endMs() {
    const { isLive, startedAt, knownMs } = this.#call;
    return isLive ? Math.max(knownMs, this.#now() - startedAt) : knownMs;
  }

  #seconds() {
    return Math.max(1, this.#endMs() / 1000);
  }

  #fitting() {
    return Math.max(40, this.#scroll.clientWidth - 14) / this.#seconds();
  }

  #x(ms) {
    return (ms / 1000) * this.#scale;
  }

  #frame(at) {
    requestAnimationFrame((next) => this.#frame(next));
    const isShown = this.#call && this.#scroll.clientWidth > 0;
    if (!isShown || at - this.#drawnAt < FRAME_MS || !(this.#isStale || this.#call.isLive)) return;
    this.#drawnAt = at;
    this.draw();
  }

  // -------------------------------------------------------------- drawing

  #drawNames() {
    const names = this.#lanes.map(({ name, kind, height }) => {
      const entry = el("li", { class: kind }, el("span", {}, name));
      entry.style.height = `${height}px`;
      return entry;
    });
    this.#names.replaceChildren(el("li", { class: "corner" }), ...names);
  }

  #drawBack(width) {
    this.#back.replaceChildren(...this.#lanes.map(({ top, height }, index) => svg("rect", {
      class: index % 2 ? "even" : "odd", x: 0, y: top, width, height,
    })));
    const { watchedFrom, isLive } = this.#call;
    if (watchedFrom > 1000 && isLive) {
      this.#back.append(svg("rect", {
        class: "unwatched", x: 0, y: RULER, width: this.#x(watchedFrom),
        height: this.#lanes.reduce((sum, { height }) => sum + height, 0),
      }));
    }
  }

  /** Only what is in sight, and a little around it. */
  #drawView(height) {
    const { scrollLeft, clientWidth } = this.#scroll;
    const [from, to] = [scrollLeft - clientWidth, scrollLeft + 2 * clientWidth];
    this.#drawTicks(Math.max(0, from), to, height);
    const shown = new Set();
    for (const item of this.#items) {
      const [x, end] = [this.#x(item.from), this.#x(item.to)];
      if (end < from || x > to) continue;
      shown.add(item.key);
      let node = this.#nodes.get(item.key);
      if (!node) {
        node = makeBlock(item);
        this.#nodes.set(item.key, node);
        this.#blocks.append(node);
      }
      placeBlock(node, item, x, Math.max(end - x, item.kind === "mark" ? 0 : 3));
    }
    for (const [key, node] of this.#nodes) {
      if (shown.has(key) || node === document.activeElement) continue;
      node.remove();
      this.#nodes.delete(key);
    }
  }

  #drawTicks(from, to, height) {
    const step = TICKS_S.find((one) => one * this.#scale >= 72) ?? 3600;
    const ticks = [];
    const last = Math.min(to, Number(this.#svg.getAttribute("width"))) / this.#scale;
    for (let n = Math.floor(from / this.#scale / step); n * step <= last; n += 1) {
      const x = this.#x(n * step * 1000);
      ticks.push(svg("line", { x1: x, x2: x, y1: RULER - 8, y2: height }));
      ticks.push(svg("text", { x: x + 4, y: RULER - 11 }, clock(n * step * 1000, { tenths: step < 1 })));
    }
    this.#ticks.replaceChildren(...ticks);
  }

  #drawHead() {
    const ms = this.#call?.isLive ? this.#endMs() : this.#playMs;
    this.#head.toggleAttribute("hidden", ms === null);
    if (ms === null) return;
    set(this.#head, { transform: `translate(${this.#x(ms)} 0)`, class: `playhead${this.#call.isLive ? " live" : ""}` });
    set(this.#head.firstChild, { y1: 0, y2: this.#svg.getAttribute("height") });
  }

  // -------------------------------------------------------------- pointing

  #point(key) {
    this.#pointed = key ?? null;
    this.#showTip();
  }

  #focus(key) {
    this.#current = key;
    this.#showTip();
  }

  #showTip() {
    const key = this.#pointed ?? this.#current;
    const item = key && this.#items.find((one) => one.key === key);
    this.#tip.hidden = !item;
    if (!item) return;
    if (this.#tip.dataset.label !== item.label) {
      this.#tip.dataset.label = item.label;
      this.#tip.replaceChildren(el("b", {}, item.times), el("span", {}, item.words));
    }
    const { offsetLeft, clientWidth, scrollLeft } = this.#scroll;
    const half = this.#tip.offsetWidth / 2;
    const x = this.#x(item.from) - scrollLeft + Math.min(this.#x(item.to - item.from) / 2, 80);
    const most = offsetLeft + clientWidth - half - 4;
    this.#tip.style.left = `${Math.max(half + 4, Math.min(most, offsetLeft + x))}px`;
    this.#tip.style.top = `${item.top - 4}px`;
  }

  #onScroll() {
    const { scrollLeft, clientWidth, scrollWidth } = this.#scroll;
    this.#isFollowing = scrollLeft + clientWidth > scrollWidth - 30;
    if (!this.#call) return;
    this.#drawView(Number(this.#svg.getAttribute("height")));
    this.#showTip();
  }

  #onWheel(event) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    this.zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.clientX - this.#scroll.getBoundingClientRect().left);
  }

  #onKey(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "+" || event.key === "=") this.zoom(1.5);
    else if (event.key === "-") this.zoom(1 / 1.5);
    else if (event.key === "0") this.fit();
    else if (event.key === "Escape") this.#scroll.focus();
    else if (event.key === "Enter" && this.#current) this.#goTo(this.#items.find(({ key }) => key === this.#current)?.from);
    else if (step && this.#items.length) this.#step(step);
    else return;
    event.preventDefault();
  }

  /** Goes to the next event, or the one before. */
  #step(step) {
    const order = this.#items.toSorted((one, other) => one.from - other.from || one.top - other.top);
    const at = order.findIndex(({ key }) => key === this.#current);
    const item = order[at < 0 ? (step > 0 ? 0 : order.length - 1) : Math.min(order.length - 1, Math.max(0, at + step))];
    const x = this.#x(item.from);
    const { scrollLeft, clientWidth } = this.#scroll;
    if (x < scrollLeft || x > scrollLeft + clientWidth - 60) this.#scroll.scrollLeft = x - clientWidth / 3;
    this.#drawView(Number(this.#svg.getAttribute("height")));
    this.#nodes.get(item.key)?.focus({ preventScroll: true });
  }

  #onClick({ clientX, target }) {
    if (!this.#call || this.#call.isLive || target === this.#tip) return;
    const x = clientX - this.#scroll.getBoundingClientRect().left + this.#scroll.scrollLeft;
    this.#goTo((x / this.#scale) * 1000);
  }

  #goTo(ms) {
    if (ms === undefined || this.#call.isLive) return;
    const place = Math.min(this.#endMs(), ms);
    this.play(place, false);
    this.#onSeek(place);
  }
}

// ---------------------------------------------------------------- what is drawn

function lanesOf(call) {
  const lanes = [...call.people].map(([id, name]) => ({ key: id, name: name || "Guest", kind: "caller", height: SPEAKER }));
  const known = new Set(call.people.keys());
  for (const { who } of [...call.speech, ...call.lines]) {
    if (who !== null && !known.has(who)) {
      known.add(who);
      lanes.push({ key: who, name: "Guest", kind: "caller", height: SPEAKER });
    }
  }
  lanes.push({ key: "agent", name: call.agentName || "Agent", kind: "agent", height: SPEAKER });
  lanes.push({ key: "thinking", name: "Thinking", kind: "thinking", height: NARROW });
  lanes.push({ key: "tools", name: "Tools", kind: "tools", height: NARROW });
  let top = RULER;
  for (const lane of lanes) {
    lane.top = top;
    top += lane.height;
  }
  return lanes;
}

/** What stands in the lanes: each with its place, its times, and how it is told. */
function itemsOf(call, lanes, endMs) {
  const topOf = new Map(lanes.map(({ key, top }) => [key, top]));
  const items = [];
  const add = (lane, key, kind, { from, to }, words, more = {}) => {
    const end = to ?? endMs;
    const isPoint = to === from;
    const times = isPoint
      ? clock(from, { tenths: true })
      : `${clock(from, { tenths: true })} – ${to === null ? "…" : clock(end, { tenths: true })} (${length(end - from)})`;
    items.push({ key, kind, from, to: end, top: (topOf.get(lane) ?? 0) + PAD, times, words, label: `${words}. ${times}`, text: "", ...more });
  };
  for (const span of call.speech) add(span.who, span.id, "speech", span, `${call.nameOf(span.who)} speaks`);
  for (const span of call.heard) {
    add("agent", span.id, span.isCut ? "heard cut" : "heard", span, `${call.agentName} is heard${span.isCut ? ", and cut off" : ""}`);
  }
  for (const span of call.thinking) add("thinking", span.id, "thinking", span, `${call.agentName} thinks`);
  for (const tool of call.tools) {
    const words = `${tool.name} ${tool.input} ${tool.outcome}${tool.output ? `: ${tool.output}` : ""}`;
    add("tools", tool.id, `tool ${tool.outcome}`, tool, words, { text: tool.name });
  }
  addWords(call, endMs, add);
  call.marks.forEach(({ at, text }, index) => add(null, `mark${index}`, "mark", { from: at, to: at }, text, { top: RULER - 6 }));
  return items;
}

/** What was said stands below the speech, and reaches to the next words of the same speaker. */
function addWords(call, endMs, add) {
  const next = new Map();
  for (const line of call.lines.toReversed()) {
    const room = (next.get(line.who) ?? endMs + (call.isLive ? 4000 : 0)) - line.at;
    next.set(line.who, line.at);
    const kind = ["words", !line.isFinal && "interim", line.isCut && "cut"].filter(Boolean).join(" ");
    const times = clock(line.at, { tenths: true });
    const unheard = line.unheard ? ` (not heard:${line.unheard})` : "";
    const words = `${call.nameOf(line.who)}: ${line.text}${unheard}`;
    add(line.who ?? "agent", `words-${line.id}`, kind, { from: line.at, to: line.at + Math.max(room, 1) }, words, {
      text: line.text, times, label: `${times} ${words}`, isOpen: true,
    });
  }
}

function makeBlock(item) {
  const node = svg("g", { "data-key": item.key, role: "img", tabindex: "-1" });
  if (item.kind === "mark") node.append(svg("path", { class: "diamond", d: "M0-5L5 0L0 5L-5 0z" }));
  else node.append(svg("rect", { class: "bar" }));
  if (item.kind.startsWith("heard")) node.append(svg("rect", { class: "edge", y: -3, width: 4, rx: 2 }));
  if (item.text) node.append(svg("svg", { class: "clip" }, svg("text", {})));
  return node;
}

function placeBlock(node, item, x, width) {
  const isWords = item.kind.startsWith("words");
  const isNarrow = item.kind.startsWith("tool") || item.kind === "thinking";
  const y = item.kind === "mark" ? item.top : item.top + (isWords ? 25 : 0);
  const height = isWords ? 22 : isNarrow ? NARROW - 2 * PAD : 22;
  set(node, { class: `block ${item.kind}`, transform: `translate(${x} ${y})`, "aria-label": item.label });
  if (item.kind === "mark") return;
  // The name of a short tool call stands behind it.
  const isBehind = item.kind.startsWith("tool") && item.text.length * LETTER + 14 > width;
  const letters = isBehind ? item.text.length : Math.floor((width - 8) / LETTER);
  const text = item.text.length > letters ? `${item.text.slice(0, Math.max(0, letters - 1)).trimEnd()}…` : item.text;
  const used = isWords ? Math.min(width, text.length * LETTER + 12) : width;
  set(node.firstChild, { width: used, height, rx: isWords ? 4 : Math.min(6, width / 3) });
  const edge = node.querySelector(".edge");
  if (edge) set(edge, { x: width - 2, height: height + 6 });
  const clip = node.querySelector(".clip");
  if (!clip) return;
  set(clip, { width: isBehind ? width + item.text.length * LETTER + 14 : width, height });
  set(clip.firstChild, { x: isBehind ? width + 6 : isWords ? 2 : 7, y: height / 2 + 4 });
  const written = letters > 1 ? text : "";
  if (clip.firstChild.textContent !== written) clip.firstChild.textContent = written;
}

function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
  }
}
