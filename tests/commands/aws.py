"""Parses `aws` commands with the AWS CLI itself, without network and credentials: a list of argument lists in JSON on the
standard input, a list of problems (or null) on the standard output.

The CLI parses the arguments and botocore serializes them, which validates every parameter. Then an answer that has every
member of the operation's output takes the place of the request, so that `--query` and `wait` are evaluated too. The CLI's
upgrade debug mode warns of what version 2 does otherwise (AWS CLI User Guide, "Using upgrade debug mode").
"""

import contextlib
import io
import json
import os
import sys
import tempfile

import awscli.argparser
import awscli.clidriver
import jmespath
from botocore.response import StreamingBody

# An abbreviated option stops working when AWS adds one that begins alike.
awscli.argparser.CLIArgParser._get_option_tuples = lambda *_: []

# What waiters wait for, where an enumeration has it.
FINAL_STATES = ("ACTIVE", "COMPLETED", "UPDATE_COMPLETE")


class Response:
    status_code = 200
    headers = {}


def sample(shape, seen=()):
    """A value of a shape with every member."""
    if shape.name in seen:
        return None
    inner = (*seen, shape.name)
    match shape.type_name:
        case "structure":
            return {name: sample(member, inner) for name, member in shape.members.items()}
        case "list":
            return [sample(shape.member, inner)]
        case "map":
            return {"key": sample(shape.value, inner)}
        case "string":
            values = shape.enum or ["text"]
            return next((state for state in FINAL_STATES if state in values), values[0])
        case "boolean":
            return True
        case "blob":
            return b"bytes"
        case "timestamp":
            return "2026-01-01T00:00:00Z"
        case _:
            return 1


def body(shape):
    """The streamed body of an output, as the CLI reads it."""
    return {shape.serialization["payload"]: StreamingBody(io.BytesIO(b"x"), 1)}


def complaint(text, arguments):
    """What the CLI says, without its usage and without the warning about `http://` that it gives for `file://` too."""
    follows_urls = any(argument.startswith("http") for argument in arguments)
    said = [part.strip() for part in text.rpartition("error: ")[2].split("\n\n")]
    return "; ".join(dict.fromkeys(part for part in said if part and (follows_urls or "cli_follow_urlparam" not in part)))


class Parser:
    def __init__(self):
        self.driver = awscli.clidriver.create_clidriver()
        self.driver.session.register("before-call", self.answer)
        self.answers = []

    def answer(self, model, **_):
        shape = model.output_shape
        output = sample(shape) if shape else {}
        if model.has_streaming_output:
            output |= {**body(shape), "ContentLength": 1, "ContentRange": "bytes 0-0/1"}
        pages = self.paginated(model)
        output = {name: value for name, value in output.items() if name not in pages}
        self.answers.append(output)
        return Response(), {**output, "ResponseMetadata": {"HTTPStatusCode": 200}}

    def paginated(self, model):
        """Output members that would ask for another page."""
        try:
            pagination = self.driver.session.get_paginator_model(model.service_model.service_name)
            tokens = pagination.get_paginator(model.name)["output_token"]
        except (ValueError, KeyError):
            return []
        return [tokens] if isinstance(tokens, str) else tokens

    def problem(self, arguments):
        self.answers.clear()
        for argument in arguments:
            if argument.startswith("file://"):
                with open(argument.removeprefix("file://"), "w") as file:
                    file.write("{}")
        out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = self.driver.main(arguments)
            except SystemExit as exit:
                code = exit.code
        text = complaint(err.getvalue(), arguments)
        if code or text:
            return text or f"exit code {code}"
        if not self.answers:
            return "calls no operation"
        if "--query" in arguments:
            query = arguments[arguments.index("--query") + 1]
            if jmespath.search(query, self.answers[-1]) in (None, []):
                return f"no output of the operation matches --query {query}"
        return None


def main():
    commands = json.load(sys.stdin)
    del os.environ["AWS_ENDPOINT_URL"]
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_CLI_UPGRADE_DEBUG_MODE": "true",
        "AWS_PAGER": "",
    }
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        parser = Parser()
        json.dump([parser.problem(arguments) for arguments in commands], sys.stdout)


main()
