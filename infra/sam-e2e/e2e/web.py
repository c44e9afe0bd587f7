"""HTTP client that returns every response, whatever its status, and follows no redirects."""

import json
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


_opener = build_opener(_NoRedirect)


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def expect(self, *statuses):
        if self.status not in statuses:
            raise AssertionError(f"{self.status} instead of {statuses}: {self.body[:500]!r}")
        return self


def call(method, url, body=None, headers=None):
    """Sends `bytes` unchanged and any other body as JSON."""
    headers = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body, headers["content-type"] = json.dumps(body).encode(), "application/json"
    request = Request(url, data=body, headers=headers, method=method)
    try:
        with _opener.open(request, timeout=60) as response:
            return Response(response.status, response.headers, response.read())
    except HTTPError as response:
        return Response(response.code, response.headers, response.read())
