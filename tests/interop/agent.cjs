// An agent's client: tells the test every event, and sends what the test orders.
//
// Usage: node agent.cjs GATEWAY_URL AGENT_ID API_KEY
"use strict";

const { io } = require("socket.io-client");
const { tell, obey } = require("./lines.cjs");

const [url, agentId, apiKey] = process.argv.slice(2);
const socket = io(url, { query: { agentId, apiKey }, reconnection: false });
socket.on("connect", () => tell({ connected: true }));
socket.on("connect_error", (error) => tell({ refused: error.message }));
socket.on("event", (event) => tell({ event }));
socket.on("disconnect", (reason) => tell({ disconnected: reason }));
obey(
  (message) => socket.emit("message", message, (ack) => tell({ ack, of: message.type })),
  () => process.exit(0),
);
