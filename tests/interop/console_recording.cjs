// A recorded call in the console, in a real browser: played beside its timeline.
//
// Usage: node console_recording.cjs CHROMIUM GATEWAY_URL API_KEY FOLDER
"use strict";

const { tell, deadline } = require("./lines.cjs");
const { launch, visitor, accessFaults, overflow, shoot } = require("./browsers.cjs");

const [executablePath, url, key, folder] = process.argv.slice(2);

async function main() {
  deadline(120);
  const browser = await launch(executablePath);
  const { page, faults } = await visitor(browser, { viewport: { width: 1280, height: 860 } });
  const addresses = [];
  page.on("request", (request) => addresses.push(request.url()));
  await page.goto(`${url}/console`);
  await page.getByLabel("API key", { exact: true }).fill(key);
  await page.keyboard.press("Enter");
  await page.locator("#calls button").first().click();
  await page.locator("#recording").waitFor();
  await page.waitForFunction(() => document.getElementById("audio").readyState >= 2);
  await page.getByRole("button", { name: "Fit" }).click();
  const length = await page.evaluate(() => document.getElementById("audio").duration);
  const loud = await decoded(page);
  const seeked = await seek(page, length / 2);
  const stepped = await step(page);
  await seek(page, 0);
  const played = await play(page);
  await shoot(page, folder, "console-recording");
  const paused = await pause(page);
  const access = await accessFaults(page);
  await page.setViewportSize({ width: 400, height: 860 });
  await page.locator("#call").scrollIntoViewIfNeeded();
  await shoot(page, folder, "console-recording-narrow");
  const leaked = addresses.filter((address) => address.includes(key));
  tell({ length, loud, seeked, stepped, played, paused, access, overflow: await overflow(page), faults, leaked });
  await browser.close();
}

/** Where on its clock each channel is loud for the first and the last time, in seconds; decoded from what REST gives. */
function decoded(page) {
  return page.evaluate(async () => {
    const key = Object.values(sessionStorage).find((value) => value.includes("ak_"));
    const headers = { "X-API-Key": /ak_\w+/.exec(key)[0] };
    const { calls } = await (await fetch("/api/calls", { headers })).json();
    const answer = await fetch(`/api/calls/${calls[0].id}/recording`, { headers });
    const context = new OfflineAudioContext(2, 1, 24000);
    const sound = await context.decodeAudioData(await answer.arrayBuffer());
    return [0, 1].map((channel) => {
      const samples = sound.getChannelData(channel);
      const isLoud = (one) => Math.abs(one) > 0.05;
      return [samples.findIndex(isLoud), samples.findLastIndex(isLoud)].map((at) => at / 24000);
    });
  });
}

/** Clicks on the timeline where this second lies; where the sound and the playhead are then. */
async function seek(page, second) {
  const at = await page.evaluate((second) => {
    const drawing = document.querySelector(".seq-drawing").getBoundingClientRect();
    const { duration } = document.getElementById("audio");
    // The drawing ends twelve pixels after the call.
    return { x: drawing.left + (drawing.width - 12) * second / duration, y: drawing.top + 6 };
  }, second);
  await page.mouse.click(at.x + 1, at.y);
  await page.waitForFunction(() => !document.getElementById("audio").seeking);
  return page.evaluate(places);
}

/** Goes to the first event by the keyboard, and to its sound; where the sound and the playhead are then. */
async function step(page) {
  await page.locator(".seq-scroll").focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => !document.getElementById("audio").seeking);
  return page.evaluate(places);
}

/** Plays until both voices were heard; the places of sound and playhead meanwhile, and how loud each side was. */
async function play(page) {
  await page.evaluate(() => {
    const audio = document.getElementById("audio");
    const context = new AudioContext();
    const [source, splitter] = [context.createMediaElementSource(audio), context.createChannelSplitter(2)];
    source.connect(splitter);
    source.connect(context.destination);
    const ears = [0, 1].map((channel) => {
      const ear = context.createAnalyser();
      splitter.connect(ear, channel);
      return ear;
    });
    window.loudest = [0, 0];
    const samples = new Float32Array(ears[0].fftSize);
    window.listening = setInterval(() => ears.forEach((ear, side) => {
      ear.getFloatTimeDomainData(samples);
      window.loudest[side] = Math.max(window.loudest[side], ...samples.map(Math.abs));
    }), 20);
    return audio.play();
  });
  const seen = [];
  const until = Date.now() + 60_000;
  for (;;) {
    await page.waitForTimeout(200);
    seen.push(await page.evaluate(places));
    const loudest = await page.evaluate(() => window.loudest);
    if (Math.min(...loudest) > 0.05 || Date.now() > until) return { seen, loudest };
  }
}

/** Stops; where the playhead is then, and a little later. */
async function pause(page) {
  await page.evaluate(() => {
    clearInterval(window.listening);
    document.getElementById("audio").pause();
  });
  await page.waitForTimeout(300);
  return page.evaluate(places);
}

/** Runs in the page: the seconds at which the sound and the playhead are. */
function places() {
  const audio = document.getElementById("audio");
  const head = document.querySelector(".playhead");
  const drawing = document.querySelector(".seq-drawing").getBoundingClientRect();
  const x = head.hasAttribute("hidden") ? null : Number(/translate\(([\d.]+)/.exec(head.getAttribute("transform"))[1]);
  return { sound: audio.currentTime, head: x === null ? null : x / (drawing.width - 12) * audio.duration };
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
