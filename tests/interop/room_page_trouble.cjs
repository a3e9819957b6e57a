// The page of a room when things go wrong. It takes orders, and tells what the page shows.
//
// Usage: node room_page_trouble.cjs CHROMIUM ROOM_URL [WAV_TO_SAY | refused | ""] [ORIGIN_TO_TRUST]
//
// Orders: "join" joins and tells what it comes to, "mend" waits until the page is in the call and
// a new question of its own is captioned, "ended" waits until the page is out of the call, "mute"
// mutes for as long as it takes to play the microphone's file, "way" tells how the sound goes, and
// { "write": FILE } writes what was heard.
"use strict";

const { tell, obey, deadline } = require("./lines.cjs");
const { launch, visitor, way, writeHeard } = require("./browsers.cjs");

const [executablePath, url, wav, origin] = process.argv.slice(2);

async function main() {
  deadline(200);
  const args = origin ? [`--unsafely-treat-insecure-origin-as-secure=${origin}`] : [];
  const isRefused = wav === "refused";
  const browser = await launch(executablePath, { wav: isRefused ? "" : wav, isRefused, args });
  const { page } = await visitor(browser);
  const requests = [];
  const restarts = [];
  page.on("response", (response) => {
    if (response.request().method() === "PATCH" && response.status() === 200) restarts.push(response.url());
  });
  page.on("request", (request) => requests.push(`${request.method()} ${new URL(request.url()).pathname}`));
  await page.goto(url);
  const orders = {
    join: () => join(page),
    mend: () => mend(page, requests, restarts),
    ended: () => ended(page, requests),
    mute: () => mute(page),
    way: () => way(page),
  };
  const obeyed = (order) => (
    order.write ? writeHeard(page, order.write).then(() => ({ written: true })) : orders[order]()
  );
  obey((order) => obeyed(order).then(tell, fail), () => browser.close().then(() => process.exit(0)));
}

async function join(page) {
  await page.getByLabel("Your name").fill("Carol");
  await page.getByRole("button", { name: "Join" }).click();
  const isIn = page.getByRole("button", { name: "Hang up" });
  const message = page.getByRole("alert");
  await isIn.or(message.filter({ hasText: /./ })).first().waitFor();
  if (await isIn.isVisible()) {
    await question(page, 0);
    return { joined: true };
  }
  return { joined: false, message: await message.innerText() };
}

async function mend(page, requests, restarts) {
  const before = await page.locator("#captions li:not(.agent):not(.interim)").count();
  await page.getByRole("status").filter({ hasText: "In the call" }).waitFor();
  await question(page, before);
  const states = await page.evaluate(() => window.shown.states.splice(0));
  const entered = requests.filter((one) => /^POST .*\/whip$/.test(one)).length;
  const peers = await page.evaluate(() => window.peers.map((peer) => peer.connectionState));
  return { states, entered, restarts: restarts.length, peers };
}

/** Waits until more than so many questions of this page stand in the captions. */
function question(page, count) {
  const own = page.locator("#captions li:not(.agent):not(.interim)", { hasText: /Carol:.*time/i });
  return own.nth(count).waitFor();
}

/** Mutes once nobody speaks; when that was, in ms since the Unix epoch. */
async function mute(page) {
  const playedMs = 20_000;
  await page.locator("#people li.agent", { hasText: "listening" }).waitFor();
  const button = page.getByRole("button", { name: "Mute" });
  await button.click();
  await page.locator("#mute[aria-pressed=true]").waitFor();
  const from = Date.now();
  await page.waitForTimeout(playedMs);
  const loudest = await page.evaluate(() => document.getElementById("own").value);
  const to = Date.now();
  await button.click();
  return { from, to, loudest };
}

async function ended(page, requests) {
  await page.getByRole("button", { name: "Join" }).waitFor();
  const message = await page.getByRole("alert").innerText();
  const [before, again] = [requests.length, 3000];
  await page.waitForTimeout(again);
  return { message, state: await page.getByRole("status").innerText(), requests: requests.slice(before) };
}

function fail(error) {
  console.error(error);
  process.exit(1);
}

main().catch(fail);
