// The page of a room in a real browser: joins, is heard, reads the captions, mutes, hangs up.
//
// Usage: node room_page.cjs CHROMIUM ROOM_URL WAV_TO_SAY FOLDER WAV_TO_WRITE
//
// The last line tells the test what the page has shown; FOLDER gets the screenshots.
"use strict";

const { tell, deadline } = require("./lines.cjs");
const {
  PHONE, launch, visitor, writeHeard, accessFaults, overflow, person, shoot,
} = require("./browsers.cjs");

const [executablePath, url, wav, folder, recording] = process.argv.slice(2);

async function main() {
  deadline(100);
  const browser = await launch(executablePath, { wav });
  try {
    tell(await visit(browser));
  } finally {
    await browser.close();
  }
}

async function visit(browser) {
  const { page, faults } = await visitor(browser);
  await page.goto(url);
  // Who is in a locked room is shown to those who are in it.
  const isLocked = await page.getByLabel("Token of this room").isVisible();
  if (!isLocked) await person(page, "Ada").waitFor();
  await shoot(page, folder, "door");
  const access = await accessFaults(page);

  // By the keyboard alone.
  await page.getByLabel("Your name").focus();
  await page.keyboard.type("Carol");
  await page.keyboard.press("Enter");
  const state = page.getByRole("status");
  await state.filter({ hasText: "In the call" }).waitFor();
  await person(page, "Carol (you)").waitFor();
  await person(page, "Ada").waitFor();
  const people = await page.locator("#people .name").allTextContents();
  const focused = await page.evaluate(() => document.activeElement.id);
  const devices = await page.getByLabel("Microphone").locator("option").allTextContents();

  // The question is written while it is said; the answer follows it.
  const asked = page.locator("#captions li:not(.agent):not(.interim)", { hasText: /time/i });
  const ada = page.locator("#people li.agent", { hasText: "Ada" });
  await ada.filter({ hasText: "speaking" }).waitFor();
  const answer = page.locator("#captions li.agent").first();
  await answer.waitFor();
  await asked.first().waitFor();
  await shoot(page, folder, "speaking");
  await ada.filter({ hasText: "listening" }).waitFor();
  const captions = { asked: await asked.first().innerText(), answered: await answer.innerText() };
  await page.locator("#quality[data-quality=good], #quality[data-quality=fair]").waitFor();
  await writeHeard(page, recording);
  access.push(...await accessFaults(page));

  await page.setViewportSize(PHONE);
  await shoot(page, folder, "phone");
  const overflows = [await overflow(page)];
  await page.emulateMedia({ colorScheme: "dark" });
  await shoot(page, folder, "dark");
  access.push(...await accessFaults(page));
  const muted = await mute(page);

  const speaks = await page.evaluate(() =>
    window.peers.map((peer) => peer.getSenders()[0].getParameters().codecs[0].mimeType),
  );
  await page.getByRole("button", { name: "Hang up" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Join" }).waitFor();
  await person(page, "Carol").waitFor({ state: "detached" });
  const left = {
    state: await state.innerText(),
    // Each list that was shown from then on: nobody goes and comes back with us.
    people: await page.locator("#people .name").allTextContents(),
    peopleSince: await page.evaluate((carol) => {
      const { people } = window.shown;
      return people.slice(people.findLastIndex((names) => names.includes(carol)) + 1);
    }, "Carol (you)"),
    focused: await page.evaluate(() => document.activeElement.id),
    isListening: await page.evaluate(() => window.peers.some(
      (peer) => peer.getSenders().some(({ track }) => track?.readyState === "live"),
    )),
  };
  await shoot(page, folder, "left");
  overflows.push(await overflow(page));
  const { doing, loudest } = await page.evaluate(() => window.shown);
  return {
    isLocked, people, focused, devices, captions, loudest, doing, muted, speaks, left,
    overflow: Math.max(...overflows), access, faults,
  };
}

/** Mutes and lets through again; what was sent meanwhile. */
async function mute(page) {
  const button = page.getByRole("button", { name: "Mute" });
  const sends = () => page.evaluate(() => window.peers.at(-1).getSenders()[0].track.enabled);
  await button.press("Space");
  await person(page, "Carol").filter({ hasText: "muted" }).waitFor();
  const during = { sends: await sends(), pressed: await button.getAttribute("aria-pressed") };
  await button.press("Space");
  const after = { sends: await sends(), pressed: await button.getAttribute("aria-pressed") };
  return { during, after };
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
