// A browser on the page of a room, whose way to the gateway is looked at.
//
// Usage: node tcp.cjs CHROMIUM ROOM_URL WAV_TO_SAY ORIGIN_TO_TRUST
//
// Orders: "join" joins, "talk" waits until a new question of the page is captioned and then something
// is heard. Both tell the ways that are in use, and how often the page has entered and restarted ICE.
"use strict";

const { tell, obey, deadline } = require("./lines.cjs");
const { launch, visitor } = require("./browsers.cjs");

const [executablePath, url, wav, origin] = process.argv.slice(2);

async function main() {
  deadline(200);
  const args = [`--unsafely-treat-insecure-origin-as-secure=${origin}`];
  const browser = await launch(executablePath, { wav, args });
  const { page } = await visitor(browser);
  const done = { entered: 0, restarts: 0 };
  page.on("response", (response) => {
    const [method, status] = [response.request().method(), response.status()];
    if (method === "POST" && status === 201) done.entered += 1;
    if (method === "PATCH" && status === 200) done.restarts += 1;
  });
  await page.goto(url);
  const orders = { join: () => join(page), talk: () => talk(page) };
  const act = async (order) => {
    await orders[order]();
    tell({ ...done, ...await page.evaluate(way) });
  };
  obey((order) => act(order).catch(fail), () => browser.close().then(() => process.exit(0)));
}

async function join(page) {
  await page.getByLabel("Your name").fill("Carol");
  await page.getByRole("button", { name: "Join" }).click();
  await page.getByRole("button", { name: "Hang up" }).waitFor();
}

async function talk(page) {
  const own = page.locator("#captions li:not(.agent):not(.interim)", { hasText: /Carol:.*time/i });
  const before = await own.count();
  await page.getByRole("status").filter({ hasText: "In the call" }).waitFor();
  await own.nth(before).waitFor();
  await page.evaluate(() => { window.heard = []; });
  await page.waitForFunction(() => window.heard.flat().some((one) => Math.abs(one) > 3000));
}

/** Runs in the page: the pair of candidates by which sound goes, and all that were tried. */
async function way() {
  const all = await window.peers.at(-1).getStats();
  const transport = [...all.values()].find(({ type }) => type === "transport");
  const ends = (pair) => {
    const [local, remote] = [all.get(pair.localCandidateId), all.get(pair.remoteCandidateId)];
    return { by: local.protocol, to: `${remote.protocol} ${remote.address} ${remote.port}`, state: pair.state };
  };
  const pairs = [...all.values()].filter(({ type }) => type === "candidate-pair").map(ends);
  const pair = all.get(transport.selectedCandidatePairId);
  return { way: pair && ends(pair), port: pair && all.get(pair.remoteCandidateId).port, pairs };
}

function fail(error) {
  console.error(error);
  process.exit(1);
}

main().catch(fail);
