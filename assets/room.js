// The page of a hosted room: shows what `callbridge.js` tells of the call, and passes on what is clicked.
import { join, microphones, watch } from "./callbridge.js";

const roomName = decodeURIComponent(location.pathname.split("/").filter(Boolean).pop() ?? "");
const roomUrl = location.origin + location.pathname;
const isOpen = document.body.dataset.open === "true";
const $ = (id) => document.getElementById(id);

/** Captions that are kept on the page, and those that a screen reader may still have to read. */
const CAPTIONS_MAX = 200;
const ANNOUNCED_MAX = 5;

/** The call this page is in, or the look at the room from outside; at most one of them. */
let call = null;
let outside = null;
/** Gives up a call that is still being entered. */
let entering = null;
/** Who is here, as told last. */
let people = [];
let agents = [];
/** Our id in the call that is over: the room may show it for a moment longer. */
let leftAs = null;
let isMuted = false;
/** Captions by utterance. */
const lines = new Map();

// ---------------------------------------------------------------- joining and leaving

async function enter() {
  say("");
  $("join").disabled = true;
  show("joining");
  entering = new AbortController();
  try {
    call = await join(roomUrl, {
      name: $("name").value.trim() || "Guest",
      token: $("token").value.trim(),
      microphone: $("microphone").value,
      signal: entering.signal,
    });
  } catch (error) {
    out(error.message);
    return;
  }
  outside?.close();
  outside = null;
  $("door").hidden = true;
  $("inside").hidden = false;
  $("mute").focus();
  listMicrophones();
  follow(call);
  call.on("state", ({ state }) => state !== "ended" && show(state));
  call.on("muted", (event) => { isMuted = event.isMuted; showMuted(); });
  call.on("level", ({ own, remote }) => { $("own").value = own; $("others").value = remote; });
  call.on("quality", showQuality);
  call.on("blocked", ({ isBlocked }) => { $("unblock").hidden = !isBlocked; });
  call.on("ended", ({ code, message }) => { call = null; out(message, code); });
}

/** Shows the page of someone who is not in the call. */
function out(message, code) {
  const hadFocus = $("inside").contains(document.activeElement);
  $("inside").hidden = true;
  $("unblock").hidden = true;
  $("door").hidden = false;
  $("join").disabled = false;
  for (const id of ["own", "others"]) $(id).value = 0;
  isMuted = false;
  showMuted();
  leftAs = people.find(({ isMe }) => isMe)?.id ?? leftAs;
  // Who else was here is still here, as far as anybody knows who may look in from outside.
  const isWatched = isOpen && code !== "ROOM_CLOSED";
  [people, agents] = isWatched ? [people.filter(({ isMe }) => !isMe), agents] : [[], []];
  showPeople();
  show("out");
  say(message);
  if (hadFocus) $("join").focus();
  if (isWatched && !outside) lookInside();
}

/** Who is in an open room is shown to those who are about to come in. */
function lookInside() {
  outside = watch(roomUrl);
  follow(outside);
  outside.on("closed", ({ message }) => { outside = null; say(message); });
}

function follow(source) {
  // A call that has ended knows of nobody, which says nothing of the room.
  const isCurrent = () => source === (call ?? outside) && source.state !== "ended";
  const isHere = ({ id }) => call || id !== leftAs;
  source.on("people", (told) => { if (isCurrent()) { people = told.filter(isHere); showPeople(); } });
  source.on("agents", (told) => { if (isCurrent()) { agents = told; showPeople(); } });
  source.on("caption", (caption) => isCurrent() && showCaption(caption));
}

async function listMicrophones() {
  const chosen = call?.microphone ?? $("microphone").value;
  const found = (await microphones()).filter(({ id, label }) => id && label);
  const options = found.map(({ id, label }) => new Option(label, id, false, id === chosen));
  $("microphone").replaceChildren(new Option("Default microphone", ""), ...options);
}

