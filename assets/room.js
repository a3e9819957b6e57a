// The page of a hosted room: joins by WHIP (RFC 9725), shows levels, people and captions.
"use strict";

const roomName = decodeURIComponent(location.pathname.split("/").filter(Boolean).pop() ?? "");
const roomPath = `/rooms/${encodeURIComponent(roomName)}`;
const isOpen = document.body.dataset.open === "true";
const $ = (id) => document.getElementById(id);

/** How long the browser may look for its own addresses before the offer goes out with those found. */
const GATHER_MS = 1000;
/** How long the sound may take to flow after the answer. */
const CONNECT_MS = 15000;
/** How long a broken connection may try to heal before it counts as lost. */
const HEAL_MS = 5000;
/** The wait before captions are asked for again. */
const CAPTIONS_RETRY_MS = 1000;
/** Captions that are kept on the page. */
const CAPTIONS_MAX = 200;

/** The call this page is in; null when in none. */
let call = null;
/** The stream of captions; null when it must not run. */
let captions = null;

// ---------------------------------------------------------------- joining and leaving

async function join() {
  say("");
  $("join").disabled = true;
  show("Joining …");
  const mine = { microphone: null, peer: null, resource: null, id: null, timer: 0, frame: 0, audio: null };
  call = mine;
  try {
    mine.microphone = await microphone();
    if (call !== mine) return dispose(mine);
    await connect(mine);
    if (call !== mine) return dispose(mine);
  } catch (error) {
    if (call === mine) call = null;
    dispose(mine);
    ended();
    say(error.message);
    return;
  }
  $("door").hidden = true;
  $("inside").hidden = false;
  $("mute").focus();
}

/** Asks for the microphone; its errors say what the person can do. */
async function microphone() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error("This browser gives the microphone only to pages on https:// or on localhost.");
  }
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    });
  } catch (error) {
    const reasons = {
      NotAllowedError: "The microphone is not allowed. Allow it for this page, then join again.",
      NotFoundError: "No microphone was found. Plug one in, then join again.",
      NotReadableError: "The microphone is in use by another program.",
    };
    throw new Error(reasons[error.name] ?? `The microphone cannot be used (${error.name}).`);
  }
}

async function connect(mine) {
  const peer = new RTCPeerConnection();
  mine.peer = peer;
  for (const track of mine.microphone.getAudioTracks()) {
    peer.addTrack(track, mine.microphone);
    track.onended = () => call === mine && hangUp("The microphone has gone.");
  }
  peer.ontrack = ({ track, streams }) => play(mine, streams[0] ?? new MediaStream([track]));
  peer.onconnectionstatechange = () => call === mine && connectionChanged(mine);

  await peer.setLocalDescription(await peer.createOffer());
  await gathered(peer);
  const name = $("name").value.trim() || "Guest";
  const answer = await request(`${roomPath}/whip?name=${encodeURIComponent(name)}`, {
    method: "POST",
    headers: { "Content-Type": "application/sdp", ...authorization() },
    body: peer.localDescription.sdp,
  });
  mine.resource = answer.headers.get("Location");
  mine.id = answer.headers.get("Participant-Id");
  // Addresses found after the offer went out follow it one by one.
  peer.onicecandidate = ({ candidate }) => candidate && trickle(mine, candidate);
  await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
  mine.timer = setTimeout(() => call === mine && hangUp(
    "The sound does not get through. A firewall may be blocking UDP.",
  ), CONNECT_MS);
  meter(mine, mine.microphone, $("own"));
}

