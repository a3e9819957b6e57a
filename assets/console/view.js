// One call on the page: its timeline, its recording, what each turn's time went to, and its text.
import { $, clock, el, length, moment, roomName } from "./dom.js";
import { Timeline } from "./timeline.js";

/** The view of one call at a time. */
export class CallView {
  #timeline;
  #gateway;
  #call = null;
  #audio = $("audio");
  #sound = null;
  #following = 0;
  /** Entries of the text by the id of their line. */
  #entries = new Map();

  constructor(gateway, now) {
    this.#gateway = gateway;
    this.#timeline = new Timeline($("timeline"), { now, onSeek: (ms) => this.#seek(ms) });
    $("zoom-in").onclick = () => this.#timeline.zoom(1.5);
    $("zoom-out").onclick = () => this.#timeline.zoom(1 / 1.5);
    $("zoom-fit").onclick = () => this.#timeline.fit();
    this.#audio.ontimeupdate = () => this.#follow();
    this.#audio.onplay = () => this.#follow();
  }

  get call() {
    return this.#call;
  }

  show(call) {
    const isSame = this.#call && call?.id === this.#call.id;
    this.#call = call;
    $("call").hidden = !call;
    $("no-call").hidden = Boolean(call);
    if (!isSame) {
      this.#silence();
      this.#entries.clear();
      $("text").replaceChildren();
    }
    if (!call) return;
    this.#timeline.show(call);
    this.refresh();
    if (!call.isLive) this.#findRecording(call);
  }

  /** The call has something new. */
  refresh() {
    if (!this.#call) return;
    this.#timeline.refresh();
    this.#showTitle();
    this.#showTurns();
    this.#showText();
  }

  #showTitle() {
    const { agentName, roomUrl, startedAt, endedMs, reason, isLive, isIncomplete } = this.#call;
    $("call-title").textContent = `${agentName || "Agent"} in ${roomName(roomUrl)}`;
    $("call-live").hidden = !isLive;
    const facts = [
      moment(new Date(startedAt).toISOString()),
      endedMs !== null && length(endedMs),
      !isLive && `ended: ${reason}`,
      isIncomplete && "parts of the record were lost",
    ];
    $("call-facts").textContent = facts.filter(Boolean).join(" · ");
    $("erase").hidden = isLive || endedMs === null;
  }

  // -------------------------------------------------------------- turns

  #showTurns() {
    const { turns } = this.#call;
    const longest = Math.max(...turns.map(({ total }) => total), 1);
    $("no-turns").hidden = turns.length > 0;
    $("legend").hidden = turns.length === 0;
    $("rough").hidden = !turns.some(({ isRough }) => isRough);
    $("turns").replaceChildren(...turns.map((turn) => this.#turn(turn, longest)));
  }

  #turn(turn, longest) {
    const { who, at, total, endOfTurn, model, gateway, ownMs, by, isCut, isRough } = turn;
    const parts = [["end-of-turn", endOfTurn], ["model", model], ["gateway", gateway]];
    const bar = el("div", { class: "waterfall", "aria-hidden": "true" }, ...parts.map(([kind, ms]) => {
      const part = el("i", { class: kind });
      part.style.width = `${(ms / longest) * 100}%`;
      return part;
    }));
    const work = ownMs ?? gateway;
    const told = [
      `end of turn ${Math.round(endOfTurn)} ms${by === "gateway" ? " (by the gateway)" : ""}`,
      `model ${Math.round(model)} ms`,
      !isRough && `gateway ${work < 10 ? work.toFixed(1) : Math.round(work)} ms`,
      isCut && "cut off",
    ].filter(Boolean).join(" · ");
    return el("li", {},
      el("span", { class: "at" }, clock(at, { tenths: true })),
      el("span", { class: "who" }, this.#call.nameOf(who)),
      bar,
      el("b", { class: "total" }, `${isRough ? "≈ " : ""}${Math.round(total)} ms`),
      el("span", { class: "parts" }, told));
  }

  // -------------------------------------------------------------- text

  #showText() {
    const list = $("text");
    const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    const { lines } = this.#call;
    $("no-text").hidden = lines.length > 0;
    lines.forEach((line, index) => {
      const entry = this.#entries.get(line.id) ?? el("li");
      this.#entries.set(line.id, entry);
      const state = `${line.text}|${line.isFinal}|${line.isCut}|${line.at}`;
      if (entry.dataset.state !== state) this.#write(entry, line, state);
      if (list.children[index] !== entry) list.insertBefore(entry, list.children[index] ?? null);
    });
    while (list.children.length > lines.length) list.lastChild.remove();
    if (isAtEnd && this.#call.isLive) list.scrollTop = list.scrollHeight;
  }

  #write(entry, line, state) {
    entry.dataset.state = state;
    entry.className = [line.who === null && "agent", !line.isFinal && "interim"].filter(Boolean).join(" ");
    entry.replaceChildren(
      el("span", { class: "at" }, clock(line.at)),
      el("span", { class: "who" }, this.#call.nameOf(line.who)),
      el("span", { class: "said" }, line.text,
        line.unheard ? el("s", { title: "not heard" }, line.unheard) : null,
        line.isCut ? el("span", { class: "tag" }, line.text ? "cut off" : "cut off before it was heard") : null));
  }

  // -------------------------------------------------------------- recording

  /** The recording plays beside the timeline, if there is one. */
  async #findRecording(call) {
    if (this.#sound || !call.recorded) return;
    try {
      const answer = await this.#gateway.fetch("GET", `/api/calls/${encodeURIComponent(call.id)}/recording`);
      const sound = await answer.blob();
      if (this.#call?.id !== call.id) return;
      this.#sound = URL.createObjectURL(sound);
      this.#audio.src = this.#sound;
      $("recording").hidden = false;
    } catch {
      // It was erased meanwhile.
    }
  }

  /** Moves the playhead with the sound: with every frame while it plays, for its own events come four times a second. */
  #follow() {
    const { currentTime, paused } = this.#audio;
    this.#timeline.play(currentTime * 1000, !paused);
    cancelAnimationFrame(this.#following);
    if (!paused) this.#following = requestAnimationFrame(() => this.#follow());
  }

  #seek(ms) {
    if (this.#sound) this.#audio.currentTime = ms / 1000;
  }

  #silence() {
    $("recording").hidden = true;
    this.#audio.pause();
    this.#audio.removeAttribute("src");
    if (this.#sound) URL.revokeObjectURL(this.#sound);
    this.#sound = null;
  }
}
