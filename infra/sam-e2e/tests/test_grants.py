"""Tests of the comparison of grants and calls."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from e2e.grants import called, differences, granted


def role(*statements):
    policies = [{"PolicyName": "p", "PolicyDocument": {"Statement": list(statements)}}]
    return {"Type": "AWS::IAM::Role", "Properties": {"Policies": policies}}


def statement(action, resource):
    return {"Effect": "Allow", "Action": action, "Resource": resource}


QUEUE = statement("sqs:SendMessage", {"Fn::GetAtt": ["EventsQueue", "Arn"]})
EVENTS = statement(["s3:PutObject"], {"Fn::Sub": "${Bucket.Arn}/events/*"})
INDEX = statement("dynamodb:Query", [{"Fn::Sub": "${LinksTable.Arn}/index/by-next-check"}])
SECRET = statement("secretsmanager:GetSecretValue", [{"Ref": "ZoomSecret"}])

RESOURCES = {
    "WebhookRole": "reelay-WebhookRole-1",
    "EventsQueue": "http://127.0.0.1:1/000000000000/reelay-EventsQueue-1",
    "Bucket": "reelay-bucket-1",
    "LinksTable": "reelay-LinksTable-1",
    "ZoomSecret": "arn:aws:secretsmanager:eu-central-1:000000000000:secret:ZoomSecret-abc",
}


def line(action, resource):
    return {"role": "reelay-WebhookRole-1", "action": action, "resource": resource, "allowed": True}


JOURNAL = [
    line("sqs:SendMessage", "arn:aws:sqs:eu-central-1:000000000000:reelay-EventsQueue-1"),
    line("s3:PutObject", "arn:aws:s3:::reelay-bucket-1/events/2026/a.json"),
    line("dynamodb:Query", "arn:aws:dynamodb:eu-central-1:000000000000:table/reelay-LinksTable-1/index/by-next-check"),
    line("secretsmanager:GetSecretValue", RESOURCES["ZoomSecret"]),
]


def check(statements, journal=JOURNAL, exceptions=()):
    template = {"Resources": {"WebhookRole": role(*statements), "Bucket": {"Type": "AWS::S3::Bucket"}}}
    return differences(granted(template), called(journal, RESOURCES), exceptions)


class Differences(unittest.TestCase):
    def test_equal_grants_and_calls_have_no_differences(self):
        self.assertEqual(check([QUEUE, EVENTS, INDEX, SECRET]), [])

    def test_each_removed_grant_is_reported(self):
        every = [QUEUE, EVENTS, INDEX, SECRET]
        for removed in every:
            found = check([one for one in every if one is not removed])
            action = removed["Action"][0] if isinstance(removed["Action"], list) else removed["Action"]
            self.assertEqual(len(found), 1, found)
            self.assertIn(f"WebhookRole calls {action}", found[0])

    def test_each_added_grant_is_reported(self):
        for added in [
            statement("sqs:DeleteMessage", {"Fn::GetAtt": ["EventsQueue", "Arn"]}),
            statement("sqs:SendMessage", {"Fn::GetAtt": ["OtherQueue", "Arn"]}),
            statement("s3:PutObject", {"Fn::Sub": "${Bucket.Arn}/recordings/*"}),
            statement("dynamodb:Query", {"Fn::GetAtt": ["LinksTable", "Arn"]}),
            statement("secretsmanager:GetSecretValue", {"Ref": "StateKey"}),
        ]:
            found = check([QUEUE, EVENTS, INDEX, SECRET, added])
            self.assertEqual(len(found), 1, found)
            self.assertIn("and never calls it", found[0])

    def test_grant_covers_only_its_resource(self):
        journal = JOURNAL + [line("s3:PutObject", "arn:aws:s3:::reelay-bucket-1/recordings/a.mp4")]
        found = check([QUEUE, EVENTS, INDEX, SECRET], journal)
        self.assertEqual(found, ["WebhookRole calls s3:PutObject on Bucket/recordings/a.mp4, which no policy grants"])

    def test_call_to_foreign_resource_is_reported(self):
        journal = JOURNAL + [line("s3:PutObject", "arn:aws:s3:::elsewhere/events/a")]
        self.assertIn("arn:aws:s3:::elsewhere/events/a", check([QUEUE, EVENTS, INDEX, SECRET], journal)[0])

    def test_exception_excuses_grant_but_not_call(self):
        exceptions = {("*", "dynamodb:Query", "LinksTable/index/*")}
        unused = [one for one in JOURNAL if one["action"] != "dynamodb:Query"]
        self.assertEqual(check([QUEUE, EVENTS, INDEX, SECRET], unused, exceptions), [])
        self.assertEqual(len(check([QUEUE, EVENTS, SECRET], JOURNAL, exceptions)), 2)

    def test_exception_without_grant_is_reported(self):
        found = check([QUEUE, EVENTS, INDEX, SECRET], exceptions={("WebhookRole", "sqs:SendMessage", "OtherQueue")})
        self.assertEqual(found, ["WebhookRole is excepted sqs:SendMessage on OtherQueue, and not granted it"])

    def test_policy_with_foreign_resource_is_rejected(self):
        with self.assertRaises(ValueError):
            check([statement("s3:PutObject", "arn:aws:s3:::foreign-bucket/*")])


if __name__ == "__main__":
    unittest.main()
