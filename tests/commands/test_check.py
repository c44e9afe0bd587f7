"""The check finds what is wrong: each command here is wrong in one way, and nothing is wrong with those that follow."""

import unittest

import check
import shell

WRONG = {
    "reelay --stack <stack> doctr": "unrecognized subcommand",
    "reelay --stack <stack> links": "required arguments",
    "reelay links --user alice": "name the deployment",
    "reelay --stack <stack> redrive nothing": "invalid value",
    "aws logs tail /a/b": "Invalid choice",
    "aws dynamodb update-table --table-name abc --no-deletion-protection": "Unknown options",
    "aws dynamodb update-time-to-live --table-name abc --time-to-live-specification Enable=true": "Unknown parameter",
    "aws kms schedule-key-deletion": "--key-id",
    "aws secretsmanager get-secret-value --secret-id a --query SecretsString": "matches --query",
    "aws sqs get-queue-url --queue-name '<nothing>'": "no value for <nothing>",
    "sam deploy --guide": "No such option",
    "sam bild x": "No such command",
    "sam deploy --parameter-overrides Architecture": "not a valid format",
    "cargo tst -p e2e": "no such command",
    "cargo test -p nothing": "no package",
    "cargo install --path infra/nothing": "no Cargo.toml",
    "cargo run -- --nothing": "unexpected argument",
    "curl --nothing http://127.0.0.1": "unknown",
    "git pul origin": "not a git command",
    "pip install -r nothing.txt": "does not exist",
    "python infra/reelay-ctl/rollback.py": "required: stack",
    "tests/fuzz/run 60 nothing": "no fuzz target",
    "aws sts get-caller-identity | yq .Account": "yq: command not found",
    "aws sts get-caller-identity 'unclosed": "unexpected EOF",
}

BLOCKS = {
    "tests/nothing/run 60": "No such file",
    "bash -c true": "bash: command not found",
    "aws kms describe-key --key-id \"$unset\"": "unbound variable",
}

RIGHT = """
`reelay retry` and `reelay --stack <stack> retry --reason not_found`

```sh
answer() { aws sts get-caller-identity --query "$1" --output text; }
answer Account
```

`aws kms describe-key --key-id "$(answer Account)"`

| command | |
|---|---|
| `redrive [events\\|jobs] [--list]` | |
| `reconcile --user U`, `--zoom ACCOUNT/USER` or `--all` | |
"""


class Check(unittest.TestCase):
    def test_each_wrong_command_is_found(self):
        wrong = WRONG | BLOCKS
        spans = "".join(f"`{text}`\n\n" for text in WRONG) + "".join(f"```sh\n{text}\n```\n\n" for text in BLOCKS)
        _, problems = check.check({"wrong.md": spans})
        for (text, reason), line in zip(wrong.items(), [*range(1, 2 * len(WRONG), 2), *range(2 * len(WRONG) + 2, 999, 4)]):
            with self.subTest(text):
                found = [problem for place, _, problem in problems if place == f"wrong.md:{line}"]
                self.assertEqual(len(found), 1, found)
                self.assertIn(reason, found[0])

    def test_right_commands_pass(self):
        calls, problems = check.check({"right.md": RIGHT})
        self.assertEqual(problems, [])
        expected = [
            "reelay retry",
            "reelay --stack reelay retry --reason not_found",
            "aws sts get-caller-identity --query Account --output text",
            "aws sts get-caller-identity --query Account --output text",
            f"aws kms describe-key --key-id {shell.PLACEHOLDERS['<TokenKey>']}",
            "reelay --stack reelay redrive events --list",
            "reelay --stack reelay reconcile --user U",
            "reelay --stack reelay reconcile --zoom ACCOUNT/USER",
            "reelay --stack reelay reconcile --all",
        ]
        self.assertEqual([str(call) for call in calls], expected)

    def test_commands_of_the_tool_are_found(self):
        source = 'deployment.aws_command("kms", &format!("describe-key \\\n    --key-ids {id}"))'
        _, problems = check.check({"wrong.rs": source})
        self.assertEqual([reason for _, _, reason in problems], ["the following arguments are required: --key-id"])


if __name__ == "__main__":
    unittest.main()
