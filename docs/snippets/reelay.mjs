// npm install jsonwebtoken standardwebhooks
import jwt from "jsonwebtoken";
import { Webhook } from "standardwebhooks";

const env = process.env;

const token = (userId, audience) =>
  jwt.sign({}, env.REELAY_APP_SECRET, { subject: userId, audience, expiresIn: 300 });

async function call(userId, method, path, body) {
  const headers = { authorization: `Bearer ${token(userId, "reelay:api")}`, "content-type": "application/json" };
  const response = await fetch(env.REELAY_API_URL + path, { method, headers, body: body && JSON.stringify(body) });
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  return response.status === 204 ? null : response.json(); // DELETE has no content
}

// The target of the button "Connect Zoom".
export const connectUrl = (userId) => `${env.REELAY_CONNECT_URL}?token=${token(userId, "reelay:connect")}`;

// userId: the user in whose session `zoom_link` arrived.
export const confirm = (userId, claim) => call(userId, "POST", "/links/confirm", { claim });

export const recordings = (userId, cursor) =>
  call(userId, "GET", `/recordings?${new URLSearchParams({ limit: 100, ...(cursor && { cursor }) })}`);

// body: the text as it arrived. Throws a WebhookVerificationError.
export const verify = (headers, body) => new Webhook(env.REELAY_NOTIFICATION_SECRET).verify(body, headers);
