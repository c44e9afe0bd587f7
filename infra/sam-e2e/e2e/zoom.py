"""The Zoom simulator process and its control API."""

import os
import re
import subprocess
from urllib.parse import quote

from .web import call

CLIENT = {"client_id": "e2eClientId0000000000", "client_secret": "e2eClientSecret0000000000000000"}
WEBHOOK_SECRET = "e2eWebhookSecret000000"
VERIFICATION_CODE = "e2e-0123456789abcdef"
# Predefined users of the simulator.
ADA, CEM = "UserAdaBerg00000000001", "-UserCemDiaz0000000003"


class Zoom:
    def __init__(self, binary, log, client=CLIENT, webhook_secret=WEBHOOK_SECRET):
        self._log = open(log, "w+", encoding="utf-8")
        arguments = ["--port", "0", "--webhook-secret", webhook_secret]
        arguments += ["--client-id", client["client_id"], "--client-secret", client["client_secret"]]
        environment = os.environ | {"NO_COLOR": "1"}
        self.process = subprocess.Popen([binary, *arguments], stderr=self._log, env=environment)

    def address(self):
        """Returns the URL, or `None` before the simulator has started."""
        self._log.seek(0)
        found = re.search(r"url=(http://\S+?)/?\s", self._log.read())
        return found and found.group(1)

    def use_url(self, url):
        self.url = url
        return self

    def settings(self, **changes):
        call("PATCH", f"{self.url}/_sim/settings", changes).expect(200)

    def control(self, path, body=None):
        return call("POST", f"{self.url}/_sim/{path}", {} if body is None else body).expect(200).json()

    def get(self, path):
        return call("GET", f"{self.url}/_sim/{path}").expect(200).json()

    def complete(self, host, files, **more):
        """Completes a recording and checks that its event was delivered."""
        made = self.control("recordings", {"host_id": host, "files": files, **more})
        for delivery in made["deliveries"]:
            self.assert_delivered(delivery)
        return made["recording"]

    def assert_delivered(self, delivery):
        seen = self.get(f"deliveries/{delivery}?attempts=1")
        if seen["state"] != "delivered":
            raise AssertionError(f"delivery is {seen['state']}: {seen['attempts']}")

    def recording(self, key):
        return self.get(f"recordings/{quote(key, safe='')}")

    def sha256(self, file_id):
        return self.get(f"files/{quote(file_id, safe='')}")["sha256"]

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self._log.close()
