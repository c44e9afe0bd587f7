"""Grants that no function is seen to use in this run, each with its reason.

A name may be a pattern. Whoever adds one says who calls it, or which test does.
"""

REASONS = {
    # Lambda itself calls these with the function's role, outside the function.
    ("*", "logs:CreateLogStream", "*"): "Lambda writes the logs",
    ("*", "logs:PutLogEvents", "*"): "Lambda writes the logs",
    ("*", "xray:PutTraceSegments", "*"): "Lambda's X-Ray daemon writes the traces",
    ("*", "xray:PutTelemetryRecords", "*"): "Lambda's X-Ray daemon writes the traces",
    ("*", "sqs:ReceiveMessage", "*"): "the event source mapping polls the queue",
    ("*", "sqs:DeleteMessage", "*"): "the event source mapping deletes what is done",
    ("*", "sqs:GetQueueAttributes", "*"): "the event source mapping looks at the queue",
}
