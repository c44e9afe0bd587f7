"""Tests of what the trial does when it may not run, fails or cannot delete: it changes nothing, or deletes, or says so."""

import contextlib
import io
import signal
import sys
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "infra/sam-e2e"), str(ROOT / "infra/aws-trial")]

try:
    from trial import __main__ as main
except ImportError:
    raise unittest.SkipTest("boto3 is not installed") from None

ARGUMENTS = ["run", "--account", "123456789012", "--region", "eu-central-1", "--zoom-url", "https://a.example.com"]


class Main(unittest.TestCase):
    def setUp(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def run_main(self, account, *more, **environment):
        """Returns the exit code or message, the output, and how often the job began."""
        identity = lambda _: (account, f"arn:aws:iam::{account}:user/me")
        output = io.StringIO()
        with (
            mock.patch.object(sys, "argv", [*ARGUMENTS, *more]),
            mock.patch.dict("os.environ", environment, clear=True),
            mock.patch.object(main.Account, "identity", identity),
            mock.patch.object(main, "perform", return_value=True) as performed,
            mock.patch.object(Path, "mkdir"),
            contextlib.redirect_stdout(output),
            self.assertRaises(SystemExit) as end,
        ):
            main.main()
        return end.exception.code, output.getvalue(), performed.call_count

    def test_plan_is_printed_without_yes(self):
        code, output, performed = self.run_main("123456789012")
        self.assertEqual((code, performed), (2, 0))
        for part in ("account 123456789012", "eu-central-1", "reelay-trial-", "127.0.0.1:4280", "Add --yes"):
            self.assertIn(part, output)

    def test_yes_begins(self):
        self.assertEqual(self.run_main("123456789012", "--yes")[::2], (0, 1))

    def test_credentials_of_another_account_are_refused(self):
        code, _, performed = self.run_main("999999999999", "--yes")
        self.assertIn("not of 123456789012", code)
        self.assertEqual(performed, 0)

    def test_endpoints_outside_aws_are_refused(self):
        code, _, performed = self.run_main("123456789012", "--yes", AWS_ENDPOINT_URL_S3="http://127.0.0.1:1")
        self.assertIn("AWS_ENDPOINT_URL_S3", code)
        self.assertEqual(performed, 0)

    def test_profile_comes_before_keys_in_the_environment(self):
        given = SimpleNamespace(profile="other", region="eu-central-1")
        environment = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "c", "PATH": "/bin"}
        with mock.patch.dict("os.environ", environment, clear=True), mock.patch.object(main, "Account") as account:
            account.return_value.region = "eu-central-1"
            seen = main.Trial(given, "reelay-trial-0a1b2c3d").environment()
        region = {"AWS_REGION": "eu-central-1", "AWS_DEFAULT_REGION": "eu-central-1"}
        self.assertEqual(seen, {"PATH": "/bin", "AWS_PROFILE": "other"} | region)


class Fake(main.Driver):
    """A trial whose methods do nothing, or fail as told."""

    def __init__(self, stays=(), **failures):
        super().__init__(main.FOLDER / "reelay-trial-0a1b2c3d")
        self.done, self._failures, self._stays = [], failures, list(stays)
        self.given, self.template = SimpleNamespace(account="123456789012", profile="me"), None
        self.cloud = SimpleNamespace(stack="reelay-trial-0a1b2c3d", region="eu-central-1")

    def __getattr__(self, name):
        if name not in ("build", "serve", "deploy", "configure", "job", "tear_down", "stop"):
            raise AttributeError(name)

        def method():
            self.done.append(name)
            if name in self._failures:
                raise self._failures[name]
            return self._stays if name == "tear_down" else mock.MagicMock()

        return method

    def stop(self):
        self.done.append("stop")

    def explain_failure(self):
        self.done.append("explain_failure")
        return ["Table: why"]


class Perform(unittest.TestCase):
    def setUp(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def perform(self, trial):
        errors = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
            passed = main.perform(trial)
        return passed, errors.getvalue()

    def test_stack_is_deleted_after_the_job(self):
        trial = Fake()
        self.assertEqual(self.perform(trial), (True, ""))
        self.assertEqual(trial.done, ["build", "serve", "deploy", "configure", "job", "stop", "tear_down"])

    def test_stack_is_deleted_after_each_failure(self):
        for step in ("deploy", "configure", "job"):
            for failure in (AssertionError("x"), KeyboardInterrupt(), SystemExit(143)):
                trial = Fake(**{step: failure})
                passed, errors = self.perform(trial)
                self.assertFalse(passed)
                # The logs are saved before they are deleted.
                self.assertEqual(trial.done[-3:], ["explain_failure", "stop", "tear_down"], step)
                self.assertIn("Table: why", errors)

    def test_nothing_is_deleted_before_the_deployment(self):
        for step in ("build", "serve"):
            trial = Fake(**{step: AssertionError("x")})
            self.assertFalse(self.perform(trial)[0])
            self.assertEqual(trial.done[-1], "stop")

    def test_what_stays_is_named_with_the_command(self):
        for trial in (Fake(stays=["AWS::S3::Bucket b: AccessDenied"]), Fake(tear_down=OSError("no network"))):
            passed, errors = self.perform(trial)
            self.assertFalse(passed)
            self.assertIn("THIS STAYS", errors)
            command = "--account 123456789012 --region eu-central-1 --profile me --remove reelay-trial-0a1b2c3d --yes"
            self.assertIn(command, errors)


class TearDown(unittest.TestCase):
    """`statuses`: the stack's status before and after `sam delete`."""

    INVENTORY = [("Table", "AWS::DynamoDB::Table", "t")]

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        with mock.patch.object(main, "Account"):
            self.trial = main.Trial(SimpleNamespace(profile=None, region="eu-central-1"), "reelay-trial-0a1b2c3d")
        self.trial.work, self.trial.sam = Path(folder.name), mock.Mock()
        self.trial.cloud.stack = "reelay-trial-0a1b2c3d"
        self.trial.cloud.inventory.return_value = self.INVENTORY

    def tear_down(self, before, after):
        self.trial.cloud.settled.return_value, self.trial.cloud.status.return_value = before, after
        with mock.patch.object(main.cleanup, "remove", return_value=(["Table"], ["x stays"])) as removed:
            with contextlib.redirect_stdout(io.StringIO()):
                stays = self.trial.tear_down()
        return stays, [[tuple(one) for one in call.args[1]] for call in removed.call_args_list]

    def test_stack_goes_before_what_it_retains(self):
        self.assertEqual(self.tear_down("ROLLBACK_COMPLETE", None), (["x stays"], [self.INVENTORY]))
        [sam] = self.trial.sam.call_args_list
        self.assertEqual((sam.args[0], sam.args[-2:]), ("delete", ("--stack-name", "reelay-trial-0a1b2c3d")))

    def test_stack_that_stays_keeps_its_data(self):
        with self.assertRaisesRegex(RuntimeError, "DELETE_FAILED"):
            self.tear_down("CREATE_COMPLETE", "DELETE_FAILED")

    def test_data_of_a_deleted_stack_is_known(self):
        with self.assertRaises(RuntimeError):
            self.tear_down("CREATE_COMPLETE", "DELETE_FAILED")
        self.trial.sam.reset_mock()
        self.assertEqual(self.tear_down(None, None), (["x stays"], [self.INVENTORY]))
        self.trial.sam.assert_not_called()

    def test_nothing_deployed_is_nothing_to_delete(self):
        self.assertEqual(self.tear_down(None, None), ([], []))


if __name__ == "__main__":
    unittest.main()
