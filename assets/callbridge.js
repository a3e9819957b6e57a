// A client for the rooms of callbridge, for any web page: `docs/embedding.md` tells how to use it.
//
//   import { join } from "https://call.example/assets/callbridge.js";
//   const call = await join("https://call.example/rooms/office", { name: "Ann", token });
//   call.on("caption", ({ name, text }) => console.log(`${name}: ${text}`));
//
// It enters by WHIP (RFC 9725), restarts ICE and then enters anew when the connection is lost, and
// reads the room's events. It needs nothing else and keeps nothing.

/** How long the browser may look for its own addresses before the offer goes out with those found. */
const GATHER_MS = 1000;
/** How long the sound may take to flow after the answer. */
const CONNECT_MS = 15_000;
/** How long an interrupted connection may heal by itself before ICE is restarted. */
const HEAL_MS = 1500;
/** How often the connection is looked at, and how long nothing at all may arrive: the gateway asks
 *  each second whether we are there, and gives up a silent caller after five. */
const LOOK_MS = 500;
const STALL_MS = 2000;
/** How long one try to come back may take. */
const TRY_MS = 5000;
/** The wait between two tries. */
const PAUSE_MS = 700;
/** How long a lost call is tried to be brought back before it is given up. */
const RECOVERY_MS = 40_000;
/** How long after a restart of ICE a goodbye means that it has failed at the far end. */
const DOUBT_MS = 10_000;
/** How long one request may take while the network is in doubt. */
const REQUEST_MS = 4000;
/** The shortest and the longest wait before the events of a room are asked for again. */
const FEED_PAUSE_MS = [500, 8000];
/** Refusals of the events in a row that mean no. One may be too early: the room has not seen us. */
const FEED_REFUSALS_MAX = 4;
/** How often the level of the sound is told, and the quality of the connection. */
const LEVEL_MS = 80;
const QUALITY_MS = 2000;

/** What went wrong: `code` for programs, `message` for people. */
export class CallError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "CallError";
    this.code = code;
  }
}

/** Enters a room with the microphone; resolves when the sound flows, or rejects with a CallError. */
export async function join(roomUrl, options = {}) {
  const call = new Call(roomAt(roomUrl, options.token), options);
  await call.begin();
  return call;
}

/** Reads the events of a room from outside: `people`, `agents`, `caption`, `speaking`, `closed`. */
export function watch(roomUrl, options = {}) {
  return new Watch(roomAt(roomUrl, options.token));
}

/** The microphones there are: `[{ id, label }]`; labels are empty until one has been allowed. */
export async function microphones() {
  const devices = await navigator.mediaDevices?.enumerateDevices() ?? [];
  return devices
    .filter(({ kind, deviceId }) => kind === "audioinput" && deviceId !== "default")
    .map(({ deviceId, label }) => ({ id: deviceId, label }));
}

// ---------------------------------------------------------------- events

/** Tells handlers what happens. What is a state is told to a new handler at once. */
class Emitter {
  #handlers = new Map();
  #latest = new Map();

