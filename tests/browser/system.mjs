// The system with `cargo run`'s binary, and people in headless Chromium: each has a profile of their own.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.env.NODE_TOOLS}/package.json`);
const { chromium } = require("playwright-core");
const shots = "target/browser";

// Starts everything, lets `walk` go through it, and ends everything. `name` says what held.
export async function withSystem(name, walk) {
  mkdirSync(shots, { recursive: true });
  const system = spawn("target/debug/devstack", [], { stdio: ["ignore", "pipe", "pipe"] });
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });
  try {
    const places = await ready(system);
    const complaints = [];
    const person = async () => {
      const context = await browser.newContext({ viewport: { width: 1100, height: 900 } });
      const page = await context.newPage();
      page.on("console", (message) => message.type() === "error" && complaints.push(`${page.url()}: ${message.text()}`));
      page.on("pageerror", (error) => complaints.push(`${page.url()}: ${error}`));
      return page;
    };
    const signedIn = async (user) => {
      const page = await person();
      await page.goto(places.demo);
      await page.getByRole("textbox").first().fill(user);
      await page.getByRole("textbox").first().press("Enter");
      await page.waitForLoadState();
      return page;
    };
    const shoot = (page, shot, options) => page.screenshot({ path: `${shots}/${shot}.png`, ...options });
    await walk({ ...places, person, signedIn, shoot });
    // A page that refuses a callback is a 400, which the console notes.
    const unexpected = complaints.filter((text) => !/zoom\/callback/.test(text));
    assert.deepEqual(unexpected, [], "the browser complained");
    console.log(`${name}: all as it should be; screenshots in ${shots}`);
  } catch (error) {
    process.exitCode = 1;
    console.error(error);
  } finally {
    await browser.close();
    system.removeAllListeners("exit");
    system.kill("SIGTERM");
  }
}

// Where things are, once the system says so.
function ready(system) {
  const found = {};
  return new Promise((resolve, reject) => {
    const look = (line) => {
      const match = line.match(/^(ready) (\S+)/) ?? line.match(/(Demo app|Zoom simulator)\s+(\S+)/);
      if (match) found[match[1]] = match[2].replace(/\/$/, "");
      if (found.ready && found["Demo app"] && found["Zoom simulator"]) {
        resolve({ reelay: found.ready, demo: found["Demo app"], zoom: found["Zoom simulator"] });
      }
    };
    createInterface({ input: system.stdout }).on("line", look);
    createInterface({ input: system.stderr }).on("line", look);
    system.on("exit", (code) => reject(new Error(`the system ended with ${code}`)));
    setTimeout(() => reject(new Error("the system was not ready within a minute")), 60_000).unref();
  });
}
