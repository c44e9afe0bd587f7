"""MiniStack that enforces the functions' policies and writes down every decision.

With AUTH=true MiniStack gives each function the credentials of its own role, verifies signatures, and
evaluates the role's policies for every call. Two things are added here:

- a journal: each decision about a call of a function is a line of JSON in the file named by the first
  argument: role, action, resource, and whether it was allowed;
- the condition keys of a KMS encryption context, which MiniStack does not read from requests. Without them
  a policy that asks for a context would never match.

It reaches into MiniStack, whose version is therefore pinned.
"""

import inspect
import json
import sys

from ministack import app
from ministack.core import iam_actions, iam_evaluator
from ministack.services import sts


def keep_journal(path):
    journal = open(path, "a", buffering=1, encoding="utf-8")
    decide = iam_evaluator.enforce
    signature = inspect.signature(decide)

    def noted(*args, **kwargs):
        decision = decide(*args, **kwargs)
        call = signature.bind(*args, **kwargs).arguments
        # Credentials of a function are a session of its role; all others are those of whoever deploys.
        session = sts._sessions.get(call["access_key_id"])
        if session is not None:
            role = session["Arn"].split("/")[1]
            line = {
                "role": role,
                "action": call["iam_action"],
                "resource": call.get("resource_arn", "*"),
                "allowed": decision is None,
            }
            journal.write(json.dumps(line) + "\n")
        return decision

    iam_evaluator.enforce = noted


def read_encryption_contexts():
    tags_of = iam_actions.request_tag_context

    def with_encryption_context(service, iam_action, body, params):
        context = tags_of(service, iam_action, body, params)
        if service == "kms":
            pairs = json.loads(body or b"{}").get("EncryptionContext") or {}
            context = context | {f"kms:EncryptionContext:{name}": value for name, value in pairs.items()}
        return context

    iam_actions.request_tag_context = with_encryption_context


if __name__ == "__main__":
    keep_journal(sys.argv.pop(1))
    read_encryption_contexts()
    app.main()
