"""The app that embeds Reelay, based on the public contract alone."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from urllib.parse import urlencode

from .web import call

RETURN_URL = "https://app.example.com/settings/integrations"


def _encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _token(secret, audience, user, **more):
    now = int(time.time())
    claims = {"aud": audience, "sub": user, "iat": now, "exp": now + 300, **more}
    signed = ".".join(_encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{signed}.{_encoded(hmac.digest(secret.encode(), signed.encode(), hashlib.sha256))}"


class App:
    """The app's server."""

    def __init__(self, url, secret):
        self._url, self._secret = url, secret

    def connect_url(self, user):
        token = _token(self._secret, "reelay:connect", user, return_to=RETURN_URL, jti=secrets.token_hex(8))
        return f"{self._url}/zoom/connect?{urlencode({'token': token})}"

    def v1(self, user, method, path, body=None):
        token = _token(self._secret, "reelay:api", user)
        return call(method, f"{self._url}/v1{path}", body, {"authorization": f"Bearer {token}"})

    def confirm(self, user, claim):
        return self.v1(user, "POST", "/links/confirm", {"claim": claim})

    def links(self, user):
        return self.v1(user, "GET", "/links").expect(200).json()["links"]

    def recording(self, user, meeting_uuid):
        """Returns the recording as listed, or `None`."""
        found = self.v1(user, "GET", "/recordings?limit=100").expect(200).json()["recordings"]
        return next((recording for recording in found if recording["meeting_uuid"] == meeting_uuid), None)


class Inbox:
    """The app's webhook: accepts notifications with a valid Standard Webhooks signature, rejects the rest."""

    def __init__(self):
        self.secret = None
        self.rejected = 0
        self._received, self._lock = {}, Lock()
        self._failures, self._failed = 0, Counter()
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                self.send_response(inbox.respond(self.headers, body))
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/webhooks/reelay"

    def reject_each(self, times):
        """Rejects the first `times` deliveries of each notification."""
        self._failures = times

    def respond(self, headers, body):
        notification_id = headers["webhook-id"]
        with self._lock:
            if self._failed[notification_id] < self._failures:
                self._failed[notification_id] += 1
                return 503
        return 204 if self.accept(headers, body) else 401

    def accept(self, headers, body):
        key = base64.b64decode(self.secret)
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        is_fresh = abs(time.time() - int(headers["webhook-timestamp"])) < 300
        is_valid = is_fresh and any(hmac.compare_digest(expected, given) for given in headers["webhook-signature"].split())
        with self._lock:
            if is_valid:
                # Delivery is at least once: the id identifies the notification.
                self._received[headers["webhook-id"]] = json.loads(body)
            else:
                self.rejected += 1
        return is_valid

    def received(self, kind, meeting_uuid=None):
        with self._lock:
            notifications = list(self._received.values())
        return [
            notification
            for notification in notifications
            if notification["type"] == kind
            and (meeting_uuid is None or notification["data"]["recording"]["meeting_uuid"] == meeting_uuid)
        ]

    def close(self):
        self._server.shutdown()
