// What clients of both generations say, through the official Socket.IO library, a bare Engine.IO
// WebSocket, and a plain one; and as fast as they can.
//
// Usage: node socketio_flows.cjs GATEWAY_URL API_KEY
//
// Every step is asserted here; a failed one ends the script with its reason. The last line tells
// the test what was done.
"use strict";

const assert = require("node:assert/strict");
const WebSocket = require("ws");
const { Client, create, rest, url, apiKey } = require("./socketio_client.cjs");
const { tell, deadline } = require("./lines.cjs");

const FLOOD = 20_000;
const EARLY = 2_000;
const GIF = "data:image/gif;base64,R0lGODlh";
const message = { id: "m1", content: "Look", images: [{ url: GIF, alt: "a cat" }],
  participant: { id: "u1", nickname: "Ann" }, createdAt: "2026-01-02T03:04:05.006Z", type: "message" };

/** What a client of each generation sends in the course of its life; none starts a round. */
const FLOWS = {
  old: [
    { type: "huma-0.1-event", content: { name: "card-played", context: { table: [7] }, description: "Ann played a 7", triggering: false, skipCancelPendingMessage: true } },
    { type: "new-message", content: { ...message, triggering: false } },
  ],
  new: [
    { type: "context-update", triggering: false, name: "card-played", context: { table: [7] }, description: "Ann played a 7" },
    { type: "context-update", triggering: false, name: "new-message", context: { message }, description: "Ann wrote: Look" },
    { type: "context-update", triggering: false, name: "camera", context: {}, description: "", images: message.images },
    { type: "addon-tool-event", toolCallId: "tc_none", data: {} },
  ],
};

/** Results for a call that nobody has made, in every envelope. */
const RESULT = { toolCallId: "tc_none", success: true, result: { n: 1 }, skipImmediateProcessing: true };
const CANCELED = { toolCallId: "tc_none", success: false, error: "asked to", status: "canceled" };
const RESULTS = {
  old: [RESULT, CANCELED].map((result) => ({ type: "huma-0.1-event", content: { type: "tool-result", ...result } })),
  new: [RESULT, CANCELED].flatMap((result) => [{ type: "tool-result", ...result }, { type: "tool-result", content: result }]),
};
const CHANNEL = { old: "event", new: "error" };

async function officialFlows() {
  const agent = await create();
  const client = new Client(agent);
  await client.one("connect");
  for (const generation of ["old", "new", "old"]) {
    for (const said of FLOWS[generation]) {
      assert.deepEqual(await client.ask(said), { ok: true }, JSON.stringify(said));
    }
    for (const result of RESULTS[generation]) {
      const before = client.log.length;
      assert.equal((await client.ask(result)).code, "UNKNOWN_TOOL_CALL", JSON.stringify(result));
      // It is told once, on the channel of the message that has caused it.
      assert.deepEqual(await client.ask({ type: "addon-tool-event" }), { ok: true });
      const told = client.log.slice(before).filter(({ value }) => value.code === "UNKNOWN_TOOL_CALL");
      const expected = generation === "old" ? "event" : "error";
      assert.deepEqual(told.map(({ what }) => what), [expected], JSON.stringify(told));
    }
  }
  const bad = { type: "new-message", content: { content: "x", images: [{ url: "https://example.org/a.png" }] } };
  assert.equal((await client.ask(bad)).code, "BAD_MESSAGE");
  client.socket.disconnect();
}

/** A WebSocket that keeps its frames, and can wait for the next one that fits. */
class Wire {
  constructor(address) {
    this.frames = [];
    this.wake = () => {};
    this.socket = new WebSocket(address);
    this.socket.on("message", (data) => this.take(String(data)));
    this.closed = new Promise((resolve) => this.socket.on("close", (code, why) => resolve([code, String(why)])));
    this.opened = new Promise((resolve, reject) => this.socket.on("open", resolve).on("error", reject));
  }

