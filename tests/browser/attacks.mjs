// Mallory sends a victim the address of a consent page, then a connect link: two profiles, one of them signed
// in as the attacker, the other as the victim. Nothing is linked for either, and Mallory learns nothing.
import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { withSystem } from "./system.mjs";

const BEN = "UserBenCole_0000000002";
const CEM = "-UserCemDiaz0000000003";

await withSystem("a victim's way", async ({ reelay, demo, zoom, signedIn, person, shoot }) => {
  const settings = `${demo}/settings/integrations`;
  const text = (page) => page.locator("main").innerText();
  const consent = async (page, user) => {
    await page.locator(`input[name="sim_user"][value="${user}"]`).check();
    await page.getByRole("button", { name: /allow/i }).first().click();
    await page.waitForLoadState();
  };
  // Presses the button, and gives the first address of this kind on the way to Zoom, for sending to somebody.
  const lure = async (page, kind) => {
    let found = null;
    const look = (request) => {
      if (kind.test(request.url())) found ??= request.url();
    };
    page.on("request", look);
    await page.goto(`${settings}/zoom/connect`);
    page.off("request", look);
    assert.ok(found, `there was no ${kind} on the way`);
    return found;
  };
  const linksNothing = async (page, whose) => {
    await page.goto(settings);
    assert.doesNotMatch(await text(page), /disconnect/i, `${whose} has a link`);
  };

  // The consent page: its state belongs to Mallory's browser, so the way ends at Reelay.
  const mallory = await signedIn("mallory");
  const stranger = await person();
  await stranger.goto(await lure(mallory, /oauth\/authorize/));
  await consent(stranger, CEM);
  await shoot(stranger, "8-consent-page-of-another");
  assert.match(await stranger.locator("body").innerText(), /another browser/i);
  await linksNothing(mallory, "Mallory");

  // The connect link: every check passes in the victim's own browser, up to the app, who knows who sits there.
  const victim = await signedIn("victim");
  let claim = null;
  victim.on("request", (request) => {
    claim ??= new URL(request.url()).searchParams.get("zoom_link");
  });
  await victim.goto(await lure(mallory, /zoom\/connect\?token=/));
  await shoot(victim, "9-connect-link-consent");
  await consent(victim, BEN);
  await victim.waitForURL(settings);
  await shoot(victim, "10-connect-link-refused");
  const said = await text(victim);
  for (const words of [/begun by a different user/i, /nothing was connected/i, /nobody got access/i]) {
    assert.match(said, words, "the victim is not told what happened");
  }
  assert.match(await victim.locator("header").innerText(), /signed in as\s+victim/i);
  assert.doesNotMatch(said, /mallory/i, "the victim is told a name that the attacker chose");
  await linksNothing(victim, "the victim");
  await linksNothing(mallory, "Mallory");

  // The victim's next recording completes, and Reelay takes the event.
  const created = await fetch(`${zoom}/_sim/recordings`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ host_id: BEN, topic: "The victim's own meeting" }),
  });
  assert.ok(created.ok, await created.clone().text());
  const { deliveries } = await (await fetch(`${zoom}/_sim/deliveries?settled=true`)).json();
  assert.deepEqual(deliveries.map((delivery) => delivery.state), ["delivered"], "the event is not taken");
  // A user whose recording is handled after it, so that the victim's was handled before.
  const alice = await signedIn("alice");
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

  // Mallory sees no link, no recording, no notification, and no trace of the claim.
  for (const path of ["/settings/integrations", "/recordings", "/notifications"]) {
    await mallory.goto(`${demo}${path}`);
    const seen = await mallory.content();
    for (const [what, trace] of [["the claim", claim], ["the victim's Zoom user", BEN], ["the meeting", "own meeting"]]) {
      assert.ok(!seen.includes(trace), `Mallory sees ${what} at ${path}`);
    }
  }
  await mallory.goto(`${demo}/recordings`);
  await shoot(mallory, "11-attackers-recordings");
  await linksNothing(mallory, "Mallory");

  // Even with the claim in hand, Mallory gets nothing for it: by the app, and by the app's own key.
  assert.match(claim, /^[A-Za-z0-9_-]{43}$/);
  await mallory.goto(`${settings}/zoom/return?zoom_link=${claim}`);
  await mallory.waitForURL(settings);
  await shoot(mallory, "12-replayed-claim");
  await linksNothing(mallory, "Mallory");
  const { secrets } = await (await fetch(`${reelay}/_dev/config`)).json();
  const confirm = async (user, claim) => {
    const answer = await fetch(`${reelay}/v1/links/confirm`, {
      method: "POST",
      headers: { authorization: `Bearer ${apiToken(secrets.app_secret, user)}`, "content-type": "application/json" },
      body: JSON.stringify({ claim }),
    });
    return [answer.status, (await answer.json()).code];
  };
  const guessed = randomBytes(32).toString("base64url");
  for (const tried of [claim, guessed]) {
    for (const user of ["mallory", "victim"]) {
      assert.deepEqual(await confirm(user, tried), [410, "claim_expired"], `${user} confirms`);
    }
  }
});

function apiToken(secret, user) {
  const now = Math.floor(Date.now() / 1000);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ typ: "JWT", alg: "HS256" })}.${part({ aud: "reelay:api", sub: user, iat: now, exp: now + 300 })}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}
