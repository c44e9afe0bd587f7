"""Tests of the parameters that `infra/reelay-ctl/rollback.py` gives to CloudFormation."""

import importlib.util
import re
import unittest
from pathlib import Path

ROOT = Path(__file__).parents[3]
_spec = importlib.util.spec_from_file_location("rollback", ROOT / "infra/reelay-ctl/rollback.py")
rollback = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(rollback)

STACK = {
    "StackId": "arn:aws:cloudformation:eu-central-1:123456789012:stack/reelay/1",
    "StackName": "reelay",
    "Parameters": [{"ParameterKey": "ReturnUrls", "ParameterValue": "https://app.example/"}],
    "Tags": [{"Key": "team", "Value": "a"}, {"Key": "rollback-minutes", "Value": "5"}],
}
RESOURCES = [{"LogicalResourceId": name, "PhysicalResourceId": f"reelay-{name}-1"} for name in rollback.ALARMS]


class Rollback(unittest.TestCase):
    def test_triggers_are_the_stacks_alarms(self):
        update = rollback.update(STACK, RESOURCES, 15)
        triggers = update["RollbackConfiguration"]["RollbackTriggers"]
        first = "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:reelay-RequestsFailedAlarm-1"
        self.assertEqual(triggers[0], {"Arn": first, "Type": "AWS::CloudWatch::Alarm"})
        self.assertLessEqual(len(triggers), 5)

    def test_parameters_and_tags_are_kept(self):
        update = rollback.update(STACK, RESOURCES, 15)
        self.assertEqual(update["Parameters"], [{"ParameterKey": "ReturnUrls", "UsePreviousValue": True}])
        tags = [{"Key": "team", "Value": "a"}, {"Key": "rollback-minutes", "Value": "15"}]
        self.assertEqual(update["Tags"], tags)

    def test_alarms_stand_in_the_template(self):
        template = (ROOT / "template.yaml").read_text()
        for name in rollback.ALARMS:
            self.assertRegex(template, re.compile(rf"^  {name}:\n    Type: AWS::CloudWatch::Alarm$", re.M))

    def test_botocore_accepts_the_parameters(self):
        try:
            import botocore.session
            from botocore.validate import validate_parameters
        except ImportError:
            self.skipTest("botocore is not installed")
        model = botocore.session.get_session().get_service_model("cloudformation").operation_model("UpdateStack")
        validate_parameters(rollback.update(STACK, RESOURCES, 15), model.input_shape)


if __name__ == "__main__":
    unittest.main()
