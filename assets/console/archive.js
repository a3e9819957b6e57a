// Past calls: a list with pages, sought in by agent and by words, opened and erased.
import { $, el, length, moment, roomName } from "./dom.js";

const PAGE = "25";

export class Archive {
  #gateway;
  #onOpen;
  #calls = [];
  #cursor = null;
  #agentId = "";
  #current = null;
  /** The newest question: answers to older ones are let go. */
  #asked = 0;

  /** `onOpen` gets the id of the call that was chosen. */
  constructor(gateway, onOpen) {
    this.#gateway = gateway;
    this.#onOpen = onOpen;
    $("by-agent").onchange = () => {
      this.#agentId = $("by-agent").value;
      this.reload();
    };
    $("by-words").oninput = () => this.#draw();
    $("older").onclick = () => this.#more();
  }

  /** Reads the newest page anew. */
  async reload() {
    await this.#read(null, []);
  }

  /** Marks the call that is shown. */
  mark(id) {
    this.#current = id;
    this.#draw();
  }

  forget(id) {
    this.#calls = this.#calls.filter((call) => call.id !== id);
    this.#draw();
  }

  #more() {
    return this.#read(this.#cursor, this.#calls);
  }

  async #read(cursor, before) {
    const asked = this.#asked += 1;
    const query = new URLSearchParams({
      limit: PAGE, ...cursor && { cursor }, ...this.#agentId && { agentId: this.#agentId },
    });
    let page;
    try {
      page = await this.#gateway.ask("GET", `/api/calls?${query}`);
    } catch (error) {
      $("no-calls").hidden = false;
      $("no-calls").textContent = error.message;
      return;
    }
    if (asked !== this.#asked) return;
    this.#calls = [...before, ...page.calls];
    this.#cursor = page.nextCursor;
    this.#offerAgents();
    this.#draw();
  }

  /** Those who have been in a call that was listed may be asked for. */
  #offerAgents() {
    const offered = new Set([...$("by-agent").options].map(({ value }) => value));
    for (const { agentId, agentName } of this.#calls) {
      if (offered.has(agentId)) continue;
      offered.add(agentId);
      $("by-agent").append(new Option(`${agentName} · …${agentId.slice(-4)}`, agentId));
    }
  }

  #draw() {
    const words = $("by-words").value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = this.#calls.filter((call) => {
      const text = wordsOf(call).join(" ").toLowerCase();
      return words.every((word) => text.includes(word));
    });
    $("no-calls").hidden = shown.length > 0;
    $("no-calls").textContent = this.#calls.length ? "None of these calls fits." : "No call has ended yet.";
    $("older").hidden = !this.#cursor;
    const focused = document.activeElement?.dataset.call;
    $("calls").replaceChildren(...shown.map((call) => this.#entry(call)));
    if (focused) $("calls").querySelector(`[data-call="${CSS.escape(focused)}"]`)?.focus();
  }

  #entry(call) {
    const [name, room, when, duration, reason] = wordsOf(call);
    const isCurrent = call.id === this.#current;
    return el("li", {}, el("button", {
      type: "button", class: "entry", "data-call": call.id, "aria-current": isCurrent ? "true" : null,
      click: () => this.#onOpen(call.id),
    },
    el("span", { class: "line" }, el("b", {}, name), el("span", { class: "soft" }, when)),
    el("span", { class: "line soft" }, el("span", {}, room), el("span", {}, `${duration} · ${reason}`))));
  }
}

/** What a list shows of a call. */
function wordsOf({ agentName, roomUrl, startedAt, durationMs, reason }) {
  return [agentName || "Agent", roomName(roomUrl), moment(startedAt), length(durationMs), reason];
}
