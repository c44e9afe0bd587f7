"""What stands between the internet and the simulator, which trusts everybody who reaches it.

The simulator listens on loopback, and its URLs say so. The tunnel leads to `PublicSide`, which forwards Zoom's paths
to the simulator and the app's path to the inbox, and nothing else: not the simulator's control API. URLs of the
simulator in responses become URLs of the tunnel. Events go through `ZoomSide`, which does the same to their bodies
and signs them again.
"""

import hashlib
import hmac
import http.client
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

from e2e.web import call

ZOOM_PATHS = ("/oauth/", "/v2/", "/rec/", "/ssrweb/")
INBOX_PATH = "/webhooks/reelay"
CHECK_PATH = "/reelay-trial"
CHUNK = 1 << 16
# Far more than a token request or a notification has.
MAX_BODY = 1 << 20
# RFC 9110, 7.6.1: what belongs to one connection. `host` and the lengths are set anew.
HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host", "content-length"}


class Rewriter:
    """Replaces the simulator's URLs by those of the tunnel."""

    def __init__(self, simulator_url, public_url):
        port = urlsplit(simulator_url).port
        # The second is the host that serves the files.
        self._local = [f"http://{host}:{port}".encode() for host in ("127.0.0.1", "localhost")]
        self._public = public_url.encode()

    def bytes(self, body):
        for url in self._local:
            body = body.replace(url, self._public)
        return body

    def text(self, text):
        return self.bytes(text.encode()).decode()


def signature(secret, timestamp, body):
    """Zoom's `x-zm-signature`."""
    signed = b"v0:" + timestamp.encode() + b":" + body
    return "v0=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


class _Server:
    def __init__(self, handler, port=0):
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class PublicSide(_Server):
    """Serves the tunnel. `nonce` proves to `CHECK_PATH` that the tunnel leads here."""

    def __init__(self, port, simulator_url, inbox_url, rewriter, nonce):
        zoom, inbox = urlsplit(simulator_url).netloc, urlsplit(inbox_url).netloc

        class Handler(_Handler):
            def respond(self, body):
                path = self.path.split("?")[0]
                if path == CHECK_PATH and self.command == "GET":
                    self.reply(200, {"cache-control": "no-store"}, nonce.encode())
                elif path == INBOX_PATH and self.command == "POST":
                    self.forward(inbox, body, rewriter)
                elif path.startswith(ZOOM_PATHS):
                    self.forward(zoom, body, rewriter)
                else:
                    self.reply(404, {}, b"")

        super().__init__(Handler, port)


class ZoomSide(_Server):
    """Delivers the simulator's events to the deployed API."""

    def __init__(self, api_url, webhook_secret, rewriter):
        class Handler(_Handler):
            def respond(self, body):
                headers = _end_to_end(self.headers)
                public = rewriter.bytes(body)
                if public != body:
                    headers["x-zm-signature"] = signature(webhook_secret, headers["x-zm-request-timestamp"], public)
                try:
                    answer = call(self.command, api_url + self.path, public, headers)
                except OSError:
                    return self.reply(502, {}, b"")
                self.reply(answer.status, _end_to_end(answer.headers), answer.body)

        super().__init__(Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A tunnel that breaks must not hold a thread for ever.
    timeout = 120

    def serve(self):
        try:
            body = self.read_body()
        except ValueError:
            # What is left of the body is no request.
            self.close_connection = True
            return self.reply(400, {"connection": "close"}, b"")
        self.respond(body)

    do_GET = do_HEAD = do_POST = do_DELETE = serve

    def read_body(self):
        """Reads the body; some tunnels send it in chunks (RFC 9112, 7.1)."""
        if "transfer-encoding" not in self.headers:
            return self.read(int(self.headers.get("content-length") or 0), 0)
        if self.headers["transfer-encoding"].lower() != "chunked":
            raise ValueError("unknown transfer encoding")
        body = b""
        while size := int(self.rfile.readline(100).split(b";")[0], 16):
            body += self.read(size, len(body))
            self.rfile.readline(100)
        while self.rfile.readline(1000).strip():
            pass
        return body

    def read(self, size, already):
        if not 0 <= size <= MAX_BODY - already:
            raise ValueError("the body is too large")
        return self.rfile.read(size)

    def forward(self, authority, body, rewriter):
        connection = http.client.HTTPConnection(authority, timeout=60)
        try:
            try:
                connection.request(self.command, self.path, body or None, _end_to_end(self.headers))
                answer = connection.getresponse()
            except (OSError, http.client.HTTPException):
                return self.reply(502, {}, b"")
            headers = _end_to_end(answer.headers)
            if "location" in headers:
                headers["location"] = rewriter.text(headers["location"])
            # A tunnel must neither keep nor change what Zoom serves.
            headers.setdefault("cache-control", "no-store, no-transform")
            if headers.get("content-type", "").startswith("application/json"):
                return self.reply(answer.status, headers, rewriter.bytes(answer.read()))
            self.stream(answer, headers)
        finally:
            connection.close()

    def stream(self, answer, headers):
        """Passes a body on as it arrives: files have up to some megabytes."""
        self.send_head(answer.status, headers)
        has_body = self.command != "HEAD" and answer.status not in (204, 304)
        length = answer.getheader("content-length")
        if length is not None:
            self.send_header("content-length", length)
        elif has_body:
            # Without a length the end of the connection is the end of the body.
            self.send_header("connection", "close")
        self.end_headers()
        while has_body and (chunk := answer.read(CHUNK)):
            self.wfile.write(chunk)

    def reply(self, status, headers, body):
        self.send_head(status, headers)
        if status not in (204, 304):
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_head(self, status, headers):
        # `send_response` would add a second Date.
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)

    def log_message(self, *_):
        pass


def _end_to_end(headers):
    return {name.lower(): value for name, value in headers.items() if name.lower() not in HOP_BY_HOP}
