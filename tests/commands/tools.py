"""Verifies a call by the program itself, as far as it can be without an account, a network or a change to this machine."""

import functools
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent

# Port 1 refuses connections: a program that parsed its arguments fails there, at the first request.
NOWHERE = "http://127.0.0.1:1"
OFFLINE = {
    **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
    "LC_ALL": "C.UTF-8",
    "AWS_ENDPOINT_URL": NOWHERE,
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "eu-central-1",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_MAX_ATTEMPTS": "1",
    "SAM_CLI_TELEMETRY": "0",
}

# Options that print help. These parsers read from left to right: they complain of what they do not know before it.
HELP = {"cargo": "-h", "git": "-h", "pip": "--help", "rustup": "--help"}

PROGRAMS = ["aws", "sam", "reelay", "cargo", "curl", "git", "pip", "python", "python3", "rustup"]


def run(arguments, folder=ROOT):
    return subprocess.run(
        [str(argument) for argument in arguments],
        cwd=folder,
        env=OFFLINE,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def last_lines(text):
    return " / ".join([line for line in text.strip().splitlines() if line][:3])


def binary(name):
    """A binary of the workspace, as `run` has built it."""
    for folder in os.environ.get("BINARIES", "target/debug").split(":"):
        path = ROOT / folder / name
        if path.exists():
            return path
    raise FileNotFoundError(f"{name} is not built")


def batch(script, calls):
    """The problems that a script of this folder finds in calls, which it reads as lists of arguments."""
    listed = json.dumps([call.arguments for call in calls])
    done = subprocess.run(
        [sys.executable, HERE / script],
        cwd=ROOT,
        env=OFFLINE,
        input=listed,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


@functools.cache
def workspace():
    """The workspace's packages: name -> names of their binaries."""
    listing = run(["cargo", "metadata", "--no-deps", "--format-version", "1"]).stdout
    return {
        package["name"]: [target["name"] for target in package["targets"] if target["kind"] == ["bin"]]
        for package in json.loads(listing)["packages"]
    }


def parsed(done):
    return None if done.returncode != 2 else last_lines(done.stderr)


def helped(program, arguments):
    """A parser that stops at its help option has accepted all before it. Git's help exits with 129, as its errors do."""
    done = run([program, *arguments, HELP[program]])
    if done.returncode == 0 or (program == "git" and done.returncode == 129 and "error:" not in done.stderr):
        return None
    return last_lines(done.stderr)


def reelay(arguments):
    if "--stack" in arguments or "--dev" in arguments or len(arguments) > 2:
        return parsed(run([binary("reelay"), *arguments]))
    # A mention, such as `reelay retry`: the subcommand exists.
    return parsed(run([binary("reelay"), *arguments, "--help"]))


def cargo(arguments):
    own, _, passed = "\0".join(arguments).partition("\0--\0")
    own = [word for word in own.split("\0") if word != "--"]
    passed = passed.split("\0") if passed else []
    problem = helped("cargo", own)
    if problem:
        return problem
    value = {name: own[own.index(name) + 1] for name in ("-p", "--path", "--bin") if name in own}
    package = value.get("-p")
    if package and package not in workspace():
        return f"the workspace has no package {package}"
    if "--path" in value and not (ROOT / value["--path"] / "Cargo.toml").exists():
        return f"{value['--path']} has no Cargo.toml"
    if own[0] != "run":
        return None
    binaries = workspace()[package] if package else ["devstack"]
    if len(binaries) != 1:
        return f"{package} has not one binary"
    if not passed:
        return None
    return reelay(passed) if binaries == ["reelay"] else parsed(run([binary(binaries[0]), *passed, "-h"]))


def curl(arguments):
    """curl exits with 5 or 7 if it cannot reach its proxy, so it has read its options and the URL."""
    with tempfile.TemporaryDirectory() as folder:  # for its cookie files
        done = run(["curl", "--proxy", NOWHERE, "--noproxy", "", *arguments], folder)
    return None if done.returncode in (5, 7) else last_lines(done.stderr) or f"exit code {done.returncode}"


def python(arguments):
    if arguments[:1] == ("-m",):
        return None if importlib.util.find_spec(arguments[1]) else f"no module {arguments[1]}"
    return parsed(run([sys.executable, *arguments]))


def pip(arguments):
    missing = [name for option, name in zip(arguments, arguments[1:]) if option == "-r" and not (ROOT / name).exists()]
    if missing:
        return f"{missing[0]} does not exist"
    done = run([sys.executable, "-m", "pip", *arguments, HELP["pip"]])
    return None if done.returncode == 0 else last_lines(done.stderr)


def script(name, arguments):
    if name == "tests/fuzz/run":
        unknown = [target for target in arguments[1:] if not (ROOT / "tests/fuzz/corpus" / target).is_dir()]
        return f"no fuzz target {unknown[0]}" if unknown else None
    return None


@functools.cache
def single(program, arguments):
    match program:
        case "reelay":
            return reelay(arguments)
        case "cargo":
            return cargo(arguments)
        case "curl":
            return curl(arguments)
        case "python" | "python3":
            return python(arguments)
        case "pip":
            return pip(arguments)
        case "git" | "rustup":
            return helped(program, arguments)
        case name if "/" in name:
            return script(name, arguments)
        case name:
            return f"no check for {name}"


def problems(calls):
    """The calls that their programs reject, with the reason."""
    for program in ("aws", "sam"):
        chosen = [call for call in calls if call.program == program]
        yield from zip(chosen, batch(f"{program}.py", chosen))
    for call in calls:
        if call.program not in ("aws", "sam"):
            yield call, single(call.program, call.arguments)
