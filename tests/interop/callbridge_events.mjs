// The web client by itself: what it makes of a room's events, and of a room that is gone.
//
// Usage: node callbridge_events.mjs PATH_OF_THE_CLIENT
import fs from "node:fs";

const source = fs.readFileSync(process.argv[2], "utf8");
globalThis.location = new URL("http://call.example/");
const { watch } = await import(`data:text/javascript,${encodeURIComponent(source)}`);

const ada = { agentId: "ag_1", agentName: "Ada" };
const EVENTS = [
  { type: "participants", participants: [{ id: "p_1", name: "Ann" }, { id: "p_2", name: "Ada" }] },
  { type: "vad_start", participantId: "p_1" },
  { type: "transcript", participantId: "p_1", utteranceId: "u_1", text: "Tell", isFinal: false },
  { type: "transcript", participantId: "p_1", utteranceId: "u_1", text: "Tell me.", isFinal: true },
  { ...ada, type: "status", status: "thinking" },
  { ...ada, type: "status", status: "acting" },
  { ...ada, type: "speak", speechId: "s_1", text: "Once upon", isFinal: false },
  { ...ada, type: "speak-status", speechId: "s_1", status: "started" },
  { ...ada, type: "speak", speechId: "s_1", text: "Once upon a time", isFinal: true },
  { ...ada, type: "speak-status", speechId: "s_1", status: "interrupted", text: "Once" },
  { ...ada, type: "speak", speechId: "s_1", text: "Once upon a time there was", isFinal: true },
  { ...ada, type: "status", status: "idle" },
  { type: "something-newer" },
];

// One stream with all of it, in pieces that do not end where events do; then the room is gone.
let asked = 0;
globalThis.fetch = async () => {
  asked += 1;
  if (asked > 1) {
    return Response.json({ code: "ROOM_NOT_FOUND", message: "there is no such room" }, { status: 404 });
  }
  const bytes = Buffer.from(`: hello\n\n${EVENTS.map((one) => `data: ${JSON.stringify(one)}\n\n`).join("")}`);
  return new Response(new ReadableStream({
    start(stream) {
      for (let at = 0; at < bytes.length; at += 7) stream.enqueue(bytes.subarray(at, at + 7));
      stream.close();
    },
  }));
};

const told = { captions: [], states: [], speaking: [] };
const room = watch("/rooms/den");
room.on("caption", ({ name, text, isFinal, isCut }) => told.captions.push([name, text, isFinal, isCut]));
room.on("agents", ([agent]) => agent && told.states.push(agent.state));
room.on("speaking", ({ name, isSpeaking }) => told.speaking.push([name, isSpeaking]));
room.on("closed", ({ code }) => {
  room.on("people", (people) => console.log(JSON.stringify({ ...told, code, asked, people })));
});
