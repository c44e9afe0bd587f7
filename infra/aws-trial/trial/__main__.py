"""Deploys, runs the job, deletes, and prints what it cost. Exit code 0: all passed, and nothing stays but what is named."""

import json
import os
import secrets
import signal
import subprocess
import sys
from datetime import datetime, timezone
from urllib.error import URLError
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError
from e2e.app import RETURN_URL, App, Inbox
from e2e.cloud import until
from e2e.driver import ROOT, Driver
from e2e.web import call
from e2e.zoom import VERIFICATION_CODE

from . import arguments, cleanup, cost
from .account import Account
from .job import RETRY_SCALE, Job
from .tunnel import CHECK_PATH, INBOX_PATH, PublicSide, Rewriter, ZoomSide

FOLDER = ROOT / "target/aws-trial"
KEYS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
# Not the operator's samconfig.toml, whose parameters are those of another stack.
CONFIG = ROOT / "infra/aws-trial/samconfig.toml"

PLAN = """\
This trial will, in account {account} ({arn}), region {region}:
  - deploy template.yaml as the stack {stack} (four tables, a bucket, a KMS key, five secrets, eight functions, …)
  - take {zoom_url} for Zoom, which must lead to 127.0.0.1:{port} on this machine
  - run for about half an hour; it costs a few cents at list prices (the exact sum is printed)
  - delete the stack, and with it everything that it stored, also if it fails or is interrupted
It needs permissions to create and delete all of that. It changes nothing that it did not create, except that SAM creates
its bucket (stack aws-sam-cli-managed-default) if the account has none."""


class Api:
    """The deployed API, reached by its own address."""

    def __init__(self, host):
        self.host, self.url = host, f"https://{host}"

    def reach(self, url):
        return url


