// Signs in, connects Zoom, completes a recording in the simulator, watches it arrive, plays it.
// Then a victim in another browser profile follows an attacker's connect link.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.env.NODE_TOOLS}/package.json`);
const { chromium } = require("playwright-core");
const shots = "target/browser";
mkdirSync(shots, { recursive: true });

const system = spawn("target/debug/devstack", [], { stdio: ["ignore", "pipe", "pipe"] });
const found = {};
const ready = new Promise((resolve, reject) => {
  const look = (line) => {
    const match = line.match(/^ready (\S+)/) ?? line.match(/(Demo app|Zoom simulator)\s+(\S+)/);
    if (match?.[2]) found[match[1]] = match[2];
    else if (match) found.ready = match[1];
    if (found.ready && found["Demo app"] && found["Zoom simulator"]) resolve();
  };
  createInterface({ input: system.stdout }).on("line", look);
  createInterface({ input: system.stderr }).on("line", look);
  system.on("exit", (code) => reject(new Error(`the system ended with ${code}`)));
  setTimeout(() => reject(new Error("the system was not ready within a minute")), 60_000).unref();
});

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
let failed = false;
try {
  await ready;
  const demo = found["Demo app"].replace(/\/$/, "");
  const complaints = [];
  const person = async () => {
    const context = await browser.newContext({ viewport: { width: 1100, height: 900 } });
    const page = await context.newPage();
    page.on("console", (message) => message.type() === "error" && complaints.push(`${page.url()}: ${message.text()}`));
    page.on("pageerror", (error) => complaints.push(`${page.url()}: ${error}`));
    return page;
  };
  const signIn = async (page, user) => {
    await page.goto(demo);
    await page.getByRole("textbox").first().fill(user);
    await page.getByRole("textbox").first().press("Enter");
    await page.waitForLoadState();
  };

  // Alice connects her Zoom account.
  const alice = await person();
  await signIn(alice, "alice");
  await alice.goto(`${demo}/settings/integrations`);
  await alice.screenshot({ path: `${shots}/1-settings.png` });
  await alice.getByRole("link", { name: /connect zoom/i }).or(alice.getByRole("button", { name: /connect zoom/i })).first().click();
  await alice.waitForURL(/oauth\/authorize/);
  await alice.screenshot({ path: `${shots}/2-consent.png` });
  await alice.getByRole("button", { name: /allow/i }).first().click();
  await alice.waitForURL(`${demo}/settings/integrations`);
  await alice.screenshot({ path: `${shots}/3-linked.png` });
  assert.match(await alice.locator("main").innerText(), /Ada|connected/i);

  // A recording completes.
  const simulator = await person();
  await simulator.goto(found["Zoom simulator"]);
  await simulator.screenshot({ path: `${shots}/4-simulator.png` });
  await simulator.getByRole("button", { name: /complete a recording/i }).first().click();

  // It arrives while she watches, and plays.
  await alice.goto(`${demo}/recordings`);
  await alice.getByText(/stored/i).first().waitFor({ timeout: 60_000 });
  await alice.screenshot({ path: `${shots}/5-recordings.png` });
  await alice.locator('main a[href^="/recordings/"]').first().click();
  const video = alice.locator("video").first();
  await video.waitFor();
  await alice.waitForFunction(() => document.querySelector("video").readyState >= 1, null, { timeout: 30_000 });
  assert.ok((await video.evaluate((element) => element.duration)) > 0, "the stored MP4 does not play");
  await alice.screenshot({ path: `${shots}/6-recording.png`, fullPage: true });
  await alice.goto(`${demo}/notifications`);
  await alice.getByText("recording.stored").first().waitFor({ timeout: 30_000 });
  await alice.screenshot({ path: `${shots}/7-notifications.png` });

  // Mallory starts and sends the address of the consent page to a victim, who is signed in as nobody.
  const mallory = await person();
  await signIn(mallory, "mallory");
  let lure = null;
  mallory.on("request", (request) => { if (/oauth\/authorize/.test(request.url())) lure = request.url(); });
  await mallory.goto(`${demo}/settings/integrations/zoom/connect`);
  assert.ok(lure, "there was no redirect to Zoom");
  const victim = await person();
  await victim.goto(lure);
  await victim.getByRole("button", { name: /allow/i }).first().click();
  await victim.waitForLoadState();
  await victim.screenshot({ path: `${shots}/8-victim.png` });
  assert.match(await victim.locator("body").innerText(), /another browser/i);
  await mallory.goto(`${demo}/settings/integrations`);
  assert.doesNotMatch(await mallory.locator("main").innerText(), /disconnect/i);

  // The page that refuses the victim is a 400, which the console notes.
  const unexpected = complaints.filter((text) => !/zoom\/callback/.test(text));
  assert.deepEqual(unexpected, [], "the browser complained");
  console.log(`browser walk: all as it should be; screenshots in ${shots}`);
} catch (error) {
  failed = true;
  console.error(error);
} finally {
  await browser.close();
  system.removeAllListeners("exit");
  system.kill("SIGTERM");
}
process.exitCode = failed ? 1 : 0;
