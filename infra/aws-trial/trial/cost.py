"""What the trial cost: counted units times the list prices of docs/costs.md."""

import math
import re

# Hours of a month, as AWS prorates.
HOURS = 730
GB = 1e9
# Metrics of a stack in use (docs/costs.md, "Assumptions"). Each is billed for the hours in which it is written.
CUSTOM_METRICS = 20

NOT_COUNTED = """\
Not counted, because no free metric shows it: requests to S3, KMS and Secrets Manager, events on the bus, traces, the
initialization of functions, storage and transfer of some 15 MB, and what this run read from CloudWatch. By the counts
and prices of docs/costs.md all that is less than a cent. The row of SQS is an upper bound: it takes each message of a
batch for a request. Free tiers are not subtracted; prices are those of us-east-1. CloudWatch may lack the last minutes.
The bill itself appears in Cost Explorer within a day, for the whole account: by stack only if the cost allocation tag
aws:cloudformation:stack-name was activated before this run. Its API costs $0.01 a request, and is not called here."""


def prices(page):
    """Reads the table `prices` of docs/costs.md: US dollars by name."""
    table = page.split("<!-- prices -->")[1].split("<!-- end -->")[0]
    rows = re.findall(r"^\| ([^|]+?) \| ([0-9.,]+) \|", table, re.M)
    return {name: float(value.replace(",", "")) for name, value in rows}


def metrics(template, resources):
    """Returns each metric to sum, with the name of its row and the factor that makes it the row's unit.

    Sources: Lambda Developer Guide, "Types of metrics for Lambda functions"; API Gateway Developer Guide, "Monitor
    CloudWatch metrics for HTTP APIs"; SQS Developer Guide, "Available CloudWatch metrics for Amazon SQS"; DynamoDB
    Developer Guide, "DynamoDB metrics and dimensions"; CloudWatch Logs User Guide, "Monitoring with CloudWatch metrics".
    """
    found = []

    def add(row, factor, namespace, name, **dimensions):
        found.append((row, factor, (namespace, name, dimensions)))

    for logical, resource in template["Resources"].items():
        physical, kind, properties = resources.get(logical), resource["Type"], resource.get("Properties", {})
        if physical is None:
            continue
        if kind == "AWS::Lambda::Function":
            add("Lambda, million requests", 1e-6, "AWS/Lambda", "Invocations", FunctionName=physical)
            # Milliseconds at the function's memory.
            gigabytes = properties["MemorySize"] / 1024
            add("Lambda x86_64, GB-second", gigabytes / 1000, "AWS/Lambda", "Duration", FunctionName=physical)
        elif kind == "AWS::ApiGatewayV2::Api":
            add("API Gateway HTTP API, million requests", 1e-6, "AWS/ApiGateway", "Count", ApiId=physical)
        elif kind == "AWS::SQS::Queue":
            name = physical.rsplit("/", 1)[-1]
            for metric in ("MessagesSent", "MessagesReceived", "MessagesDeleted", "EmptyReceives"):
                add("SQS, million requests", 1e-6, "AWS/SQS", f"NumberOf{metric}", QueueName=name)
        elif kind == "AWS::DynamoDB::Table":
            indexes = [index["IndexName"] for index in properties.get("GlobalSecondaryIndexes", [])]
            # DynamoDB has metrics of their own for indexes.
            for more in [{}, *({"GlobalSecondaryIndexName": name} for name in indexes)]:
                for unit in ("Write", "Read"):
                    row, metric = f"DynamoDB, million {unit.lower()} units", f"Consumed{unit}CapacityUnits"
                    add(row, 1e-6, "AWS/DynamoDB", metric, TableName=physical, **more)
        elif kind == "AWS::Logs::LogGroup":
            add("CloudWatch Logs, GB", 1 / GB, "AWS/Logs", "IncomingBytes", LogGroupName=physical)
    return found


def standing(template, seconds):
    """Returns what a stack costs by its existence. The parts of a month are hours, and each that has begun counts."""
    month = math.ceil(seconds / 3600) / HOURS
    every = [resource for resource in template["Resources"].values()]
    count = lambda kind: sum(resource["Type"] == kind for resource in every)
    alarms = [one["Properties"] for one in every if one["Type"] == "AWS::CloudWatch::Alarm"]
    return {
        "KMS, key-month": count("AWS::KMS::Key") * month,
        "Secrets Manager, secret-month": count("AWS::SecretsManager::Secret") * month,
        "CloudWatch, alarm-month": sum(map(alarm_metrics, alarms)) * month,
        "CloudWatch, metric-month": CUSTOM_METRICS * month,
        "CloudWatch, dashboard-month": count("AWS::CloudWatch::Dashboard") * month,
    }


def alarm_metrics(alarm):
    """Counts the metrics that an alarm evaluates: each is billed (CloudWatch pricing)."""
    return sum("MetricStat" in metric for metric in alarm.get("Metrics", [])) or 1


def quantities(metrics, sums):
    """Returns the units of each row. `sums`: the values of `metrics` in their order."""
    found = {}
    for (row, factor, _), value in zip(metrics, sums, strict=True):
        found[row] = found.get(row, 0) + factor * value
    return found


def bill(quantities, prices):
    """Returns rows (name, quantity, price, US dollars) and their sum."""
    rows = [(name, quantity, prices[name], quantity * prices[name]) for name, quantity in quantities.items()]
    return rows, sum(row[3] for row in rows)


def table(rows, total):
    lines = [f"{name:<42} {quantity:>14.6f} x {price:<12g} = {dollars:9.5f}" for name, quantity, price, dollars in rows]
    return "\n".join([*lines, f"{'total, US dollars':<42} {'':>32}{total:9.5f}"])