  /** Calls `handler` at each event of a kind; gives a function that ends this. */
  on(kind, handler) {
    if (!this.#handlers.has(kind)) this.#handlers.set(kind, new Set());
    this.#handlers.get(kind).add(handler);
    if (this.#latest.has(kind)) handler(this.#latest.get(kind));
    return () => this.off(kind, handler);
  }

  off(kind, handler) {
    this.#handlers.get(kind)?.delete(handler);
  }

  /** Tells an event. A handler that fails does not keep it from the others. */
  emit(kind, event) {
    for (const handler of [...this.#handlers.get(kind) ?? []]) {
      try {
        handler(event);
      } catch (error) {
        reportError(error);
      }
    }
  }

  /** Tells a state, and keeps it for those who come later. */
  keep(kind, event) {
    this.#latest.set(kind, event);
    this.emit(kind, event);
  }
}

/** What the events of a room come to: who is in it, what the agents do, what is said. */
class Scene {
  #emitter;
  #people = [];
  #speaking = new Set();
  #names = new Map();
  #agents = new Map();
  #cut = new Set();
  /** The id under which others know this page. */
  ownId = null;

  constructor(emitter) {
    this.#emitter = emitter;
  }

  take(event) {
    switch (event.type) {
      case "participants": return this.#takePeople(event.participants);
      case "vad_start": return this.#takeSpeaking(event.participantId, true);
      case "vad_end": return this.#takeSpeaking(event.participantId, false);
      case "transcript": return this.#takeTranscript(event);
      case "status":
        this.#agent(event).status = event.status;
        return this.#tellAgents();
      case "speak":
        this.#agent(event);
        return this.#takeSpeech(event);
      case "speak-status": return this.#takeSpeakStatus(event);
      default: // What is newer than this client.
    }
  }

  /** Forgets who is there, but not what they are called. */
  clear() {
    this.#speaking.clear();
    this.#agents.clear();
    this.#takePeople([]);
    this.#tellAgents();
  }

  #takePeople(people) {
    this.#people = people;
    for (const { id, name } of people) this.#names.set(id, name || "Guest");
    const present = new Set(people.map(({ id }) => id));
    for (const id of this.#speaking) if (!present.has(id)) this.#speaking.delete(id);
    this.#tellPeople();
    const called = new Set(people.map(({ name }) => name));
    const gone = [...this.#agents].filter(([, { name }]) => !called.has(name));
    for (const [id] of gone) this.#agents.delete(id);
    if (gone.length) this.#tellAgents();
  }

  #takeSpeaking(participantId, isSpeaking) {
    if (isSpeaking) this.#speaking.add(participantId);
    else this.#speaking.delete(participantId);
    const name = this.#names.get(participantId) ?? "Guest";
    this.#emitter.emit("speaking", { participantId, name, isSpeaking });
    this.#tellPeople();
  }

  #takeTranscript({ participantId, utteranceId, text, isFinal }) {
    this.#emitter.emit("caption", {
      id: utteranceId, name: this.#names.get(participantId) ?? "Guest", participantId,
      agentId: null, isMe: participantId === this.ownId, text, isFinal, isCut: false,
    });
  }

  #takeSpeech({ agentId, agentName, speechId, text, isFinal }, isCut = false) {
    // Words that come after the cut were not heard.
    if (this.#cut.has(speechId) && !isCut) return;
    this.#emitter.emit("caption", {
      id: speechId, name: agentName || "Agent", participantId: null,
      agentId, isMe: false, text, isFinal, isCut,
    });
  }

  #takeSpeakStatus(event) {
    const agent = this.#agent(event);
    if (event.status === "started") {
      agent.speeches.add(event.speechId);
    } else {
      agent.speeches.delete(event.speechId);
    }
    if (event.status === "interrupted") {
      this.#cut.add(event.speechId);
      if (this.#cut.size > 50) this.#cut.delete(this.#cut.values().next().value);
      this.#takeSpeech({ ...event, isFinal: true }, true);
    }
    this.#tellAgents();
  }

  #agent({ agentId, agentName }) {
    const known = this.#agents.get(agentId) ?? { status: "idle", speeches: new Set() };
    known.name = agentName || "Agent";
    this.#agents.set(agentId, known);
    return known;
  }

  #tellPeople() {
    this.#emitter.keep("people", this.#people.map(({ id, name }) => ({
      id, name: name || "Guest", isMe: id === this.ownId, isSpeaking: this.#speaking.has(id),
    })));
  }

  #tellAgents() {
    const state = ({ status, speeches }) => {
      if (speeches.size) return "speaking";
      return { thinking: "thinking", acting: "acting" }[status] ?? "listening";
    };
    this.#emitter.keep("agents", [...this.#agents].map(
      ([id, agent]) => ({ id, name: agent.name, state: state(agent) }),
    ));
  }
}

/** The stream of a room's events, which comes back when it breaks, and ends when it is refused. */
class Feed {
  #abort = new AbortController();
  #room;
  #key;
  #take;
  #refused;

