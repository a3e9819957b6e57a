// Talking to an agent: brings it into a room of its own, and the person at this page as well.
import { join } from "../callbridge.js";
import { $ } from "./dom.js";

/** How long a room, and an agent made to be tried, outlive a page that was closed. */
const TRIAL_SECONDS = 7200;

export class Talk {
  #gateway;
  #tell;
  #agent = null;
  #room = null;
  #client = null;
  #call = null;
  #isEnding = false;

  /** `tell` gets what went wrong, or an empty text. */
  constructor(gateway, tell) {
    this.#gateway = gateway;
    this.#tell = tell;
    $("mute").onclick = () => this.#call?.mute(!this.#call.isMuted);
    $("hang-up").onclick = () => this.hangUp();
    $("unblock").onclick = () => this.#call?.playSound().catch((error) => this.#tell(error.message));
  }

  get isOn() {
    return this.#agent !== null;
  }

  /** Makes an agent from the fields of the form; gives it as REST does. */
  make({ name, instructions, greeting, hasVoice, isTrial }) {
    return this.#gateway.ask("POST", "/api/agents", {
      name,
      agentType: "HUMA-0.1",
      ...isTrial && { ttlSeconds: TRIAL_SECONDS },
      metadata: {
        className: "Assistant",
        personality: "Friendly and brief.",
        instructions,
        tools: [],
        voice: { enabled: hasVoice },
        ...greeting && { model: { greeting } },
      },
    });
  }

  /** Calls the agent. One that `isTrial` ends with the call. */
  async start(agent, { isTrial }) {
    if (this.isOn) await this.hangUp();
    this.#agent = { ...agent, isTrial };
    this.#isEnding = false;
    this.#show("Calling …");
    try {
      this.#room = await this.#gateway.ask("POST", "/api/rooms", { ttlSeconds: TRIAL_SECONDS });
      const { name, token } = this.#room;
      this.#client = await this.#gateway.connect(agent.id, (event) => this.#onEvent(event));
      await this.#client.say({ type: "join-room", roomUrl: `rooms/${name}`, token });
      this.#call = await join(`${location.origin}/rooms/${name}`, { name: "You", token });
    } catch (error) {
      await this.hangUp();
      this.#tell(error.message);
      return;
    }
    this.#follow(this.#call);
    $("mute").focus();
  }

  #follow(call) {
    const words = { connected: "In the call", interrupted: "Connection interrupted …", reconnecting: "Reconnecting …" };
    call.on("state", ({ state }) => words[state] && this.#show(words[state]));
    call.on("muted", ({ isMuted }) => {
      $("mute").setAttribute("aria-pressed", String(isMuted));
      $("mute").textContent = isMuted ? "Muted" : "Mute";
    });
    call.on("level", ({ own, remote }) => {
      $("own").value = own;
      $("others").value = remote;
    });
    call.on("blocked", ({ isBlocked }) => { $("unblock").hidden = !isBlocked; });
    call.on("ended", ({ message }) => {
      this.hangUp();
      if (message) this.#tell(message);
    });
  }

  #onEvent(event) {
    const isOver = ["closed", "room_left"].includes(event.type);
    if (event.type === "error") this.#tell(event.message);
    if (isOver && this.#call) this.hangUp();
  }

  /** Ends the call and its room, and an agent that was made for it. */
  async hangUp() {
    if (!this.#agent || this.#isEnding) return;
    this.#isEnding = true;
    const [agent, room, client, call] = [this.#agent, this.#room, this.#client, this.#call];
    [this.#room, this.#client, this.#call] = [null, null, null];
    const hadFocus = $("talk").contains(document.activeElement);
    this.#show("Hanging up …");
    call?.leave();
    // What is gone already needs no end.
    const quietly = (work) => work?.catch(() => {});
    await quietly(client?.say({ type: "leave-room" }));
    client?.close();
    if (room) await quietly(this.#gateway.ask("DELETE", `/api/rooms/${encodeURIComponent(room.name)}`));
    if (agent.isTrial) await quietly(this.#gateway.ask("DELETE", `/api/agents/${encodeURIComponent(agent.id)}`));
    this.#agent = null;
    $("talk").hidden = true;
    $("unblock").hidden = true;
    if (hadFocus) $("tab-try").focus();
  }

  #show(state) {
    $("talk").hidden = false;
    $("talk-title").textContent = `You and ${this.#agent.name}`;
    $("talk-state").textContent = state;
  }
}
