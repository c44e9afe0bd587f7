"""Grants that this run does not use, each with its reason.

Names may be patterns. A reason states the caller or the precondition and, for calls of Reelay's own code, the test in
`tests/e2e` that makes them.
"""

OUTAGE = "a failed message is deferred: needs an outage of AWS (recording_survives_any_rejected_aws_call)"
LATER = "finish jobs are delivered 15 minutes after the consent (interrupted_consent_serves_existing_links)"
MAINTENANCE = "maintenance checks files after hours (file_with_purged_message_is_enqueued_again)"
ERASURE = "erasures are due after days (deauthorized_recordings_are_erased_when_due)"
ENDED = "S3 completes an object after the last link ended (ending_job_keeps_what_was_stored_before)"
MOVED = (
    "a user who moved accounts deauthorizes (deauthorization_after_account_change_is_matched_by_user_id)"
)
TRASHED = "TrashAtZoomAfterDays is set (complete_copy_is_moved_to_the_trash)"
SPARE = "the sessions table cannot be written (exchange_that_sessions_cannot_take_is_kept_in_links)"
ORPHANED = "orphaned uploads are aborted after a day (only_orphaned_uploads_are_aborted_after_a_day)"
REPEATED = "a notification is published again, or its message was not sent (unsent_message_is_sent_by_maintenance)"
UNPARSED = "an event that could not be parsed is filed (signed_body_that_is_no_event_is_kept_encrypted)"
BREAKER = "the app's webhook is down for a minute (notifications_wait_while_the_webhook_is_down)"
EXCHANGED = (
    "an exchanged code without a stored grant, while Zoom revokes the previous grant "
    "(saved_exchange_prevents_grant_revocation)"
)

