"""Access to the AWS account: the stack's resources, and the operator's changes to them."""

import json
import re
import time

import boto3
from botocore.config import Config

REGION = "eu-central-1"
STACK = "reelay"


class Cloud:
    region, stack = REGION, STACK

    def __init__(self, endpoint):
        self.endpoint = endpoint
        self._session = boto3.Session("test", "test", region_name=REGION)

    def client(self, service):
        # Loopback has no subdomains for buckets.
        config = Config(s3={"addressing_style": "path"}, retries={"mode": "standard"})
        return self._session.client(service, endpoint_url=self.endpoint, config=config)

    def outputs(self):
        stack = self.client("cloudformation").describe_stacks(StackName=self.stack)["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def resources(self):
        """Returns physical ids by logical id."""
        found = self.client("cloudformation").describe_stack_resources(StackName=self.stack)["StackResources"]
        return {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in found}

    def template(self):
        """Returns template.yaml after the SAM transform."""
        response = self.client("cloudformation").get_template(StackName=self.stack, TemplateStage="Processed")
        body = response["TemplateBody"]
        return json.loads(body) if isinstance(body, str) else body

    def create_routes(self, resources, template):
        """Creates the routes of the API's OpenAPI document, which the emulator ignores."""
        gateway = self.client("apigatewayv2")
        api = resources["HttpApi"]
        made = []
        for path, methods in template["Resources"]["HttpApi"]["Properties"]["Body"]["paths"].items():
            for method, operation in methods.items():
                wanted = operation["x-amazon-apigateway-integration"]
                function = re.search(r"\$\{(\w+)\.Arn\}", json.dumps(wanted["uri"])).group(1)
                integration = gateway.create_integration(
                    ApiId=api,
                    IntegrationType="AWS_PROXY",
                    IntegrationUri=self.function_arn(resources[function]),
                    PayloadFormatVersion=wanted["payloadFormatVersion"],
                )
                verb = "ANY" if method == "x-amazon-apigateway-any-method" else method.upper()
                gateway.create_route(
                    ApiId=api,
                    RouteKey=f"{verb} {path}",
                    Target=f"integrations/{integration['IntegrationId']}",
                )
                made.append(f"{verb} {path}")
        return made

    def allow_loops(self, resources, template):
        """Applies `RecursiveLoop`, which the emulator ignores in the template."""
        for name, resource in template["Resources"].items():
            loop = resource["Properties"].get("RecursiveLoop") if resource["Type"] == "AWS::Lambda::Function" else None
            if loop:
                self.client("lambda").put_function_recursion_config(FunctionName=resources[name], RecursiveLoop=loop)

    def function_updated(self, name):
        """Waits until a change of a function is in effect. The emulator makes it at once."""

    def function_arn(self, name):
        return self.client("lambda").get_function(FunctionName=name)["Configuration"]["FunctionArn"]

    def secret(self, name):
        return self.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"]

    def set_secret(self, name, value):
        self.client("secretsmanager").put_secret_value(SecretId=name, SecretString=json.dumps(value))

    def waiting(self, queue_url):
        """Counts the messages of a queue, including in-flight and delayed ones."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
        found = self.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)


def until(description, condition, seconds=60, every=0.2):
    """Polls until the condition returns a true value, and returns that."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{description}: not within {seconds} s")
        time.sleep(every)
