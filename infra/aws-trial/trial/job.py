"""The main job, a redrive and a webhook outage on the deployed stack, by the steps of `infra/sam-e2e`."""

import json
from contextlib import contextmanager

from e2e.cloud import until
from e2e.flow import USER, Flow
from e2e.zoom import ADA

# Zoom repeats an event after 5, 20 and 60 minutes; here after 3, 12 and 36 seconds.
RETRY_SCALE = 0.01
RETRIES_SECONDS = 51
# A cold start, a queue's long poll and a tunnel take longer than the emulator.
STORED_SECONDS = 300


class Job(Flow):
    def perform(self):
        step = self.run.step
        with step("Lambda polls the queues, and the first maintenance run ends the heartbeat's alarm"):
            self.ready()
        with step("the API responds and rejects requests without signature or token"):
            self.refusals()
        with step("Zoom validates both endpoints"):
            for target in ("webhook", "deauthorize"):
                answer = self.zoom.control("validate", {"target": target})
                assert answer["ok"], answer
        with step("reelay doctor finds no problem"):
            self.doctor()
        with step("a user links, the app confirms and is notified"):
            self.link(self.app.connect_url(USER))
            self.doctor("--user", USER)
        with step("a recording completes: it is stored, notified, listed and downloaded, and every byte is Zoom's"):
            self.recording([("MP4", 12_000_000), ("M4A", 500_000), ("TIMELINE", 4_811)], STORED_SECONDS)
        with step("an event becomes a dead letter; reelay redrive brings its recording"):
            self.redrive()
        with step("the webhook fails for a while: Zoom repeats the event, and the recording is stored"):
            self.short_outage()
        with step("the webhook fails for longer than Zoom repeats: reelay reconcile finds the recording"):
            self.long_outage()
        with step("the user disconnects: the grant is revoked at Zoom"):
            self.disconnect()
        with step("no dead letters, and all queues are empty"):
            self.queues()

    def ready(self):
        consumers = ("EventProcessor", "RecordingDownloader", "Notifier", "Reconciler")
        for name in consumers:
            function = self.resources[f"{name}Function"]
            until(f"Lambda polls the queue of {name}", lambda: self.cloud.polls(function), 600, every=5)
        # The alarm counts periods without data as periods without runs, so it is not OK until the first run, five minutes
        # after the deployment.
        heartbeat = self.resources["MaintenanceAlarm"]
        until("the first maintenance run", lambda: self.cloud.alarm_state(heartbeat) == "OK", 1200, every=10)

    # --- redrive ---------------------------------------------------------------------------------------

    def redrive(self):
        queue, dead = self.resources["EventsQueue"], self.resources["EventsDlq"]
        # SQS redrives only what it has moved to the dead-letter queue itself (SQS API Reference, StartMessageMoveTask),
        # so an event has to fail. RetryDays allow 235 receives; here one is enough.
        with self.max_receives(queue, 1):
            with self.run.reconfigured("EventProcessorFunction", RECORDINGS_TABLE=f"{self.cloud.stack}-missing"):
                made = self.zoom.complete(ADA, [{"file_type": "M4A", "size": 300_000}])
                # A changed attribute takes up to a minute (SetQueueAttributes), in which the event is retried.
                until("the dead letter", lambda: self.cloud.waiting(dead) == 1, 300, every=2)
                assert self.app.recording(USER, made["uuid"]) is None
        [letter] = until("the listing", lambda: self.run.reelay("redrive", "events", "--list"))
        assert letter["queue"] == "events" and letter["subject"].startswith("recording.completed "), letter
        # The listing hides the letter until it makes it visible again.
        until("the letter is visible", lambda: self.cloud.visible(dead) == 1, every=2)
        [report] = self.run.reelay("redrive", "events")
        [redriven] = report["queues"]
        assert redriven["moved"] == 1 and "problem" not in redriven, report
        self.stored(made, 1, STORED_SECONDS)

    @contextmanager
    def max_receives(self, queue, count):
        client = self.cloud.client("sqs")
        found = client.get_queue_attributes(QueueUrl=queue, AttributeNames=["RedrivePolicy"])
        before = found["Attributes"]["RedrivePolicy"]
        changed = json.dumps(json.loads(before) | {"maxReceiveCount": count})
        client.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": changed})
        yield
        client.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": before})

    # --- outages ---------------------------------------------------------------------------------------

    def webhook_fails(self):
        """The webhook cannot store events, and says 503. A queue of this name does not exist."""
        queue = f"{self.resources['EventsQueue']}-missing"
        return self.run.reconfigured("WebhookFunction", EVENTS_QUEUE_URL=queue)

    def unannounced(self):
        """Completes a recording whose event is not delivered. Returns the recording and the delivery."""
        made = self.zoom.control("recordings", {"host_id": ADA, "files": [{"file_type": "M4A", "size": 300_000}]})
        [delivery] = made["deliveries"]
        first = self.zoom.get(f"deliveries/{delivery}?attempts=1")["attempts"][0]
        assert first["status"] == 503, first
        return made["recording"], delivery

    def short_outage(self):
        with self.webhook_fails():
            made, delivery = self.unannounced()
        state = lambda: self.zoom.get(f"deliveries/{delivery}")["state"]
        until("Zoom's repetition", lambda: state() == "delivered", RETRIES_SECONDS + 30)
        self.stored(made, 1, STORED_SECONDS)

    def long_outage(self):
        with self.webhook_fails():
            made, delivery = self.unannounced()
            state = lambda: self.zoom.get(f"deliveries/{delivery}")["state"]
            until("Zoom gives up", lambda: state() == "failed", RETRIES_SECONDS + 30)
        assert self.app.recording(USER, made["uuid"]) is None
        [started] = self.run.reelay("reconcile", "--user", USER)
        assert started["enqueued"] == 1, started
        self.stored(made, 1, STORED_SECONDS)
        [link] = self.app.links(USER)
        report = lambda: self.app.v1(USER, "GET", f"/links/{link['id']}/reconciliation").expect(200).json()
        until("the report", lambda: report()["reconciled_at"] and report()["found_missing"]["recordings"] == 1)
