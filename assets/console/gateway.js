// The gateway as the console knows it: REST with the key, the feed of all agents, and a client.

/** Where the key is kept: with this tab, and never in an address. */
const KEY_NAME = "callbridge.key";
/** The shortest and the longest wait before the feed is asked for again. */
const FEED_PAUSE_MS = [500, 15_000];
/** How long the feed may be silent: the gateway sends at least a sign of life every 15 seconds. */
const FEED_SILENCE_MS = 40_000;
/** How long a client may take to connect, or to be answered. */
const ANSWER_MS = 20_000;

/** What the gateway has refused: `code` for programs, `message` for people. */
export class Refusal extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** The gateway by one key. */
export class Gateway {
  #key;

  constructor(key) {
    this.#key = key;
  }

  /** By the key that this tab has been given before; null without one. */
  static remembered() {
    const key = sessionStorage.getItem(KEY_NAME);
    return key ? new Gateway(key) : null;
  }

  remember() {
    sessionStorage.setItem(KEY_NAME, this.#key);
  }

  static forget() {
    sessionStorage.removeItem(KEY_NAME);
  }

  /** Asks; gives the answer's body, or null if it has none. Refusals and lost networks throw. */
  async ask(method, path, body) {
    const answer = await this.fetch(method, path, body);
    return answer.status === 204 ? null : answer.json();
  }

  /** The same, and gives the answer itself. */
  async fetch(method, path, body, signal) {
    const headers = { "X-API-Key": this.#key };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const content = body === undefined ? undefined : JSON.stringify(body);
    let answer;
    try {
      answer = await fetch(path, { method, headers, body: content, signal, cache: "no-store" });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Refusal(0, "NETWORK", "The gateway cannot be reached.");
    }
    if (answer.ok) return answer;
    const told = await answer.json().catch(() => ({}));
    const details = (told.details ?? []).map(({ path: at, message }) => `${at} ${message}`.trim());
    const message = details.length ? details.join("; ") : told.message ?? `status ${answer.status}`;
    throw new Refusal(answer.status, told.code ?? "FAILED", message);
  }

  /** All pages of a list, up to `max` entries. */
  async all(path, field, max) {
    const found = [];
    let cursor = null;
    do {
      const query = new URLSearchParams({ limit: "100", ...cursor && { cursor } });
      const page = await this.ask("GET", `${path}?${query}`);
      found.push(...page[field]);
      cursor = page.nextCursor;
    } while (cursor && found.length < max);
    return found;
  }

  /** Reads what all agents tell, for as long as the key is good: `on.event` gets each event,
   *  `on.state` gets `live`, `away` or `refused`. After `live` the lists should be read anew. */
  follow(on) {
    return new Feed(this, on);
  }

  /** Connects as a client of an agent. The key goes along as a protocol: an address may be logged. */
  async connect(agentId, onEvent) {
    const url = new URL(`/api/agents/${encodeURIComponent(agentId)}/socket`, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url, ["callbridge", `callbridge.key.${this.#key}`]);
    const client = new Client(socket, onEvent);
    await client.opened;
    return client;
  }
}

/** The stream of all agents' events, which comes back when it breaks. */
class Feed {
  #gateway;
  #on;
  #ended = new AbortController();

  constructor(gateway, on) {
    this.#gateway = gateway;
    this.#on = on;
    this.#run();
  }

  close() {
    this.#ended.abort();
  }

  async #run() {
    let [pause, longest] = FEED_PAUSE_MS;
    while (!this.#ended.signal.aborted) {
      try {
        await this.#read(() => { [pause] = FEED_PAUSE_MS; });
      } catch (error) {
        if (error.status === 401) {
          this.#tell("refused");
          return;
        }
      }
      this.#tell("away");
      await new Promise((done) => { setTimeout(done, pause * (0.75 + Math.random() / 2)); });
      pause = Math.min(2 * pause, longest);
    }
  }

  /** One connection, from its beginning to its end. */
  async #read(onOpen) {
    const cut = new AbortController();
    const signal = AbortSignal.any([cut.signal, this.#ended.signal]);
    let watchdog = setTimeout(() => cut.abort(), FEED_SILENCE_MS);
    try {
      const answer = await this.#gateway.fetch("GET", "/api/feed", undefined, signal);
      onOpen();
      this.#tell("live");
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let unread = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(watchdog);
        watchdog = setTimeout(() => cut.abort(), FEED_SILENCE_MS);
        const blocks = (unread + value).split("\n\n");
        unread = blocks.pop();
        for (const block of blocks) this.#take(block);
      }
    } finally {
      clearTimeout(watchdog);
    }
  }

  #take(block) {
    const lines = block.split("\n").filter((line) => line.startsWith("data:"));
    if (lines.length && !this.#ended.signal.aborted) {
      this.#on.event(JSON.parse(lines.map((line) => line.slice(5)).join("\n")));
    }
  }

  #tell(state) {
    if (!this.#ended.signal.aborted) this.#on.state(state);
  }
}

/** A client of one agent, by the plain WebSocket. */
class Client {
  #socket;
  #onEvent;
  #asked = new Map();
  #count = 0;
  opened;

  constructor(socket, onEvent) {
    this.#socket = socket;
    this.#onEvent = onEvent;
    this.opened = new Promise((done, failed) => {
      socket.onopen = done;
      const refuse = () => failed(new Refusal(0, "NETWORK", "The agent cannot be reached."));
      socket.onerror = refuse;
      setTimeout(refuse, ANSWER_MS);
    });
    socket.onmessage = ({ data }) => this.#take(JSON.parse(data));
    socket.onclose = () => {
      const gone = new Refusal(0, "NETWORK", "The agent's connection was lost.");
      for (const { failed } of this.#asked.values()) failed(gone);
      this.#onEvent({ type: "closed" });
    };
  }

  /** Sends a message; resolves when the agent has taken it, and throws what it has refused. */
  say(message) {
    const ack = this.#count += 1;
    return new Promise((done, failed) => {
      this.#asked.set(ack, { done, failed });
      this.#socket.send(JSON.stringify({ ...message, ack }));
      setTimeout(() => failed(new Refusal(0, "TIMEOUT", "The agent does not answer.")), ANSWER_MS);
    });
  }

  close() {
    this.#socket.onclose = null;
    this.#socket.close();
  }

  #take(event) {
    if (event.type !== "ack") {
      this.#onEvent(event);
      return;
    }
    const waits = this.#asked.get(event.ack);
    this.#asked.delete(event.ack);
    if (event.ok) waits?.done();
    else waits?.failed(new Refusal(0, event.code, event.message));
  }
}
