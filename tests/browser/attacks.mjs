// Attacks on linking. Mallory sends a victim the URL of a consent page, then a connect link. Attacker and victim have
// separate browser profiles. No link is created for either, and Mallory learns nothing.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { apiToken, withSystem } from "./system.mjs";

const BEN = "UserBenCole_0000000002";
const CEM = "-UserCemDiaz0000000003";

await withSystem("attacks", async ({ reelay, demo, zoom, signIn, openProfile, screenshot }) => {
  const settings = `${demo}/settings/integrations`;
  const text = (page) => page.locator("main").innerText();
  const consent = async (page, user) => {
    await page.locator(`input[name="sim_user"][value="${user}"]`).check();
    await page.getByRole("button", { name: /allow/i }).first().click();
    await page.waitForLoadState();
  };
  // Starts to connect Zoom and returns the first requested URL that matches the pattern.
  const captureUrl = async (page, pattern) => {
    let captured = null;
    const inspect = (request) => {
      if (pattern.test(request.url())) captured ??= request.url();
    };
    page.on("request", inspect);
    await page.goto(`${settings}/zoom/connect`);
    page.off("request", inspect);
    assert.ok(captured, `no request matches ${pattern}`);
    return captured;
  };
  const assertNoLink = async (page, user) => {
    await page.goto(settings);
    assert.doesNotMatch(await text(page), /disconnect/i, `${user} has a link`);
  };

  // The consent page: its state belongs to Mallory's browser, so Reelay rejects the callback.
  const mallory = await signIn("mallory");
  const stranger = await openProfile();
  await stranger.goto(await captureUrl(mallory, /oauth\/authorize/));
  await consent(stranger, CEM);
  await screenshot(stranger, "attack-1-consent-in-another-browser");
  assert.match(await stranger.locator("body").innerText(), /another browser/i);
  await assertNoLink(mallory, "Mallory");

  // The connect link: the victim's browser passes Reelay's checks, and the app's confirmation is rejected.
  const victim = await signIn("victim");
  let claim = null;
  victim.on("request", (request) => {
    claim ??= new URL(request.url()).searchParams.get("zoom_link");
  });
  await victim.goto(await captureUrl(mallory, /zoom\/connect\?token=/));
  await screenshot(victim, "attack-2-connect-link-consent");
  await consent(victim, BEN);
  await victim.waitForURL(settings);
  await screenshot(victim, "attack-3-connect-link-rejected");
  const message = await text(victim);
  for (const pattern of [/different user of this app started/i, /nothing was connected/i, /no one received access/i]) {
    assert.match(message, pattern, "the message does not explain what happened");
  }
  assert.match(await victim.locator("header").innerText(), /signed in as\s+victim/i);
  assert.doesNotMatch(message, /mallory/i, "the message contains text from the attacker");
  await assertNoLink(victim, "the victim");
  await assertNoLink(mallory, "Mallory");

  // The victim's next recording completes, and Reelay accepts the event.
  const created = await fetch(`${zoom}/_sim/recordings`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ host_id: BEN, topic: "The victim's own meeting" }),
  });
  assert.ok(created.ok, await created.clone().text());
  const sent = (await created.json()).deliveries;
  const { deliveries } = await (await fetch(`${zoom}/_sim/deliveries?settled=true`)).json();
  // Zoom also reports that the void grant was revoked.
  const states = deliveries.filter((delivery) => sent.includes(delivery.id)).map((delivery) => delivery.state);
  assert.deepEqual(states, ["delivered"], "the event is not delivered");
  // Alice's recording completes later. When it is stored, the victim's event is processed too.
  const alice = await signIn("alice");
  await alice.goto(`${settings}/zoom/connect`);
  await alice.getByRole("button", { name: /allow/i }).first().click();
  await alice.waitForURL(settings);
  await fetch(`${zoom}/_sim/recordings`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ host_id: "UserAdaBerg00000000001" }),
  });
  await alice.goto(`${demo}/recordings`);
  await alice.getByText(/stored/i).first().waitFor({ timeout: 60_000 });

  // Mallory sees no link, recording, notification or claim.
  for (const path of ["/settings/integrations", "/recordings", "/notifications"]) {
    await mallory.goto(`${demo}${path}`);
    const html = await mallory.content();
    for (const [name, secret] of [["the claim", claim], ["the victim's Zoom user", BEN], ["the meeting", "own meeting"]]) {
      assert.ok(!html.includes(secret), `Mallory sees ${name} at ${path}`);
    }
  }
  await mallory.goto(`${demo}/recordings`);
  await screenshot(mallory, "attack-4-attackers-recordings");
  await assertNoLink(mallory, "Mallory");

  // The claim is invalid, even with the app's own secret.
  assert.match(claim, /^[A-Za-z0-9_-]{43}$/);
  await mallory.goto(`${settings}/zoom/return?zoom_link=${claim}`);
  await mallory.waitForURL(settings);
  await screenshot(mallory, "attack-5-replayed-claim");
  await assertNoLink(mallory, "Mallory");
  const { secrets } = await (await fetch(`${reelay}/_dev/config`)).json();
  const confirm = async (user, claim) => {
    const response = await fetch(`${reelay}/v1/links/confirm`, {
      method: "POST",
      headers: { authorization: `Bearer ${apiToken(secrets.app_secret, user)}`, "content-type": "application/json" },
      body: JSON.stringify({ claim }),
    });
    return [response.status, (await response.json()).code];
  };
  const guessed = randomBytes(32).toString("base64url");
  for (const attempt of [claim, guessed]) {
    for (const user of ["mallory", "victim"]) {
      assert.deepEqual(await confirm(user, attempt), [410, "claim_expired"], `${user} confirms`);
    }
  }
});