  take(text) {
    if (text === "2") return this.socket.send("3");
    this.frames.push(text);
    return this.wake();
  }

  async until(fits) {
    for (;;) {
      while (this.frames.length > 0) {
        const frame = this.frames.shift();
        if (fits(frame)) return frame;
      }
      await new Promise((resolve) => { this.wake = resolve; });
    }
  }
}

/** As the known raw client does it: a bare `40`, no acknowledgements, errors on `event`. */
async function rawFlows() {
  const agent = await create();
  const query = new URLSearchParams({ EIO: "4", transport: "websocket", agentId: agent, apiKey });
  const wire = new Wire(`${url.replace("http", "ws")}/socket.io/?${query}`);
  await wire.opened;
  await wire.until((frame) => frame.startsWith("0{"));
  wire.socket.send("40");
  await wire.until((frame) => frame.startsWith("40{"));
  for (const generation of ["old", "new"]) {
    for (const said of [...FLOWS[generation], ...RESULTS[generation]]) {
      wire.socket.send(`42${JSON.stringify(["message", said])}`);
    }
    for (const _ of RESULTS[generation]) {
      const frame = await wire.until((one) => one.includes('"type":"error"'));
      const [channel, told] = JSON.parse(frame.slice(2));
      assert.deepEqual([channel, told.code], [CHANNEL[generation], "UNKNOWN_TOOL_CALL"], frame);
    }
  }
  await rest("DELETE", `/agents/${agent}`);
  await wire.until((frame) => frame.includes("AGENT_DELETED"));
  await wire.until((frame) => frame === "41");
  await wire.closed;
}

async function plainFlows() {
  const agent = await create();
  const query = new URLSearchParams({ apiKey });
  const wire = new Wire(`${url.replace("http", "ws")}/api/agents/${agent}/socket?${query}`);
  await wire.opened;
  const ask = async (said, ack) => {
    wire.socket.send(JSON.stringify({ ...said, ack }));
    return JSON.parse(await wire.until((frame) => JSON.parse(frame).ack === ack));
  };
  for (const generation of ["old", "new"]) {
    for (const [index, said] of FLOWS[generation].entries()) {
      assert.deepEqual(await ask(said, index), { type: "ack", ack: index, ok: true });
    }
    for (const result of RESULTS[generation]) {
      assert.equal((await ask(result, "result")).code, "UNKNOWN_TOOL_CALL");
      assert.equal(JSON.parse(await wire.until(() => true)).type, "error");
    }
  }
  await rest("DELETE", `/agents/${agent}`);
  assert.deepEqual(await wire.closed, [1000, "AGENT_DELETED"]);
}

/** Says `count` things within the connect callback; resolves with the order of the answers. */
function saidOnConnect(agent, transports, count) {
  const client = new Client(agent, { transports });
  return new Promise((resolve, reject) => {
    const answered = [];
    client.socket.on("disconnect", (why) => reject(new Error(`${why} after ${answered.length}`)));
    client.socket.on("connect", () => {
      for (let n = 0; n < count; n += 1) {
        const content = { name: `e${n}`, context: { n }, triggering: false };
        client.socket.emit("message", { type: "huma-0.1-event", content }, (ack) => {
          assert.deepEqual(ack, { ok: true }, `message ${n}`);
          answered.push(n);
          if (answered.length === count) {
            client.socket.off("disconnect").disconnect();
            resolve(answered);
          }
        });
      }
    });
  });
}

async function floods() {
  const agent = await create();
  for (const [transports, count] of [[["websocket"], EARLY], [["polling"], EARLY], [["websocket"], FLOOD]]) {
    const answered = await saidOnConnect(agent, transports, count);
    answered.forEach((n, index) => assert.equal(n, index, `in order over ${transports}`));
  }
}

async function main() {
  deadline(120);
  await officialFlows();
  await rawFlows();
  await plainFlows();
  await floods();
  tell({ done: ["official", "raw", "plain", "floods"] });
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
