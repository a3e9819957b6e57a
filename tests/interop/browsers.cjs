// Browsers that come to a room's page: with a WAV as microphone, and ears that record.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { chromium } = require("playwright-core");

const PATIENCE_MS = 40_000;
const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 360, height: 740 };
const RATE = 24_000;

/** Starts a browser. Without a `wav` it has no microphone; a person may have refused theirs. */
function launch(executablePath, { wav, isRefused = false, args = [] } = {}) {
  return chromium.launch({
    executablePath,
    headless: true,
    chromiumSandbox: false,
    args: [
      "--disable-gpu", "--disable-quic", "--disable-audio-output",
      "--autoplay-policy=no-user-gesture-required", "--allow-loopback-in-peer-connection",
      isRefused ? "--deny-permission-prompts" : "--use-fake-ui-for-media-stream",
      ...wav || isRefused ? ["--use-fake-device-for-media-stream"] : [],
      ...wav ? [`--use-file-for-fake-audio-capture=${wav}`] : [],
      ...args,
    ],
  });
}

/** A page in it, whose faults are collected, and whose peer connections and sound can be looked at. */
async function visitor(browser, settings = {}) {
  const context = await browser.newContext({ viewport: DESKTOP, colorScheme: "light", ...settings });
  context.setDefaultTimeout(PATIENCE_MS);
  await context.addInitScript(spy, RATE);
  const page = await context.newPage();
  const faults = [];
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("console", (line) => line.type() === "error" && faults.push(line.text()));
  return { page, faults };
}

/** Runs in the page, before its own scripts. */
function spy(rate) {
  const Plain = window.RTCPeerConnection;
  window.peers = [];
  window.heard = [];
  window.RTCPeerConnection = class extends Plain {
    constructor(...args) {
      super(...args);
      window.peers.push(this);
      this.addEventListener("track", ({ streams }) => {
        const context = new AudioContext({ sampleRate: rate });
        const ear = context.createScriptProcessor(4096, 1, 1);
        ear.onaudioprocess = ({ inputBuffer }) => {
          window.heard.push(Array.from(inputBuffer.getChannelData(0), (one) => Math.round(one * 32767)));
        };
        context.createMediaStreamSource(streams[0]).connect(ear).connect(context.destination);
      });
    }
  };
  // What was shown, each once in a row.
  window.shown = { states: [], doing: [], people: [], loudest: { own: 0, others: 0 } };
  const note = (list, text) => text && list.at(-1) !== text && list.push(text);
  document.addEventListener("DOMContentLoaded", () => {
    const look = () => {
      note(window.shown.states, document.getElementById("state")?.textContent);
      note(window.shown.doing, document.querySelector("#people .agent .doing")?.textContent);
      const people = [...document.querySelectorAll("#people .name")].map(({ textContent }) => textContent);
      if (String(window.shown.people.at(-1)) !== String(people)) window.shown.people.push(people);
    };
    setInterval(() => {
      for (const id of ["own", "others"]) {
        window.shown.loudest[id] = Math.max(window.shown.loudest[id], document.getElementById(id)?.value ?? 0);
      }
    }, 50);
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
}

/** Writes what the page has heard as a WAV. */
async function writeHeard(page, file) {
  const blocks = await page.evaluate(() => window.heard);
  const sound = Buffer.from(Int16Array.from(blocks.flat()).buffer);
  const head = Buffer.alloc(44);
  head.write("RIFF", 0);
  head.writeUInt32LE(36 + sound.length, 4);
  head.write("WAVEfmt ", 8);
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(RATE, 24);
  head.writeUInt32LE(2 * RATE, 28);
  head.writeUInt16LE(2, 32);
  head.writeUInt16LE(16, 34);
  head.write("data", 36);
  head.writeUInt32LE(sound.length, 40);
  fs.writeFileSync(file, Buffer.concat([head, sound]));
}

/** The kinds of both ends of the way that the sound of the latest call takes. */
function way(page) {
  return page.evaluate(async () => {
    const stats = await window.peers.at(-1).getStats();
    const pair = [...stats.values()].find(({ type, nominated, state }) => (
      type === "candidate-pair" && nominated && state === "succeeded"
    ));
    const kind = (id) => stats.get(id).candidateType;
    return { local: kind(pair.localCandidateId), remote: kind(pair.remoteCandidateId) };
  });
}

/** What whoever does not see or point would miss: each a sentence. */
function accessFaults(page) {
  return page.evaluate(() => {
    const faults = [];
    const isShown = (one) => one.getClientRects().length > 0;
    const byId = (ids) => ids.split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join(" ");
    const nameOf = (one) => one.getAttribute("aria-label")
      ?? (one.hasAttribute("aria-labelledby") ? byId(one.getAttribute("aria-labelledby")) : null)
      ?? ([...one.labels ?? []].map((label) => label.textContent).join(" ") || one.textContent);
    for (const one of document.querySelectorAll("button, input, select, meter, section, [role], [tabindex]")) {
      if (isShown(one) && !["status", "alert"].includes(one.getAttribute("role")) && !nameOf(one).trim()) {
        faults.push(`${one.outerHTML.slice(0, 60)} has no name`);
      }
    }
    for (const one of document.querySelectorAll("button, input:not([type=checkbox]), select")) {
      const { height, width } = one.getBoundingClientRect();
      if (isShown(one) && Math.min(height, width) < 44) faults.push(`${one.id} is too small to touch`);
      if (one.tabIndex !== 0) faults.push(`${one.id} is not in the order of the keyboard`);
    }
    const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id);
    if (new Set(ids).size !== ids.length) faults.push("an id is there twice");
    if (document.querySelectorAll("h1").length !== 1) faults.push("there is not one h1");
    if (!document.documentElement.lang) faults.push("the page has no language");
    if (!document.querySelector("[role=status]")) faults.push("no status is told");
    if (!document.querySelector("[role=alert]")) faults.push("no alert is told");
    // Contrast of text, as WCAG 2.2 counts it: 4.5 to 1.
    const rgb = (text) => (text.match(/[\d.]+/g) ?? []).map(Number);
    const light = (text) => {
      const [r, g, b] = rgb(text).map((one) => one / 255)
        .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const backOf = (one) => {
      for (let at = one; at; at = at.parentElement) {
        const { backgroundColor } = getComputedStyle(at);
        if (rgb(backgroundColor)[3] !== 0) return backgroundColor;
      }
      return "rgb(255, 255, 255)";
    };
    for (const one of document.querySelectorAll("h1, h2, p, li span, label, button, .meter span")) {
      if (!isShown(one) || !one.textContent.trim()) continue;
      const [text, back] = [light(getComputedStyle(one).color), light(backOf(one))];
      const contrast = (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05);
      if (contrast < 4.5) faults.push(`"${one.textContent.trim().slice(0, 30)}" has contrast ${contrast.toFixed(1)}`);
    }
    return faults;
  });
}

/** How far the page is wider than the screen. */
function overflow(page) {
  return page.evaluate(
    () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
  );
}

/** Someone in the list of those who are there. */
function person(page, name) {
  return page.locator("#people li", { hasText: name });
}

/** Keeps a picture for those who want to look. */
function shoot(page, folder, name) {
  return page.screenshot({ path: path.join(folder, `${name}.png`) });
}

module.exports = {
  DESKTOP, PHONE, launch, visitor, writeHeard, way, accessFaults, overflow, person, shoot,
};
