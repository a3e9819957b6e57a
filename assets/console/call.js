// One call as it is drawn: from the feed while it goes on, from the archive when it is over.
//
// Times are milliseconds of the call. A span that goes on has no end yet.

/** What is kept of a live call, of each kind; the archive has the rest. */
const KEPT_MAX = 2000;

/** A call, however it is known: the timeline, the waterfall and the text are drawn from this. */
export class Call {
  id = "";
  agentId = "";
  agentName = "";
  roomUrl = "";
  /** When it began, in milliseconds since the epoch. */
  startedAt = 0;
  /** When this console began to watch it. */
  watchedFrom = 0;
  /** Null while it goes on. */
  endedMs = null;
  reason = "";
  isLive = false;
  isIncomplete = false;
  /** Names by participant id, in the order of coming. */
  people = new Map();
  /** `{ id, who, from, to }`: a participant's speech as it was detected. */
  speech = [];
  /** `{ id, who, at, text, isFinal, isCut, unheard }`; `who` is null for the agent. */
  lines = [];
  /** `{ id, from, to, isCut }`: the agent's speech as it was heard. */
  heard = [];
  /** `{ id, from, to }`: the agent thinks. */
  thinking = [];
  /** `{ id, name, input, output, outcome, from, to }` */
  tools = [];
  /** `{ id, who, at, endOfTurn, model, gateway, total, isCut, isRough }`, times in milliseconds. */
  turns = [];
  /** `{ at, text }`: what else happened. */
  marks = [];

  nameOf(who) {
    return who === null ? this.agentName : this.people.get(who) || "Guest";
  }

  /** The end of all that is known. */
  get knownMs() {
    const ends = [this.speech, this.heard, this.thinking, this.tools].flatMap(
      (spans) => spans.slice(-3).map(({ from, to }) => to ?? from),
    );
    const points = [this.lines, this.marks].flatMap((all) => all.slice(-3).map(({ at }) => at));
    return Math.max(this.endedMs ?? 0, ...ends, ...points, 0);
  }
}

// ---------------------------------------------------------------- from the archive

/** A call that has ended, from what `GET /api/calls/:id` says. */
export function archivedCall(told) {
  const call = new Call();
  Object.assign(call, {
    id: told.id, agentId: told.agentId, agentName: told.agentName, roomUrl: told.roomUrl,
    startedAt: Date.parse(told.startedAt), endedMs: told.durationMs, reason: told.reason,
    isIncomplete: Boolean(told.incomplete), recorded: told.recorded,
  });
  for (const { id, name } of told.participants) call.people.set(id, name);
  call.lines = told.transcript.map(({ atMs, participantId, speaker, text }, index) => ({
    id: `line${index}`, who: speaker === "agent" ? null : participantId, at: atMs, text,
    isFinal: true, isCut: false, unheard: "",
  }));
  told.turns.forEach((turn, index) => takeTurn(call, turn, index));
  call.tools = told.toolCalls.map((tool) => ({
    id: tool.toolCallId, name: tool.toolName, input: JSON.stringify(tool.arguments),
    output: tool.output, outcome: tool.outcome, from: tool.askedMs, to: tool.askedMs + tool.tookMs,
  }));
  call.marks = told.handoffs.map(({ atMs, reason }) => ({ at: atMs, text: `Handed off: ${reason}` }));
  return call;
}

function takeTurn(call, turn, index) {
  const { participantId: who, speechStartMs, speechEndMs, firstAudioMs, lastAudioMs } = turn;
  if (who && speechStartMs !== null && speechEndMs !== null) {
    call.speech.push({ id: `speech${index}`, who, from: speechStartMs, to: speechEndMs });
  }
  const asked = turn.turnEndMs ?? turn.answerMs;
  if (asked !== null && firstAudioMs !== null && firstAudioMs > asked) {
    call.thinking.push({ id: `thinking${index}`, from: asked, to: firstAudioMs });
  }
  if (firstAudioMs !== null) {
    const to = Math.max(lastAudioMs ?? 0, firstAudioMs + turn.heardMs);
    call.heard.push({ id: `heard${index}`, from: firstAudioMs, to, isCut: turn.interrupted });
    const said = call.lines.findLast(({ who: by, at }) => by === null && at <= to && at >= firstAudioMs - 500);
    if (said) said.isCut = turn.interrupted;
  }
  if (turn.latency) call.turns.push(latencyOf(turn, index));
}

/** What a caller has waited for. What is neither the turn's end nor the model's is the gateway's. */
function latencyOf({ participantId, speechEndMs, interrupted, latency }, index) {
  const { totalMs, endOfTurnMs, modelMs, endOfTurnBy, gatewayUs } = latency;
  const ours = [gatewayUs?.uplink, gatewayUs?.downlink].filter((one) => one != null);
  return {
    id: `turn${index}`, who: participantId, at: speechEndMs, total: totalMs,
    endOfTurn: endOfTurnMs ?? 0, model: modelMs ?? 0,
    gateway: Math.max(0, totalMs - (endOfTurnMs ?? 0) - (modelMs ?? 0)),
    ownMs: ours.length ? ours.reduce((sum, one) => sum + one, 0) / 1000 : null,
    by: endOfTurnBy ?? null, isCut: interrupted, isRough: false,
  };
}

// ---------------------------------------------------------------- from the feed

/** A call that goes on, from the events of its agent. */
export class LiveCall extends Call {
  isLive = true;
  /** Which participant spoke from when, until their words come. */
  #spoke = new Map();
  /** The turn whose answer has not begun. */
  #open = null;
  /** When the last speech of a participant ended. */
  #lastEnd = null;
  #count = 0;

