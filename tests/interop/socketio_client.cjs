// A client on the official Socket.IO library that remembers all, and the REST API beside it.
//
// For scripts whose first two arguments are GATEWAY_URL and API_KEY.
"use strict";

const assert = require("node:assert/strict");
const { io } = require("socket.io-client");

const [url, apiKey] = process.argv.slice(2);
const PATIENCE_MS = 30_000;

/** A client that keeps all that it is told, in one order, and can wait for it. */
class Client {
  constructor(agentId, { key = apiKey, transports = ["websocket"] } = {}) {
    this.log = [];
    this.waiting = [];
    const query = Object.fromEntries(
      Object.entries({ agentId, apiKey: key }).filter(([, value]) => value !== null),
    );
    this.socket = io(url, { query, transports, reconnection: false, forceNew: true });
    this.socket.on("connect", () => this.note("connect", this.socket.io.engine.transport.name));
    this.socket.on("connect_error", (error) => this.note("refused", error.message));
    this.socket.on("event", (event) => this.note("event", event));
    this.socket.on("error", (error) => this.note("error", error));
    this.socket.on("disconnect", (reason) => this.note("disconnect", reason));
  }

  note(what, value) {
    const entry = { what, value };
    this.log.push(entry);
    const served = this.waiting.filter(({ fits }) => fits(entry));
    this.waiting = this.waiting.filter((one) => !served.includes(one));
    served.forEach(({ resolve }) => resolve(entry));
  }

  /** The first entry that fits, of the past or of the future. */
  find(description, fits) {
    const past = this.log.find(fits);
    if (past) return Promise.resolve(past);
    return new Promise((resolve, reject) => {
      this.waiting.push({ fits, resolve });
      setTimeout(
        () => reject(new Error(`no ${description} in ${JSON.stringify(this.log)}`)),
        PATIENCE_MS,
      ).unref();
    });
  }

  one(what) {
    return this.find(what, (entry) => entry.what === what).then(({ value }) => value);
  }

  event(type, more = () => true) {
    const fits = ({ what, value }) => what === "event" && value.type === type && more(value);
    return this.find(`event ${type}`, fits).then(({ value }) => value);
  }

  /** Sends a message, and waits for its acknowledgement. */
  ask(message) {
    return this.socket.timeout(PATIENCE_MS).emitWithAck("message", message);
  }

  place(fits) {
    return this.log.findIndex(fits);
  }

  events() {
    return this.log.filter(({ what }) => what === "event").map(({ value }) => value);
  }
}

async function rest(method, path, body) {
  const answer = await fetch(`${url}/api${path}`, {
    method,
    headers: { "X-API-Key": apiKey, ...(body && { "Content-Type": "application/json" }) },
    body: body && JSON.stringify(body),
  });
  const text = await answer.text();
  return { status: answer.status, body: text && JSON.parse(text) };
}

async function create(more = {}) {
  const made = await rest("POST", "/agents", {
    name: "Ada",
    agentType: "HUMA-0.1",
    metadata: {
      className: "Assistant",
      personality: "Friendly.",
      instructions: "Answer briefly.",
      tools: [],
      voice: { enabled: true },
    },
    ...more,
  });
  assert.equal(made.status, 201, JSON.stringify(made.body));
  assert.equal(made.body.state, "created");
  return made.body.id;
}

module.exports = { Client, rest, create, url, apiKey, PATIENCE_MS };