  /** `take` gets each event; `refused` gets the CallError that ends the stream. */
  constructor(room, key, take, refused) {
    this.#room = room;
    this.#key = key;
    this.#take = take;
    this.#refused = refused;
    this.#run();
  }

  close() {
    this.#abort.abort();
  }

  async #run() {
    const { signal } = this.#abort;
    let [pause, refusals] = [FEED_PAUSE_MS[0], 0];
    while (!signal.aborted) {
      try {
        const query = this.#key ? `?participant=${encodeURIComponent(this.#key)}` : "";
        const headers = this.#key ? {} : authorization(this.#room.token);
        const answer = await request(`${this.#room.url}/events${query}`, { signal, headers });
        [pause, refusals] = [FEED_PAUSE_MS[0], 0];
        await this.#read(answer.body);
      } catch (error) {
        if (signal.aborted) return;
        if (isFinal(error)) refusals += 1;
        if (error.code === "ROOM_CLOSED" || refusals >= FEED_REFUSALS_MAX) {
          this.#refused(error);
          return;
        }
      }
      await sleep(pause);
      pause = Math.min(2 * pause, FEED_PAUSE_MS[1]);
    }
  }

  async #read(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let unread = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done || this.#abort.signal.aborted) return;
      const blocks = (unread + value).split("\n\n");
      unread = blocks.pop();
      for (const block of blocks) {
        const lines = block.split("\n").filter((line) => line.startsWith("data:"));
        if (lines.length) this.#take(JSON.parse(lines.map((line) => line.slice(5)).join("\n")));
      }
    }
  }
}

/** A look at a room from outside. */
class Watch extends Emitter {
  #feed;

  constructor(room) {
    super();
    const scene = new Scene(this);
    const closed = ({ code, message }) => {
      scene.clear();
      this.keep("closed", { code, message });
    };
    this.#feed = new Feed(room, null, (event) => scene.take(event), closed);
  }

  close() {
    this.#feed.close();
  }
}

// ---------------------------------------------------------------- the call

/** One call in one room. */
class Call extends Emitter {
  #room;
  #options;
  #scene = new Scene(this);
  #feed = null;
  #microphone = null;
  #leg = null;
  #sound;
  #levels = null;
  #state = "joining";
  #muted = false;
  #recovering = false;
  #sureAt = 0;
  #timers = [];

  constructor(room, options) {
    super();
    this.#room = room;
    this.#options = options;
    this.#sound = options.audio ?? new Audio();
    this.#sound.autoplay = true;
    this.keep("muted", { isMuted: false });
    this.#become("joining");
  }

