// The page of a room in a real browser: joins, is heard, reads the captions, hangs up.
//
// Usage: node room_page.cjs CHROMIUM ROOM_URL WAV_TO_SAY FOLDER_FOR_SCREENSHOTS
//
// The last line tells the test what the page has shown.
"use strict";

const path = require("node:path");
const { chromium } = require("playwright-core");
const { tell, deadline } = require("./lines.cjs");

const [executablePath, url, wav, folder] = process.argv.slice(2);
const PATIENCE_MS = 40_000;
const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844 };

async function main() {
  deadline(100);
  const browser = await chromium.launch({
    executablePath,
    headless: true,
    chromiumSandbox: false,
    args: [
      "--disable-gpu", "--disable-quic", "--disable-audio-output",
      "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
      `--use-file-for-fake-audio-capture=${wav}`,
      "--autoplay-policy=no-user-gesture-required", "--allow-loopback-in-peer-connection",
    ],
  });
  try {
    tell(await visit(browser));
  } finally {
    await browser.close();
  }
}

async function visit(browser) {
  const context = await browser.newContext({ viewport: DESKTOP, colorScheme: "light" });
  context.setDefaultTimeout(PATIENCE_MS);
  await context.addInitScript(() => {
    const Plain = window.RTCPeerConnection;
    window.peers = [];
    window.RTCPeerConnection = class extends Plain {
      constructor(...args) {
        super(...args);
        window.peers.push(this);
      }
    };
  });
  const page = await context.newPage();
  const faults = [];
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("console", (line) => line.type() === "error" && faults.push(line.text()));
  const shoot = (name) => page.screenshot({ path: path.join(folder, `${name}.png`) });

  await page.goto(url);
  // Who is in a locked room is shown to those who are in it.
  const isLocked = await page.getByLabel("Token of this room").isVisible();
  if (!isLocked) await page.getByRole("listitem").filter({ hasText: "Ada" }).waitFor();
  await shoot("door");
  await page.getByLabel("Your name").fill("Carol");
  await page.getByRole("button", { name: "Join" }).click();
  const state = page.getByRole("status");
  await page.getByRole("button", { name: "Hang up" }).waitFor();
  await person(page, "Carol").waitFor();
  const people = await page.locator("#people li").allTextContents();

  // The question is written while it is said; the answer follows it.
  const asked = page.locator("#captions li:not(.agent):not(.interim)", { hasText: /time/i });
  await state.filter({ hasText: "The agent is speaking" }).waitFor();
  const answer = page.locator("#captions li.agent").first();
  await answer.waitFor();
  await asked.first().waitFor();
  await shoot("speaking");
  await state.filter({ hasText: "The agent is listening" }).waitFor();
  const captions = { asked: await asked.first().innerText(), answered: await answer.innerText() };
  await page.setViewportSize(PHONE);
  await shoot("phone");
  const overflow = await page.evaluate(
    () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
  );

  const speaks = await page.evaluate(() =>
    window.peers.map((peer) => peer.getSenders()[0].getParameters().codecs[0].mimeType),
  );
  await page.getByRole("button", { name: "Hang up" }).click();
  await page.getByRole("button", { name: "Join" }).waitFor();
  await person(page, "Carol").waitFor({ state: "detached" });
  const left = { state: await state.innerText(), people: await page.locator("#people li").allTextContents() };
  await shoot("left");
  return { isLocked, people, captions, speaks, left, overflow, faults };
}

function person(page, name) {
  return page.locator("#people li", { hasText: name });
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
