// Two browsers in one room with an agent: one asks, the other reads and hears.
//
// Usage: node room_page_two.cjs CHROMIUM ROOM_URL WAV_TO_SAY SILENT_WAV WAV_TO_WRITE
"use strict";

const { tell, deadline } = require("./lines.cjs");
const { launch, visitor, writeHeard, person } = require("./browsers.cjs");

const [executablePath, url, question, silence, recording] = process.argv.slice(2);

async function main() {
  deadline(120);
  const browsers = await Promise.all(
    [question, silence].map((wav) => launch(executablePath, { wav })),
  );
  try {
    const [ann, ben] = await Promise.all(browsers.map((browser) => visitor(browser)));
    await enter(ben.page, "Ben");
    await enter(ann.page, "Ann");
    await person(ben.page, "Ann").waitFor();
    await person(ann.page, "Ben").waitFor();
    const seen = await Promise.all([ann, ben].map(({ page }) => read(page)));
    await writeHeard(ben.page, recording);
    await ann.page.getByRole("button", { name: "Hang up" }).click();
    await person(ben.page, "Ann").waitFor({ state: "detached" });
    const left = await ben.page.locator("#people .name").allTextContents();
    await ben.page.getByRole("button", { name: "Hang up" }).click();
    tell({ seen, left, faults: [...ann.faults, ...ben.faults] });
  } finally {
    await Promise.all(browsers.map((browser) => browser.close()));
  }
}

async function enter(page, name) {
  await page.goto(url);
  await page.getByLabel("Your name").fill(name);
  await page.getByRole("button", { name: "Join" }).click();
  await page.getByRole("status").filter({ hasText: "In the call" }).waitFor();
}

/** What is captioned of one question and its answer, and who was shown as speaking. */
async function read(page) {
  await page.locator("#people li.speaking", { hasText: "Ann" }).waitFor();
  const asked = page.locator("#captions li:not(.interim)", { hasText: /time/i }).first();
  await asked.waitFor();
  const ada = page.locator("#people li.agent", { hasText: "Ada" });
  await ada.filter({ hasText: "speaking" }).waitFor();
  await ada.filter({ hasText: "listening" }).waitFor();
  const answered = page.locator("#captions li.agent").first();
  return {
    people: await page.locator("#people .name").allTextContents(),
    asked: await asked.innerText(),
    answered: await answered.innerText(),
  };
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
