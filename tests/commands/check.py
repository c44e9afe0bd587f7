"""Verifies each command that the project's Markdown shows, and each that the operator's tool prints, by the program that it
calls: `check.py [file...]`.
"""

import collections
import re
import sys

import documents
import rust
import shell
import tools

# Commands that cannot be verified here, with the reason.
EXCEPTIONS = {
    ("CHANGELOG.md", "cargo run -- --data"): "the entry says that the option was removed",
    ("RELEASING.md", ".ci/cargo-tool cargo-deny && .tools/cargo/bin/cargo-deny check"): "the first installs the second; the "
    "GitHub workflow runs both",
}


def commands(name, text):
    if name.endswith(".rs"):
        return rust.commands(name, text)
    executables = {path for path, is_executable in shell.tracked(tools.ROOT).items() if is_executable}
    return documents.commands(name, text, lambda word: word in {*tools.PROGRAMS, *executables})


def check(files):
    """The calls in files (name -> text), and what is wrong with them: place, command, reason."""
    calls, problems, used = [], [], set()
    with shell.sandbox(tools.ROOT, tools.PROGRAMS) as sandbox:
        for name, text in files.items():
            functions = ""
            for command in commands(name, text):
                if (name, command.text) in EXCEPTIONS:
                    used.add((name, command.text))
                    continue
                found, complaint = sandbox.run(command, functions)
                if complaint:
                    problems.append((command.place, command.text.strip(), complaint))
                calls += found
                if command.is_block and "() {" in command.text:
                    functions += command.text
    problems += [(call.command.place, str(call), reason) for call, reason in tools.problems(calls) if reason]
    stale = [exception for exception in EXCEPTIONS if exception[0] in files and exception not in used]
    problems += [(name, text, "no such command: remove it from EXCEPTIONS") for name, text in stale]
    return calls, problems


def main():
    tracked = shell.tracked(tools.ROOT)
    names = [name for name in tracked if name.endswith(".md") or re.match(r"infra/reelay-ctl/src/.*\.rs", name)]
    calls, problems = check({name: (tools.ROOT / name).read_text() for name in sys.argv[1:] or names})
    for place, command, reason in problems:
        print(f"{place}: {command}\n    {reason}", file=sys.stderr)
    counts = collections.Counter("scripts" if "/" in call.program else call.program for call in calls)
    print(", ".join(f"{count} {program}" for program, count in counts.most_common()))
    sys.exit(f"{len(problems)} of {len(calls)} commands are wrong" if problems else 0)


if __name__ == "__main__":
    main()
