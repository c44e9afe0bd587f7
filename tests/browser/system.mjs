// Runs the devstack binary, and users in headless Chromium, each with a profile of their own.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.env.NODE_TOOLS}/package.json`);
const { chromium } = require("playwright-core");
const screenshots = "target/browser";

// Starts the stack and a browser, runs `scenario`, and stops both.
export async function withSystem(name, scenario) {
  const failures = /zoom\/(callback|connect)|oauth\/authorize|\/nowhere/;
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
      await context.addInitScript(recordLayoutShifts);
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
    const simulate = (path, body, method = "POST") => request(`${urls.zoom}/_sim/${path}`, method, body);
    // Calls the API as the app does for this user.
    const call = async (user, method, path, body) => {
      const { secrets } = await (await fetch(`${urls.reelay}/_dev/config`)).json();
      const authorization = `Bearer ${apiToken(secrets.app_secret, user)}`;
      return request(`${urls.reelay}/v1/${path}`, method, body, { authorization });
    };
    await scenario({ ...urls, openProfile, signIn, screenshot, simulate, call });
    // The console reports the pages whose status is 400 or 404.
    const unexpected = errors.filter((text) => !failures.test(text));
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

// Sums up how far elements move without the user's doing, as Cumulative Layout Shift does.
function recordLayoutShifts() {
  globalThis.layoutShift = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) globalThis.layoutShift += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
}

async function request(url, method, body, headers) {
  const response = await fetch(url, {
    method,
    headers: { ...headers, ...(body && { "content-type": "application/json" }) },
    body: body && JSON.stringify(body),
  });
  assert.ok(response.ok, `${method} ${url}: ${response.status} ${await response.clone().text()}`);
  return response.json();
}

export function apiToken(secret, user) {
  const now = Math.floor(Date.now() / 1000);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ typ: "JWT", alg: "HS256" })}.${part({ aud: "reelay:api", sub: user, iat: now, exp: now + 300 })}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
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
