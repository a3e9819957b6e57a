// The console with a microphone: makes an agent, talks to it, hangs up.
//
// Usage: node console_talk.cjs CHROMIUM GATEWAY_URL API_KEY WAV_TO_SAY FOLDER WAV_TO_WRITE
"use strict";

const { tell, deadline } = require("./lines.cjs");
const { launch, visitor, writeHeard, accessFaults, overflow, shoot } = require("./browsers.cjs");

const [executablePath, url, key, wav, folder, recording] = process.argv.slice(2);

async function main() {
  deadline(120);
  const browser = await launch(executablePath, { wav });
  try {
    tell(await talk(browser));
  } finally {
    await browser.close();
  }
}

async function talk(browser) {
  const { page, faults } = await visitor(browser);
  const addresses = [];
  page.on("request", (request) => addresses.push(request.url()));
  page.on("websocket", (socket) => addresses.push(socket.url()));
  await page.goto(`${url}/console`);
  await page.getByLabel("API key", { exact: true }).fill(key);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("button", { name: "Try an agent" }).click();
  await page.locator("#agent-name").fill("Robin");
  await page.locator("#agent-greeting").fill("Good day.");
  await shoot(page, folder, "console-try");
  const access = await accessFaults(page);
  await page.getByRole("button", { name: "Create it and talk" }).click();
  await page.locator("#talk-state").filter({ hasText: "In the call" }).waitFor();
  const asked = page.locator("#text li:not(.agent):not(.interim)", { hasText: /time/i }).first();
  await asked.waitFor();
  const answer = page.locator("#text li.agent", { hasText: /it is/i }).first();
  await answer.waitFor();
  await page.locator("#agents li", { hasText: "listening" }).waitFor();
  await shoot(page, folder, "console-talk");
  access.push(...await accessFaults(page));
  const captions = {
    asked: await asked.locator(".said").innerText(), answered: await answer.locator(".said").innerText(),
  };
  await writeHeard(page, recording);
  await page.getByRole("button", { name: "Mute" }).press("Space");
  const isMuted = await page.getByRole("button", { name: "Muted" }).getAttribute("aria-pressed");
  await page.setViewportSize({ width: 400, height: 860 });
  await shoot(page, folder, "console-talk-narrow");
  const wider = await overflow(page);
  await page.getByRole("button", { name: "Hang up" }).click();
  await page.locator("#talk").waitFor({ state: "hidden" });
  await page.locator("#calls button", { hasText: "Robin" }).waitFor();
  await page.locator("#agents li").waitFor({ state: "detached" });
  const isListening = await page.evaluate(() => window.peers.some(
    (peer) => peer.getSenders().some(({ track }) => track?.readyState === "live"),
  ));
  const leaked = addresses.filter((one) => one.includes(key));
  return { captions, isMuted, isListening, overflow: wider, access, faults, leaked };
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
