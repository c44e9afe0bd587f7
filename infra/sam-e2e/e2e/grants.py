"""Compares the grants of the functions' roles with their calls.

Both are sets of `(role, action, resource)` with the names of template.yaml: `("WebhookRole", "sqs:SendMessage", "EventsQueue")`. Nothing here does I/O.
"""

import re
from fnmatch import fnmatchcase


def granted(template):
    """Returns all grants of the roles in a processed template."""
    found = set()
    for role, resource in template["Resources"].items():
        if resource["Type"] != "AWS::IAM::Role":
            continue
        for policy in resource["Properties"].get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                for action in _list(statement["Action"]):
                    found |= {(role, action, _named(pattern)) for pattern in _list(statement["Resource"])}
    return found


def called(journal, resources):
    """Returns the calls in a journal. `resources`: physical ids by logical id."""
    roles = {physical: logical for logical, physical in resources.items()}
    return {(roles[line["role"]], line["action"], _logical(line["resource"], resources)) for line in journal}


def differences(grants, calls, exceptions):
    """Describes the differences. `exceptions`: reasons for grants that this run does not use.

    A call without a grant fails in AWS. A grant without a call is an unnecessary permission. An exception without a
    grant is out of date.
    """
    found = []
    for role, action, resource in sorted(calls):
        if not any(_covers(grant, (role, action, resource)) for grant in grants):
            found.append(f"{role} calls {action} on {resource}, which no policy grants")
    excepted = {grant for exception in exceptions for grant in grants if _excepts(exception, grant)}
    for grant in sorted(grants - excepted):
        if not any(_covers(grant, call) for call in calls):
            found.append("{} is granted {} on {}, and never calls it".format(*grant))
    for exception in sorted(exceptions):
        if not any(_excepts(exception, grant) for grant in grants):
            found.append("{} is excepted {} on {}, and not granted it".format(*exception))
    return found


def _covers(grant, call):
    return grant[:2] == call[:2] and fnmatchcase(call[2], grant[2])


def _excepts(exception, grant):
    return all(fnmatchcase(have, want) for have, want in zip(grant, exception, strict=True))


def _list(value):
    return value if isinstance(value, list) else [value]


def _named(pattern):
    """Returns a policy's resource by logical id: `LinksTable/index/by-next-check`."""
    match pattern:
        case {"Ref": name}:
            return name
        case {"Fn::GetAtt": [name, "Arn"]}:
            return name
        case {"Fn::GetAtt": str(path)}:
            return path.removesuffix(".Arn")
        case {"Fn::Sub": str(text)}:
            return re.sub(r"\$\{(\w+)(\.Arn)?\}", r"\1", text)
        case "*":
            return "*"
    raise ValueError(f"a policy names {pattern}: only resources of the template have a name here")


def _logical(arn, resources):
    """Replaces an ARN by its logical id. Unknown ARNs stay unchanged."""
    for logical, physical in resources.items():
        # A queue's physical id is its URL, a secret's its ARN; of all others it is the name.
        name = physical if physical.startswith("arn:") else physical.rsplit("/", 1)[-1]
        ends = arn == name or arn.endswith((f":{name}", f"/{name}"))
        if ends:
            return logical
        for middle in (f":{name}/", f"/{name}/"):
            if middle in arn and not name.startswith("arn:"):
                return f"{logical}/{arn.split(middle, 1)[1]}"
    return arn
