// The console in a real browser: signs in, follows a call, and opens it from the archive.
//
// Usage: node console.cjs CHROMIUM GATEWAY_URL API_KEY FOLDER
//
// Orders: "live" tells what is drawn of the call that goes on, once an answer was cut off in it;
// "ended" waits for its end, and tells what the archive's drawing shows; "erase" erases it.
"use strict";

const { tell, obey, deadline } = require("./lines.cjs");
const { launch, visitor, accessFaults, overflow, shoot } = require("./browsers.cjs");

const [executablePath, url, key, folder] = process.argv.slice(2);
const NARROW = { width: 400, height: 860 };
const WIDE = { width: 1280, height: 860 };

async function main() {
  deadline(200);
  const browser = await launch(executablePath);
  const { page, faults } = await visitor(browser, { viewport: WIDE });
  const addresses = [];
  page.on("request", (request) => addresses.push(request.url()));
  tell(await signIn(page, faults));
  const orders = {
    live: () => live(page),
    ended: () => ended(page),
    erase: async () => ({ ...await erase(page), faults, leaked: addresses.filter((one) => one.includes(key)) }),
  };
  obey((order) => orders[order]().then(tell, fail), () => browser.close().then(() => process.exit(0)));
}

async function signIn(page, faults) {
  await page.goto(`${url}/console`);
  await shoot(page, folder, "console-door");
  const access = await accessFaults(page);
  await page.getByLabel("API key", { exact: true }).fill("ak_of_nobody");
  await page.keyboard.press("Enter");
  const message = page.getByRole("alert");
  await message.filter({ hasText: /./ }).waitFor();
  const refused = await message.innerText();
  // The browser tells of the 401 as well.
  faults.length = 0;
  await page.getByLabel("API key", { exact: true }).fill(key);
  await page.keyboard.press("Enter");
  await page.locator("#state[data-state=live]").waitFor();
  return { refused, access };
}

async function live(page) {
  await page.locator("#call-live").waitFor();
  await page.locator(".block.heard.cut").waitFor({ state: "attached" });
  await page.locator(".block.tool").waitFor({ state: "attached" });
  await page.locator("#text .tag").waitFor();
  const row = await page.locator("#agents li", { hasText: "Ada" }).innerText();
  await page.locator("#zoom-fit").click();
  await shoot(page, folder, "console-live");
  return { row: row.replaceAll("\n", " "), ...await drawn(page), access: await accessFaults(page) };
}

async function ended(page) {
  await page.locator("#call-facts").filter({ hasText: "ended" }).waitFor();
  await page.locator("#rough").waitFor({ state: "hidden" });
  await page.getByLabel("With the words").fill("no such words");
  await page.getByText("None of these calls fits.").waitFor();
  await page.getByLabel("With the words").fill("lobby ada");
  await page.locator("#calls button").first().press("Enter");
  await page.locator("#calls button[aria-current]").waitFor();
  await page.getByRole("button", { name: "Fit" }).click();
  const shown = await drawn(page);
  // By the keyboard alone, from one event to the next.
  await page.locator(".seq-scroll").focus();
  const told = [];
  for (let step = 0; step < 3; step += 1) {
    await page.keyboard.press("ArrowRight");
    told.push(await page.evaluate(() => document.activeElement.getAttribute("aria-label")));
  }
  const tip = await page.locator(".seq-tip").innerText();
  const width = () => page.locator(".seq-drawing").evaluate((one) => one.clientWidth);
  const before = await width();
  await page.keyboard.press("+");
  const zoomed = await width() / before;
  await page.getByRole("button", { name: "Fit" }).click();
  await page.locator("#recording").waitFor();
  await page.locator(".seq-drawing").click({ position: { x: 440, y: 6 } });
  await page.locator(".block.heard.cut").hover();
  await shoot(page, folder, "console-archive");
  const access = await accessFaults(page);
  await page.setViewportSize(NARROW);
  await page.locator("#call").scrollIntoViewIfNeeded();
  await shoot(page, folder, "console-narrow");
  const overflows = [await overflow(page)];
  await page.getByRole("button", { name: "Try an agent" }).click();
  overflows.push(await overflow(page));
  await page.emulateMedia({ colorScheme: "dark" });
  access.push(...await accessFaults(page));
  await page.setViewportSize(WIDE);
  await page.getByRole("button", { name: "Calls", exact: true }).click();
  await shoot(page, folder, "console-dark");
  access.push(...await accessFaults(page));
  await page.getByRole("button", { name: "Timing" }).click();
  await page.locator("li.stage").first().waitFor();
  const stages = await page.locator("li.stage h3").allTextContents();
  await shoot(page, folder, "console-stages");
  await page.getByRole("button", { name: "Calls", exact: true }).click();
  return { ...shown, told, tip, zoomed, stages, overflow: Math.max(...overflows), access };
}

async function erase(page) {
  await page.getByRole("button", { name: "Erase", exact: true }).click();
  await page.getByRole("button", { name: "Keep it" }).click();
  const kept = await page.locator("#calls button").count();
  await page.getByRole("button", { name: "Erase", exact: true }).click();
  await page.getByRole("button", { name: "Erase it" }).click();
  await page.locator("#calls button").waitFor({ state: "detached" });
  await page.locator("#no-call").waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("API key", { exact: true }).waitFor();
  const stored = await page.evaluate(() => sessionStorage.length + localStorage.length);
  return { kept, stored };
}

/** What is drawn of a call, and what is written below it. */
async function drawn(page) {
  const count = (kind) => page.locator(`.seq-drawing .block.${kind}`).count();
  const lines = await page.locator("#text li").evaluateAll((all) => all.map((one) => ({
    who: one.querySelector(".who").textContent,
    said: one.querySelector(".said").firstChild?.textContent ?? "",
    isCut: Boolean(one.querySelector(".tag")),
  })));
  return {
    lanes: await page.locator(".seq-names li:not(.corner)").allTextContents(),
    speech: await count("speech"), heard: await count("heard"), cut: await count("heard.cut"),
    thinking: await count("thinking"), tools: await count("tool"), words: await count("words"),
    turns: await page.locator("#turns li").count(), lines,
  };
}

function fail(error) {
  console.error(error);
  process.exit(1);
}

main().catch(fail);
