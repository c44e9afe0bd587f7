"""Access to the AWS account, with the operator's credentials."""

from datetime import datetime, timedelta, timezone

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from e2e.cloud import Cloud, until

# A busy region takes longer; CloudFormation gives up by itself.
SETTLING_SECONDS = 3600


class Account(Cloud):
    def __init__(self, profile, region, stack):
        self._session = boto3.Session(profile_name=profile, region_name=region)
        self.region, self.stack = self._session.region_name, stack

    def client(self, service):
        return self._session.client(service, config=Config(retries={"mode": "standard", "max_attempts": 8}))

    def identity(self):
        """Returns account id and ARN of the credentials."""
        caller = self.client("sts").get_caller_identity()
        return caller["Account"], caller["Arn"]

    def status(self):
        """Returns the status of the stack, or `None` if it does not exist."""
        try:
            return self.client("cloudformation").describe_stacks(StackName=self.stack)["Stacks"][0]["StackStatus"]
        except ClientError as error:
            # CloudFormation API Reference, DescribeStacks: "If the stack doesn't exist, a ValidationError is returned."
            known = error.response["Error"]
            if known["Code"] == "ValidationError" and "does not exist" in known["Message"]:
                return None
            raise

    def settled(self):
        """Waits until CloudFormation has ended what it does. REVIEW_IN_PROGRESS is a stack without resources."""
        moving = lambda status: status and status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS"
        until("CloudFormation", lambda: not moving(self.status()), SETTLING_SECONDS, every=5)
        return self.status()

    def inventory(self):
        """Returns logical id, type and physical id of each resource. DescribeStackResources ends after 100."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=self.stack)
        every = [resource for page in pages for resource in page["StackResourceSummaries"]]
        return [
            (resource["LogicalResourceId"], resource["ResourceType"], resource["PhysicalResourceId"])
            for resource in every
            if resource.get("PhysicalResourceId")
        ]

    def resources(self):
        return {logical: physical for logical, _, physical in self.inventory()}

    def failures(self):
        """Returns why resources could not be created or deleted, first cause first."""
        pages = self.client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=self.stack)
        failed = [event for page in pages for event in page["StackEvents"] if event["ResourceStatus"].endswith("_FAILED")]
        return [f"{one['LogicalResourceId']}: {one.get('ResourceStatusReason', 'no reason')}" for one in reversed(failed)]

    def log_lines(self, group):
        """Returns the lines of a log group, oldest first."""
        pages = self.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
        return [event["message"].rstrip() for page in pages for event in page["events"]]

    def function_updated(self, name):
        # Until LastUpdateStatus is Successful, invocations run with the previous configuration
        # (Lambda Developer Guide, "Lambda function states").
        self.client("lambda").get_waiter("function_updated_v2").wait(FunctionName=name)

    def polls(self, function):
        """Returns whether Lambda polls the function's queue: a new event source takes up to some minutes."""
        found = self.client("lambda").list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
        return bool(found) and all(mapping["State"] == "Enabled" for mapping in found)

    def visible(self, queue_url):
        """Counts the messages that can be received now."""
        names = ["ApproximateNumberOfMessages"]
        found = self.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)["Attributes"]
        return int(found[names[0]])

    def alarm_state(self, name):
        [alarm] = self.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return alarm["StateValue"]

    def sums(self, metrics, since):
        """Returns the sum of each metric since a time. `metrics`: (namespace, name, dimensions)."""
        queries = [
            {
                "Id": f"m{index}",
                "MetricStat": {
                    "Metric": {
                        "Namespace": namespace,
                        "MetricName": name,
                        "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
                    },
                    "Period": 3600,
                    "Stat": "Sum",
                },
            }
            for index, (namespace, name, dimensions) in enumerate(metrics)
        ]
        found = [0.0] * len(metrics)
        # GetMetricData takes 500 queries. It rounds a start within the last 15 days down to the minute, and a period
        # of an hour begins on the hour.
        start = since.replace(minute=0, second=0, microsecond=0)
        end = datetime.now(timezone.utc) + timedelta(minutes=1)
        paginator = self.client("cloudwatch").get_paginator("get_metric_data")
        for first in range(0, len(queries), 500):
            pages = paginator.paginate(MetricDataQueries=queries[first : first + 500], StartTime=start, EndTime=end)
            for page in pages:
                for result in page["MetricDataResults"]:
                    found[int(result["Id"][1:])] += sum(result["Values"])
        return found
