// Signs in, connects Zoom, completes a recording in the simulator, watches it arrive, plays it.
import assert from "node:assert/strict";
import { withSystem } from "./system.mjs";

await withSystem("a person's way", async ({ demo, zoom, person, signedIn, shoot }) => {
  // Alice connects her Zoom account.
  const alice = await signedIn("alice");
  await alice.goto(`${demo}/settings/integrations`);
  await shoot(alice, "1-settings");
  await alice.getByRole("link", { name: /connect zoom/i }).or(alice.getByRole("button", { name: /connect zoom/i })).first().click();
  await alice.waitForURL(/oauth\/authorize/);
  await shoot(alice, "2-consent");
  await alice.getByRole("button", { name: /allow/i }).first().click();
  await alice.waitForURL(`${demo}/settings/integrations`);
  await shoot(alice, "3-linked");
  assert.match(await alice.locator("main").innerText(), /Ada|connected/i);

  // A recording completes.
  const simulator = await person();
  await simulator.goto(zoom);
  await shoot(simulator, "4-simulator");
  await simulator.getByRole("button", { name: /complete a recording/i }).first().click();

  // It arrives while she watches, and plays.
  await alice.goto(`${demo}/recordings`);
  await alice.getByText(/stored/i).first().waitFor({ timeout: 60_000 });
  await shoot(alice, "5-recordings");
  await alice.locator('main a[href^="/recordings/"]').first().click();
  const video = alice.locator("video").first();
  await video.waitFor();
  await alice.waitForFunction(() => document.querySelector("video").readyState >= 1, null, { timeout: 30_000 });
  assert.ok((await video.evaluate((element) => element.duration)) > 0, "the stored MP4 does not play");
  await shoot(alice, "6-recording", { fullPage: true });
  await alice.goto(`${demo}/notifications`);
  await alice.getByText("recording.stored").first().waitFor({ timeout: 30_000 });
  await shoot(alice, "7-notifications");
});
