"""Tests of the trial's arguments: it refuses what could reach another account, another stack or no simulator."""

import contextlib
import io
import re
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "infra/sam-e2e"), str(ROOT / "infra/aws-trial")]

from trial import arguments

COMPLETE = ["--account", "123456789012", "--zoom-url", "https://a-b.trycloudflare.com/"]


class Arguments(unittest.TestCase):
    def refused(self, *given):
        """Returns why the arguments are refused."""
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors), self.assertRaises(SystemExit) as end:
            arguments.parse(list(given))
        self.assertEqual(end.exception.code, 2)
        return errors.getvalue()

    def test_complete_arguments_do_nothing_without_yes(self):
        parsed = arguments.parse(COMPLETE)
        self.assertEqual((parsed.account, parsed.zoom_url), ("123456789012", "https://a-b.trycloudflare.com"))
        self.assertFalse(parsed.yes)
        self.assertTrue(arguments.parse([*COMPLETE, "--yes"]).yes)

    def test_account_is_required(self):
        self.assertIn("--account", self.refused(*COMPLETE[2:]))
        self.assertIn("12 digits", self.refused("--account", "my-account", *COMPLETE[2:]))

    def test_tunnel_is_required_except_for_removal(self):
        self.assertIn("--zoom-url", self.refused(*COMPLETE[:2]))
        parsed = arguments.parse([*COMPLETE[:2], "--remove", "reelay-trial-0a1b2c3d"])
        self.assertEqual(parsed.remove, "reelay-trial-0a1b2c3d")

    def test_only_trials_can_be_removed(self):
        for name in ("reelay", "reelay-trial", "reelay-trial-", "reelay-trial-0a1b2c3", "reelay-trial-0a1b2c3d-x", "x"):
            self.assertIn("not the name of a trial", self.refused(*COMPLETE[:2], "--remove", name), name)

    def test_new_names_can_be_removed_and_differ(self):
        names = {arguments.new_stack_name() for _ in range(50)}
        self.assertEqual(len(names), 50)
        self.assertEqual(names, {arguments.stack_name(name) for name in names})

    def test_urls_that_lead_nowhere_are_refused(self):
        for url in (
            "http://a.example.com",
            "https://a.example.com:8443",
            "https://a.example.com:443",
            "https://user@a.example.com",
            "https://a.example.com/sub",
            "https://a.example.com/?a=b",
            "https://A.example.com",
            "https://localhost",
            "https://app.localhost",
            "https://10.0.0.1",
            "https://[::1]",
            "https://a.example.com,b.example.com",
            "a.example.com",
        ):
            self.refused(*COMPLETE[:2], "--zoom-url", url)

    def test_accepted_urls_match_the_templates_parameters(self):
        template = (ROOT / "template.yaml").read_text()
        for name in ("ZoomOAuthUrl", "ZoomApiUrl", "AppWebhookUrl"):
            pattern = re.search(rf"^  {name}:.*?AllowedPattern: '(.+?)'$", template, re.M | re.S).group(1)
            self.assertRegex(arguments.zoom_url("https://a-b.example.com"), pattern)

    def test_settings_that_lead_elsewhere_are_recognized(self):
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_DYNAMODB"):
            self.assertTrue(arguments.ENDPOINTS.fullmatch(name))
        self.assertFalse(arguments.ENDPOINTS.fullmatch("AWS_PROFILE"))


if __name__ == "__main__":
    unittest.main()