class Trial(Driver):
    def __init__(self, given, stack):
        super().__init__(FOLDER / stack)
        self.given = given
        # boto3 does not read AWS_REGION, which AWS's other tools and the operator's tool do.
        self.cloud = Account(given.profile, given.region or os.environ.get("AWS_REGION"), stack)
        self.template, self.resources = None, {}
        self._servers = []

    def environment(self):
        inherited = dict(os.environ)
        if self.given.profile:
            # Keys in the environment come before AWS_PROFILE, and may be of another account than --profile.
            inherited = {name: value for name, value in inherited.items() if name not in KEYS}
            inherited["AWS_PROFILE"] = self.given.profile
        return inherited | {"AWS_REGION": self.cloud.region, "AWS_DEFAULT_REGION": self.cloud.region}

    def check_account(self):
        """Returns the ARN of the credentials, after it has checked that they are of the named account."""
        if not self.cloud.region:
            sys.exit("No region is configured: give --region.")
        if elsewhere := [name for name in os.environ if arguments.ENDPOINTS.fullmatch(name)]:
            sys.exit(f"{', '.join(elsewhere)} is set: requests would not reach AWS.")
        account, arn = self.cloud.identity()
        if account != self.given.account:
            sys.exit(f"Your credentials are of account {account}, not of {self.given.account}. Nothing was changed.")
        return arn

    # --- this machine --------------------------------------------------------------------------------

    def build(self):
        self.quietly("cargo", "build", "--quiet", "--locked", "--bin", "zoom-sim", "--bin", "reelay")
        self.sam("build", "--build-dir", str(FOLDER / "build"))

    def quietly(self, *command):
        with open(self.work / f"{command[0]}.log", "w", encoding="utf-8") as log:
            subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, check=True)

    def serve(self):
        """Starts the simulator and the app's endpoint, and checks that the tunnel leads to them."""
        # Everybody can reach the API and the tunnel, so no secret is one that the repository knows.
        self.client = {"client_id": secrets.token_hex(11), "client_secret": secrets.token_hex(16)}
        self.webhook_secret = secrets.token_hex(11)
        self.start_zoom(self.client, self.webhook_secret)
        self.inbox = Inbox()
        self.rewriter = Rewriter(self.zoom.url, self.given.zoom_url)
        nonce = secrets.token_hex(16)
        public = PublicSide(self.given.port, self.zoom.url, self.inbox.url, self.rewriter, nonce)
        self._servers.append(public)
        until(f"{self.given.zoom_url} leads to {public.url}", lambda: self.reaches(nonce), every=2)

    def reaches(self, nonce):
        try:
            answer = call("GET", self.given.zoom_url + CHECK_PATH)
        except (URLError, OSError):
            return False
        return answer.status == 200 and answer.body.decode(errors="replace") == nonce

    def stop(self):
        super().stop()
        for server in self._servers:
            server.close()

    # --- the stack -------------------------------------------------------------------------------------

    def deploy(self):
        parameters = {
            "ReturnUrls": RETURN_URL,
            "AppWebhookUrl": self.given.zoom_url + INBOX_PATH,
            "ZoomOAuthUrl": self.given.zoom_url,
            "ZoomApiUrl": self.given.zoom_url,
            "DownloadHosts": urlsplit(self.given.zoom_url).hostname,
            "ZoomVerificationCode": VERIFICATION_CODE,
        }
        overrides = [f"{name}={value}" for name, value in parameters.items()]
        options = ["--config-file", str(CONFIG), "--template-file", str(FOLDER / "build/template.yaml")]
        options += ["--stack-name", self.cloud.stack, "--tags", f"reelay-trial={self.cloud.stack}"]
        self.deployed_at = datetime.now(timezone.utc)
        self.sam("deploy", *options, "--parameter-overrides", *overrides)
        self.resources, self.template = self.cloud.resources(), self.cloud.template()

    def configure(self):
        """Performs the manual steps that the README lists after `sam deploy`."""
        outputs = self.cloud.outputs()
        self.door = Api(urlsplit(outputs["RedirectUrl"]).netloc)
        self.cloud.set_secret(outputs["ZoomSecretName"], self.client | {"webhook_secret": self.webhook_secret})
        self.inbox.secret = self.cloud.secret(outputs["NotificationSecretName"])
        self.app = App(self.door.url, self.cloud.secret(outputs["AppSecretName"]))
        events = ZoomSide(self.door.url, self.webhook_secret, self.rewriter)
        self._servers.append(events)
        self.zoom.settings(
            redirect_uris=[outputs["RedirectUrl"]],
            webhook_url=events.url + urlsplit(outputs["WebhookUrl"]).path,
            deauthorize_url=events.url + urlsplit(outputs["DeauthorizeUrl"]).path,
            retry_scale=RETRY_SCALE,
            # One tunnel is one host, so the redirect to the files keeps the token. That it is dropped when the host
            # changes is tested elsewhere (infra/sam-e2e).
            reject_authorization_at_content=False,
        )

    def job(self):
        return Job(self, self.zoom, self.door, self.app, self.inbox, self.cloud, self.resources)

    def explain_failure(self):
        """Returns what CloudFormation could not do. Saves the functions' logs, which are deleted with the stack."""
        found = []
        try:
            found += self.cloud.failures()
            for logical, kind, group in self.cloud.inventory():
                if kind == "AWS::Logs::LogGroup":
                    text = "\n".join(self.cloud.log_lines(group))
                    (self.work / f"{logical}.log").write_text(text, encoding="utf-8")
        except (BotoCoreError, ClientError) as error:
            found.append(f"the logs of the functions are not complete: {error}")
        return found

    # --- the end ---------------------------------------------------------------------------------------

    def tear_down(self):
        """Deletes the stack and what it retains. Returns what stays, as sentences."""
        saved = self.work / "inventory.json"
        if self.cloud.settled() is not None:
            inventory = self.cloud.inventory()
            # Names for a later --remove, when CloudFormation no longer knows the stack.
            saved.write_text(json.dumps(inventory), encoding="utf-8")
            self.sam("delete", "--config-file", str(CONFIG), "--no-prompts", "--stack-name", self.cloud.stack)
            # SAM's exit code is 0 too if it finds no stack to delete.
            if status := self.cloud.status():
                raise RuntimeError(f"the stack is {status} after sam delete")
        elif saved.exists():
            inventory = json.loads(saved.read_text(encoding="utf-8"))
        else:
            return []
        removed, stays = cleanup.remove(self.cloud, inventory)
        print(f"\nDeleted: the stack {self.cloud.stack}; {', '.join(removed) or 'it had retained nothing'}.")
        return stays

    def print_cost(self):
        seconds = (datetime.now(timezone.utc) - self.deployed_at).total_seconds()
        metrics = cost.metrics(self.template, self.resources)
        counted = cost.quantities(metrics, self.cloud.sums([metric for _, _, metric in metrics], self.deployed_at))
        prices = cost.prices((ROOT / "docs/costs.md").read_text(encoding="utf-8"))
        rows, total = cost.bill(counted | cost.standing(self.template, seconds), prices)
        print(f"\nWhat it cost in {seconds / 60:.0f} minutes, at list prices:\n\n{cost.table(rows, total)}\n\n{cost.NOT_COUNTED}")


