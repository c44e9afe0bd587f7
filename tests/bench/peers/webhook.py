"""The webhook as most Python functions are written: clients created once, the secret cached for five minutes."""

import base64
import hashlib
import hmac
import json
import os
import time

import boto3

secrets = boto3.client("secretsmanager")
queues = boto3.client("sqs")
cached = None


def webhook_secret():
    global cached
    if cached is None or time.monotonic() - cached[1] > 300:
        response = secrets.get_secret_value(SecretId=os.environ["ZOOM_SECRET"])
        cached = (json.loads(response["SecretString"])["webhook_secret"], time.monotonic())
    return cached[0]


def handler(event, context):
    body = event["body"]
    if event.get("isBase64Encoded"):
        body = base64.b64decode(body).decode()
    timestamp = event["headers"].get("x-zm-request-timestamp", "0")
    signed = f"v0:{timestamp}:{body}".encode()
    expected = "v0=" + hmac.new(webhook_secret().encode(), signed, hashlib.sha256).hexdigest()
    received = event["headers"].get("x-zm-signature", "")
    if abs(time.time() - float(timestamp)) >= 300 or not hmac.compare_digest(received, expected):
        return {"statusCode": 401}
    message = json.loads(body)
    for file in message["payload"]["object"]["recording_files"]:
        file.pop("play_url", None)
    message["payload"]["object"].pop("share_url", None)
    queues.send_message(QueueUrl=os.environ["EVENTS_QUEUE_URL"], MessageBody=json.dumps(message))
    return {"statusCode": 200}
