// The webhook's work as most Node functions do it: clients made once, the secret kept for five minutes.
import { createHmac, timingSafeEqual } from "node:crypto";
import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { SendMessageCommand, SQSClient } from "@aws-sdk/client-sqs";

const secrets = new SecretsManagerClient({});
const queues = new SQSClient({});
let kept;

async function webhookSecret() {
  if (!kept || Date.now() - kept.readAt > 300_000) {
    const answer = await secrets.send(new GetSecretValueCommand({ SecretId: process.env.ZOOM_SECRET }));
    kept = { value: JSON.parse(answer.SecretString).webhook_secret, readAt: Date.now() };
  }
  return kept.value;
}

export async function handler(event) {
  const body = event.isBase64Encoded ? Buffer.from(event.body, "base64").toString() : event.body;
  const timestamp = event.headers["x-zm-request-timestamp"] ?? "";
  const expected = createHmac("sha256", await webhookSecret()).update(`v0:${timestamp}:${body}`).digest("hex");
  const given = Buffer.from(event.headers["x-zm-signature"] ?? "");
  const good = Buffer.from(`v0=${expected}`);
  const fresh = Math.abs(Date.now() / 1000 - Number(timestamp)) < 300;
  if (!fresh || given.length !== good.length || !timingSafeEqual(given, good)) return { statusCode: 401 };
  const message = JSON.parse(body);
  for (const file of message.payload.object.recording_files) delete file.play_url;
  delete message.payload.object.share_url;
  await queues.send(
    new SendMessageCommand({ QueueUrl: process.env.EVENTS_QUEUE_URL, MessageBody: JSON.stringify(message) }),
  );
  return { statusCode: 200 };
}
