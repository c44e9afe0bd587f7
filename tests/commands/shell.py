"""Runs the documents' commands in bash, with a recorder in place of every program: what bash makes of quotes, variables,
functions and substitutions is what a reader's shell makes of them.
"""

import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

# What readers replace. A placeholder that is not listed fails the check.
PLACEHOLDERS = {
    "<stack>": "reelay",
    "<function>": "webhook",
    "<port>": "4000",
    "<simulator>": "http://127.0.0.1:4200",
    "<this repository>": "https://example.com/reelay.git",
    "<app user>": "alice",
    "<account>/<user>": "AcctA/UserB",
    "<that address>": "https://app.example/zoom?zoom_link=claim",
    "<object>": "events/unparsed/object.unparsed",
    "<target>": "return_url",
    "<name>": "name",
    "<table>": "reelay-LinksTable",
    "<BackupArn>": "arn:aws:dynamodb:eu-central-1:123456789012:table/reelay-LinksTable/backup/01234567890123-abcdef01",
    "<BucketName>": "bucket-name",
    "<ZoomSecretName>": "ZoomSecret-name",
    "<AppSecretName>": "AppSecret-name",
    "<NotificationSecretName>": "NotificationSecret-name",
    "<RecordingsTable>": "reelay-RecordingsTable",
    "<ReconcilerFunction>": "reelay-ReconcilerFunction",
    "<HttpApi>": "a1b2c3d4e5",
    "<TokenKey>": "11111111-2222-3333-4444-555555555555",
    "<your account id>": "123456789012",
    "<words>": "words",
}

VARIABLES = {
    "EDITOR": "true",
    "connect_link": "http://127.0.0.1:4000/zoom/connect?token=t",
    "link": "http://127.0.0.1:4000/zoom/connect?token=t",
    "callback_url": "http://127.0.0.1:4000/zoom/callback?code=c",
}

# Programs whose arguments need no check.
PLAIN = ["cat", "cut", "date", "grep", "rm", "sed", "sleep", "sort", "tail"]

# Programs that a machine may lack, and whose arguments are not checked.
STAND_INS = ["cloudflared", "jq"]

RECORDER = """#!/bin/bash
printf '%s\\0' "$#" "${0#"$SANDBOX/"}" "$@" >>"$RECORD"
case "${0##*/} $1" in
  "git clone") ln -s "$SANDBOX/tree" "$3" ;;
  "curl -s") echo "http://127.0.0.1:4200/"; exit ;;
  "python3 -m") mkdir -p "$3/bin" && : >"$3/bin/activate" ;;
esac
echo 11111111-2222-3333-4444-555555555555
"""


@dataclasses.dataclass(frozen=True)
class Call:
    command: object
    program: str
    arguments: tuple

    def __str__(self):
        return " ".join([self.program, *self.arguments])


class Sandbox:
    """A folder with a recorder in place of each program and of each executable of the project, whose other files are empty."""

    def __init__(self, folder, root, programs):
        self.folder = pathlib.Path(folder)
        self.recorder = self.folder / "recorder"
        self.recorder.write_text(RECORDER)
        self.recorder.chmod(0o755)
        (self.folder / "bin").mkdir()
        for name in programs:
            (self.folder / "bin" / name).symlink_to(self.recorder)
        for name in STAND_INS:
            (self.folder / "bin" / name).symlink_to(shutil.which("true"))
        for name in PLAIN + ["mkdir", "ln"]:
            (self.folder / "bin" / name).symlink_to(shutil.which(name))
        for name, is_executable in tracked(root).items():
            path = self.folder / "tree" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(self.recorder) if is_executable else path.touch()

    def run(self, command, functions):
        """The calls of a command, and what bash complains of. `functions` are earlier blocks, for what they define."""
        text, functions = filled(command.text), filled(functions)
        unknown = re.findall(r"<[A-Za-z][^<>\n]*>", text)
        if unknown:
            return [], f"no value for {', '.join(unknown)}: list it in PLACEHOLDERS"
        record = self.folder / "record"
        record.write_bytes(b"")
        script = f"{functions}\nRECORD='{record}'\n{text}\n"
        with tempfile.TemporaryDirectory(dir=self.folder) as home:
            done = subprocess.run(
                [shutil.which("bash"), "--norc", "-euo", "pipefail", "-c", script],
                cwd=self.folder / "tree",
                env={
                    **VARIABLES,
                    "HOME": home,
                    "PATH": str(self.folder / "bin"),
                    "RECORD": os.devnull,
                    "SANDBOX": str(self.folder),
                },
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
            )
        complaint = done.stderr.strip()
        if done.returncode and not complaint:
            complaint = f"exit code {done.returncode}"
        return list(calls(command, record.read_bytes())), complaint


def filled(text):
    for placeholder, value in PLACEHOLDERS.items():
        text = text.replace(placeholder, value)
    return text


def calls(command, record):
    words = iter(record.decode().split("\0")[:-1])
    for count in words:
        program = next(words).removeprefix("bin/").removeprefix("tree/")
        yield Call(command, program, tuple(next(words) for _ in range(int(count))))


@contextlib.contextmanager
def sandbox(root, programs):
    with tempfile.TemporaryDirectory() as folder:
        yield Sandbox(folder, root, programs)


def tracked(root):
    """The files of the project: name -> whether it is an executable."""
    listing = subprocess.check_output(["git", "ls-files", "--stage", "-z"], cwd=root, text=True)
    return {line.partition("\t")[2]: line.startswith("100755") for line in listing.split("\0") if line}
