// The main job in a browser: sign in, connect Zoom, complete a recording in the simulator, watch its transfer, and play it.
import assert from "node:assert/strict";
import { withSystem } from "./system.mjs";

await withSystem("walk", async ({ demo, zoom, openProfile, signIn, screenshot }) => {
  // Alice connects her Zoom account.
  const alice = await signIn("alice");
  await alice.goto(`${demo}/settings/integrations`);
  await screenshot(alice, "1-settings");
  await alice.getByRole("link", { name: /connect zoom/i }).or(alice.getByRole("button", { name: /connect zoom/i })).first().click();
  await alice.waitForURL(/oauth\/authorize/);
  await screenshot(alice, "2-consent");
  await alice.getByRole("button", { name: /allow/i }).first().click();
  await alice.waitForURL(`${demo}/settings/integrations`);
  await screenshot(alice, "3-linked");
  assert.match(await alice.locator("main").innerText(), /Ada|connected/i);

  // A recording completes.
  const simulator = await openProfile();
  await simulator.goto(zoom);
  await screenshot(simulator, "4-simulator");
  await simulator.getByRole("button", { name: /complete a recording/i }).first().click();

  // The open page shows the recording when it is stored, and plays it.
  await alice.goto(`${demo}/recordings`);
  await alice.getByText(/stored/i).first().waitFor({ timeout: 60_000 });
  await screenshot(alice, "5-recordings");
  await alice.locator('main a[href^="/recordings/"]').first().click();
  const video = alice.locator("video").first();
  await video.waitFor();
  await alice.waitForFunction(() => document.querySelector("video").readyState >= 1, null, { timeout: 30_000 });
  assert.ok((await video.evaluate((element) => element.duration)) > 0, "the stored MP4 does not play");
  await screenshot(alice, "6-recording", { fullPage: true });
  await alice.goto(`${demo}/notifications`);
  await alice.getByText("recording.stored").first().waitFor({ timeout: 30_000 });
  await screenshot(alice, "7-notifications");
});
