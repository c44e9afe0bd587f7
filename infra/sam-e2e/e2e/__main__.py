"""Deploys the output of `sam build` to an emulator, tests it end to end and deletes it. Exit code 0: all passed."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from urllib.error import URLError

from . import exceptions
from .app import RETURN_URL, App, Inbox
from .cloud import REGION, STACK, Cloud, until
from .driver import ROOT, TOOLS, Driver
from .flow import Flow
from .front import FrontDoor
from .grants import called, differences, granted
from .web import call
from .zoom import CLIENT, VERIFICATION_CODE, WEBHOOK_SECRET

WORK = ROOT / "target/sam-e2e"


class Run(Driver):
    def __init__(self):
        super().__init__(WORK)
        shutil.rmtree(WORK, ignore_errors=True)
        (WORK / "tmp").mkdir(parents=True)
        self.journal = WORK / "journal.jsonl"
        self.journal.touch()

    # --- processes -----------------------------------------------------------------------------------

    def start_emulator(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        endpoint = f"http://127.0.0.1:{port}"
        environment = _without_aws() | {
            # Enforce IAM policies; each function gets the credentials of its role.
            "AUTH": "true",
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            # Endpoint of the functions; without it they would call AWS.
            "AWS_ENDPOINT_URL": endpoint,
            # Gives the API its AWS host name, so that the stack outputs are valid.
            "MINISTACK_HOST": f"{REGION}.amazonaws.com",
            "MINISTACK_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            # These services would listen on all interfaces.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "TMPDIR": str(WORK / "tmp"),
        }
        command = [TOOLS / "ministack/bin/python", ROOT / "infra/sam-e2e/emulator.py", self.journal]
        log = open(WORK / "emulator.log", "w", encoding="utf-8")
        self._processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        until("the emulator", lambda: _is_healthy(f"{endpoint}/_ministack/health"))
        self.cloud = Cloud(endpoint)

    def environment(self):
        return _without_aws() | {
            "AWS_ENDPOINT_URL": self.cloud.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "SAM_CLI_TELEMETRY": "0",
        }

    def reelay_options(self):
        return ["--api-url", self.door.url]

    # --- the stack -------------------------------------------------------------------------------------

    def deploy(self):
        self.inbox = Inbox()
        parameters = {
            "ReturnUrls": RETURN_URL,
            "AppWebhookUrl": self.inbox.url,
            "ZoomOAuthUrl": self.zoom.url,
            "ZoomApiUrl": self.zoom.url,
            "DownloadHosts": "127.0.0.1,localhost",
            "ZoomVerificationCode": VERIFICATION_CODE,
        }
        overrides = [f"{name}={value}" for name, value in parameters.items()]
        self.sam("deploy", "--no-confirm-changeset", "--no-progressbar", "--parameter-overrides", *overrides)
        self.resources = self.cloud.resources()
        self.template = self.cloud.template()

    def configure(self):
        """Performs the manual steps that the README lists after `sam deploy`."""
        outputs = self.cloud.outputs()
        host = outputs["RedirectUrl"].split("/")[2]
        self.door = FrontDoor(self.cloud.endpoint, host)
        self.cloud.set_secret(outputs["ZoomSecretName"], CLIENT | {"webhook_secret": WEBHOOK_SECRET})
        self.inbox.secret = self.cloud.secret(outputs["NotificationSecretName"])
        self.app = App(self.door.url, self.cloud.secret(outputs["AppSecretName"]))
        self.zoom.settings(
            redirect_uris=[outputs["RedirectUrl"]],
            webhook_url=self.door.reach(outputs["WebhookUrl"]),
            deauthorize_url=self.door.reach(outputs["DeauthorizeUrl"]),
            # Short enough that every use refreshes the token.
            access_token_seconds=30,
        )

    # --- journal of AWS calls --------------------------------------------------------------------------

    def lines(self):
        return [json.loads(line) for line in self.journal.read_text().splitlines()]

    def calls(self, role, action, resource):
        """Counts the calls of a role."""
        return sum(called([line], self.resources) == {(role, action, resource)} for line in self.lines())

    def compare_grants(self):
        lines = self.lines()
        denied = {(line["role"], line["action"], line["resource"]) for line in lines if not line["allowed"]}
        assert not denied, f"denied: {denied}"
        grants, calls = granted(self.template), called(lines, self.resources)
        found = differences(grants, calls, exceptions.REASONS)
        assert not found, "\n".join(["grants and calls differ:", *found])
        return len(grants), len(lines)

    def remove(self):
        self.sam("delete", "--no-prompts", "--stack-name", STACK)
        retained = self.retained()
        remaining = {name: self.exists(name) for name in self.resources}
        for name, exists in remaining.items():
            if exists is not None:
                assert exists == (name in retained), f"{name} {'still exists' if exists else 'was deleted'}"

    def exists(self, name):
        """Returns whether a resource exists, or `None` for types that are not checked."""
        cloud, physical = self.cloud, self.resources[name]
        checks = {
            "AWS::DynamoDB::Table": lambda: cloud.client("dynamodb").describe_table(TableName=physical),
            "AWS::S3::Bucket": lambda: cloud.client("s3").head_bucket(Bucket=physical),
            "AWS::KMS::Key": lambda: cloud.client("kms").describe_key(KeyId=physical)["KeyMetadata"]["Enabled"] or 1 / 0,
            "AWS::SecretsManager::Secret": lambda: cloud.secret(physical),
            "AWS::SQS::Queue": lambda: cloud.client("sqs").get_queue_attributes(QueueUrl=physical),
            "AWS::Lambda::Function": lambda: cloud.client("lambda").get_function(FunctionName=physical),
            "AWS::IAM::Role": lambda: cloud.client("iam").get_role(RoleName=physical),
        }
        check = checks.get(self.template["Resources"].get(name, {}).get("Type"))
        if check is None:
            return None
        try:
            check()
        except Exception:
            return False
        return True


def main():
    # Stop the child processes on SIGTERM too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    run = Run()
    try:
        with run.step("start emulator and simulator"):
            run.start_emulator()
            run.start_zoom()
        with run.step("sam deploy"):
            run.deploy()
        with run.step("create what the emulator ignores in the template; set secrets and Zoom's URLs"):
            run.cloud.create_routes(run.resources, run.template)
            run.cloud.allow_loops(run.resources, run.template)
            run.configure()
        Flow(run, run.zoom, run.door, run.app, run.inbox, run.cloud, run.resources).perform()
        with run.step("every call is granted, and every grant is used"):
            grants, calls = run.compare_grants()
        with run.step("sam delete: retains tables, bucket, key and secrets; deletes the rest"):
            run.remove()
    except Exception as failure:
        logs = WORK.relative_to(ROOT)
        print(f"\nFAILED: {failure!r}\nLogs are in {logs}/", file=sys.stderr)
        raise SystemExit(1) from failure
    finally:
        run.stop()
    print(f"\nAll passed: {grants} grants, {calls} calls, in {time.monotonic() - run.started_at:.0f} s.")


def _without_aws():
    """Returns the environment without AWS credentials and settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def _is_healthy(url):
    try:
        return call("GET", url).status == 200
    except (URLError, ConnectionError):
        return False


if __name__ == "__main__":
    main()