REASONS = {
    # Lambda calls these with the function's role.
    ("*", "logs:CreateLogStream", "*"): "Lambda writes the logs",
    ("*", "logs:PutLogEvents", "*"): "Lambda writes the logs",
    ("*", "xray:PutTraceSegments", "*"): "Lambda's X-Ray daemon writes the traces",
    ("*", "xray:PutTelemetryRecords", "*"): "Lambda's X-Ray daemon writes the traces",
    ("*", "sqs:ReceiveMessage", "*"): "the event source mapping polls the queue",
    ("*", "sqs:DeleteMessage", "*"): "the event source mapping deletes processed messages",
    ("*", "sqs:GetQueueAttributes", "*"): "the event source mapping reads the queue attributes",
    # Never called: without this grant S3 responds 403 in place of 404.
    ("EventProcessorRole", "s3:ListBucket", "RecordingsBucket"): "S3 requires it to respond 404",
    ("EventProcessorRole", "sqs:ChangeMessageVisibility", "EventsQueue"): OUTAGE,
    ("ReconcilerRole", "sqs:ChangeMessageVisibility", "JobsQueue"): OUTAGE,
    ("RecordingDownloaderRole", "sqs:ChangeMessageVisibility", "DownloadsQueue"): OUTAGE,
    ("AppApiRole", "dynamodb:PutItem", "RecordingsTable"): (
        "the app deletes a recording (deleted_recording_never_comes_back)"
    ),
    # Part of the calls that store an object with a tag.
    ("RecordingDownloaderRole", "s3:PutObjectTagging", "RecordingsBucket/recordings/*"): (
        "RetentionDays is set (recordings_expire_after_retention)"
    ),
    ("ReconcilerRole", "s3:GetObject", "RecordingsBucket/recordings/*"): TRASHED,
    ("ReconcilerRole", "s3:DeleteObjectTagging", "RecordingsBucket/recordings/*"): TRASHED,
    ("ReconcilerRole", "s3:PutObjectTagging", "RecordingsBucket/recordings/*"): (
        "Zoom refuses to trash its copy (refused_trash_keeps_the_expiry)"
    ),
    ("EventProcessorRole", "s3:DeleteObject", "RecordingsBucket/recordings/*/manifest.json"): (
        "the last stored file is deleted while a change is processed (manifest_is_always_current)"
    ),
    ("ReconcilerRole", "s3:PutObject", "RecordingsBucket/events/*"): "a recording whose list item exceeds 200 KiB",
    ("ReconcilerRole", "dynamodb:GetItem", "SessionsTable"): LATER,
    ("ReconcilerRole", "dynamodb:PutItem", "SessionsTable"): LATER,
    ("ReconcilerRole", "dynamodb:UpdateItem", "SessionsTable"): LATER,
    ("ReconcilerRole", "dynamodb:DeleteItem", "SessionsTable"): LATER,
    ("ReconcilerRole", "dynamodb:GetItem", "RecordingsTable"): MAINTENANCE,
    ("ReconcilerRole", "dynamodb:Query", "RecordingsTable"): MAINTENANCE,
    ("ReconcilerRole", "dynamodb:UpdateItem", "RecordingsTable"): MAINTENANCE,
    ("ReconcilerRole", "sqs:SendMessage", "DownloadsQueue"): MAINTENANCE,
    ("EventProcessorRole", "s3:PutObject", "RecordingsBucket/events/*"): UNPARSED,
    ("EventProcessorRole", "secretsmanager:GetSecretValue", "QueueKey"): UNPARSED,
    ("EventProcessorRole", "dynamodb:BatchWriteItem", "RecordingsTable"): (
        "an event of an erased recording (erased_recording_never_comes_back)"
    ),
    ("ReconcilerRole", "dynamodb:ConditionCheckItem", "LinksTable"): ERASURE,
    ("ReconcilerRole", "dynamodb:PutItem", "RecordingsTable"): ERASURE,
    ("ReconcilerRole", "dynamodb:BatchWriteItem", "RecordingsTable"): ERASURE,
    ("ReconcilerRole", "s3:ListBucket", "RecordingsBucket"): ERASURE,
    ("ReconcilerRole", "s3:DeleteObject", "RecordingsBucket/recordings/*"): ERASURE,
    ("ReconcilerRole", "s3:DeleteObject", "RecordingsBucket/events/*"): ERASURE,
    ("ReconcilerRole", "s3:PutObject", "RecordingsBucket/recordings/*/manifest.json"): ENDED,
    ("RecordingDownloaderRole", "s3:DeleteObject", "RecordingsBucket/recordings/*/manifest.json"): ENDED,
    ("ReconcilerRole", "dynamodb:Query", "LinksTable/index/by-user-id"): MOVED,
    ("ReconcilerRole", "dynamodb:GetItem", "LinksTable"): SPARE,
    ("ReconcilerRole", "s3:ListBucketMultipartUploads", "RecordingsBucket"): ORPHANED,
    ("ReconcilerRole", "s3:AbortMultipartUpload", "RecordingsBucket/recordings/*"): ORPHANED,
    ("RecordingDownloaderRole", "s3:ListBucketMultipartUploads", "RecordingsBucket"): (
        "a downloader that died before it stored its upload id "
        "(transfer_resumes_after_kill_at_any_moment)"
    ),
    ("RecordingDownloaderRole", "s3:AbortMultipartUpload", "RecordingsBucket/recordings/*"): (
        "a file that changes during the download (upload_restarts_when_file_changes_during_download)"
    ),
    ("RecordingDownloaderRole", "s3:GetObject", "RecordingsBucket/recordings/*"): (
        "the response to CompleteMultipartUpload is lost (lost_completion_without_object_is_fetched_again)"
    ),
    ("OauthCallbackRole", "dynamodb:DeleteItem", "SessionsTable"): (
        "Zoom rejects the code (used_or_expired_code_is_rejected)"
    ),
    ("OauthCallbackRole", "dynamodb:*", "NotificationsTable"): REPEATED,
    ("OauthCallbackRole", "sqs:SendMessage", "NotificationsQueue"): REPEATED,
    ("AppApiRole", "dynamodb:GetItem", "NotificationsTable"): REPEATED,
    ("AppApiRole", "dynamodb:UpdateItem", "NotificationsTable"): REPEATED,
    ("AppApiRole", "dynamodb:Query", "NotificationsTable"): "the app polls the feed (feed_shows_what_was_sent_in_order)",
    ("EventProcessorRole", "dynamodb:GetItem", "NotificationsTable"): REPEATED,
    ("EventProcessorRole", "dynamodb:UpdateItem", "NotificationsTable"): REPEATED,
    ("RecordingDownloaderRole", "dynamodb:GetItem", "NotificationsTable"): REPEATED,
    ("RecordingDownloaderRole", "dynamodb:UpdateItem", "NotificationsTable"): REPEATED,
    ("ReconcilerRole", "dynamodb:*", "NotificationsTable"): MAINTENANCE,
    ("ReconcilerRole", "dynamodb:Query", "NotificationsTable/index/by-next-attempt"): MAINTENANCE,
    ("NotifierRole", "dynamodb:PutItem", "NotificationsTable"): BREAKER,
    ("NotifierRole", "dynamodb:Query", "LinksTable"): "a link that moved to another account is notified",
    ("RecordingDownloaderRole", "dynamodb:GetItem", "SessionsTable"): EXCHANGED,
    ("RecordingDownloaderRole", "dynamodb:PutItem", "SessionsTable"): EXCHANGED,
    ("RecordingDownloaderRole", "dynamodb:UpdateItem", "SessionsTable"): EXCHANGED,
    ("RecordingDownloaderRole", "dynamodb:DeleteItem", "SessionsTable"): EXCHANGED,
}
