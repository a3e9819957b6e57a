// A browser that may only be heard through a TURN server: asks a question, and hears the answer.
//
// Usage: node relay.cjs CHROMIUM ROOM_URL WAV_TO_SAY
//
// It tells `{ joined, message }`, and, if it is in, how its sound goes once it hears something. It
// stays until its input ends.
"use strict";

const { tell, obey, deadline } = require("./lines.cjs");
const { launch, visitor, way } = require("./browsers.cjs");

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
    tell(await way(page));
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

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
