"""Deletes what `sam delete` retains: the data of the trial, which is all made up."""

from botocore.exceptions import ClientError

# KMS's minimum. A key that is to be deleted costs nothing (KMS pricing).
KEY_DAYS = 7
# Codes for what is gone already.
GONE = {"ResourceNotFoundException", "NotFoundException", "NoSuchBucket", "404"}


def remove(account, inventory):
    """Deletes the retained resources of a deleted stack.

    Returns two lists of sentences: what was deleted, and what stays, with the reason.
    """
    removed, stays = [], []
    for logical, kind, physical in inventory:
        if kind not in REMOVERS:
            continue
        try:
            note = REMOVERS[kind](account, physical)
        except ClientError as error:
            if error.response["Error"]["Code"] in GONE:
                continue
            stays.append(f"{kind} {physical}: {error}")
        else:
            removed.append(f"{logical}{note or ''}")
    return removed, stays


def _table(account, name):
    # A table with point-in-time recovery leaves a system backup, for 35 days and free of charge
    # (DynamoDB Developer Guide, "Enable point-in-time recovery": "Delete a table with PITR enabled").
    account.client("dynamodb").delete_table(TableName=name)


def _bucket(account, name):
    # S3 deletes only empty buckets, and parts of unfinished uploads are billed until they are aborted. The bucket
    # has no versions.
    s3 = account.client("s3")
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=name):
        for upload in page.get("Uploads", []):
            s3.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
    # A page has at most 1,000 keys, and DeleteObjects takes as many.
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
        if keys := [{"Key": item["Key"]} for item in page.get("Contents", [])]:
            answer = s3.delete_objects(Bucket=name, Delete={"Objects": keys, "Quiet": True})
            if errors := answer.get("Errors"):
                raise ClientError({"Error": {"Code": errors[0]["Code"], "Message": errors[0]["Message"]}}, "DeleteObjects")
    s3.delete_bucket(Bucket=name)


def _secret(account, name):
    # Without this option it stays for 7 to 30 days, in which nobody needs a secret of a trial.
    account.client("secretsmanager").delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


def _key(account, name):
    kms = account.client("kms")
    # A second request for the same key is an error.
    if kms.describe_key(KeyId=name)["KeyMetadata"]["KeyState"] != "PendingDeletion":
        kms.schedule_key_deletion(KeyId=name, PendingWindowInDays=KEY_DAYS)
    return f" (its deletion takes KMS {KEY_DAYS} days, free of charge)"


REMOVERS = {
    "AWS::DynamoDB::Table": _table,
    "AWS::S3::Bucket": _bucket,
    "AWS::SecretsManager::Secret": _secret,
    "AWS::KMS::Key": _key,
}
