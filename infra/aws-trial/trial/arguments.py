"""Arguments of the trial, and the checks that need no AWS."""

import argparse
import re
import secrets
from urllib.parse import urlsplit

PREFIX = "reelay-trial-"
# Settings that would send requests elsewhere than to AWS.
ENDPOINTS = re.compile(r"AWS_ENDPOINT_URL(_[A-Z0-9_]+)?")


def parser():
    text = "Deploys Reelay to an AWS account, runs the main job there, deletes everything and prints what it cost."
    made = argparse.ArgumentParser(prog="infra/aws-trial/run", description=text)
    made.add_argument("--account", required=True, type=account, help="id of the account, which must be that of your credentials")
    made.add_argument("--region", help="AWS region; without it, that of your configuration")
    made.add_argument("--profile", help="profile of your AWS configuration")
    made.add_argument("--zoom-url", type=zoom_url, help="https URL of the tunnel that leads to --port on this machine")
    made.add_argument("--port", type=int, default=4280, help="port of this machine to which the tunnel leads (4280)")
    made.add_argument("--yes", action="store_true", help="do it; without this option the plan is printed")
    made.add_argument("--remove", type=stack_name, metavar="STACK", help="only delete what an earlier trial has left")
    return made


def parse(arguments):
    made = parser()
    parsed = made.parse_args(arguments)
    if not parsed.remove and not parsed.zoom_url:
        made.error("--zoom-url is required: AWS reaches the simulator on this machine through a tunnel")
    return parsed


def account(text):
    if not re.fullmatch(r"[0-9]{12}", text):
        raise argparse.ArgumentTypeError("an account id has 12 digits")
    return text


def stack_name(text):
    """Accepts names of trials alone, so that no other stack can be deleted."""
    if not re.fullmatch(f"{PREFIX}[0-9a-f]{{8}}", text):
        raise argparse.ArgumentTypeError(f"not the name of a trial ({PREFIX} and 8 hex digits)")
    return text


def new_stack_name():
    return PREFIX + secrets.token_hex(4)


def zoom_url(text):
    """Accepts what the template's parameters and Reelay's download hosts accept: https, a name, no port, no address."""
    parts = urlsplit(text)
    host = parts.hostname or ""
    if parts.scheme != "https" or parts.netloc != host or not re.fullmatch(r"([a-z0-9-]+\.)+[a-z][a-z0-9-]*", host):
        raise argparse.ArgumentTypeError("not an https URL with a host name in lower case and no port")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise argparse.ArgumentTypeError("only scheme and host: the tunnel must lead to the root")
    if host.endswith((".localhost", ".local", ".internal")):
        raise argparse.ArgumentTypeError("AWS cannot reach this host")
    return f"https://{host}"
