// The webhook as most Node functions are written: clients created once, the secret cached for five minutes.
import { createHmac, timingSafeEqual } from "node:crypto";
import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { SendMessageCommand, SQSClient } from "@aws-sdk/client-sqs";

const secrets = new SecretsManagerClient({});
const queues = new SQSClient({});
let cached;

async function webhookSecret() {
  if (!cached || Date.now() - cached.readAt > 300_000) {
    const response = await secrets.send(new GetSecretValueCommand({ SecretId: process.env.ZOOM_SECRET }));
    cached = { value: JSON.parse(response.SecretString).webhook_secret, readAt: Date.now() };
  }
  return cached.value;
}

export async function handler(event) {
  const body = event.isBase64Encoded ? Buffer.from(event.body, "base64").toString() : event.body;
  const timestamp = event.headers["x-zm-request-timestamp"] ?? "";
  const tag = createHmac("sha256", await webhookSecret()).update(`v0:${timestamp}:${body}`).digest("hex");
  const expected = Buffer.from(`v0=${tag}`);
  const received = Buffer.from(event.headers["x-zm-signature"] ?? "");
  const isFresh = Math.abs(Date.now() / 1000 - Number(timestamp)) < 300;
  if (!isFresh || received.length !== expected.length || !timingSafeEqual(received, expected)) {
    return { statusCode: 401 };
  }
  const message = JSON.parse(body);
  for (const file of message.payload.object.recording_files) delete file.play_url;
  delete message.payload.object.share_url;
  await queues.send(
    new SendMessageCommand({ QueueUrl: process.env.EVENTS_QUEUE_URL, MessageBody: JSON.stringify(message) }),
  );
  return { statusCode: 200 };
}
