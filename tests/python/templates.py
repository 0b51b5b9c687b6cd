"""Templates as CloudFormation would read them, and what their policies allow."""

import fnmatch
import pathlib
import re

from samcli.yamlhelper import yaml_parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
ACCOUNT, REGION = "111122223333", "eu-central-1"
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::URLSuffix": "amazonaws.com",
}
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"
# ARNs of what templates refer to by GetAtt, by type: from the property with its name.
ARNS = {
    "AWS::SQS::Queue": ("QueueName", "arn:aws:sqs:{region}:{account}:{name}"),
    "AWS::Logs::LogGroup": ("LogGroupName", "arn:aws:logs:{region}:{account}:log-group:{name}:*"),
    "AWS::S3::Bucket": ("BucketName", "arn:aws:s3:::{name}"),
    "AWS::SNS::Topic": ("TopicName", "arn:aws:sns:{region}:{account}:{name}"),
}
NOTHING = object()


def listed(value):
    return value if isinstance(value, list) else [value]


class Stack:
    """A template with values for its parameters: those given, defaults, or placeholders."""

    def __init__(self, path, **parameters):
        self.path = pathlib.Path(path)
        self.template = yaml_parse(self.path.read_text())
        self.parameters = {
            name: parameters.get(name, one.get("Default", f"<{name}>"))
            for name, one in self.template.get("Parameters", {}).items()
        }
        self.resources = self.template["Resources"]

    def condition(self, value):
        if isinstance(value, str):
            return self.condition(self.template["Conditions"][value])
        ((function, arguments),) = value.items()
        if function == "Fn::Equals":
            left, right = map(self.resolve, arguments)
            return str(left) == str(right)
        if function == "Fn::Not":
            return not self.condition(arguments[0])
        if function == "Fn::And":
            return all(map(self.condition, arguments))
        if function == "Condition":
            return self.condition(arguments)
        raise ValueError(function)

    def reference(self, name):
        if name == "AWS::NoValue":
            return NOTHING
        if name in PSEUDO or name in self.parameters:
            return PSEUDO.get(name, self.parameters.get(name))
        return self.arn(name) or name

    def arn(self, name):
        resource = self.resources[name]
        if resource["Type"] in ARNS:
            key, form = ARNS[resource["Type"]]
            found = self.resolve(resource["Properties"].get(key, name))
            return form.format(region=REGION, account=ACCOUNT, name=found)
        return None

    def substituted(self, text):
        text, own = text if isinstance(text, list) else (text, {})

        def value(found):
            name, _, attribute = found[1].partition(".")
            if name in own:
                return str(self.resolve(own[name]))
            if attribute == "Arn" and self.arn(name):
                return self.arn(name)
            return f"{name}.{attribute}" if attribute else str(self.reference(name))

        return re.sub(r"\$\{([A-Za-z0-9:.]+)\}", value, text).replace("${!", "${")

    def resolve(self, value):
        """The value with its functions worked out."""
        if isinstance(value, list):
            return [one for one in map(self.resolve, value) if one is not NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((function, arguments),) = value.items()
            if function == "Ref":
                return self.reference(arguments)
            if function == "Fn::Sub":
                return self.substituted(arguments)
            if function == "Fn::If":
                name, yes, no = arguments
                return self.resolve(yes if self.condition(name) else no)
            if function == "Fn::GetAtt":
                name, attribute = listed(arguments) if isinstance(arguments, list) else arguments.split(".")
                return self.arn(name) if attribute == "Arn" and self.arn(name) else f"{name}.{attribute}"
            if function == "Fn::Join":
                return arguments[0].join(map(str, self.resolve(arguments[1])))
        resolved = {name: self.resolve(one) for name, one in value.items()}
        return {name: one for name, one in resolved.items() if one is not NOTHING}

    def properties(self, kind):
        """The properties of the resources of a type, worked out."""
        return {
            name: self.resolve(resource["Properties"])
            for name, resource in self.resources.items()
            if resource["Type"] == kind
        }

    def statements(self, name):
        """What a role or a managed policy says."""
        found = self.resolve(self.resources[name]["Properties"])
        documents = [one["PolicyDocument"] for one in found.get("Policies", [found])]
        return [statement for document in documents for statement in document["Statement"]]

    def roles(self):
        kinds = ["AWS::IAM::Role", "AWS::IAM::ManagedPolicy"]
        return [name for name, one in self.resources.items() if one["Type"] in kinds]


def matches(patterns, text):
    # IAM's patterns know `*` and `?`, and no sets.
    return any(fnmatch.fnmatchcase(text, one.replace("[", "[[]")) for one in listed(patterns))


def allows(statements, action, resource):
    """Whether a policy allows an action on a resource. Conditions are taken as met, so that
    no denial rests on one; what is allowed here might still be refused."""
    effects = {
        statement["Effect"]
        for statement in statements
        if matches(statement["Action"], action) and matches(statement["Resource"], resource)
    }
    return effects == {"Allow"}
