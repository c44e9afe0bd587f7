"""Makes CloudFormation roll back a deployment that sets off an alarm: `python infra/reelay-ctl/rollback.py STACK [--minutes N]`.

CloudFormation keeps a stack's rollback triggers for all later updates (API reference, "RollbackConfiguration"), so this is
run once, after the first deployment, and again when an alarm's logical id changes. Each later `sam deploy` then takes N
minutes longer, in which the alarms are watched. boto3 comes with aws-sam-cli.
"""

import argparse

# Alarms that a broken deployment sets off within 15 minutes. CloudFormation accepts at most five.
ALARMS = ["RequestsFailedAlarm", "FunctionErrorsAlarm"]


def update(stack, resources, minutes):
    """The parameters of `UpdateStack` that set the triggers and keep all else."""
    ids = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources}
    _, partition, _, region, account, _ = stack["StackId"].split(":", 5)
    triggers = [
        {"Arn": f"arn:{partition}:cloudwatch:{region}:{account}:alarm:{ids[name]}", "Type": "AWS::CloudWatch::Alarm"}
        for name in ALARMS
    ]
    # UpdateStack rejects an update that changes no resource; a stack's tags are those of its resources.
    tags = [tag for tag in stack.get("Tags", []) if tag["Key"] != "rollback-minutes"]
    return {
        "StackName": stack["StackName"],
        "UsePreviousTemplate": True,
        "Parameters": [
            {"ParameterKey": parameter["ParameterKey"], "UsePreviousValue": True} for parameter in stack["Parameters"]
        ],
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        "RollbackConfiguration": {"RollbackTriggers": triggers, "MonitoringTimeInMinutes": minutes},
        "Tags": [*tags, {"Key": "rollback-minutes", "Value": str(minutes)}],
    }


def main():
    import boto3

    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("stack")
    arguments.add_argument("--minutes", type=int, default=15, choices=range(0, 181), metavar="0..180")
    given = arguments.parse_args()
    client = boto3.client("cloudformation")
    stack = client.describe_stacks(StackName=given.stack)["Stacks"][0]
    pages = client.get_paginator("list_stack_resources").paginate(StackName=given.stack)
    resources = [resource for page in pages for resource in page["StackResourceSummaries"]]
    client.update_stack(**update(stack, resources, given.minutes))
    client.get_waiter("stack_update_complete").wait(StackName=given.stack)
    print(f"{given.stack}: a deployment is rolled back if one of {', '.join(ALARMS)} goes off within {given.minutes} minutes")


if __name__ == "__main__":
    main()
