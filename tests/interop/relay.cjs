// A browser that may only be heard through a TURN server: asks a question, and hears the answer.
//
// Usage: node relay.cjs CHROMIUM ROOM_URL WAV_TO_SAY
//
// It tells `{ joined, message }`, and, if it is in, how its sound goes once it hears something. It
// stays until its input ends.
"use strict";

const { tell, obey, deadline } = require("./lines.cjs");
const { launch, visitor } = require("./browsers.cjs");

const [executablePath, url, wav] = process.argv.slice(2);

async function main() {
  deadline(120);
  const browser = await launch(executablePath, { wav });
  try {
    const { page } = await visitor(browser);
    await page.goto(url);
    const outcome = await page.evaluate(enter);
    tell(outcome);
    if (!outcome.joined) return;
    await page.waitForFunction(() => window.heard.flat().some((one) => Math.abs(one) > 3000));
    tell(await page.evaluate(way));
    await new Promise((resolve) => { obey(() => {}, resolve); });
    await page.evaluate(() => window.call.leave());
  } finally {
    await browser.close();
  }
}

/** Runs in the page. */
async function enter() {
  const { join } = await import("/assets/callbridge.js");
  try {
    window.call = await join(location.href, { name: "Carol", relayOnly: true });
    return { joined: true };
  } catch ({ code, message }) {
    return { joined: false, code, message };
  }
}

/** Runs in the page: the kinds of both ends of the way that the sound takes. */
async function way() {
  const stats = await window.peers.at(-1).getStats();
  const all = [...stats.values()];
  const pair = all.find(({ type, nominated, state }) => (
    type === "candidate-pair" && nominated && state === "succeeded"
  ));
  const kind = (id) => stats.get(id).candidateType;
  return { local: kind(pair.localCandidateId), remote: kind(pair.remoteCandidateId) };
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
