# pip install pyjwt requests standardwebhooks
import os
import time

import jwt
import requests
from standardwebhooks import Webhook

def token(user_id, audience):
    now = int(time.time())
    claims = {"sub": user_id, "aud": audience, "iat": now, "exp": now + 300}
    return jwt.encode(claims, os.environ["REELAY_APP_SECRET"], algorithm="HS256")

def call(user_id, method, path, **options):
    headers = {"Authorization": f"Bearer {token(user_id, 'reelay:api')}"}
    response = requests.request(method, os.environ["REELAY_API_URL"] + path, headers=headers, timeout=30, **options)
    response.raise_for_status()
    return response.json() if response.content else None  # DELETE has no content

def connect_url(user_id):  # the target of the button "Connect Zoom"
    return f"{os.environ['REELAY_CONNECT_URL']}?token={token(user_id, 'reelay:connect')}"

def confirm(user_id, claim):  # user_id: the user in whose session `zoom_link` arrived
    return call(user_id, "POST", "/links/confirm", json={"claim": claim})

def recordings(user_id, cursor=None):
    return call(user_id, "GET", "/recordings", params={"limit": 100, "cursor": cursor})

def verify(headers, body):  # body: the bytes as they arrived; raises WebhookVerificationError
    return Webhook(os.environ["REELAY_NOTIFICATION_SECRET"]).verify(body, headers)
