// The console: asks for the key, shows the agents as they live, and the call that is chosen.
import { Archive } from "./archive.js";
import { LiveCall, archivedCall } from "./call.js";
import { $, clock, el, moment, roomName, soon } from "./dom.js";
import { Gateway } from "./gateway.js";
import { showStages } from "./stages.js";
import { Talk } from "./talk.js";
import { CallView } from "./view.js";

/** Agents that are shown at most. */
const AGENTS_MAX = 500;
/** How soon lists are read anew after something has happened, and how often all the same. */
const RELOAD_MS = 400;
const REFRESH_MS = 20_000;
const STAGES_MS = 5000;
/** How long the archive may take to have a call that has ended. */
const ARCHIVED_MS = 300;

const STATES = { out: "Not signed in", live: "Live", away: "Connection lost. Reconnecting …", refused: "The key is refused" };

class Console {
  #gateway;
  #view;
  #archive;
  #talk;
  #feed;
  #timers;
  /** Agents by id, each with its live `call` or null. */
  #agents = new Map();
  /** How far this machine's clock is ahead of the gateway's, in milliseconds. */
  #ahead = null;
  #reloadSoon = soon(() => this.#reload(), RELOAD_MS);

  constructor(gateway) {
    this.#gateway = gateway;
    const now = () => Date.now() - (this.#ahead ?? 0);
    this.#view = new CallView(gateway, now);
    this.#archive = new Archive(gateway, (id) => this.#open(id));
    this.#talk = new Talk(gateway, say);
    this.#feed = gateway.follow({ event: (told) => this.#take(told), state: (state) => this.#onFeed(state) });
    this.#timers = [
      setInterval(() => this.#tick(), 1000),
      setInterval(() => this.#reload(), REFRESH_MS),
      setInterval(() => $("panel-stages").hidden || showStages(gateway), STAGES_MS),
    ];
    $("try").onsubmit = (event) => {
      event.preventDefault();
      this.#try(event.submitter?.id === "create");
    };
    $("erase").onclick = () => $("erase-dialog").showModal();
    $("erase-dialog").onclose = () => $("erase-dialog").returnValue === "erase" && this.#erase();
    this.#view.show(null);
    this.#archive.reload();
  }

  close() {
    this.#talk.hangUp();
    this.#feed.close();
    this.#timers.forEach(clearInterval);
    this.#view.show(null);
  }

  openTab(name) {
    for (const tab of ["calls", "try", "stages"]) {
      $(`panel-${tab}`).hidden = tab !== name;
      if (tab === name) $(`tab-${tab}`).setAttribute("aria-current", "page");
      else $(`tab-${tab}`).removeAttribute("aria-current");
    }
    if (name === "stages") showStages(this.#gateway);
  }

  // -------------------------------------------------------------- the feed

  #onFeed(state) {
    show(state);
    if (state === "live") {
      this.#reload();
      this.#archive.reload();
    }
    if (state === "refused") leave("This key is no longer valid.");
  }

  #take({ agentId, event }) {
    const behind = Date.now() - Date.parse(event.timestamp);
    this.#ahead = Math.min(this.#ahead ?? Infinity, behind);
    const agent = this.#agents.get(agentId);
    if (!agent) {
      this.#reloadSoon();
      return;
    }
    switch (event.type) {
      case "status": agent.activity = event.status; break;
      case "state":
        agent.state = event.to;
        if (event.to === "ended") this.#agents.delete(agentId);
        break;
      case "room_joined": this.#begin(agent, event); break;
      case "room_left": this.#end(agent, event); break;
      default:
    }
    if (agent.live?.take(event) && agent.live === this.#view.call) this.#view.refresh();
    this.#drawAgents();
  }

  #begin(agent, { callId, roomUrl, participants, timestamp }) {
    const live = new LiveCall();
    live.begin({ id: callId, agentId: agent.id, agentName: agent.name, roomUrl }, Date.parse(timestamp));
    for (const { id, name } of participants) live.people.set(id, name);
    agent.live = live;
    announce(`${agent.name} came into ${roomName(roomUrl)}.`);
    const shown = this.#view.call;
    if (!shown || this.#talk.isOn) this.#show(live);
  }

  /** What has ended is drawn from the archive, which knows it better. */
  #end(agent, { callId, reason, timestamp }) {
    const { live } = agent;
    agent.live = null;
    announce(`${agent.name} left ${live ? roomName(live.roomUrl) : "its room"}: ${reason}.`);
    live?.end(timestamp, reason);
    if (live && live === this.#view.call) this.#view.refresh();
    setTimeout(() => {
      this.#archive.reload();
      if (this.#view.call?.id === callId) this.#open(callId, { isQuiet: true });
    }, ARCHIVED_MS);
  }

  async #reload() {
    let listed;
    try {
      listed = await this.#gateway.all("/api/agents", "agents", AGENTS_MAX);
    } catch {
      return; // The feed tells that the gateway is away.
    }
    const before = this.#agents;
    this.#agents = new Map(listed.map((agent) => [agent.id, { ...agent, live: this.#liveOf(agent, before) }]));
    const shown = this.#view.call;
    if (!shown) {
      const busy = [...this.#agents.values()].find(({ live }) => live);
      if (busy) this.#show(busy.live);
    }
    this.#drawAgents();
  }

  #liveOf(agent, before) {
    const known = before.get(agent.id)?.live ?? null;
    if (agent.call?.stage !== "in_call") return null;
    if (known?.id === agent.call.id) return known;
    return LiveCall.of(agent, Date.now() - (this.#ahead ?? 0));
  }

  // -------------------------------------------------------------- agents

  #drawAgents() {
    const agents = [...this.#agents.values()];
    $("no-agents").hidden = agents.length > 0;
    const focused = document.activeElement?.dataset.focus;
    $("agents").replaceChildren(...agents.map((agent) => this.#row(agent)));
    if (focused) $("agents").querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
    this.#tick();
  }

  #row(agent) {
    const { id, name, activity, state, live, metadata, createdAt } = agent;
    const isSpeaking = live?.heard.some(({ to }) => to === null);
    const doing = isSpeaking ? "speaking" : activity === "idle" && live ? "listening" : activity;
    const place = live ? `in ${roomName(live.roomUrl)}` : state;
    const since = live ? new Date(live.startedAt).toISOString() : createdAt;
    const isCurrent = live && live === this.#view.call;
    const text = [
      el("span", { class: "line" }, el("span", { class: `dot ${live ? doing : state}`, "aria-hidden": "true" }),
        el("b", {}, name), el("span", { class: "doing" }, doing)),
      el("span", { class: "line soft" }, el("span", {}, place),
        el("span", { "data-since": live ? since : null }, live ? "" : `since ${moment(since)}`)),
    ];
    const canTalk = metadata.voice?.enabled && !agent.call && !live && !this.#talk.isOn;
    return el("li", { class: "agent-row" },
      live
        ? el("button", { type: "button", class: "entry", "data-focus": id, "aria-current": isCurrent ? "true" : null, click: () => this.#show(live) }, ...text)
        : el("div", { class: "entry" }, ...text),
      canTalk
        ? el("button", { type: "button", class: "quiet", "data-focus": `talk-${id}`, "aria-label": `Talk to ${name}`, click: () => this.#talkTo(agent, false) }, "Talk")
        : null);
  }

  #tick() {
    const now = Date.now() - (this.#ahead ?? 0);
    for (const one of document.querySelectorAll("#agents [data-since]")) {
      one.textContent = clock(now - Date.parse(one.dataset.since));
    }
  }

  // -------------------------------------------------------------- calls

  #show(call) {
    this.openTab("calls");
    this.#view.show(call);
    this.#archive.mark(call?.isLive ? null : call?.id);
    this.#drawAgents();
  }

  async #open(id, { isQuiet = false } = {}) {
    try {
      const call = archivedCall(await this.#gateway.ask("GET", `/api/calls/${encodeURIComponent(id)}`));
      this.#show(call);
      if (!isQuiet) $("call").scrollIntoView({ block: "nearest" });
    } catch (error) {
      if (!isQuiet) say(error.message);
    }
  }

  async #erase() {
    const { id } = this.#view.call;
    try {
      await this.#gateway.ask("DELETE", `/api/calls/${encodeURIComponent(id)}`);
    } catch (error) {
      say(error.message);
      return;
    }
    this.#archive.forget(id);
    this.#view.show(null);
    announce("The call is erased.");
  }

  // -------------------------------------------------------------- trying

  async #try(isOnlyMade) {
    say("");
    const fields = {
      name: $("agent-name").value.trim(), instructions: $("agent-instructions").value.trim(),
      greeting: $("agent-greeting").value.trim(), hasVoice: $("agent-voice").checked, isTrial: !isOnlyMade,
    };
    if (!isOnlyMade && !fields.hasVoice) {
      say("An agent without a voice cannot be talked to.");
      return;
    }
    for (const id of ["create", "create-and-talk"]) $(id).disabled = true;
    try {
      const agent = await this.#talk.make(fields);
      await this.#reload();
      announce(`${agent.name} was created.`);
      if (!isOnlyMade) await this.#talkTo(agent, true);
    } catch (error) {
      say(error.message);
    } finally {
      for (const id of ["create", "create-and-talk"]) $(id).disabled = false;
    }
  }

  async #talkTo(agent, isTrial) {
    say("");
    this.openTab("calls");
    await this.#talk.start(agent, { isTrial });
    this.#reloadSoon();
  }
}

// ---------------------------------------------------------------- the door

let house = null;

async function enter(gateway) {
  say("");
  $("enter").disabled = true;
  try {
    await gateway.ask("GET", "/api/agents?limit=1");
  } catch (error) {
    if (error.status === 401) leave("This key is not known here. Check it, and try again.");
    else say(error.message);
    return;
  } finally {
    $("enter").disabled = false;
  }
  gateway.remember();
  $("key").value = "";
  $("door").hidden = true;
  for (const id of ["house", "tabs", "leave"]) $(id).hidden = false;
  house = new Console(gateway);
  house.openTab("calls");
}

function leave(message) {
  house?.close();
  house = null;
  Gateway.forget();
  for (const id of ["house", "tabs", "leave"]) $(id).hidden = true;
  $("door").hidden = false;
  show("out");
  say(message);
  $("key").focus();
}

function show(state) {
  $("state").dataset.state = state;
  $("state").textContent = STATES[state];
}

function say(text) {
  $("message").hidden = !text;
  $("message").textContent = text;
}

/** For those who do not see the page change. */
function announce(text) {
  const entry = el("p", {}, text);
  $("announced").append(entry);
  while ($("announced").children.length > 5) $("announced").firstChild.remove();
}

$("door").addEventListener("submit", (event) => {
  event.preventDefault();
  enter(new Gateway($("key").value.trim()));
});
$("leave").addEventListener("click", () => leave(""));
for (const tab of ["calls", "try", "stages"]) {
  $(`tab-${tab}`).addEventListener("click", () => house?.openTab(tab));
}
const remembered = Gateway.remembered();
if (remembered) enter(remembered);