async function chooseMicrophone() {
  if (!call) return;
  try {
    await call.setMicrophone($("microphone").value);
    say("");
  } catch (error) {
    say(error.message);
  }
  listMicrophones();
}

// ---------------------------------------------------------------- what is shown

const STATES = {
  out: "Not joined",
  joining: "Joining …",
  connected: "In the call",
  interrupted: "Connection interrupted …",
  reconnecting: "Connection lost. Reconnecting …",
};

function show(state) {
  $("state").dataset.state = state;
  $("state").textContent = STATES[state];
}

function say(text) {
  $("message").hidden = !text;
  $("message").textContent = text;
}

function showMuted() {
  $("mute").setAttribute("aria-pressed", String(isMuted));
  $("own-label").textContent = isMuted ? "You (muted)" : "You";
  showPeople();
}

function showQuality({ quality, roundTripMs, lossPercent }) {
  $("quality").dataset.quality = quality;
  const figures = [
    roundTripMs != null && `${roundTripMs} ms`,
    lossPercent > 0 && `${lossPercent} % lost`,
  ].filter(Boolean).join(", ");
  const words = { none: "none", unknown: "measuring" }[quality] ?? quality;
  $("quality-text").textContent = `Connection: ${words}${figures && quality !== "none" ? ` (${figures})` : ""}`;
}

function showPeople() {
  $("nobody").hidden = people.length > 0;
  $("people").replaceChildren(...people.map((one) => {
    const agent = agents.find(({ name }) => name === one.name && !one.isMe);
    const state = agent?.state ?? (one.isMe && isMuted ? "muted" : one.isSpeaking ? "speaking" : "");
    const entry = document.createElement("li");
    entry.className = [agent && "agent", state].filter(Boolean).join(" ");
    const dot = span("dot", "");
    dot.setAttribute("aria-hidden", "true");
    const doing = [agent && "agent", state].filter(Boolean).join(" · ");
    entry.append(dot, span("name", one.isMe ? `${one.name} (you)` : one.name), span("doing", doing));
    return entry;
  }));
}

/** Writes a caption, or changes the one of the same utterance. Text only: nothing is ever HTML. */
function showCaption({ id, name, agentId, isMe, text, isFinal, isCut }) {
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
  line.className = [agentId && "agent", !isFinal && "interim"].filter(Boolean).join(" ");
  line.replaceChildren(span("who", `${name}:`), span("text", text));
  if (isCut) line.append(span("tag", text ? "(cut off)" : "(cut off before it was heard)"));
  if (isAtEnd) list.scrollTop = list.scrollHeight;
  if (isFinal && !isMe) announce(`${name}: ${text}`);
}

/** Off unless asked for: a loud screen reader would talk into the call, and interrupt the agent. */
function announce(text) {
  if (!$("announce").checked) return;
  const entry = document.createElement("p");
  entry.textContent = text;
  $("announced").append(entry);
  while ($("announced").children.length > ANNOUNCED_MAX) $("announced").firstChild.remove();
}

function span(kind, text) {
  const span = document.createElement("span");
  span.className = kind;
  span.textContent = text;
  return span;
}

// ---------------------------------------------------------------- start

$("room").textContent = roomName;
document.title = `${roomName} · callbridge`;
$("token-field").hidden = isOpen;
// A link may carry the token behind the #, which no server ever sees.
$("token").value = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
$("door").addEventListener("submit", (event) => { event.preventDefault(); enter(); });
$("leave").addEventListener("click", () => call?.leave());
$("mute").addEventListener("click", () => call?.mute(!call.isMuted));
$("microphone").addEventListener("change", chooseMicrophone);
$("unblock").addEventListener("click", () => call?.playSound().catch((error) => say(error.message)));
navigator.mediaDevices?.addEventListener("devicechange", listMicrophones);
addEventListener("pagehide", () => entering?.abort());
listMicrophones();
if (isOpen) lookInside();
