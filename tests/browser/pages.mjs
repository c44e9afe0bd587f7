// Every page of the demo app in each of its states, Reelay's hosted pages, and the simulator's consent page: no violation
// of axe-core's rules in light and dark, on a desktop and on a phone. Each issue and error is explained.
import assert from "node:assert/strict";
import { look as lookAt, summary } from "./axe.mjs";
import { withSystem } from "./system.mjs";

const ADA = "UserAdaBerg00000000001";

await withSystem("pages", async ({ reelay, demo, zoom, openProfile, signIn, screenshot, simulate, call }) => {
  const settings = `${demo}/settings/integrations`;
  const look = (page, name) => lookAt(page, name, screenshot);
  const main = (page) => page.locator("main").innerText();
  const connect = async (page, decision = "Allow") => {
    await page.goto(`${settings}/zoom/connect`);
    await page.getByRole("button", { name: decision, exact: true }).click();
    await page.waitForURL(settings);
    return main(page);
  };
  // Loads the page until it contains the text: the work behind it is asynchronous.
  const reloadUntil = async (page, pattern) => {
    const deadline = Date.now() + 60_000;
    while (!pattern.test(await main(page))) {
      assert.ok(Date.now() < deadline, `${page.url()} never shows ${pattern}`);
      await page.reload();
    }
  };
  const file = (file_type, size) => ({ file_type, size });
  const record = (recording) => simulate("recordings", { host_id: ADA, ...recording });
  const fault = (fault) => simulate("faults", fault);
  const apiError = (status, code) => ({ kind: "error_code", status, code, form: "api" });
  const clearFaults = () => simulate("faults", undefined, "DELETE");
  const today = new Date().toISOString().slice(0, 10);

  // Signing in.
  const alice = await openProfile();
  await alice.goto(demo);
  await look(alice, "sign-in");
  await alice.locator("#user").fill("no spaces, please");
  await alice.locator("#user").evaluate((input) => (input.form.noValidate = true));
  await alice.locator("#user").press("Enter");
  await alice.getByText(/1 to 128/).waitFor();
  await look(alice, "sign-in-error");
  await alice.getByRole("button", { name: "Alice" }).click();

  // Before anything is connected.
  await alice.waitForURL(settings);
  await look(alice, "integrations-empty");
  await alice.goto(`${demo}/recordings`);
  await look(alice, "recordings-empty");
  await alice.goto(`${demo}/notifications`);
  await look(alice, "notifications-empty");
  await alice.goto(`${demo}/nowhere`);
  await look(alice, "not-found");

  // The simulator's control page.
  await alice.goto(zoom);
  await alice.locator("#users").getByText("Ada Berg").waitFor();
  await look(alice, "simulator");

  // Each error of connecting.
  await alice.goto(`${settings}/zoom/connect`);
  await look(alice, "simulator-consent");
  await alice.goto(alice.url().replace(/client_id=[^&]+/, "client_id=unknown"));
  await look(alice, "simulator-error");
  assert.match(await connect(alice, "Deny"), /You did not give access/);
  await look(alice, "integrations-declined");
  for (const [status, text] of [[500, /could not be reached/], [400, /did not accept the sign-in/]]) {
    await fault({ at: "token_exchange", kind: "status", status });
    assert.match(await connect(alice), text);
    await clearFaults();
  }
  const { scopes } = await simulate("settings", {}, "PATCH");
  await simulate("settings", { scopes: ["user:read:user"] }, "PATCH");
  assert.match(await connect(alice), /less access than recordings need/);
  await simulate("settings", { scopes }, "PATCH");
  await alice.goto(`${settings}/zoom/return?zoom_error=too_many_links`);
  assert.match(await main(alice), /Too many people share this Zoom account/);

  // Reelay's own pages.
  const authorizeUrl = async () => {
    const response = await fetch(await connectUrl(alice), { redirect: "manual" });
    return new URL(response.headers.get("location"));
  };
  const connectUrl = async (page) => {
    const requested = page.waitForRequest(/zoom\/connect\?token=/);
    await page.goto(`${settings}/zoom/connect`);
    return (await requested).url();
  };
  const state = (await authorizeUrl()).searchParams.get("state");
  for (const [path, code] of [
    ["connect?token=forged", "connect_token_invalid"],
    ["callback?code=a&state=forged", "state_invalid"],
    ["callback?code=a", "install_restart"],
    [`callback?code=a&state=${state}`, "wrong_browser"],
    ["callback?error=access_denied", "access_denied"],
  ]) {
    const response = await alice.goto(`${reelay}/zoom/${path}`);
    assert.equal(response.headers()["x-reelay-error"], code);
    await look(alice, `hosted-${code}`);
  }

  // Connected; how to disconnect.
  assert.match(await connect(alice), /Zoom is connected, as Ada Berg/);
  await look(alice, "integrations-connected");
  await alice.getByText("Disconnect", { exact: true }).click();
  await look(alice, "integrations-disconnect");

  // Each issue that a list shows.
  const issues = [
    [/no cloud recording/, [["list_recordings", apiError(400, 200)]]],
    [/less access than recordings need/, [["list_recordings", apiError(400, 4711)]]],
    [/does not give access/, [["list_recordings", apiError(403, 200)]]],
    [/does not know this user/, [["list_recordings", apiError(404, 1001)], ["users_me", apiError(404, 1001)]]],
  ];
  for (const [text, faults] of issues) {
    for (const [at, error] of faults) await fault({ at, ...error });
    await call("alice", "POST", "backfill", { from: today, to: today });
    await reloadUntil(alice, text);
    if (faults[0][1].code === 4711) await look(alice, "integrations-issue");
    await clearFaults();
  }

  // Recordings: in transfer, complete, failed.
  await fault({ at: "content", kind: "slow", bytes_per_second: 500_000 });
  const media = [file("MP4", 24_000_000), file("M4A", 400_000), file("TRANSCRIPT", 9_000), file("CHAT", 1_200)];
  await record({ topic: "Design review", segments: 2, participant_audio: 1, duration_minutes: 75, files: media });
  await alice.goto(`${demo}/recordings`);
  await alice.getByText("Transferring").first().waitFor({ timeout: 60_000 });
  await look(alice, "recordings-transferring");
  await alice.getByRole("link", { name: "Design review" }).click();
  await look(alice, "recording-transferring");
  await clearFaults();
  await alice.locator(".head .badge", { hasText: "Stored" }).waitFor({ timeout: 60_000 });
  await alice.reload();
  await alice.waitForFunction(() => document.querySelector("video").readyState >= 1);
  await look(alice, "recording-stored");
  await record({ topic: "Podcast", files: [file("M4A", 400_000)] });
  await alice.goto(`${demo}/recordings`);
  await alice.locator("article", { hasText: "Podcast" }).locator(".head .badge", { hasText: "Stored" }).waitFor({ timeout: 60_000 });
  await alice.getByRole("link", { name: "Podcast" }).click();
  await look(alice, "recording-audio");
  await fault({ at: "download", kind: "status", status: 410 });
  await record({ topic: "A meeting whose files Zoom no longer has, and whose name is long", files: [file("MP4", 400_000)] });
  await alice.goto(`${demo}/recordings`);
  await alice.getByText("Failed").first().waitFor({ timeout: 60_000 });
  await clearFaults();
  await fault({ at: "download", kind: "status", status: 503 });
  await record({ topic: "Interview", files: [file("M4A", 400_000)] });
  await alice.getByRole("link", { name: "Interview" }).waitFor({ timeout: 60_000 });
  await alice.locator("details").first().locator("summary").click();
  await look(alice, "recordings");
  await alice.getByRole("link", { name: /Zoom no longer has/ }).click();
  await look(alice, "recording-failed");
  await clearFaults();

  // Notifications, one of them open.
  await alice.goto(`${demo}/notifications`);
  await alice.locator("summary", { hasText: "recording.stored" }).first().click();
  await look(alice, "notifications");

  // Zoom ends the access without telling anybody.
  await simulate("settings", { deauthorize_url: null }, "PATCH");
  await simulate(`users/${ADA}/deauthorize`, {});
  await call("alice", "POST", "backfill", { from: today, to: today });
  await alice.goto(settings);
  await reloadUntil(alice, /Needs reconnecting/);
  await look(alice, "integrations-reconnect");

  const { looks, passes, failures, toReview } = summary;
  assert.deepEqual(failures, []);
  console.log(`axe: ${looks} looks without a violation, ${passes} rules passed; to review: ${[...toReview].map(([id, count]) => `${id} (${count})`).join(", ") || "none"}`);
});
