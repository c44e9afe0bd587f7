// Runs the devstack binary, and users in headless Chromium, each with a profile of their own.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.env.NODE_TOOLS}/package.json`);
const { chromium } = require("playwright-core");
const screenshots = "target/browser";

// Starts the stack and a browser, runs `scenario`, and stops both.
export async function withSystem(name, scenario) {
  mkdirSync(screenshots, { recursive: true });
  const system = spawn(process.env.DEVSTACK, [], { stdio: ["ignore", "pipe", "pipe"] });
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });
  try {
    const urls = await ready(system);
    const errors = [];
    const openProfile = async () => {
      const context = await browser.newContext({ viewport: { width: 1100, height: 900 } });
      const page = await context.newPage();
      page.on("console", (message) => message.type() === "error" && errors.push(`${page.url()}: ${message.text()}`));
      page.on("pageerror", (error) => errors.push(`${page.url()}: ${error}`));
      return page;
    };
    const signIn = async (user) => {
      const page = await openProfile();
      await page.goto(urls.demo);
      await page.getByRole("textbox").first().fill(user);
      await page.getByRole("textbox").first().press("Enter");
      await page.waitForLoadState();
      return page;
    };
    const screenshot = (page, file, options) => page.screenshot({ path: `${screenshots}/${file}.png`, ...options });
    await scenario({ ...urls, openProfile, signIn, screenshot });
    // The console reports a rejected callback, whose status is 400.
    const unexpected = errors.filter((text) => !/zoom\/callback/.test(text));
    assert.deepEqual(unexpected, [], "the browser reported errors");
    console.log(`${name}: passed; screenshots are in ${screenshots}`);
  } catch (error) {
    process.exitCode = 1;
    console.error(error);
  } finally {
    await browser.close();
    system.removeAllListeners("exit");
    system.kill("SIGTERM");
  }
}

// Returns the URLs that the stack prints when it is ready.
function ready(system) {
  const urls = {};
  return new Promise((resolve, reject) => {
    const parse = (line) => {
      const match = line.match(/^(ready) (\S+)/) ?? line.match(/(Demo app|Zoom simulator)\s+(\S+)/);
      if (match) urls[match[1]] = match[2].replace(/\/$/, "");
      if (urls.ready && urls["Demo app"] && urls["Zoom simulator"]) {
        resolve({ reelay: urls.ready, demo: urls["Demo app"], zoom: urls["Zoom simulator"] });
      }
    };
    createInterface({ input: system.stdout }).on("line", parse);
    createInterface({ input: system.stderr }).on("line", parse);
    system.on("exit", (code) => reject(new Error(`the stack exited with ${code}`)));
    setTimeout(() => reject(new Error("the stack was not ready within a minute")), 60_000).unref();
  });
}
