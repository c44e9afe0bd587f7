"""Tests of what the tunnel reaches: Zoom's paths and the app's endpoint, and nothing else of this machine."""

import http.client
import sys
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "infra/sam-e2e"), str(ROOT / "infra/aws-trial")]

from e2e.web import call
from trial.tunnel import CHECK_PATH, INBOX_PATH, MAX_BODY, PublicSide, Rewriter, ZoomSide, signature

PUBLIC = "https://tunnel.example.com"


class Upstream:
    """A server that answers with `answer` (status, headers, body) and keeps what it was asked."""

    def __init__(self):
        self.requests, self.answer = [], (200, {}, b"")
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            def respond(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                upstream.requests.append((self.command, self.path, headers, body))
                status, headers, content = upstream.answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = respond

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class Tunnel(unittest.TestCase):
    def setUp(self):
        self.zoom, self.inbox = self.started(Upstream()), self.started(Upstream())
        self.rewriter = Rewriter(self.zoom.url, PUBLIC)
        self.public = self.started(PublicSide(0, self.zoom.url, self.inbox.url, self.rewriter, "nonce"))

    def started(self, server):
        self.addCleanup(server.close)
        return server

    def get(self, path):
        return call("GET", self.public.url + path)

    def test_only_zooms_paths_and_the_inbox_are_reached(self):
        for path in ("/", "/_sim/overview", "/_sim/settings", "/zoom", "/v2", CHECK_PATH + "/x", INBOX_PATH):
            self.assertEqual(self.get(path).status, 404, path)
        self.assertEqual(self.zoom.requests + self.inbox.requests, [])
        for path in ("/oauth/authorize?a=b", "/v2/users/me", "/rec/download/1", "/ssrweb/replay/1/a.mp4?Policy=c"):
            self.assertEqual(self.get(path).status, 200, path)
            self.assertEqual(self.zoom.requests[-1][1], path)
        call("POST", self.public.url + INBOX_PATH, b"{}", {"webhook-id": "msg_1"}).expect(200)
        [(_, _, headers, body)] = self.inbox.requests
        self.assertEqual((headers["webhook-id"], body), ("msg_1", b"{}"))

    def test_check_returns_the_nonce(self):
        self.assertEqual(self.get(CHECK_PATH).body, b"nonce")

    def test_the_simulators_urls_become_the_tunnels(self):
        port = self.zoom.port
        body = f'{{"download_url":"http://127.0.0.1:{port}/rec/download/1","play_url":"https://us06web.zoom.us/x"}}'
        self.zoom.answer = (200, {"content-type": "application/json; charset=utf-8"}, body.encode())
        self.assertEqual(self.get("/v2/x").json()["download_url"], f"{PUBLIC}/rec/download/1")
        self.zoom.answer = (302, {"location": f"http://localhost:{port}/ssrweb/replay/1/a"}, b"")
        self.assertEqual(self.get("/rec/x").headers["location"], f"{PUBLIC}/ssrweb/replay/1/a")

    def test_files_are_passed_on_unchanged(self):
        file = f"http://127.0.0.1:{self.zoom.port}/".encode() * 10_000
        self.zoom.answer = (206, {"content-type": "video/mp4", "content-length": str(len(file)), "etag": '"a"'}, file)
        answer = self.get("/ssrweb/replay/1/a.mp4")
        self.assertEqual((answer.status, answer.headers["etag"], answer.body), (206, '"a"', file))
        self.assertEqual(answer.headers["cache-control"], "no-store, no-transform")
        self.zoom.answer = (200, {"content-type": "video/mp4"}, file)
        self.assertEqual(self.get("/ssrweb/replay/1/a.mp4").body, file)

    def test_simulator_that_is_gone_is_a_bad_gateway(self):
        self.zoom._server.server_close()
        self.assertEqual(self.get("/v2/users/me").status, 502)

    def test_chunked_bodies_are_read(self):
        self.assertEqual(self.send_chunks(b"a=1", b"&b=2"), 200)
        self.assertEqual(self.zoom.requests[-1][3], b"a=1&b=2")

    def test_large_bodies_are_rejected(self):
        self.assertEqual(self.send_chunks(b"x" * MAX_BODY, b"x"), 400)
        connection = http.client.HTTPConnection(urlsplit(self.public.url).netloc)
        self.addCleanup(connection.close)
        connection.putrequest("POST", "/oauth/token")
        connection.putheader("content-length", str(MAX_BODY + 1))
        connection.endheaders()
        self.assertEqual(connection.getresponse().status, 400)
        self.assertEqual(self.zoom.requests, [])

    def send_chunks(self, *chunks):
        connection = http.client.HTTPConnection(urlsplit(self.public.url).netloc)
        self.addCleanup(connection.close)
        connection.request("POST", "/oauth/token", iter(chunks), encode_chunked=True, headers={"transfer-encoding": "chunked"})
        return connection.getresponse().status

    # --- events ----------------------------------------------------------------------------------------

    def deliver(self, body, sent_signature):
        api = self.started(Upstream())
        api.answer = (503, {}, b"later")
        zoom = self.started(ZoomSide(api.url, "secret", self.rewriter))
        headers = {"x-zm-request-timestamp": "1767225601", "x-zm-signature": sent_signature}
        answer = call("POST", zoom.url + "/zoom/webhook", body, headers)
        self.assertEqual((answer.status, answer.body), (503, b"later"))
        [(_, path, headers, received)] = api.requests
        self.assertEqual(path, "/zoom/webhook")
        return headers["x-zm-signature"], received

    def test_changed_event_is_signed_again(self):
        body = f'{{"download_url":"http://127.0.0.1:{self.zoom.port}/rec/1"}}'.encode()
        signed, received = self.deliver(body, signature("secret", "1767225601", body))
        self.assertEqual(received, f'{{"download_url":"{PUBLIC}/rec/1"}}'.encode())
        self.assertEqual(signed, signature("secret", "1767225601", received))

    def test_unchanged_event_keeps_its_signature(self):
        signed, received = self.deliver(b'{"event":"x"}', "v0=forged")
        self.assertEqual((signed, received), ("v0=forged", b'{"event":"x"}'))

    def test_signature_is_zooms(self):
        # The vector of `infra/zoom-sim/src/signature.rs`.
        source = (ROOT / "infra/zoom-sim/src/signature.rs").read_text()
        body = source.split('let body = r#"', 1)[1].split('"#', 1)[0].encode()
        self.assertEqual(len(body), 277)
        self.assertIn(signature("test-secret-token-000", "1767225601", body), source)


if __name__ == "__main__":
    unittest.main()
