// The flows of agents that think outside of calls, in both generations of the protocol, through
// the official Socket.IO library.
//
// Usage: node huma_flows.cjs GATEWAY_URL API_KEY
//
// The gateway's model is the local one, whose answers are rules. Every step is asserted here; a
// failed one ends the script with its reason. The last line tells the test what was done.
"use strict";

const assert = require("node:assert/strict");
const { Client, create, rest } = require("./socketio_client.cjs");
const { tell, deadline } = require("./lines.cjs");

const WEATHER = {
  name: "get_weather",
  description: "The weather in a place",
  parameters: [{ name: "place", type: "string", description: "A town", required: true }],
};
const SEND_MESSAGE = {
  name: "send_message",
  description: "Sends a message to the chat",
  parameters: [{ name: "message", type: "string", description: "The text", required: true }],
};

/** How each generation says the same things. */
const DIALECTS = {
  old: {
    says: (text, more = {}) => ({
      type: "new-message",
      content: { ...chat(text), ...more },
    }),
    event: (name, description, context = {}, more = {}) => ({
      type: "huma-0.1-event",
      content: { name, context, description, ...more },
    }),
    result: (toolCallId, more) => ({
      type: "huma-0.1-event",
      content: { type: "tool-result", toolCallId, success: true, ...more },
    }),
    errors: "event",
  },
  new: {
    says: (text, more = {}) => ({
      type: "context-update",
      triggering: true,
      name: "new-message",
      context: { message: chat(text) },
      description: `Ann wrote: ${text}`,
      ...more,
    }),
    event: (name, description, context = {}, more = {}) => ({
      type: "context-update",
      triggering: true,
      name,
      context,
      description,
      ...more,
    }),
    result: (toolCallId, more) => ({ type: "tool-result", toolCallId, success: true, ...more }),
    errors: "error",
  },
};

function chat(content) {
  const participant = { id: "u1", nickname: "Ann" };
  return { id: "m1", content, participant, createdAt: "2026-01-02T03:04:05.006Z", type: "message" };
}

function agentWith(tools, more = {}) {
  const metadata = {
    className: "Assistant",
    personality: "Friendly.",
    instructions: "Answer briefly.",
    tools,
    routerType: "conversational",
  };
  return create({ metadata, ...more });
}

/** A client that is in; what it says is taken. */
async function connect(agent) {
  const client = new Client(agent);
  await client.one("connect");
  client.say = async (message) => {
    assert.deepEqual(await client.ask(message), { ok: true }, JSON.stringify(message));
  };
  // Whatever a message brings about at once has been told before the next one is taken.
  client.settled = async () => {
    assert.deepEqual(await client.ask({ type: "set-muted", muted: false }), { ok: true });
  };
  client.statuses = () => client.of("status").map(({ status }) => status);
  client.of = (type) => client.events().filter((event) => event.type === type);
  client.nth = async (type, count, fits = () => true) => {
    await client.event(type, () => client.of(type).filter(fits).length >= count);
    return client.of(type).filter(fits)[count - 1];
  };
  client.faults = () => client.log.filter(({ what, value }) => what === "error" || value.type === "error");
  client.forget = () => client.log.splice(0);
  return client;
}

const isFinal = ({ isFinal: whole }) => whole;
const isIdle = ({ status }) => status === "idle";

/** A tool is called; its result ends the work, or begins another round. */
async function toolFlow({ says, result }) {
  const client = await connect(await agentWith([WEATHER]));
  await client.say(says("What is the weather in Paris?"));
  const call = await client.event("tool-call");
  assert.equal(call.toolName, "get_weather");
  assert.deepEqual(call.arguments, { place: "Paris" });
  assert.equal(call.timeoutSeconds, 30);
  const quiet = { result: { sky: "clear" }, skipImmediateProcessing: true };
  await client.say(result(call.toolCallId, quiet));
  await client.nth("status", 1, isIdle);
  await client.settled();
  assert.deepEqual(client.statuses(), ["thinking", "acting", "idle"]);
  assert.deepEqual(client.of("speak"), []);

  client.forget();
  await client.say(says("What is the weather in Rome?"));
  const again = await client.event("tool-call");
  await client.say(result(again.toolCallId, { result: { sky: "grey" } }));
  const answer = await client.event("speak", isFinal);
  assert.equal(answer.text, "The sky is grey.");
  await client.nth("status", 1, isIdle);
  assert.deepEqual(client.statuses(), ["thinking", "acting", "thinking", "acting", "idle"]);

  client.forget();
  await client.say(says("What is the weather in Oslo?"));
  const broken = await client.event("tool-call");
  await client.say(result(broken.toolCallId, { success: false, error: "no such town" }));
  assert.match((await client.event("speak", isFinal)).text, /no such town/i);
  await client.nth("status", 1, isIdle);
  assert.deepEqual(client.faults(), []);
}

