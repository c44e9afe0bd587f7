"""Tests of the deletion of what `sam delete` retains, with botocore's own validation of each request."""

import re
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "infra/sam-e2e"), str(ROOT / "infra/aws-trial")]

try:
    import boto3
    from botocore.stub import Stubber
    from trial import cleanup
except ImportError:
    raise unittest.SkipTest("boto3 is not installed") from None

ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:Zoom-abc"
KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"


class Stubs:
    """An account whose clients answer as told."""

    def __init__(self):
        self._stubs = {}

    def client(self, service):
        return self.stub(service).client

    def stub(self, service):
        if service not in self._stubs:
            client = boto3.client(service, "eu-central-1", aws_access_key_id="a", aws_secret_access_key="b")
            self._stubs[service] = Stubber(client)
            self._stubs[service].activate()
        return self._stubs[service]

    def check(self):
        for stub in self._stubs.values():
            stub.assert_no_pending_responses()


class Cleanup(unittest.TestCase):
    def setUp(self):
        self.account = Stubs()

    def remove(self, *inventory):
        result = cleanup.remove(self.account, inventory)
        self.account.check()
        return result

    def test_each_retained_type_is_deleted(self):
        template = (ROOT / "template.yaml").read_text()
        retained = re.findall(r"^    Type: (\S+)\n    (?:Condition.*\n    )?DeletionPolicy: RetainExceptOnCreate$", template, re.M)
        self.assertEqual(len(retained), template.count("DeletionPolicy: RetainExceptOnCreate"))
        # A bucket's policy goes with the bucket.
        self.assertEqual(set(retained) - {"AWS::S3::BucketPolicy"}, set(cleanup.REMOVERS))

    def test_bucket_is_emptied_first(self):
        s3 = self.account.stub("s3")
        upload = {"Uploads": [{"Key": "recordings/a", "UploadId": "u1"}]}
        s3.add_response("list_multipart_uploads", upload, {"Bucket": "b"})
        s3.add_response("abort_multipart_upload", {}, {"Bucket": "b", "Key": "recordings/a", "UploadId": "u1"})
        first = {"Contents": [{"Key": "one"}, {"Key": "two"}], "IsTruncated": True, "NextContinuationToken": "more"}
        s3.add_response("list_objects_v2", first, {"Bucket": "b"})
        wanted = {"Bucket": "b", "Delete": {"Objects": [{"Key": "one"}, {"Key": "two"}], "Quiet": True}}
        s3.add_response("delete_objects", {}, wanted)
        s3.add_response("list_objects_v2", {"IsTruncated": False}, {"Bucket": "b", "ContinuationToken": "more"})
        s3.add_response("delete_bucket", {}, {"Bucket": "b"})
        self.assertEqual(self.remove(("Bucket", "AWS::S3::Bucket", "b")), (["Bucket"], []))

    def test_object_that_stays_keeps_the_bucket(self):
        s3 = self.account.stub("s3")
        s3.add_response("list_multipart_uploads", {})
        s3.add_response("list_objects_v2", {"Contents": [{"Key": "one"}]})
        s3.add_response("delete_objects", {"Errors": [{"Key": "one", "Code": "AccessDenied", "Message": "no"}]})
        removed, [stays] = self.remove(("Bucket", "AWS::S3::Bucket", "b"))
        self.assertEqual(removed, [])
        self.assertRegex(stays, "^AWS::S3::Bucket b: .*AccessDenied")

    def test_tables_secrets_and_key_are_deleted(self):
        self.account.stub("dynamodb").add_response("delete_table", {}, {"TableName": "t"})
        secret = {"SecretId": ARN, "ForceDeleteWithoutRecovery": True}
        self.account.stub("secretsmanager").add_response("delete_secret", {}, secret)
        self.key("Enabled")
        self.account.stub("kms").add_response("schedule_key_deletion", {}, {"KeyId": KEY, "PendingWindowInDays": 7})
        inventory = [
            ("Table", "AWS::DynamoDB::Table", "t"),
            ("Secret", "AWS::SecretsManager::Secret", ARN),
            ("Key", "AWS::KMS::Key", KEY),
            ("Function", "AWS::Lambda::Function", "f"),
        ]
        removed, stays = self.remove(*inventory)
        self.assertEqual([line.split()[0] for line in removed], ["Table", "Secret", "Key"])
        self.assertEqual(stays, [])

    def test_second_removal_finds_nothing_to_do(self):
        self.account.stub("dynamodb").add_client_error("delete_table", "ResourceNotFoundException")
        self.account.stub("secretsmanager").add_client_error("delete_secret", "ResourceNotFoundException")
        self.account.stub("s3").add_client_error("list_multipart_uploads", "NoSuchBucket")
        self.key("PendingDeletion")
        inventory = [
            ("Table", "AWS::DynamoDB::Table", "t"),
            ("Secret", "AWS::SecretsManager::Secret", ARN),
            ("Bucket", "AWS::S3::Bucket", "b"),
            ("Key", "AWS::KMS::Key", KEY),
        ]
        removed, stays = self.remove(*inventory)
        self.assertEqual(([line.split()[0] for line in removed], stays), (["Key"], []))

    def test_failure_is_named_and_the_rest_is_deleted(self):
        self.account.stub("dynamodb").add_client_error("delete_table", "AccessDeniedException", "no")
        self.account.stub("secretsmanager").add_response("delete_secret", {})
        removed, [stays] = self.remove(
            ("Table", "AWS::DynamoDB::Table", "t"), ("Secret", "AWS::SecretsManager::Secret", ARN)
        )
        self.assertEqual(removed, ["Secret"])
        self.assertRegex(stays, "^AWS::DynamoDB::Table t: .*AccessDenied")

    def key(self, state):
        answer = {"KeyMetadata": {"KeyId": KEY, "KeyState": state}}
        self.account.stub("kms").add_response("describe_key", answer, {"KeyId": KEY})


if __name__ == "__main__":
    unittest.main()
