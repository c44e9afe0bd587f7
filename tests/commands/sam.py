"""Parses `sam` commands with SAM's own parser, without running them: a list of argument lists in JSON on the standard input,
a list of problems (or null) on the standard output. Runs in the project's root, where SAM looks for the template.
"""

import contextlib
import json
import sys

import click
from samcli.cli.main import cli


def problem(arguments):
    try:
        context = cli.make_context("sam", list(arguments))
        name, command, rest = cli.resolve_command(context, context.protected_args + context.args)
        command.make_context(name, rest, parent=context)
    except click.ClickException as error:
        return error.format_message()
    except click.exceptions.Exit as exit:
        return f"exit code {exit.exit_code}" if exit.exit_code else None
    return None


def main():
    commands = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        problems = [problem(arguments) for arguments in commands]
    json.dump(problems, sys.stdout)


main()
