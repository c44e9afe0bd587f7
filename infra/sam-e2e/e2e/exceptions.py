"""Grants that no function is seen to use in this run, each with its reason.

A name may be a pattern. Whoever adds one says who calls it, or what has to happen first; where the calls are ours, a
test of `tests/e2e` that makes them is named.
"""

OUTAGE = "a message that fails is put off: needs an outage of AWS (recording_survives_any_rejected_aws_call)"
LATER = "orders that finish a consent come a quarter of an hour after it (interrupted_consent_serves_existing_links)"
SWEPT = "files fall due after hours (file_with_purged_message_is_enqueued_again)"
ABANDONED = "uploads are aborted after a day (only_orphaned_uploads_are_aborted_after_a_day)"
UNDER_WAY = (
    "a consent whose tokens are with no grant yet, at the very moment that its grant is condemned "
    "(saved_exchange_prevents_grant_revocation)"
)

REASONS = {
    # Lambda itself calls these with the function's role, outside the function.
    ("*", "logs:CreateLogStream", "*"): "Lambda writes the logs",
    ("*", "logs:PutLogEvents", "*"): "Lambda writes the logs",
    ("*", "xray:PutTraceSegments", "*"): "Lambda's X-Ray daemon writes the traces",
    ("*", "xray:PutTelemetryRecords", "*"): "Lambda's X-Ray daemon writes the traces",
    ("*", "sqs:ReceiveMessage", "*"): "the event source mapping polls the queue",
    ("*", "sqs:DeleteMessage", "*"): "the event source mapping deletes what is done",
    ("*", "sqs:GetQueueAttributes", "*"): "the event source mapping looks at the queue",
    # Nobody calls it: with it S3 says 404 of what is not there, without it 403.
    ("EventProcessorRole", "s3:ListBucket", "RecordingsBucket"): "S3 asks for it before it says 404",
    ("EventProcessorRole", "sqs:ChangeMessageVisibility", "EventsQueue"): OUTAGE,
    ("ReconcilerRole", "sqs:ChangeMessageVisibility", "JobsQueue"): OUTAGE,
    ("RecordingDownloaderRole", "sqs:ChangeMessageVisibility", "DownloadsQueue"): OUTAGE,
    ("EventProcessorRole", "dynamodb:GetItem", "RecordingsTable"): "a recording of more than a hundred files",
    ("ReconcilerRole", "s3:PutObject", "RecordingsBucket/events/*"): "a recording of which Zoom's list says more than 200 KiB",
    ("ReconcilerRole", "dynamodb:GetItem", "SessionsTable"): LATER,
    ("ReconcilerRole", "dynamodb:PutItem", "SessionsTable"): LATER,
    ("ReconcilerRole", "dynamodb:UpdateItem", "SessionsTable"): LATER,
    ("ReconcilerRole", "dynamodb:DeleteItem", "SessionsTable"): LATER,
    ("ReconcilerRole", "dynamodb:GetItem", "RecordingsTable"): SWEPT,
    ("ReconcilerRole", "dynamodb:Query", "RecordingsTable"): SWEPT,
    ("ReconcilerRole", "dynamodb:UpdateItem", "RecordingsTable"): SWEPT,
    ("ReconcilerRole", "sqs:SendMessage", "DownloadsQueue"): SWEPT,
    ("ReconcilerRole", "s3:ListBucketMultipartUploads", "RecordingsBucket"): ABANDONED,
    ("ReconcilerRole", "s3:AbortMultipartUpload", "RecordingsBucket/recordings/*"): ABANDONED,
    ("RecordingDownloaderRole", "s3:ListBucketMultipartUploads", "RecordingsBucket"): (
        "an owner that died before it could note its upload "
        "(transfer_resumes_after_kill_at_any_moment)"
    ),
    ("RecordingDownloaderRole", "s3:AbortMultipartUpload", "RecordingsBucket/recordings/*"): (
        "a file that changes while it is fetched (upload_restarts_when_file_changes_during_download)"
    ),
    ("RecordingDownloaderRole", "s3:GetObject", "RecordingsBucket/recordings/*"): (
        "the answer to a completion is lost (lost_completion_without_object_is_fetched_again)"
    ),
    ("RecordingDownloaderRole", "dynamodb:GetItem", "SessionsTable"): UNDER_WAY,
    ("RecordingDownloaderRole", "dynamodb:PutItem", "SessionsTable"): UNDER_WAY,
}
