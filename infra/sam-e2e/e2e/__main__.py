"""Deploys what `sam build` has built to an emulator, drives it from outside, removes it. Exit code 0: all held."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

from . import exceptions
from .app import RETURN_URL, App, Inbox
from .cloud import REGION, STACK, Cloud, until
from .flow import Flow
from .front import FrontDoor
from .grants import called, differences, granted
from .web import call
from .zoom import CLIENT, VERIFICATION_CODE, WEBHOOK_SECRET, Zoom

ROOT = Path(__file__).parents[3]
WORK = ROOT / "target/sam-e2e"
TOOLS = ROOT / ".tools"
ZOOM = ROOT / "target/debug/zoom-sim"
REELAY = ROOT / "target/debug/reelay"


class Run:
    def __init__(self):
        shutil.rmtree(WORK, ignore_errors=True)
        (WORK / "tmp").mkdir(parents=True)
        self.journal = WORK / "journal.jsonl"
        self.journal.touch()
        self.begun = time.monotonic()
        self._processes = []

    @contextmanager
    def step(self, title):
        begun = time.monotonic()
        yield
        print(f"{time.monotonic() - begun:7.1f} s  {title}", flush=True)

    # --- the machine -----------------------------------------------------------------------------------

    def start_emulator(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        endpoint = f"http://127.0.0.1:{port}"
        environment = _without_aws() | {
            # Policies are enforced, and each function has its own role's credentials.
            "AUTH": "true",
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            # Where functions find AWS. Without it they would call the real one.
            "AWS_ENDPOINT_URL": endpoint,
            # The API gets the name that it has at AWS, so that the stack's outputs hold here, too.
            "MINISTACK_HOST": f"{REGION}.amazonaws.com",
            "MINISTACK_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            # These would listen on all interfaces.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "TMPDIR": str(WORK / "tmp"),
        }
        command = [TOOLS / "ministack/bin/python", ROOT / "infra/sam-e2e/emulator.py", self.journal]
        log = open(WORK / "emulator.log", "w", encoding="utf-8")
        self._processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        until("the emulator", lambda: _answers(f"{endpoint}/_ministack/health"))
        self.cloud = Cloud(endpoint)

    def start_zoom(self):
        zoom = Zoom(ZOOM, WORK / "zoom.log")
        self._processes.append(zoom.process)
        self.zoom = zoom.settle_at(until("the simulator", zoom.address))

    def _as_operator(self):
        return _without_aws() | {
            "AWS_ENDPOINT_URL": self.cloud.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "SAM_CLI_TELEMETRY": "0",
        }

    def sam(self, *arguments):
        with open(WORK / f"sam-{arguments[0]}.log", "w", encoding="utf-8") as log:
            command = [TOOLS / "sam/bin/sam", *arguments, "--region", REGION]
            subprocess.run(command, cwd=ROOT, env=self._as_operator(), stdout=log, stderr=log, check=True)

    def reelay(self, *arguments):
        """The operator's tool; gives what it prints."""
        command = [REELAY, "--stack", STACK, "--api-url", self.door.url, "--json", *arguments]
        with open(WORK / "reelay.log", "a", encoding="utf-8") as log:
            done = subprocess.run(command, env=self._as_operator(), stdout=subprocess.PIPE, stderr=log, text=True)
            log.write(done.stdout)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert done.returncode == 0, f"reelay {arguments[0]}: {done.returncode}, {lines}"
        return lines

    def stop(self):
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(20)

    # --- the stack -------------------------------------------------------------------------------------

    def deploy(self):
        self.inbox = Inbox()
        parameters = {
            "Architecture": "x86_64",
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

    def complete(self):
        """What the README asks of an operator after `sam deploy`."""
        outputs = self.cloud.outputs()
        host = outputs["RedirectUrl"].split("/")[2]
        self.door = FrontDoor(self.cloud.endpoint, host)
        self.cloud.fill(outputs["ZoomSecretName"], CLIENT | {"webhook_secret": WEBHOOK_SECRET})
        self.inbox.secret = self.cloud.secret(outputs["NotificationSecretName"])
        self.app = App(self.door.url, self.cloud.secret(outputs["AppSecretName"]))
        self.zoom.settings(
            redirect_uris=[outputs["RedirectUrl"]],
            webhook_url=self.door.reach(outputs["WebhookUrl"]),
            deauthorize_url=self.door.reach(outputs["DeauthorizeUrl"]),
            # Each use finds a token that is about to end, so that each is refreshed.
            access_token_seconds=30,
        )

    @contextmanager
    def changed(self, function, timeout=None, **variables):
        """For a while a function has another timeout, in seconds, and other variables."""
        configuration = self.cloud.client("lambda")
        name = self.resources[function]
        before = configuration.get_function_configuration(FunctionName=name)

        def configure(seconds, values):
            configuration.update_function_configuration(
                FunctionName=name, Timeout=seconds, Environment={"Variables": values}
            )

        configure(timeout or before["Timeout"], before["Environment"]["Variables"] | variables)
        yield
        configure(before["Timeout"], before["Environment"]["Variables"])

    # --- what the functions did --------------------------------------------------------------------------

    def lines(self):
        return [json.loads(line) for line in self.journal.read_text().splitlines()]

    def calls(self, role, action, resource):
        """How often a function called this."""
        return sum(called([line], self.resources) == {(role, action, resource)} for line in self.lines())

    def compare(self):
        lines = self.lines()
        refused = {(line["role"], line["action"], line["resource"]) for line in lines if not line["allowed"]}
        assert not refused, f"refused: {refused}"
        grants, calls = granted(self.template), called(lines, self.resources)
        wrong = differences(grants, calls, exceptions.REASONS)
        assert not wrong, "\n".join(["grants and calls differ:", *wrong])
        return len(grants), len(lines)

    def remove(self):
        self.sam("delete", "--no-prompts", "--stack-name", STACK)
        held = [
            name
            for name, resource in self.template["Resources"].items()
            if resource.get("DeletionPolicy") == "Retain"
        ]
        there = {name: self.exists(name) for name in self.resources}
        for name, is_there in there.items():
            if is_there is not None:
                assert is_there == (name in held), f"{name} is {'there' if is_there else 'gone'}"

    def exists(self, name):
        """Whether a resource is there; `None` for kinds that are not looked at."""
        cloud, physical = self.cloud, self.resources[name]
        looks = {
            "AWS::DynamoDB::Table": lambda: cloud.client("dynamodb").describe_table(TableName=physical),
            "AWS::S3::Bucket": lambda: cloud.client("s3").head_bucket(Bucket=physical),
            "AWS::KMS::Key": lambda: cloud.client("kms").describe_key(KeyId=physical)["KeyMetadata"]["Enabled"] or 1 / 0,
            "AWS::SecretsManager::Secret": lambda: cloud.secret(physical),
            "AWS::SQS::Queue": lambda: cloud.client("sqs").get_queue_attributes(QueueUrl=physical),
            "AWS::Lambda::Function": lambda: cloud.client("lambda").get_function(FunctionName=physical),
            "AWS::IAM::Role": lambda: cloud.client("iam").get_role(RoleName=physical),
        }
        look = looks.get(self.template["Resources"].get(name, {}).get("Type"))
        if look is None:
            return None
        try:
            look()
        except Exception:
            return False
        return True


def main():
    # Whoever ends this ends what it has started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    run = Run()
    try:
        with run.step("the emulator and the simulator start"):
            run.start_emulator()
            run.start_zoom()
        with run.step("sam deploy"):
            run.deploy()
        with run.step("what the emulator does not read of the template; secrets; addresses at Zoom"):
            run.cloud.create_routes(run.resources, run.template)
            run.cloud.allow_loops(run.resources, run.template)
            run.complete()
        Flow(run, run.zoom, run.door, run.app, run.inbox, run.cloud, run.resources).perform()
        with run.step("every call was granted, and every grant was called"):
            grants, calls = run.compare()
        with run.step("sam delete: tables, bucket, key and secrets are kept, all else is gone"):
            run.remove()
    except Exception as failure:
        logs = WORK.relative_to(ROOT)
        print(f"\nFAILED: {failure!r}\nLogs are in {logs}/", file=sys.stderr)
        raise SystemExit(1) from failure
    finally:
        run.stop()
    print(f"\nAll held: {grants} grants, {calls} calls, in {time.monotonic() - run.begun:.0f} s.")


def _without_aws():
    """The environment without anybody's real credentials or settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def _answers(url):
    try:
        return call("GET", url).status == 200
    except (URLError, ConnectionError):
        return False


if __name__ == "__main__":
    main()
