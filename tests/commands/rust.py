"""Finds the commands that the operator's tool prints, in the string literals of its source."""

import re

from documents import Command

# Values of the placeholders of `format!`.
VALUES = {"{user}": "alice", "{group}": "/reelay/webhook", "$({})": "$(aws sts get-caller-identity)", "{}": "events"}

LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
CALL = re.compile(r'(?:aws_command\(\s*"(?P<service>[a-z0-9-]+)"|(?P<reelay>reelay_command)\()')
ARGUMENTS = re.compile(r"(?!reelay )[a-z]+(-[a-z]+)* .*--[a-z]|redrive ")
SPAN = re.compile(r"`((?:aws|cargo|reelay|sam) [^`]+)`|^(sam .+)$", re.MULTILINE)


def commands(document, source):
    """The commands in a source file: arguments of the nearest `aws_command` or `reelay_command`, and spans of its texts."""
    source = re.sub(r"^[ \t]*//.*$", "", source.partition("#[cfg(test)]")[0], flags=re.MULTILINE)
    calls = list(CALL.finditer(source))
    found = []
    for literal in LITERAL.finditer(source):
        text = unescaped(literal[1])
        line = source.count("\n", 0, literal.start()) + 1
        if calls and ARGUMENTS.match(text) and "`" not in text:
            call = min(calls, key=lambda call: abs(call.start() - literal.start()))
            start = "reelay --stack reelay" if call["reelay"] else f"aws {call['service']}"
            found.append(Command(document, line, f"{start} {filled(text)}", False))
        else:
            spans = (span[1] or span[2] for span in SPAN.finditer(text))
            found += [Command(document, line, filled(span), False) for span in spans]
    return found


def unescaped(literal):
    text = re.sub(r"\\\n\s*", "", literal)
    return text.replace("\\n", "\n").replace('\\"', '"').replace("\\\\", "\\")


def filled(text):
    for placeholder, value in VALUES.items():
        text = text.replace(placeholder, value)
    # What is left is a name, and doubled braces are braces.
    return re.sub(r"(?<!\{)\{\w+\}(?!\})", "name", text).replace("{{", "{").replace("}}", "}")
