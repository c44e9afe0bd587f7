"""MiniStack with enforced policies and a journal of every authorization decision.

With AUTH=true MiniStack gives each function the credentials of its own role, verifies signatures, and
evaluates the role's policies for every call. This wrapper adds what AWS does and MiniStack does not:

- a journal: one line of JSON per decision about a function's call (role, action, resource, allowed), in the
  file that the first argument names;
- batch actions need the permission of the single action;
- condition keys of a KMS encryption context;
- aws:SecureTransport is true: the bucket's policy rejects plain HTTP, and loopback has no TLS;
- S3 checksums: PutObject returns the checksums that it verified, and the CRC-64/NVME of a multipart upload is
  that of the whole object;
- `!Ref` of a secret is its ARN; MiniStack returns its name;
- alarms on several metrics are accepted, with their first metric. No alarm goes off here;
- saved queries of Logs Insights are accepted;
- the maximum concurrency of an event source is a number, also if it comes from a parameter;
- Lambda's loop detection through queues; MiniStack has it for direct invocations only.

It replaces internals of MiniStack, whose version is therefore pinned.
"""

import contextvars
import inspect
import json
import logging
import sys

from awscrt import checksums
from ministack import app
from ministack.core import iam_actions, iam_evaluator
from ministack.services import lambda_svc, s3, sqs, sts
from ministack.services.cloudformation import provisioners

# Lambda: "approximately 16 times in the same chain of requests".
MAX_ROUNDS = 16

# IAM has no actions for SQS batches.
BATCHES = {
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
}

CHECKSUMS = {f"x-amz-checksum-{name}" for name in ("crc32", "crc32c", "crc64nvme", "sha1", "sha256")}

# The function that made the current call.
_caller = contextvars.ContextVar("caller", default=None)


def keep_journal(path):
    journal = open(path, "a", buffering=1, encoding="utf-8")
    decide = iam_evaluator.enforce
    signature = inspect.signature(decide)

    def enforce_and_record(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        call = bound.arguments
        call["iam_action"] = BATCHES.get(call["iam_action"], call["iam_action"])
        decision = decide(*bound.args, **bound.kwargs)
        # A function has session credentials of its role; all other credentials belong to the deployment.
        session = sts._sessions.get(call["access_key_id"])
        _caller.set(session and session["Arn"].split("/")[2])
        if session is not None:
            line = {
                "role": session["Arn"].split("/")[1],
                "action": call["iam_action"],
                "resource": call.get("resource_arn", "*"),
                "allowed": decision is None,
                "why": repr(decision),
            }
            journal.write(json.dumps(line) + "\n")
        return decision

    iam_evaluator.enforce = enforce_and_record


def read_encryption_contexts():
    tags_of = iam_actions.request_tag_context

    def with_encryption_context(service, iam_action, body, params):
        context = tags_of(service, iam_action, body, params)
        if service == "kms":
            pairs = json.loads(body or b"{}").get("EncryptionContext") or {}
            context = context | {f"kms:EncryptionContext:{name}": value for name, value in pairs.items()}
        return context

    iam_actions.request_tag_context = with_encryption_context


def take_loopback_for_tls():
    resolve = iam_evaluator._resolve_condition_key

    def resolved(key, context):
        return "true" if key.lower() == "aws:securetransport" else resolve(key, context)

    iam_evaluator._resolve_condition_key = resolved


def check_whole_objects():
    put, complete, composite = s3._put_object, s3._complete_multipart_upload, s3._composite_checksum
    whole = contextvars.ContextVar("whole", default=None)

    def put_object(bucket, key, body, headers):
        status, response, content = put(bucket, key, body, headers)
        if status == 200:
            # Checksums that do not match the body were rejected.
            verified = {name: value for name, value in headers.items() if name in CHECKSUMS and value}
            response = response | verified
        return status, response, content

    def completed(bucket, key, body, query, headers=None):
        upload = s3._multipart_uploads.get(s3._qp(query, "uploadId"))
        parts = sorted(upload["parts"].items()) if upload else []
        whole.set(b"".join(part["body"] for _, part in parts))
        response = complete(bucket, key, body, query, headers)
        whole.set(None)
        return response

    def combined(algorithm, parts):
        if algorithm == "CRC64NVME" and all(parts):
            return s3._compute_s3_checksum(algorithm, whole.get())
        return composite(algorithm, parts)

    s3._put_object, s3._complete_multipart_upload, s3._composite_checksum = put_object, completed, combined
    s3._crc64nvme = checksums.crc64nvme


def refer_to_secrets_by_arn():
    secret = provisioners._RESOURCE_HANDLERS["AWS::SecretsManager::Secret"]
    create = secret["create"]

    def created(*args):
        _, attributes = create(*args)
        return attributes["Arn"], attributes

    secret["create"] = created


def take_alarms_of_several_metrics():
    record = provisioners._cw_metric_alarm_record

    def recorded(name, properties):
        if metrics := properties.get("Metrics"):
            metric = next(one["MetricStat"]["Metric"] for one in metrics if "MetricStat" in one)
            properties = {key: value for key, value in properties.items() if key != "Metrics"}
            properties |= {"MetricName": metric["MetricName"], "Namespace": metric["Namespace"]}
        return record(name, properties)

    provisioners._cw_metric_alarm_record = recorded


def take_saved_queries():
    ignored = lambda *_: None
    create = lambda logical, properties, stack: (properties["Name"], {"QueryDefinitionId": logical})
    provisioners._RESOURCE_HANDLERS["AWS::Logs::QueryDefinition"] = {"create": create, "delete": ignored}


def take_concurrency_from_parameters():
    mapping = provisioners._RESOURCE_HANDLERS["AWS::Lambda::EventSourceMapping"]

    def with_numbers(handle):
        def handled(*args):
            for scaling in [arg["ScalingConfig"] for arg in args if isinstance(arg, dict) and "ScalingConfig" in arg]:
                scaling["MaximumConcurrency"] = int(scaling["MaximumConcurrency"])
            return handle(*args)

        return handled

    for verb in ("create", "update"):
        mapping[verb] = with_numbers(mapping[verb])


def detect_loops():
    """Counts, per message, how often each function has run in the chain that the message belongs to."""
    rounds_of_message, rounds_now = {}, {}
    send, work = sqs._act_send_message, lambda_svc._run_sqs_batch

    def sent(data, queue_url):
        response = send(data, queue_url)
        rounds_of_message[response["MessageId"]] = rounds_now.get(_caller.get(), {})
        return response

    def worked(mapping, function, event, batch, queue_url, queue_name):
        name = mapping["FunctionName"]
        rounds = max((rounds_of_message.get(message["id"], {}) for message in batch), key=lambda one: one.get(name, 0))
        run = rounds.get(name, 0) + 1
        if run > MAX_ROUNDS and function.get("recursive_loop") != "Allow":
            logging.getLogger("ministack").warning("%s is in a loop, which is stopped", name)
            sqs._delete_messages_for_esm(queue_url, {message["receipt_handle"] for message in batch})
            return
        rounds_now[name] = rounds | {name: run}
        work(mapping, function, event, batch, queue_url, queue_name)

    lambda_svc._run_sqs_batch = worked
    sqs._act_send_message = sent
    sqs._HANDLERS["SendMessage"] = sent


if __name__ == "__main__":
    keep_journal(sys.argv.pop(1))
    read_encryption_contexts()
    take_loopback_for_tls()
    check_whole_objects()
    refer_to_secrets_by_arn()
    take_alarms_of_several_metrics()
    take_saved_queries()
    take_concurrency_from_parameters()
    detect_loops()
    app.main()
