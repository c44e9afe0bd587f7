// The main job in a browser: connect Zoom with the keyboard alone, complete a recording in the simulator, watch its transfer,
// play it with its transcript, check the notification's signature, and disconnect.
import assert from "node:assert/strict";
import { withSystem } from "./system.mjs";

await withSystem("walk", async ({ demo, zoom, openProfile, signIn, screenshot, simulate, call }) => {
  const settings = `${demo}/settings/integrations`;
  // Moves the focus forward until it is on the element of this name, and presses Enter.
  const pressByKeyboard = async (page, name) => {
    for (let tabs = 0; tabs < 30; tabs += 1) {
      await page.keyboard.press("Tab");
      const focused = page.locator(":focus");
      const text = (await focused.getAttribute("aria-label")) ?? (await focused.innerText().catch(() => ""));
      if (name.test(text)) return page.keyboard.press("Enter");
    }
    assert.fail(`the keyboard does not reach ${name}`);
  };
  const layoutIsStable = async (page) => {
    const shift = await page.evaluate(() => globalThis.layoutShift);
    assert.ok(shift < 0.01, `${page.url()} shifts its layout by ${shift}`);
  };

  // Alice connects her Zoom account without a mouse.
  const alice = await openProfile();
  await alice.goto(demo);
  await alice.keyboard.press("Tab");
  assert.equal(await alice.locator(":focus").innerText(), "Skip to content");
  await pressByKeyboard(alice, /alice$/i);
  await alice.waitForURL(settings);
  await screenshot(alice, "1-settings");
  await pressByKeyboard(alice, /connect zoom/i);
  await alice.waitForURL(/oauth\/authorize/);
  await screenshot(alice, "2-consent");
  await pressByKeyboard(alice, /^allow$/i);
  await alice.waitForURL(settings);
  await screenshot(alice, "3-linked");
  assert.match(await alice.locator("main").innerText(), /Zoom is connected, as Ada Berg/);
  await layoutIsStable(alice);

  // A recording completes; its open page follows the slow transfer without being replaced.
  const simulator = await openProfile();
  await simulator.goto(zoom);
  await screenshot(simulator, "4-simulator");
  await simulate("faults", { at: "content", kind: "slow", bytes_per_second: 1_000_000 });
  const form = { Topic: "Design review", Minutes: "40", Segments: "2", Video: "24", Audio: "0.4", Transcript: "0.009" };
  for (const [label, value] of Object.entries(form)) await simulator.getByLabel(label, { exact: true }).fill(value);
  await simulator.getByRole("button", { name: /complete a recording/i }).click();
  await alice.goto(`${demo}/recordings`);
  await alice.getByText(/transferring/i).first().waitFor({ timeout: 60_000 });
  await alice.locator('main a[href^="/recordings/"]').first().click();
  const grows = () => {
    const bar = document.querySelector("progress");
    if (bar?.value) bar.first ??= bar.value;
    return bar?.value > bar?.first;
  };
  await alice.waitForFunction(grows, null, { timeout: 60_000 });
  await screenshot(alice, "5-transfer", { fullPage: true });
  await simulate("faults", undefined, "DELETE");
  await alice.locator(".head .badge", { hasText: "Stored" }).waitFor({ timeout: 60_000 });
  await alice.goto(`${demo}/recordings`);
  await alice.getByText(/stored/i).first().waitFor();
  await screenshot(alice, "6-recordings");
  await layoutIsStable(alice);

  // It plays: each chapter is a segment, and a cue of the transcript seeks.
  await alice.locator('main a[href^="/recordings/"]').first().click();
  const isReady = () => document.querySelector("video").readyState >= 1;
  await alice.waitForFunction(isReady, null, { timeout: 30_000 });
  const video = alice.locator("video").first();
  assert.ok((await video.evaluate((element) => element.duration)) > 0, "the stored MP4 does not play");
  await layoutIsStable(alice);
  const chapters = alice.getByRole("navigation", { name: "Chapters" }).getByRole("link");
  assert.equal(await chapters.count(), 2);
  const source = await video.getAttribute("src");
  await chapters.nth(1).click();
  await alice.waitForURL(/\?part=2$/);
  assert.notEqual(await video.getAttribute("src"), source);
  await alice.waitForFunction(isReady);
  const cues = alice.locator(".cues a");
  const text = (await cues.first().locator("span").last().innerText()).trim();
  await cues.nth(1).click();
  await alice.waitForFunction(() => document.querySelector("video").currentTime >= 3.9);
  await cues.first().focus();
  await alice.keyboard.press("Enter");
  await alice.locator('.cues li:first-child a[aria-current="true"]').waitFor();
  const caption = await video.evaluate((element) => element.textTracks[0].cues[0].text);
  assert.equal(caption.trim().replace(/\s+/g, " "), text.replace(/\s+/g, " "));
  await screenshot(alice, "7-recording", { fullPage: true });
  // Without the script a cue is a link that starts the player there.
  await alice.goto(new URL(await cues.nth(1).getAttribute("href"), alice.url()).href);
  assert.match(await video.getAttribute("src"), /#t=4$/);

  // What Reelay sent to the app, with the signature that the app verified.
  await alice.goto(`${demo}/notifications`);
  await layoutIsStable(alice);
  const sent = alice.locator("details", { hasText: "recording.stored" }).first();
  await sent.locator("summary").click();
  await screenshot(alice, "8-notifications");
  assert.match(await sent.innerText(), /Signature verified/);
  const [id, timestamp, signature] = await sent.locator("dd code").allInnerTexts();
  assert.ok(Math.abs(Date.now() / 1000 - timestamp) < 300, `the timestamp is ${timestamp}`);
  assert.match(signature, /^v1,[A-Za-z0-9+/]{43}=$/);
  // Reelay's feed, which lags by up to 15 seconds, has the same.
  const deadline = Date.now() + 30_000;
  let inFeed;
  while (!(inFeed = (await call("alice", "GET", "notifications?limit=100")).notifications.find((one) => one.id === id))) {
    assert.ok(Date.now() < deadline, `${id} is not in the feed`);
  }
  assert.equal(inFeed.type, "recording.stored");
  assert.deepEqual(JSON.parse(await sent.locator("pre").innerText()).data, inFeed.data);

  // Bob sees nothing of it.
  const bob = await signIn("bob");
  for (const path of ["/settings/integrations", "/recordings", "/notifications"]) {
    await bob.goto(`${demo}${path}`);
    assert.doesNotMatch(await bob.locator("main").innerText(), /Ada|Design review/, path);
  }

  // Alice disconnects, after she read what that means.
  await alice.goto(settings);
  await pressByKeyboard(alice, /^Disconnect Ada Berg$/);
  await screenshot(alice, "9-disconnect");
  await alice.getByText(/those that are stored are hidden/).waitFor();
  await pressByKeyboard(alice, /^Disconnect Ada Berg$/);
  await alice.getByText(/Zoom is disconnected/).waitFor();
  assert.equal(await alice.getByText("Ada Berg").count(), 0);
  await alice.goto(`${demo}/recordings`);
  assert.doesNotMatch(await alice.locator("main").innerText(), /Design review/);
});
