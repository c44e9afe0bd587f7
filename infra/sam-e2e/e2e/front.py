"""Loopback proxy in front of the deployed API, in place of DNS and TLS.

API Gateway selects the API by the `Host` header. The proxy sets that header and forwards requests to the emulator.
"""

import http.client
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit


class FrontDoor:
    def __init__(self, endpoint, host):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _forwarding(urlsplit(endpoint).netloc, host))
        Thread(target=self._server.serve_forever, daemon=True).start()
        self.host = host
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def reach(self, url):
        """Returns the proxy URL of a URL of the deployed API."""
        parts = urlsplit(url)
        if parts.netloc != self.host:
            return url
        return self.url + parts._replace(scheme="", netloc="").geturl()

    def close(self):
        self._server.shutdown()


def _forwarding(upstream, host):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self):
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            connection = http.client.HTTPConnection(upstream, timeout=60)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
            connection.request(self.command, self.path, body, headers | {"Host": host})
            response = connection.getresponse()
            content = response.read()
            self.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                    self.send_header(name, value)
            if response.status != 204:
                self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            connection.close()

        do_GET = do_POST = do_DELETE = do_PUT = forward

        def log_message(self, *_):
            pass

    return Handler
