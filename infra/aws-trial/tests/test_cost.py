"""Tests of the bill: every row has a price of docs/costs.md, and the sum is that of counted units."""

import sys
import unittest
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "infra/sam-e2e"), str(ROOT / "infra/aws-trial")]

from trial import cost

PRICES = cost.prices((ROOT / "docs/costs.md").read_text())


def alarm(*metrics):
    return {"Type": "AWS::CloudWatch::Alarm", "Properties": {"Metrics": list(metrics)} if metrics else {}}


TEMPLATE = {
    "Resources": {
        "Function": {"Type": "AWS::Lambda::Function", "Properties": {"MemorySize": 512}},
        "Absent": {"Type": "AWS::Lambda::Function", "Properties": {"MemorySize": 256}},
        "HttpApi": {"Type": "AWS::ApiGatewayV2::Api", "Properties": {}},
        "Queue": {"Type": "AWS::SQS::Queue"},
        "Table": {"Type": "AWS::DynamoDB::Table", "Properties": {"GlobalSecondaryIndexes": [{"IndexName": "by-day"}]}},
        "Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {}},
        "Key": {"Type": "AWS::KMS::Key", "Properties": {}},
        "One": {"Type": "AWS::SecretsManager::Secret", "Properties": {}},
        "Two": {"Type": "AWS::SecretsManager::Secret", "Properties": {}},
        "Plain": alarm(),
        "Ratio": alarm({"MetricStat": {}}, {"MetricStat": {}}, {"Expression": "a / b"}),
    }
}
RESOURCES = {
    "Function": "trial-Function",
    "HttpApi": "abc",
    "Queue": "https://sqs.eu-central-1.amazonaws.com/123456789012/trial-Queue",
    "Table": "trial-Table",
    "Logs": "/trial/logs",
}


class Cost(unittest.TestCase):
    def test_prices_are_those_of_the_page(self):
        self.assertEqual(PRICES["SQS, million requests"], 0.4)
        self.assertEqual(PRICES["free: Lambda, GB-seconds"], 400_000)
        self.assertGreater(len(PRICES), 25)

    def test_each_row_has_a_price(self):
        rows = {row for row, _, _ in cost.metrics(TEMPLATE, RESOURCES)} | set(cost.standing(TEMPLATE, 1))
        self.assertEqual(rows - set(PRICES), set())
        self.assertEqual(len(rows), 12)

    def test_metrics_name_physical_resources(self):
        named = [(name, dimensions) for _, _, (_, name, dimensions) in cost.metrics(TEMPLATE, RESOURCES)]
        self.assertIn(("NumberOfEmptyReceives", {"QueueName": "trial-Queue"}), named)
        self.assertIn(("ConsumedWriteCapacityUnits", {"TableName": "trial-Table"}), named)
        index = {"TableName": "trial-Table", "GlobalSecondaryIndexName": "by-day"}
        self.assertIn(("ConsumedReadCapacityUnits", index), named)
        self.assertEqual(len(named), 2 + 1 + 4 + 4 + 1)

    def test_units_become_dollars(self):
        metrics = cost.metrics(TEMPLATE, RESOURCES)
        values = {"Invocations": 1000, "Duration": 60_000, "NumberOfMessagesSent": 100, "NumberOfEmptyReceives": 400}
        sums = [values.get(name, 0) for _, _, (_, name, _) in metrics]
        rows, total = cost.bill(cost.quantities(metrics, sums), PRICES)
        dollars = {name: amount for name, _, _, amount in rows}
        self.assertAlmostEqual(dollars["Lambda, million requests"], 0.0002)
        # A minute at half a gigabyte.
        self.assertAlmostEqual(dollars["Lambda x86_64, GB-second"], 30 * 0.0000166667)
        self.assertAlmostEqual(dollars["SQS, million requests"], 500 * 0.4e-6)
        self.assertAlmostEqual(total, 0.0002 + 30 * 0.0000166667 + 500 * 0.4e-6)

    def test_each_begun_hour_counts(self):
        for seconds, hours in ((1, 1), (3600, 1), (3601, 2)):
            standing = cost.standing(TEMPLATE, seconds)
            self.assertAlmostEqual(standing["Secrets Manager, secret-month"], 2 * hours / 730)
            self.assertAlmostEqual(standing["CloudWatch, alarm-month"], 3 * hours / 730)
            self.assertAlmostEqual(standing["CloudWatch, dashboard-month"], 0)

    def test_table_ends_with_the_sum(self):
        rows, total = cost.bill({"KMS, key-month": 2.0}, PRICES)
        lines = cost.table(rows, total).splitlines()
        self.assertEqual([line.split()[-1] for line in lines], ["2.00000", "2.00000"])
        self.assertEqual(len({len(line) for line in lines}), 1, lines)

    def test_custom_metrics_are_those_of_the_page(self):
        self.assertIn(f"| custom metrics | {cost.CUSTOM_METRICS} |", (ROOT / "docs/costs.md").read_text())


class Sums(unittest.TestCase):
    def setUp(self):
        try:
            from botocore.stub import Stubber
            from trial.account import Account
        except ImportError:
            self.skipTest("boto3 is not installed")
        self.account = Account(None, "eu-central-1", "reelay-trial-0a1b2c3d")
        import boto3

        client = boto3.client("cloudwatch", "eu-central-1", aws_access_key_id="a", aws_secret_access_key="b")
        self.account.client = lambda _: client
        self.stubber = Stubber(client)
        self.stubber.activate()

    def test_pages_are_summed_by_metric(self):
        result = lambda id, *values: {"Id": id, "Values": list(values)}
        pages = [
            {"MetricDataResults": [result("m0", 1.0, 2.0), result("m1", 5.0)], "NextToken": "more"},
            {"MetricDataResults": [result("m0", 4.0)]},
        ]
        for page in pages:
            self.stubber.add_response("get_metric_data", page)
        metrics = [("AWS/SQS", name, {"QueueName": "q"}) for name in ("NumberOfMessagesSent", "NumberOfEmptyReceives")]
        self.assertEqual(self.account.sums(metrics, datetime.now(timezone.utc)), [7.0, 5.0])
        self.stubber.assert_no_pending_responses()


if __name__ == "__main__":
    unittest.main()
