"""Grants that no function is seen to use in this run, each with its reason.

A name may be a pattern. Whoever adds one says who calls it, or what has to happen first; where the calls are ours, a
test of `tests/e2e` that makes them is named.
"""

OUTAGE = "a message that fails is put off: needs an outage of AWS (whichever_aws_call_is_refused_the_recording_ends_the_same)"
LATER = "orders that finish a consent come a quarter of an hour after it (an_interrupted_consent_serves_the_links_that_exist)"
SWEPT = "files fall due after hours (a_file_whose_message_was_purged_is_sent_for_again)"
ABANDONED = "uploads are aborted after a day (uploads_that_nobody_goes_on_with_are_aborted_after_a_day_and_no_others)"
UNDER_WAY = (
    "a consent whose tokens are with no grant yet, at the very moment that its grant is condemned "
    "(a_consent_that_is_saved_and_not_with_its_grant_yet_keeps_it_from_being_condemned)"
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
        "(killed_at_any_moment_a_transfer_is_taken_up_and_ends_as_if_nothing_had_happened)"
    ),
    ("RecordingDownloaderRole", "s3:AbortMultipartUpload", "RecordingsBucket/recordings/*"): (
        "a file that changes while it is fetched (a_file_that_changes_while_it_is_fetched_starts_over)"
    ),
    ("RecordingDownloaderRole", "s3:GetObject", "RecordingsBucket/recordings/*"): (
        "the answer to a completion is lost (an_object_that_s3_does_not_show_counts_as_missing_and_the_file_is_fetched_again)"
    ),
    ("RecordingDownloaderRole", "dynamodb:GetItem", "SessionsTable"): UNDER_WAY,
    ("RecordingDownloaderRole", "dynamodb:PutItem", "SessionsTable"): UNDER_WAY,
}