  get state() { return this.#state; }
  get isMuted() { return this.#muted; }

  /** The device that is listened to. */
  get microphone() {
    return this.#microphone?.getAudioTracks()[0]?.getSettings().deviceId ?? null;
  }

  /** Enters. To be called once, by `join`. */
  async begin() {
    addEventListener("pagehide", this.#onPageHide);
    this.#options.signal?.addEventListener("abort", this.#onPageHide);
    try {
      this.#options.signal?.throwIfAborted();
      this.#take(await openMicrophone(this.#options.microphone));
      await this.#enter();
      const isConnected = await this.#leg.connected(CONNECT_MS);
      if (this.#state === "ended") throw new CallError("LEFT", "");
      if (!isConnected) {
        const why = this.#leg.relayTrouble ?? "A firewall may be blocking UDP.";
        throw new CallError("MEDIA_FAILED", `The sound does not get through. ${why}`);
      }
    } catch (error) {
      const known = error instanceof CallError ? error : new CallError("FAILED", error.message);
      this.#end(known.code, known.message);
      throw known;
    }
    this.#timers.push(setInterval(() => this.#tellQuality(), QUALITY_MS));
    this.#timers.push(setInterval(() => this.#tellLevels(), LEVEL_MS));
  }

  /** Stops or lets through the sound of the microphone. */
  mute(isMuted = true) {
    this.#muted = isMuted;
    for (const track of this.#microphone?.getAudioTracks() ?? []) track.enabled = !isMuted;
    this.keep("muted", { isMuted });
  }

  /** Listens to another microphone; the one before stays if it cannot be had. */
  async setMicrophone(id) {
    const next = await openMicrophone(id);
    if (this.#state === "ended") return stop(next);
    const before = this.#microphone;
    this.#take(next);
    await this.#leg?.replace(next.getAudioTracks()[0]);
    stop(before);
  }

  /** Plays the sound where the browser wanted a click first (event `blocked`). */
  async playSound() {
    await this.#sound.play();
    this.#levels?.resume();
    this.keep("blocked", { isBlocked: false });
  }

  /** Hangs up. */
  leave() {
    this.#end("LEFT", "");
  }

  #onPageHide = () => this.leave();

  #become(state) {
    if (this.#state === "ended") return;
    this.#state = state;
    this.keep("state", { state });
  }

  #take(microphone) {
    if (this.#state === "ended") {
      stop(microphone);
      throw new CallError("LEFT", "");
    }
    this.#microphone = microphone;
    this.mute(this.#muted);
    const [track] = microphone.getAudioTracks();
    track.onended = () => this.#end("MICROPHONE_GONE", "The microphone has gone.");
    this.#levels ??= new Levels();
    this.#levels.listen("own", microphone);
  }

  /** Enters the room, for the first time or anew. */
  async #enter() {
    const leg = new Leg({
      isRelayOnly: Boolean(this.#options.relayOnly),
      changed: (state) => leg === this.#leg && this.#onConnection(state),
      heard: (stream) => leg === this.#leg && this.#play(stream),
    });
    this.#leg?.close();
    this.#leg = leg;
    this.#scene.ownId = null;
    await leg.enter(this.#room, this.#options.name ?? "", this.#microphone);
    if (this.#state === "ended") {
      leg.close();
      throw new CallError("LEFT", "");
    }
    this.#scene.ownId = leg.id;
    this.#follow(leg);
  }

  /** Reads the room's events as this leg may. */
  #follow(leg) {
    this.#feed?.close();
    this.#feed = new Feed(
      this.#room, leg.key, (event) => this.#scene.take(event),
      (error) => this.#onFeedRefused(leg, error),
    );
  }

  /** The room does not know this leg, or has gone itself: the sound says which. */
  #onFeedRefused(leg, { code, message }) {
    if (leg !== this.#leg || this.#recovering) return;
    if (leg.isConnected) this.#end(code, message);
    else this.#recover();
  }

  #play(stream) {
    this.#sound.srcObject = stream;
    this.#levels.listen("remote", stream);
    this.#sound.play().catch((error) => {
      if (error.name === "NotAllowedError") this.keep("blocked", { isBlocked: true });
    });
  }

  #onConnection(state) {
    if (state === "connected") {
      this.#become("connected");
    } else if (state === "goodbye" && this.#state === "connected" && Date.now() > this.#sureAt) {
      this.#end("ROOM_CLOSED", "The room was closed, or has put you out.");
    } else if (this.#state !== "joining" && !this.#recovering) {
      this.#become("interrupted");
      const leg = this.#leg;
      const wait = state === "disconnected" ? HEAL_MS : 0;
      setTimeout(() => leg === this.#leg && !leg.isConnected && this.#recover(), wait);
    }
  }

  /** Brings a lost call back: by a restart of ICE, and by a new offer if our place is gone. */
  async #recover() {
    if (this.#recovering || this.#state === "ended") return;
    this.#recovering = true;
    this.#become("reconnecting");
    const end = Date.now() + RECOVERY_MS;
    let isLost = false;
    while (this.#state !== "ended" && !this.#leg.isConnected) {
      if (Date.now() > end) {
        this.#end("CONNECTION_LOST", "The connection was lost.");
        break;
      }
      try {
        if (isLost) await this.#enter();
        else await this.#restart();
        isLost = !await this.#leg.connected(TRY_MS);
        // The stream of events may hang for long after what the network has been through.
        if (!isLost) this.#follow(this.#leg);
      } catch (error) {
        if (isLost && isFinal(error)) this.#end(error.code, error.message);
        // A network that is away says nothing of our place in the room.
        if (error.code !== "NETWORK") isLost = true;
        await sleep(PAUSE_MS);
      }
    }
    this.#recovering = false;
  }

  async #restart() {
    await this.#leg.restart();
    this.#sureAt = Date.now() + DOUBT_MS;
  }

  #tellLevels() {
    this.emit("level", this.#levels.read());
  }

  async #tellQuality() {
    const figures = await this.#leg?.figures().catch(() => null);
    if (this.#state === "ended" || !figures) return;
    this.keep("quality", { quality: this.#state === "connected" ? grade(figures) : "none", ...figures });
  }

  #end(code, message) {
    if (this.#state === "ended") return;
    this.#state = "ended";
    removeEventListener("pagehide", this.#onPageHide);
    this.#options.signal?.removeEventListener("abort", this.#onPageHide);
    this.#timers.forEach(clearInterval);
    this.#feed?.close();
    this.#leg?.close();
    this.#levels?.close();
    stop(this.#microphone);
    this.#sound.srcObject = null;
    this.#scene.clear();
    this.keep("state", { state: "ended", code, message });
    this.keep("ended", { code, message });
  }
}

/** One way in and out of the room: a peer connection and its resource of WHIP. */
class Leg {
  #peer;
  #room = null;
  #resource = null;
  #etag = "*";
  #counted = { lost: 0, received: 0 };
  #changed;
  #isClosed = false;
  #isDismissed = false;
  #isStalled = false;
  #look = 0;
  #waiters = new Set();
  id = null;
  /** What a TURN server had against us, as a sentence; null if nothing. */
  relayTrouble = null;

  /** `changed` gets `connected`, `disconnected`, `stalled`, `failed` or `goodbye`; `heard` gets the
   *  sound. */
  constructor({ isRelayOnly, changed, heard }) {
    this.#changed = changed;
    this.#peer = new RTCPeerConnection({ iceTransportPolicy: isRelayOnly ? "relay" : "all" });
    this.#peer.onicecandidateerror = ({ url, errorCode, errorText }) => {
      if (!url?.startsWith("turn")) return;
      const reason = `${errorCode} ${errorText.replace(/\.$/, "")}`;
      const trouble = errorCode === 701 ? "does not answer" : `refuses us: ${reason}`;
      this.relayTrouble = `The relay ${url} ${trouble}.`;
    };
    this.#peer.ontrack = ({ track, streams }) => heard(streams[0] ?? new MediaStream([track]));
    this.#peer.onconnectionstatechange = () => this.#onState(this.#peer.connectionState);
  }

  get isConnected() {
    const isOver = this.#isClosed || this.#isDismissed;
    return !isOver && !this.#isStalled && this.#peer.connectionState === "connected";
  }

  /** The end of the resource: what proves that this page is in the room. */
  get key() { return this.#resource?.split("/").pop() ?? null; }

  async enter(room, name, microphone) {
    this.#room = room;
    const peer = this.#peer;
    await this.#learnServers();
    for (const track of microphone.getAudioTracks()) peer.addTrack(track, microphone);
    await peer.setLocalDescription(await peer.createOffer());
    await this.#gathered();
    const answer = await request(`${room.url}/whip?name=${encodeURIComponent(name)}`, {
      method: "POST",
      headers: { "Content-Type": "application/sdp", ...authorization(room.token) },
      body: peer.localDescription.sdp,
    });
    this.#resource = new URL(answer.headers.get("Location"), answer.url).href;
    this.id = answer.headers.get("Participant-Id");
    this.#etag = answer.headers.get("ETag") ?? "*";
    if (this.#isClosed) return this.#hangUp();
    // Addresses found after the offer went out follow it one by one; losing one is no harm.
    peer.onicecandidate = ({ candidate }) => {
      if (candidate?.candidate && peer.signalingState === "stable") {
        this.#patch(fragment(peer.localDescription.sdp, [candidate]), this.#etag).catch(() => {});
      }
    };
    await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
    this.#look = setInterval(this.#watchArrivals(), LOOK_MS);
    // A far end that says goodbye closes DTLS; one that is merely out of reach cannot.
    const { transport } = peer.getSenders()[0];
    transport.addEventListener("statechange", () => {
      if (transport.state !== "closed" || this.#isClosed) return;
      this.#isDismissed = true;
      this.#onState("goodbye");
    });
  }

  /** Looks for a new way to the same place in the room (RFC 9725, section 4.3.3). */
  async restart() {
    const peer = this.#peer;
    if (this.#isClosed || this.#isDismissed || !this.#resource) {
      throw new CallError("ROOM_NOT_FOUND", "The place in the room is gone.");
    }
    // Passwords of TURN servers end after a while.
    if (peer.getConfiguration().iceServers.length) await this.#learnServers();
    const before = peer.remoteDescription.sdp;
    await peer.setLocalDescription(await peer.createOffer({ iceRestart: true }));
    try {
      await this.#gathered();
      const offer = fragment(peer.localDescription.sdp);
      const answer = await this.#patch(offer, "*");
      if (answer.status !== 200) throw new CallError("MEDIA_FAILED", "ICE was not restarted.");
      this.#etag = answer.headers.get("ETag") ?? "*";
      const sdp = restarted(before, await answer.text());
      await peer.setRemoteDescription({ type: "answer", sdp });
    } catch (error) {
      if (peer.signalingState === "have-local-offer") {
        await peer.setLocalDescription({ type: "rollback" });
      }
      throw error;
    }
  }

  /** Whether the connection is there within so long. */
  connected(limitMs) {
    if (this.isConnected) return Promise.resolve(true);
    return new Promise((resolve) => {
      const settle = () => {
        clearTimeout(timer);
        this.#waiters.delete(settle);
        resolve(this.isConnected);
      };
      const timer = setTimeout(settle, limitMs);
      this.#waiters.add(settle);
    });
  }

  replace(track) {
    return this.#peer.getSenders()[0].replaceTrack(track);
  }

  /** How the connection is: `{ roundTripMs, jitterMs, lossPercent }`, null where unknown. */
  async figures() {
    const figures = { roundTripMs: null, jitterMs: null, lossPercent: null };
    let [lost, received, lostThere] = [0, 0, null];
    for (const one of (await this.#peer.getStats()).values()) {
      if (one.type === "candidate-pair" && one.nominated && one.currentRoundTripTime != null) {
        figures.roundTripMs = Math.round(one.currentRoundTripTime * 1000);
      } else if (one.type === "inbound-rtp") {
        [lost, received] = [one.packetsLost ?? 0, one.packetsReceived ?? 0];
        if (one.jitter != null) figures.jitterMs = Math.round(one.jitter * 1000);
      } else if (one.type === "remote-inbound-rtp") {
        lostThere = one.fractionLost ?? null;
      }
    }
    const newLost = Math.max(0, lost - this.#counted.lost);
    const newReceived = Math.max(0, received - this.#counted.received);
    this.#counted = { lost, received };
    const shares = [lostThere, newLost + newReceived ? newLost / (newLost + newReceived) : null];
    const known = shares.filter((share) => share != null);
    if (known.length) figures.lossPercent = Math.round(Math.max(...known) * 1000) / 10;
    return figures;
  }

  close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#look);
    this.#peer.onconnectionstatechange = null;
    this.#peer.close();
    for (const settle of [...this.#waiters]) settle();
    this.#hangUp();
  }

  /** Notices a dead network seconds before the browser does, where it counts what arrives. */
  #watchArrivals() {
    let [arrived, since] = [0, Date.now()];
    return async () => {
      const pairs = [...(await this.#peer.getStats()).values()].filter(
        ({ type, requestsReceived }) => type === "candidate-pair" && requestsReceived != null,
      );
      const count = pairs.reduce((sum, one) => (
        sum + one.requestsReceived + (one.responsesReceived ?? 0) + (one.packetsReceived ?? 0)
      ), 0);
      if (this.#isClosed || !pairs.length) return;
      const [isMoving, wasStalled] = [count !== arrived, this.#isStalled];
      if (isMoving) [arrived, since] = [count, Date.now()];
      this.#isStalled = Date.now() - since > STALL_MS;
      if (this.#peer.connectionState !== "connected" || this.#isStalled === wasStalled) return;
      this.#onState(this.#isStalled ? "stalled" : "connected");
    };
  }

  /** Asks which STUN and TURN servers there are: the offer is made with what they tell. */
  async #learnServers() {
    const headers = authorization(this.#room.token);
    const answer = await request(`${this.#room.url}/whip`, { method: "OPTIONS", headers });
    const iceServers = iceServersOf(answer.headers.get("Link") ?? "");
    this.#peer.setConfiguration({ ...this.#peer.getConfiguration(), iceServers });
  }

  #hangUp() {
    if (!this.#resource) return;
    // keepalive: it is also sent when the page is being closed.
    fetch(this.#resource, { method: "DELETE", keepalive: true }).catch(() => {});
  }

  #onState(state) {
    if (this.#isClosed) return;
    if (state === "connecting" || (state === "connected" && this.#isStalled)) return;
    this.#changed(state);
    if (["disconnected", "stalled"].includes(state)) return;
    for (const settle of [...this.#waiters]) settle();
  }

  #patch(body, ifMatch) {
    return request(this.#resource, {
      method: "PATCH",
      headers: { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": ifMatch },
      body,
    });
  }

  /** Resolves when the browser has found its addresses, or has looked for long enough. */
  #gathered() {
    const peer = this.#peer;
    if (peer.iceGatheringState === "complete") return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, GATHER_MS);
      peer.addEventListener("icegatheringstatechange", () => {
        if (peer.iceGatheringState !== "complete") return;
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

// ---------------------------------------------------------------- sound

/** How loud the two directions are. */
class Levels {
  #context = new AudioContext();
  #meters = new Map();

  listen(which, stream) {
    this.resume();
    this.#meters.get(which)?.source.disconnect();
    const analyser = this.#context.createAnalyser();
    analyser.fftSize = 2048;
    const source = this.#context.createMediaStreamSource(stream);
    source.connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    this.#meters.set(which, { source, analyser, samples });
  }

  /** `{ own, remote }`, from 0 for silence to 1 for as loud as it gets. */
  read() {
    return { own: this.#level("own"), remote: this.#level("remote") };
  }

  resume() {
    this.#context.resume().catch(() => {});
  }

  close() {
    this.#context.close().catch(() => {});
  }

  #level(which) {
    const meter = this.#meters.get(which);
    if (!meter) return 0;
    meter.analyser.getFloatTimeDomainData(meter.samples);
    const power = meter.samples.reduce((sum, one) => sum + one * one, 0) / meter.samples.length;
    const decibels = 10 * Math.log10(power + 1e-10);
    return Math.min(1, Math.max(0, (decibels + 60) / 50));
  }
}

/** Opens a microphone; its errors say what the person can do. */
async function openMicrophone(id) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new CallError(
      "MICROPHONE_UNAVAILABLE", "This browser gives the microphone only to pages on https:// or on localhost.",
    );
  }
  const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
  if (id) audio.deviceId = { exact: id };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    const [code, message] = {
      NotAllowedError: ["MICROPHONE_REFUSED", "The microphone is not allowed. Allow it for this page, then join again."],
      NotFoundError: ["MICROPHONE_MISSING", "No microphone was found. Plug one in, then join again."],
      OverconstrainedError: ["MICROPHONE_MISSING", "This microphone is not there. Choose another one."],
      NotReadableError: ["MICROPHONE_BUSY", "The microphone is in use by another program."],
    }[error.name] ?? ["MICROPHONE_UNAVAILABLE", `The microphone cannot be used (${error.name}).`];
    throw new CallError(code, message);
  }
}

function stop(stream) {
  for (const track of stream?.getTracks() ?? []) {
    track.onended = null;
    track.stop();
  }
}

/** A word for figures of a connection. */
function grade({ roundTripMs, lossPercent }) {
  const [roundTrip, loss] = [roundTripMs ?? 0, lossPercent ?? 0];
  if (roundTripMs == null && lossPercent == null) return "unknown";
  if (roundTrip < 250 && loss < 2) return "good";
  return roundTrip < 600 && loss < 8 ? "fair" : "poor";
}

// ---------------------------------------------------------------- HTTP and SDP

/** A room by its URL, whose token may be given or stand behind the #, which no server ever sees. */
function roomAt(roomUrl, token) {
  const url = new URL(roomUrl, location.href);
  const fromLink = new URLSearchParams(url.hash.slice(1)).get("token");
  return { url: url.origin + url.pathname.replace(/\/$/, ""), token: token || fromLink || "" };
}

function authorization(token) {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** The servers that `Link` headers recommend for ICE (RFC 9725, section 4.6; RFC 8288, section 3). */
function iceServersOf(links) {
  const parameter = /;\s*([\w-]+)\s*=\s*(?:"([^"]*)"|([^\s",;]*))\s*/g;
  const link = new RegExp(`<([^>]*)>\\s*((?:${parameter.source})*)`, "g");
  return [...links.matchAll(link)].flatMap(([, urls, parameters]) => {
    const pairs = [...parameters.matchAll(parameter)].map(
      ([, name, quoted, bare]) => [name.toLowerCase(), quoted ?? bare],
    );
    const { rel = "", username, credential } = Object.fromEntries(pairs);
    return rel.split(/\s+/).includes("ice-server") ? [{ urls, username, credential }] : [];
  });
}

/** A request whose failure is a CallError: `NETWORK`, or the code of the gateway. */
async function request(url, options) {
  const isStream = Boolean(options.signal);
  let answer;
  try {
    answer = await fetch(url, { signal: AbortSignal.timeout(REQUEST_MS), ...options });
  } catch (error) {
    if (isStream && options.signal.aborted) throw error;
    throw new CallError("NETWORK", "The server does not answer.");
  }
  if (answer.ok) return answer;
  const { code, message } = await answer.json().catch(() => ({}));
  const told = {
    ROOM_UNAUTHORIZED: "The room's token is missing, wrong or out of date.",
    ROOM_FULL: "The room is full. Try again later.",
    ROOM_NOT_FOUND: "There is no such room, or it was closed.",
    ROOM_CLOSED: "The room was closed.",
    CAPACITY: "The gateway is busy. Try again later.",
  }[code];
  throw new CallError(code ?? "FAILED", told ?? `The room refused the call: ${message ?? answer.status}`);
}

/** Whether a room has said no, rather than been out of reach or too busy. */
function isFinal({ code }) {
  return ["ROOM_UNAUTHORIZED", "ROOM_NOT_FOUND", "ROOM_CLOSED", "MEDIA_FAILED"].includes(code);
}

/** What of a description a PATCH carries (RFC 8840): credentials, and all or these candidates. */
function fragment(sdp, candidates) {
  const lines = sdp.split(/\r?\n/);
  const first = (start) => lines.find((line) => line.startsWith(start));
  const found = candidates?.map(({ candidate }) => `a=${candidate}`)
    ?? lines.filter((line) => line.startsWith("a=candidate:"));
  const head = ["a=ice-ufrag:", "a=ice-pwd:", "m=audio", "a=mid:"].map(first);
  return [...head, ...found, ""].filter((line) => line !== undefined).join("\r\n");
}

/** The far end's description with the credentials and candidates of its restart. */
function restarted(sdp, fragment) {
  const isIce = (line) => /^a=(ice-ufrag|ice-pwd|candidate|end-of-candidates)/.test(line);
  const fresh = fragment.split(/\r?\n/).filter(isIce);
  const kept = sdp.split(/\r?\n/).filter((line) => line && !isIce(line));
  const at = kept.findIndex((line) => line.startsWith("m=")) + 1;
  const behindConnection = kept[at]?.startsWith("c=") ? at + 1 : at;
  kept.splice(behindConnection, 0, ...fresh);
  return `${kept.join("\r\n")}\r\n`;
}

function sleep(ms) {
  return new Promise((resolve) => { setTimeout(resolve, ms); });
}
