"""Tests the stack through its public interfaces: API Gateway, Zoom and the app."""

import hashlib
import json
from urllib.parse import parse_qs, urlencode, urlsplit

from .app import RETURN_URL
from .cloud import until
from .web import call
from .zoom import ADA, CEM, VERIFICATION_CODE

USER = "e2e-user"
MIB = 1 << 20
# Minimum number of continuations of one transfer. AWS stops a recursive loop after about 16.
CONTINUATIONS = 20


class Flow:
    # The tables of a test are not protected from deletion. The quota of concurrent executions is ten in new accounts;
    # the emulator's depends on its memory.
    expected_warnings = {"tables.protected", "account.concurrency"}

    def __init__(self, run, zoom, door, app, inbox, cloud, resources):
        self.run, self.zoom, self.door, self.app, self.inbox = run, zoom, door, app, inbox
        self.cloud, self.resources = cloud, resources
        # Notifications with an invalid signature that the doctor sent to the app.
        self.forged = 0

    def perform(self):
        step = self.run.step
        with step("the API responds and rejects requests without signature or token"):
            self.refusals()
        with step("Zoom validates both endpoints"):
            for target in ("webhook", "deauthorize"):
                response = self.zoom.control("validate", {"target": target})
                assert response["ok"], response
        with step("reelay doctor finds no problem"):
            self.doctor()
        with step("a claim of another user is invalidated"):
            self.invalidated_claim()
        with step("a user links, the app confirms and is notified"):
            self.link(self.app.connect_url(USER))
            self.doctor("--user", USER)
        with step("a recording completes: files, manifest and notifications are correct"):
            recording = self.recording([("MP4", 20_000_000), ("M4A", 500_000), ("TIMELINE", 4_811)])
        with step("its transcript arrives late while the app's webhook fails"):
            self.transcript(recording)
        with step("Zoom rejects the event's token: the downloader refreshes and uses the grant's token"):
            self.rejected_token()
        with step("Zoom revokes the grant: the app is notified, the user reconnects, the file is stored"):
            self.revoked_grant()
        with step("events of another account, of many recordings, and too large for a queue"):
            self.odd_events(recording)
        with step("the app requests a recording and a backfill"):
            self.requests()
        with step(f"a transfer continues in {CONTINUATIONS} new invocations"):
            self.continuations()
        with step("the scheduled maintenance runs"):
            self.maintenance()
        with step("the user disconnects: the grant is revoked at Zoom"):
            self.disconnect()
        with step("the user links with an operator's link and removes the app at Zoom"):
            self.deauthorize()
        with step("no dead letters, and all queues are empty"):
            self.queues()

    def doctor(self, *arguments):
        *findings, last = self.run.reelay("doctor", *arguments)
        is_expected = lambda finding: finding["status"] == "warn" and finding["check"] in self.expected_warnings
        problems = [finding for finding in findings if finding["status"] != "ok" and not is_expected(finding)]
        assert findings and not problems, problems
        assert last["registration"]["redirect_url"].startswith(f"https://{self.door.host}/"), last
        self.forged += sum(finding["check"] == "app.forged" for finding in findings)

    # --- linking ---------------------------------------------------------------------------------------

    def refusals(self):
        call("GET", f"{self.door.url}/healthz").expect(200)
        call("POST", f"{self.door.url}/zoom/webhook", {"event": "recording.completed"}).expect(401)
        response = call("GET", f"{self.door.url}/v1/links").expect(401)
        assert response.json()["code"] == "token_missing", response.body
        file = call("GET", f"{self.door.url}/zoomverify/verifyzoom.html").expect(200)
        assert file.body.decode() == VERIFICATION_CODE, file.body
        response = self.app.v1(USER, "GET", "/nothing/here").expect(404)
        assert response.json()["code"] == "route_not_found", response.body

    def consent(self, connect_url, zoom_user=ADA):
        """Visits connect link, consent page and callback like a browser. Returns the claim."""
        start = call("GET", connect_url).expect(302)
        cookie = start.headers["set-cookie"]
        attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert cookie.startswith("__Host-reelay-connect="), "unexpected cookie"
        assert {"secure", "httponly", "samesite=lax", "path=/"} <= attributes, attributes
        page = f"{start.headers['location']}&{urlencode({'sim_user': zoom_user, 'sim_decision': 'allow'})}"
        back = call("GET", page).expect(302).headers["location"]
        # Zoom redirects to the stack's RedirectUrl.
        assert back.startswith(f"https://{self.door.host}/zoom/callback?"), back.split("?")[0]
        end = call("GET", self.door.reach(back), headers={"cookie": cookie.split(";")[0]}).expect(302)
        arrived = urlsplit(end.headers["location"])
        assert arrived._replace(query="").geturl() == RETURN_URL, arrived.path
        return parse_qs(arrived.query)["zoom_link"][0]

    def invalidated_claim(self):
        # Another Zoom user, because the unused grant is revoked at Zoom.
        claim = self.consent(self.app.connect_url("other-user"), CEM)
        response = self.app.confirm(USER, claim).expect(403)
        assert response.json()["code"] == "claim_belongs_to_another_user", response.body
        self.app.confirm("other-user", claim).expect(410)
        assert self.app.links(USER) == self.app.links("other-user") == []

    def link(self, connect_url):
        already = len(self.inbox.received("link.activated"))
        claim = self.consent(connect_url)
        first = self.app.confirm(USER, claim).expect(200).json()
        assert first["status"] == "active" and first["zoom"]["user_id"] == ADA, first
        assert self.app.confirm(USER, claim).expect(200).json() == first, "a repeat differs"
        [listed] = self.app.links(USER)
        # The address is in the list alone.
        assert listed["zoom"].pop("email") and first["zoom"].pop("email") is None, (listed, first)
        assert listed == first, (listed, first)
        until("link.activated", lambda: len(self.inbox.received("link.activated")) > already)
        return first["id"]

    # --- recordings ------------------------------------------------------------------------------------

    def recording(self, files, seconds=90):
        files = [{"file_type": kind, "size": size} for kind, size in files]
        made = self.zoom.complete(ADA, files)
        self.stored(made, len(files), seconds)
        return made

    def stored(self, made, files, seconds=90):
        """Waits until all files are stored and notified, then compares their hashes with Zoom's."""

        def done():
            seen = self.app.recording(USER, made["uuid"])
            return seen and seen["status"] == "stored" and len(seen["files"]) == files and seen

        seen = until("the recording is stored", done, seconds)
        whole = self.app.v1(USER, "GET", f"/recordings/{seen['id']}").expect(200).json()
        for file in whole["files"]:
            bytes_there = call("GET", file["url"]).expect(200).body
            assert hashlib.sha256(bytes_there).hexdigest() == self.zoom.sha256(file["id"]), f"{file['id']} differs"
        folder = whole["files"][0]["key"].rsplit("/", 1)[0]
        until("manifest.json", lambda: self.manifest(f"{folder}/manifest.json") == {f["id"] for f in whole["files"]})
        until("recording.stored", lambda: self.inbox.received("recording.stored", made["uuid"]), seconds)
        notified = lambda: {one["data"]["file"]["id"] for one in self.inbox.received("recording.file_stored", made["uuid"])}
        until("recording.file_stored", lambda: notified() == {file["id"] for file in whole["files"]}, seconds)
        assert self.inbox.received("recording.detected", made["uuid"])
        return whole

    def manifest(self, key):
        """Returns the ids of the stored files in the manifest."""
        s3 = self.cloud.client("s3")
        try:
            body = s3.get_object(Bucket=self.resources["RecordingsBucket"], Key=key)["Body"].read()
        except s3.exceptions.NoSuchKey:
            return None
        return {file["id"] for file in json.loads(body)["recording"]["files"] if file["status"] == "stored"}

    def transcript(self, made):
        # After two failures the notification waits; after one only the other destination has it.
        self.inbox.reject_each(times=2)
        self.zoom.control(f"recordings/{made['key']}/transcript", {"file_type": "TRANSCRIPT", "size": 64_000})
        # A notification is repeated after 10 and 40 seconds.
        self.stored(made, 4, seconds=180)
        until("recording.stored again", lambda: len(self.inbox.received("recording.stored", made["uuid"])) == 2, 180)
        self.inbox.reject_each(times=0)

    def rejected_token(self):
        self.zoom.control("faults", {"at": "download", "kind": "status", "status": 401, "times": 1})
        self.recording([("M4A", 300_000)])

    def revoked_grant(self):
        # A consent elsewhere invalidates the stack's tokens without an event.
        self.zoom.control("grants", {"user_id": ADA})
        self.zoom.control("faults", {"at": "download", "kind": "status", "status": 401})
        made = self.zoom.complete(ADA, [{"file_type": "M4A", "size": 300_000}])
        until("link.reauthorization_required", lambda: self.inbox.received("link.reauthorization_required"))
        call("DELETE", f"{self.zoom.url}/_sim/faults").expect(200)
        self.link(self.app.connect_url(USER))
        self.stored(made, 1)

    def odd_events(self, made):
        event = lambda name, account, thing: {
            "event": name, "event_ts": 1_767_260_000_123, "payload": {"account_id": account, "object": thing}
        }
        # A known user in an unknown account: Reelay calls Zoom, whose response shows no move.
        self.raw(event("recording.completed", "AccountElsewhere00001", {"host_id": ADA, "uuid": "moved==", "id": 1}))
        # 300 KiB exceed the SQS limit and go through the bucket.
        big = {"host_id": "UserUnknown0000000001", "uuid": "big==", "id": 2, "topic": "x" * (300 << 10)}
        self.raw(event("recording.completed", "AccountElsewhere00001", big))
        # Batch events contain meetings but no host.
        self.zoom.control("batch", {"recordings": [made["key"]], "change": "trash"})
        until("recording.changed", lambda: self.inbox.received("recording.changed", made["uuid"]))
        self.zoom.control("batch", {"recordings": [made["key"]], "change": "recover"})
        until("recording.changed", lambda: len(self.inbox.received("recording.changed", made["uuid"])) == 2)

    def raw(self, event):
        self.zoom.assert_delivered(self.zoom.control("events", {"body": json.dumps(event)})["delivery"])

    def requests(self):
        with self.run.reconfigured("EventProcessorFunction", DOWNLOAD_MODE="on-demand"):
            waiting = self.zoom.complete(ADA, [{"file_type": "M4A", "size": 200_000}])
            detected = lambda: self.app.recording(USER, waiting["uuid"])
            until("the recording is listed", lambda: detected() and len(detected()["files"]) == 1)
            assert detected()["status"] == "detected", detected()
        self.app.v1(USER, "POST", f"/recordings/{detected()['id']}/download").expect(202)
        self.stored(waiting, 1)
        # Pagination with the signed cursor.
        page = self.app.v1(USER, "GET", "/recordings?limit=1").expect(200).json()
        page = self.app.v1(USER, "GET", f"/recordings?limit=1&cursor={page['next_cursor']}").expect(200).json()
        assert len(page["recordings"]) == 1, page
        # A recording without an event.
        missed = self.zoom.control("recordings", {"host_id": ADA, "files": [{"file_type": "M4A", "size": 200_000}], "silent": True})
        day = missed["recording"]["start_time"][:10]
        self.app.v1(USER, "POST", "/backfill", {"from": day, "to": day}).expect(202)
        self.stored(missed["recording"], 1)

    def continuations(self):
        """Downloads one 16 MiB part per invocation, too slowly for a second one."""
        with self.run.reconfigured("RecordingDownloaderFunction", timeout=6, DOWNLOAD_CONNECTIONS="1"):
            self.zoom.control("faults", {"at": "content", "kind": "slow", "bytes_per_second": 8 * MIB})
            self.recording([("MP4", (CONTINUATIONS + 1) * 16 * MIB - 1)], seconds=300)
            call("DELETE", f"{self.zoom.url}/_sim/faults").expect(200)
        sent = self.run.calls("RecordingDownloaderRole", "sqs:SendMessage", "DownloadsQueue")
        assert sent >= CONTINUATIONS, f"only {sent} continuations"

    def maintenance(self):
        # Sends the input of the hourly rule.
        rule = self.cloud.template()["Resources"]["MaintenanceSchedule"]["Properties"]["Targets"][0]
        self.cloud.client("sqs").send_message(QueueUrl=self.resources["JobsQueue"], MessageBody=rule["Input"])
        has_queried = lambda: self.run.calls("ReconcilerRole", "dynamodb:Query", "LinksTable/index/by-next-check")
        until("the maintenance run", has_queried)

    # --- unlinking ---------------------------------------------------------------------------------------

    def disconnect(self):
        # From now on access tokens have Zoom's real lifetime.
        self.zoom.settings(access_token_seconds=3600)
        [link] = self.app.links(USER)
        self.app.v1(USER, "DELETE", f"/links/{link['id']}").expect(204)
        self.app.v1(USER, "DELETE", f"/links/{link['id']}").expect(204)
        assert self.app.links(USER) == []
        until("link.removed", lambda: self.inbox.received("link.removed"))
        until("the revocation", lambda: not self.live_grant())

    def deauthorize(self):
        already = len(self.inbox.received("link.removed"))
        [minted] = self.run.reelay("mint-link", "--user", USER, "--once")
        self.link(self.door.reach(minted["url"]))
        assert self.live_grant()
        self.zoom.assert_delivered(self.zoom.control(f"users/{ADA}/deauthorize")["delivery"])
        until("link.removed", lambda: len(self.inbox.received("link.removed")) > already)
        assert self.app.links(USER) == []

    def live_grant(self):
        return [one for one in self.zoom.get("grants")["grants"] if one["user_id"] == ADA and not one.get("end_reason")]

    def queues(self):
        for name in ("Events", "Downloads", "Notifications", "Jobs"):
            assert self.cloud.waiting(self.resources[f"{name}Dlq"]) == 0, f"dead letters of {name}"
        # The jobs queue holds finish jobs that are delivered after 15 minutes.
        for name in ("Events", "Downloads", "Notifications"):
            until(f"{name} queue is empty", lambda: self.cloud.waiting(self.resources[f"{name}Queue"]) == 0)
        rejected = self.inbox.rejected - self.forged
        assert rejected == 0, f"{rejected} notifications had an invalid signature"