/** Resolves when the browser has found its addresses, or has looked for long enough. */
function gathered(peer) {
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

/** Sends one more address of ours (RFC 8840); losing one is no harm. */
async function trickle(mine, candidate) {
  if (!mine.resource || !candidate.candidate) return;
  const sdp = mine.peer.localDescription.sdp;
  const line = (start) => sdp.split(/\r?\n/).find((one) => one.startsWith(start)) ?? "";
  const fragment = [
    line("a=ice-ufrag:"), line("a=ice-pwd:"), line("m=audio"), `a=mid:${candidate.sdpMid ?? 0}`,
    `a=${candidate.candidate}`, "",
  ].join("\r\n");
  await fetch(mine.resource, {
    method: "PATCH",
    headers: { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*", ...authorization() },
    body: fragment,
  }).catch(() => {});
}

function connectionChanged(mine) {
  const state = mine.peer.connectionState;
  if (state === "connected") {
    clearTimeout(mine.timer);
    show("In the call");
    if (!captions) watchCaptions();
  } else if (state === "disconnected") {
    show("Connection interrupted …");
    clearTimeout(mine.timer);
    mine.timer = setTimeout(() => call === mine && hangUp("The connection was lost."), HEAL_MS);
  } else if (state === "failed" || state === "closed") {
    hangUp("The connection was lost.");
  }
}

function hangUp(reason = "") {
  const mine = call;
  if (!mine) return;
  call = null;
  dispose(mine);
  ended();
  say(reason);
}

/** Gives back everything a call holds, and tells the room. */
function dispose(mine) {
  clearTimeout(mine.timer);
  cancelAnimationFrame(mine.frame);
  mine.microphone?.getTracks().forEach((track) => { track.onended = null; track.stop(); });
  mine.audio?.close();
  mine.peer?.close();
  if (mine.resource) {
    // keepalive: it is also sent when the page is being closed.
    fetch(mine.resource, { method: "DELETE", keepalive: true, headers: authorization() }).catch(() => {});
  }
}

function ended() {
  captions?.close();
  captions = null;
  $("sound").srcObject = null;
  $("unblock").hidden = true;
  $("inside").hidden = true;
  $("door").hidden = false;
  $("join").disabled = false;
  $("mute").setAttribute("aria-pressed", "false");
  $("mute").textContent = "Mute";
  for (const id of ["own", "others"]) $(id).value = 0;
  people([]);
  show("Not joined");
  if (isOpen) watchCaptions();
}

function mute() {
  if (!call) return;
  const muted = $("mute").getAttribute("aria-pressed") !== "true";
  call.microphone.getAudioTracks().forEach((track) => { track.enabled = !muted; });
  $("mute").setAttribute("aria-pressed", String(muted));
  $("mute").textContent = muted ? "Unmute" : "Mute";
}

// ---------------------------------------------------------------- sound

function play(mine, stream) {
  const sound = $("sound");
  sound.srcObject = stream;
  // A browser may want one more click before it makes a sound.
  sound.play().catch(() => { $("unblock").hidden = false; });
  meter(mine, stream, $("others"));
}

/** Shows how loud a stream is, until the call is over. */
function meter(mine, stream, bar) {
  mine.audio ??= new AudioContext();
  mine.audio.resume();
  const analyser = mine.audio.createAnalyser();
  analyser.fftSize = 1024;
  mine.audio.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  (mine.meters ??= []).push(() => {
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    const decibels = 10 * Math.log10(power + 1e-10);
    bar.value = Math.min(1, Math.max(0, (decibels + 60) / 50));
  });
  if (mine.meters.length > 1) return;
  const draw = () => {
    if (call !== mine) return;
    mine.meters.forEach((one) => one());
    mine.frame = requestAnimationFrame(draw);
  };
  draw();
}

// ---------------------------------------------------------------- people and captions

/** Names by participant, for captions of those who have left too. */
const names = new Map();
/** Captions by utterance. */
const lines = new Map();

/** This page's own participant, while it is in a call. */
const ownId = () => call?.id;

/** What proves that this page is in the room: its resource ends in a key that no one else has. */
const ownKey = () => call?.resource?.split("/").pop();

/** Agents that have spoken, in the order in which they first did. */
const agents = [];

/** What an agent's captions are headed with: a number tells several apart. */
function agentLabel(agentId) {
  if (!agents.includes(agentId)) agents.push(agentId);
  const place = agents.indexOf(agentId);
  return place ? `Agent ${place + 1}` : "Agent";
}

function watchCaptions() {
  captions?.close();
  const key = ownKey();
  const query = key ? `?participant=${encodeURIComponent(key)}` : "";
  captions = new EventSource(`${roomPath}/events${query}`);
  captions.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    handlers[event.type]?.(event);
  };
  // The browser tries again by itself, except after a refusal: the room may not have seen us yet.
  const mine = captions;
  captions.onerror = () => {
    if (mine.readyState !== EventSource.CLOSED) return;
    setTimeout(() => captions === mine && watchCaptions(), CAPTIONS_RETRY_MS);
  };
}

const handlers = {
  participants: ({ participants }) => people(participants),
  status: ({ status }) => call && show(
    { idle: "The agent is listening", thinking: "The agent is thinking …", acting: "The agent is speaking" }[status]
      ?? "In the call",
  ),
  vad_start: ({ participantId }) => speaking(participantId, true),
  vad_end: ({ participantId }) => speaking(participantId, false),
  transcript: ({ participantId, utteranceId, text, isFinal }) =>
    caption(utteranceId, names.get(participantId) ?? "Someone", text, { interim: !isFinal }),
  speak: ({ agentId, speechId, text, isFinal }) =>
    caption(speechId, agentLabel(agentId), text, { agent: true, interim: !isFinal }),
  "speak-status": ({ agentId, speechId, status, text }) => {
    if (status !== "interrupted") return;
    caption(speechId, agentLabel(agentId), text, { agent: true, tag: "cut" });
  },
};

function people(present) {
  $("nobody").hidden = present.length > 0;
  $("people").replaceChildren(...present.map(({ id, name }) => {
    names.set(id, name || "Guest");
    const entry = document.createElement("li");
    entry.dataset.id = id;
    entry.textContent = id === ownId() ? `${name || "Guest"} (you)` : name || "Guest";
    return entry;
  }));
}

function speaking(id, now) {
  for (const entry of $("people").children) {
    if (entry.dataset.id === id) entry.classList.toggle("speaking", now);
  }
}

/** Writes a caption, or changes the one of the same utterance. Text only: nothing is ever HTML. */
function caption(id, who, text, { agent = false, interim = false, tag = "" }) {
  const list = $("captions");
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  let line = lines.get(id);
  if (!line) {
    if (!text) return;
    line = document.createElement("li");
    lines.set(id, line);
    list.append(line);
    while (lines.size > CAPTIONS_MAX) {
      const [oldest, entry] = lines.entries().next().value;
      lines.delete(oldest);
      entry.remove();
    }
  }
  $("silence").hidden = true;
  line.className = [agent && "agent", interim && "interim"].filter(Boolean).join(" ");
  line.replaceChildren(span("who", `${who}:`), span("text", text));
  if (tag) line.append(span("tag", `(${tag})`));
  if (isAtEnd) list.scrollTop = list.scrollHeight;
}

function span(kind, text) {
  const span = document.createElement("span");
  span.className = kind;
  span.textContent = text;
  return span;
}

// ---------------------------------------------------------------- words to the person

/** A request whose failure is an error that a person can read. */
async function request(url, options) {
  let answer;
  try {
    answer = await fetch(url, options);
  } catch {
    throw new Error("The server does not answer.");
  }
  if (answer.ok) return answer;
  const { code, message } = await answer.json().catch(() => ({}));
  const reasons = {
    ROOM_UNAUTHORIZED: "The room's token is missing, wrong or out of date.",
    ROOM_FULL: "The room is full. Try again later.",
    ROOM_NOT_FOUND: "There is no such room.",
  };
  throw new Error(reasons[code] ?? `The room refused the call: ${message ?? answer.status}`);
}

function authorization() {
  const token = $("token").value.trim();
  return token ? { Authorization: `Bearer ${token}` } : {};
}

function show(state) {
  $("state").textContent = state;
}

function say(text) {
  $("message").hidden = !text;
  $("message").textContent = text;
  $("message").classList.toggle("bad", Boolean(text));
}

// ---------------------------------------------------------------- start

$("room").textContent = roomName;
document.title = `${roomName} · callbridge`;
$("token-field").hidden = isOpen;
// A link may carry the token behind the #, which no server ever sees.
$("token").value = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
$("door").addEventListener("submit", (event) => { event.preventDefault(); join(); });
$("leave").addEventListener("click", () => hangUp());
$("mute").addEventListener("click", mute);
$("unblock").addEventListener("click", () => {
  $("sound").play().then(() => { $("unblock").hidden = true; });
});
addEventListener("pagehide", () => hangUp());
if (isOpen) watchCaptions();