/** A chat is answered in words, or through the tool that sends them. */
async function chatFlow({ says, result }) {
  const plain = await connect(await agentWith([]));
  await plain.say(says("What is two plus two?"));
  const answer = await plain.event("speak", isFinal);
  assert.match(answer.text, /four/i);
  await plain.nth("status", 1, isIdle);
  assert.deepEqual(plain.statuses(), ["thinking", "acting", "idle"]);
  assert.deepEqual(
    plain.of("state").map(({ from, to }) => [from, to]),
    [["created", "connected"], ["connected", "active"], ["active", "connected"]],
  );

  const client = await connect(await agentWith([WEATHER, SEND_MESSAGE]));
  await client.say(says("What is two plus two?"));
  const call = await client.event("tool-call");
  assert.equal(call.toolName, "send_message");
  assert.match(call.arguments.message, /four/i);
  await client.say(result(call.toolCallId, { result: "sent" }));
  await client.nth("status", 1, isIdle);
  await client.settled();
  assert.deepEqual(client.statuses(), ["thinking", "acting", "thinking", "idle"]);
  assert.deepEqual(client.of("tool-call").length, 1);
  assert.deepEqual(client.of("speak"), []);
  assert.deepEqual(client.faults(), []);
}

/** What is called off stays called off: no error, no new round, no loop. */
async function cancelFlow({ says, result, errors }) {
  const hasty = { ...WEATHER, timeoutSeconds: 1 };
  const slow = await connect(await agentWith([hasty]));
  await slow.say(says("What is the weather in Paris?"));
  const { toolCallId: late } = await slow.event("tool-call");

  const client = await connect(await agentWith([WEATHER]));
  await client.say(says("What is the weather in Paris?"));
  const { toolCallId } = await client.event("tool-call");
  await client.say({ type: "interrupt" });
  const cancel = await client.event("cancel-tool-call");
  assert.deepEqual([cancel.toolCallId, cancel.reason], [toolCallId, "interrupted"]);
  const canceled = { success: false, error: "canceled", status: "canceled" };
  await client.say(result(toolCallId, canceled));
  await client.settled();
  assert.deepEqual(client.statuses(), ["thinking", "acting", "idle"]);
  assert.deepEqual(client.faults(), []);
  assert.equal((await client.ask(result(toolCallId, canceled))).code, "UNKNOWN_TOOL_CALL");
  client.forget();
  await client.say(says("What is two plus two?"));
  assert.match((await client.event("speak", isFinal)).text, /four/i);
  assert.deepEqual(client.of("tool-call"), []);

  const given = await slow.event("cancel-tool-call");
  assert.deepEqual([given.toolCallId, given.reason], [late, "timeout"]);
  await slow.event("speak", isFinal);
  await slow.nth("status", 1, isIdle);
  slow.forget();
  assert.equal((await slow.ask(result(late, { result: 1 }))).code, "UNKNOWN_TOOL_CALL");
  await slow.say(result(late, canceled));
  await slow.settled();
  assert.deepEqual(slow.faults().map(({ what, value }) => [what, value.code]), [[errors, "UNKNOWN_TOOL_CALL"]]);
  assert.deepEqual(slow.statuses(), []);
}

