// The official Socket.IO client through one agent's whole life, over WebSocket and by polling.
//
// Usage: node socketio.cjs GATEWAY_URL API_KEY
//
// Every step is asserted here; a failed one ends the script with its reason. The last line tells
// the test what was seen.
"use strict";

const assert = require("node:assert/strict");
const { Client, rest, create, PATIENCE_MS } = require("./socketio_client.cjs");
const { tell, deadline } = require("./lines.cjs");

async function refusals() {
  const agent = await create();
  const expired = await create({ ttlSeconds: 1 });
  const witness = new Client(expired);
  await witness.event("error", ({ code }) => code === "AGENT_EXPIRED");
  await witness.one("disconnect");
  const codes = [
    new Client(null),
    new Client(agent, { key: null }),
    new Client(agent, { key: "ak_wrong" }),
    new Client("ag_unknown"),
    new Client(expired),
    new Client(null, { transports: ["polling"] }),
  ].map((client) => client.one("refused").finally(() => client.socket.disconnect()));
  return Promise.all(codes);
}

/** In and out of a call, by the two roads of a command; over the transports given. */
async function call(agent, transports) {
  const client = new Client(agent, { transports });
  const road = await client.one("connect");
  const ack = await client.ask({ type: "join-daily-room", roomUrl: `rooms/${road}` });
  assert.deepEqual(ack, { ok: true });
  const joined = await client.event("room_joined");
  assert.equal(joined.roomUrl, `rooms/${road}`);
  assert.deepEqual((await client.ask({ type: "join-room", roomUrl: "rooms/other" })).code, "ALREADY_IN_CALL");
  const left = await client.socket.timeout(PATIENCE_MS).emitWithAck("leave-daily-room");
  assert.deepEqual(left, { ok: true });
  assert.equal((await client.event("room_left")).callId, joined.callId);
  await client.event("state", ({ to, from }) => from === "active" && to === "connected");
  return client;
}

async function malformed(client) {
  for (const message of [{ type: "no-such-type" }, { type: "join-room" }, ["list"], "text", null]) {
    const ack = await client.ask(message);
    assert.equal(ack.ok, false);
    assert.equal(ack.code, "BAD_MESSAGE", JSON.stringify(message));
  }
  assert.ok(client.socket.connected);
  assert.equal((await client.ask({ type: "leave-room" })).code, "NOT_IN_CALL");
}

function assertOrdered(client) {
  const ordered = client.events().filter(({ seq }) => seq !== undefined);
  assert.ok(ordered.length > 5, JSON.stringify(ordered));
  ordered.reduce((before, event) => {
    assert.ok(event.seq > before.seq, `seq ${event.seq} after ${before.seq}`);
    assert.ok(event.timestamp >= before.timestamp, `${event.timestamp} after ${before.timestamp}`);
    return event;
  });
  for (const { timestamp } of client.events()) {
    assert.equal(new Date(timestamp).toISOString(), timestamp);
  }
}

async function deletion(agent, client, other) {
  assert.equal((await rest("DELETE", `/agents/${agent}`)).status, 204);
  for (const one of [client, other]) {
    await one.one("disconnect");
    const told = one.place(({ what, value }) => what === "event" && value.code === "AGENT_DELETED");
    const gone = one.place(({ what }) => what === "disconnect");
    assert.ok(told >= 0 && told < gone, JSON.stringify(one.log.slice(-5)));
  }
  client.socket.connect();
  assert.equal(await client.one("refused"), "AGENT_NOT_FOUND");
  assert.equal((await rest("GET", `/agents/${agent}`)).status, 404);
}

async function main() {
  deadline(60);
  const agent = await create();
  const life = (async () => {
    const websocket = await call(agent, ["websocket"]);
    await malformed(websocket);
    const polling = await call(agent, ["polling"]);
    assertOrdered(websocket);
    assertOrdered(polling);
    // Both clients of the agent are told the same, in the same order.
    const tail = polling.events().filter(({ seq }) => seq !== undefined);
    const same = websocket.events().filter(({ seq }) => seq >= tail[0].seq);
    assert.deepEqual(same, tail);
    await deletion(agent, websocket, polling);
    return { websocket: websocket.log, polling: polling.log };
  })();
  const [refused, logs] = await Promise.all([refusals(), life]);
  const kinds = (log) => log.map(({ what, value }) => (what === "event" ? value.type : what));
  tell({ refused, websocket: kinds(logs.websocket), polling: kinds(logs.polling) });
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