  /** A call that the agent is in, as `GET /api/agents` shows it. */
  static of({ id, name, call }, now) {
    const live = new LiveCall();
    live.begin({ id: call.id, agentId: id, agentName: name, roomUrl: call.roomUrl }, Date.parse(call.since));
    live.watchedFrom = Math.max(0, now - live.startedAt);
    for (const one of call.participants) live.people.set(one.id, one.name);
    return live;
  }

  begin(known, startedAt) {
    Object.assign(this, known, { startedAt });
  }

  /** Takes one event; whether there is anything new to draw. */
  take(event) {
    const at = Math.max(0, Date.parse(event.timestamp) - this.startedAt);
    switch (event.type) {
      case "participant_joined":
        this.people.set(event.participantId, event.name);
        this.marks.push({ at, text: `${event.name || "Guest"} came in` });
        break;
      case "participant_left":
        this.marks.push({ at, text: `${event.name || "Guest"} left` });
        break;
      case "vad_start": this.#startSpeech(event); break;
      case "vad_end": this.#endSpeech(event); break;
      case "transcript": this.#hear(event, at); break;
      case "status": this.#think(event.status, at); break;
      case "speak": this.#say(event, at); break;
      case "speak-status": this.#sound(event, at); break;
      case "tool-call":
        this.tools.push({
          id: event.toolCallId, name: event.toolName, input: JSON.stringify(event.arguments),
          output: "", outcome: "open", from: at, to: null,
        });
        break;
      case "cancel-tool-call": this.#endTools(at, event.reason, event.toolCallId); break;
      case "error": case "transcriber_fatal_error":
        this.marks.push({ at, text: `${event.code}: ${event.message}` });
        break;
      case "handoff": this.marks.push({ at, text: `Handed off: ${event.reason}` }); break;
      default: return false;
    }
    for (const kept of [this.speech, this.lines, this.heard, this.thinking, this.tools, this.turns, this.marks]) {
      if (kept.length > KEPT_MAX) kept.shift();
    }
    return true;
  }

  end(timestamp, reason) {
    const at = Math.max(0, Date.parse(timestamp) - this.startedAt);
    for (const span of [...this.speech, ...this.heard, ...this.thinking, ...this.tools]) span.to ??= at;
    Object.assign(this, { isLive: false, endedMs: at, reason });
  }

  #next(kind) {
    return `${kind}${this.#count += 1}`;
  }

  #startSpeech({ participantId: who, atMs }) {
    this.#spoke.set(who, this.#spoke.get(who) ?? atMs);
    this.speech.push({ id: this.#next("speech"), who, from: atMs, to: null });
  }

  #endSpeech({ participantId: who, atMs }) {
    const span = this.speech.findLast((one) => one.who === who && one.to === null);
    if (span) span.to = Math.max(span.from, atMs);
    this.#lastEnd = { who, at: atMs };
  }

  #hear({ participantId: who, utteranceId: id, text, isFinal }, at) {
    let line = this.lines.find((one) => one.id === id);
    if (!line) {
      line = { id, who, at: this.#spoke.get(who) ?? at, isCut: false, unheard: "" };
      this.lines.push(line);
      this.lines.sort((one, other) => one.at - other.at);
    }
    Object.assign(line, { text, isFinal });
    if (isFinal) this.#spoke.delete(who);
  }

  #think(status, at) {
    const open = this.thinking.findLast(({ to }) => to === null);
    if (status === "thinking" && !open) {
      this.thinking.push({ id: this.#next("thinking"), from: at, to: null });
      const { who, at: endAt } = this.#lastEnd ?? {};
      if (who !== undefined) this.#open = { who, at: endAt, turnEnd: Math.max(at, endAt) };
      this.#lastEnd = null;
    } else if (status !== "thinking" && open) {
      open.to = at;
    }
    if (status !== "acting") this.#endTools(at, "done");
  }

  #say({ speechId, text, isFinal }, at) {
    const line = this.lines.find(({ id }) => id === speechId);
    if (!line) {
      this.lines.push({ id: speechId, who: null, at, text, isFinal, isCut: false, unheard: "" });
    } else if (!line.isCut) {
      Object.assign(line, { text, isFinal });
    }
  }

  #sound({ speechId, status, heardMs, text }, at) {
    const span = this.heard.find(({ id }) => id === speechId);
    const line = this.lines.find(({ id }) => id === speechId);
    if (status === "started" && !span) {
      this.heard.push({ id: speechId, from: at, to: null, isCut: false });
      if (line) line.at = at;
      this.#answer(at);
    } else if (status !== "started" && span) {
      const isCut = status === "interrupted";
      Object.assign(span, { to: isCut ? Math.min(at, span.from + heardMs) : at, isCut });
    }
    if (status === "interrupted" && line) {
      const unheard = line.text.startsWith(text) ? line.text.slice(text.length) : "";
      Object.assign(line, { text, unheard, isCut: true, isFinal: true });
    } else if (status === "finished" && line) {
      line.isFinal = true;
    }
  }

  /** The first sound of an answer closes the turn. As seen from outside: the archive knows better. */
  #answer(at) {
    const turn = this.#open;
    this.#open = null;
    const thought = this.thinking.findLast(({ to }) => to === null);
    if (thought) thought.to = at;
    if (!turn) return;
    const [endOfTurn, model] = [turn.turnEnd - turn.at, Math.max(0, at - turn.turnEnd)];
    this.turns.push({
      id: this.#next("turn"), who: turn.who, at: turn.at, total: endOfTurn + model, endOfTurn, model,
      gateway: 0, ownMs: null, by: null, isCut: false, isRough: true,
    });
  }

  #endTools(at, outcome, id) {
    for (const tool of this.tools) {
      if (tool.to === null && (id === undefined || tool.id === id)) Object.assign(tool, { to: at, outcome });
    }
  }
}