/** Two clients hold one agent; a third takes the place of one that has gone. */
async function sharedFlow({ says, result, errors }) {
  const agent = await agentWith([WEATHER]);
  const first = await connect(agent);
  const second = await connect(agent);
  await first.say(says("What is the weather in Paris?"));
  const calls = await Promise.all([first.event("tool-call"), second.event("tool-call")]);
  assert.deepEqual(calls[0], calls[1]);
  await second.say(result(calls[0].toolCallId, { result: { sky: "clear" } }));
  const late = await first.ask(result(calls[0].toolCallId, { result: { sky: "red" } }));
  assert.equal(late.code, "UNKNOWN_TOOL_CALL");
  const heard = await Promise.all([first, second].map((one) => one.event("speak", isFinal)));
  assert.deepEqual(heard[0], heard[1]);
  assert.equal(heard[0].text, "The sky is clear.");
  await Promise.all([first, second].map((one) => one.nth("status", 1, isIdle)));
  const numbered = (client) => client.events().filter(({ seq }) => seq >= calls[0].seq);
  assert.deepEqual(numbered(first), numbered(second));
  assert.equal(first.faults().filter(({ what }) => what === errors).length, 1);
  assert.deepEqual(second.faults(), []);

  await first.say(says("What is the weather in Rome?"));
  const open = await first.nth("tool-call", 2);
  [first, second].forEach(({ socket }) => socket.disconnect());
  const third = await connect(agent);
  const again = await third.event("tool-call");
  for (const field of ["toolCallId", "toolName", "arguments", "timeoutSeconds"]) {
    assert.deepEqual(again[field], open[field], field);
  }
  await third.say(result(again.toolCallId, { result: { sky: "blue" } }));
  assert.equal((await third.event("speak", isFinal)).text, "The sky is blue.");
  assert.deepEqual(third.faults(), []);
}

/** News come while the agent is at work. */
async function newsFlow({ says, event }) {
  const client = await connect(await agentWith([]));
  await client.say(says("Count to one hundred."));
  const begun = await client.event("speak");
  assert.equal(begun.isFinal, false);
  await client.say(says("What is two plus two?"));
  const cut = await client.event("speak-status");
  assert.deepEqual([cut.speechId, cut.status], [begun.speechId, "interrupted"]);
  assert.match((await client.event("speak", isFinal)).text, /four/i);
  await client.nth("status", 1, isIdle);
  assert.equal(client.of("speak").filter(isFinal).length, 1);

  client.forget();
  const hurried = [
    says("Count to one hundred."),
    says("Count to ninety."),
    says("Say apple.", { triggering: false }),
    says("Say pear."),
  ];
  await Promise.all(hurried.map((message) => client.say(message)));
  await client.event("speak", (said) => isFinal(said) && said.text === "Pear.");
  await client.event("status", () => client.statuses().at(-1) === "idle");
  // An answer to the second may begin late enough to know the third; the two counts are cut.
  const whole = client.of("speak").filter(isFinal).map(({ text }) => text);
  assert.deepEqual(whole.filter((text) => text !== "Apple."), ["Pear."]);

  client.forget();
  const quiet = { triggering: false };
  await client.say(event("mood", "The mood has changed", { mood: "calm", topic: "cats" }, quiet));
  await client.settled();
  assert.deepEqual(client.log, []);
  const ask = async (question, context) => {
    client.forget();
    await client.say(event("new-message", `Ann wrote: ${question}`, context));
    const { text } = await client.event("speak", isFinal);
    await client.nth("status", 1, isIdle);
    return text;
  };
  assert.equal(await ask("What is the mood?", { mood: "wild" }), "The mood is wild.");
  assert.doesNotMatch(await ask("What is the topic?", { mood: "wild" }), /cats/);
  assert.deepEqual(client.faults(), []);
}

/** What a client sees when it comes, and until when. */
async function arrivalFlow() {
  const agent = await agentWith([], { ttlSeconds: 3600 });
  const { body: made } = await rest("GET", `/agents/${agent}`);
  assert.equal(Date.parse(made.expiresAt) - Date.parse(made.createdAt), 3_600_000);
  const client = await connect(agent);
  const state = await client.event("state");
  assert.deepEqual([state.from, state.to, state.seq], ["created", "connected", 1]);
  const { body: held } = await rest("GET", `/agents/${agent}`);
  assert.deepEqual([held.state, held.activity, held.clients, held.call], ["connected", "idle", 1, null]);
  assert.equal((await client.ask({ type: "say", text: "Hello" })).code, "NOT_IN_CALL");
}

async function main() {
  deadline(100);
  const flows = { toolFlow, chatFlow, cancelFlow, sharedFlow, newsFlow };
  const runs = Object.entries(DIALECTS).flatMap(([generation, dialect]) =>
    Object.entries(flows).map(async ([name, flow]) => {
      await flow(dialect).catch((error) => {
        error.message = `${name}, ${generation} generation: ${error.message}`;
        throw error;
      });
      return `${name} ${generation}`;
    }),
  );
  tell({ done: (await Promise.all([...runs, arrivalFlow().then(() => "arrivalFlow")])).length });
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
