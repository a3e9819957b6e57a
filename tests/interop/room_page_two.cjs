// Two browsers in one room with an agent: Ann asks for the time, then Ben says his name; both read and
// hear the other and the agent.
//
// Usage: node room_page_two.cjs CHROMIUM ROOM_URL WAV_OF_ANN WAV_OF_BEN HEARD_BY_ANN HEARD_BY_BEN
"use strict";

const { tell, deadline } = require("./lines.cjs");
const { launch, visitor, writeHeard, person } = require("./browsers.cjs");

const [executablePath, url, ...files] = process.argv.slice(2);
const [says, hears] = [files.slice(0, 2), files.slice(2)];

async function main() {
  deadline(150);
  const browsers = await Promise.all(
    says.map((wav) => launch(executablePath, { wav })),
  );
  try {
    const [ann, ben] = await Promise.all(browsers.map((browser) => visitor(browser)));
    const both = [ann.page, ben.page];
    await enter(ben.page, "Ben");
    await mute(ben.page);
    await enter(ann.page, "Ann");
    await person(ben.page, "Ann").waitFor();
    await person(ann.page, "Ben").waitFor();
    const seen = await Promise.all(both.map((page) => read(page, "Ann", /time/i)));
    await mute(ann.page);
    await mute(ben.page);
    const named = await Promise.all(both.map((page) => read(page, "Ben", /name/i)));
    await Promise.all(both.map((page, index) => writeHeard(page, hears[index])));
    await ann.page.getByRole("button", { name: "Hang up" }).click();
    await person(ben.page, "Ann").waitFor({ state: "detached" });
    const left = await ben.page.locator("#people .name").allTextContents();
    await ben.page.getByRole("button", { name: "Hang up" }).click();
    tell({ seen, named, left, faults: [...ann.faults, ...ben.faults] });
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

/** Mutes, or lets through again. */
function mute(page) {
  return page.getByRole("button", { name: "Mute" }).click();
}

/** What is captioned of what somebody says and its answer, and who was shown as speaking. */
async function read(page, who, what) {
  await page.locator("#people li.speaking", { hasText: who }).waitFor();
  const asked = page.locator("#captions li:not(.interim)", { hasText: what }).first();
  await asked.waitFor();
  const answered = page.locator(`#captions li:has-text("${who}:") ~ li.agent:not(.interim)`).first();
  await answered.waitFor();
  await page.locator("#people li.agent", { hasText: "Ada" }).filter({ hasText: "listening" }).waitFor();
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