def main():
    given = arguments.parse(sys.argv[1:])
    try:
        trial = Trial(given, given.remove or arguments.new_stack_name())
        arn = trial.check_account()
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"AWS does not know who you are: {error}")
    facts = vars(given) | {"arn": arn, "region": trial.cloud.region, "stack": trial.cloud.stack}
    if given.remove:
        print(f"Deleting what {given.remove} has left in account {given.account}, region {trial.cloud.region}.")
    else:
        print(PLAN.format_map(facts))
    if not given.yes:
        print("\nNothing was changed. Add --yes to do it.")
        sys.exit(2)
    trial.work.mkdir(parents=True, exist_ok=True)
    # Whatever ends the run, the stack is deleted.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    sys.exit(0 if (remove(trial) if given.remove else perform(trial)) else 1)


def perform(trial):
    passed = has_begun = False
    try:
        with trial.step("build the functions, the simulator and the operator's tool"):
            trial.build()
        with trial.step("start the simulator; the tunnel leads to it"):
            trial.serve()
        has_begun = True
        with trial.step("sam deploy"):
            trial.deploy()
        with trial.step("set secrets and Zoom's URLs"):
            trial.configure()
        trial.job().perform()
        passed = True
    except (Exception, KeyboardInterrupt, SystemExit) as failure:
        print(f"\nFAILED: {failure!r}\nLogs are in {trial.work.relative_to(ROOT)}/", file=sys.stderr)
        if has_begun:
            print_list(trial.explain_failure())
    finally:
        ignore_signals()
        try:
            trial.stop()
        finally:
            removed = not has_begun or remove(trial)
    if trial.template:
        try:
            trial.print_cost()
        except (BotoCoreError, ClientError) as error:
            print(f"\nWhat it cost is unknown: {error}", file=sys.stderr)
    if passed and removed:
        print("\nAll passed.")
    return passed and removed


def remove(trial):
    """Deletes what the trial has created, and says what stays. Returns whether nothing does."""
    ignore_signals()
    stack, region = trial.cloud.stack, trial.cloud.region
    try:
        with trial.step("sam delete, and the deletion of what it retains"):
            stays = trial.tear_down()
    except Exception as failure:
        print_list(trial.explain_failure())
        stays = [f"probably the stack {stack} and everything in it: {failure!r}"]
    if stays:
        print("\nTHIS STAYS, and may cost money:", file=sys.stderr)
        print_list(stays)
        profile = f" --profile {trial.given.profile}" if trial.given.profile else ""
        options = f"--account {trial.given.account} --region {region}{profile} --remove {stack} --yes"
        print(f"Delete it: infra/aws-trial/run {options}", file=sys.stderr)
        return False
    print(LEFT)
    return True


def print_list(sentences):
    for sentence in sentences:
        print(f"  - {sentence}", file=sys.stderr)


def ignore_signals():
    """From here on Ctrl-C would leave things behind. Children inherit it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


LEFT = """\
What AWS keeps of it costs nothing: the KMS key until it is deleted, system backups of two tables for 35 days, metrics
and traces until they expire. SAM's own bucket (stack aws-sam-cli-managed-default) stays for your next deployment."""


if __name__ == "__main__":
    main()
