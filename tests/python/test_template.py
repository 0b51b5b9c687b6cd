"""The deployable template, checked without an account, credentials or network."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import botocore.session
from botocore import xform_name
from samcli.yamlhelper import yaml_parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "infra/template.yaml"
DAY = 24 * 60 * 60

# What Lambda does in the name of a function.
LAMBDA = {
    "sqs:ReceiveMessage",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
}
# S3 has no permissions of their own for the steps of an upload in parts.
UPLOADS = {"s3:CreateMultipartUpload", "s3:UploadPart", "s3:CompleteMultipartUpload"}
# In the stores, but only gateways forget results.
FORGETTING = {"s3:DeleteObject"}
# Not called, but without it a missing object looks like a forbidden one.
MISSING_OBJECTS = "s3:ListBucket"
# Tokio's channels have a method of this name.
NOT_AWS = {"subscribe"}


def sources(*folders, without=""):
    """The program text of these folders, without tests and provisioning."""
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.rs")]
    apart = {"testing", "tests", "tests.rs", "table.rs", without}
    return "".join(file.read_text() for file in files if not apart & set(file.parts))


def actions(text):
    """The IAM actions of the AWS operations that a program's text builds."""
    loader = botocore.session.get_session()
    called = set(re.findall(r"\.([a-z_0-9]+)\(\)", text)) - NOT_AWS
    found = set()
    for service in ["sqs", "sns", "dynamodb", "s3", "lambda"]:
        for operation in loader.get_service_model(service).operation_names:
            if xform_name(operation) in called:
                # The permission of a batch is that of its entries.
                name = operation.removesuffix("Batch") if service in ["sqs", "sns"] else operation
                found.add(f"{service}:{name}")
    if "lambda:Invoke" in found:
        # The one operation whose permission has another name.
        found = found - {"lambda:Invoke"} | {"lambda:InvokeFunction"}
    if found & UPLOADS:
        found = found - UPLOADS | {"s3:PutObject"}
    return found


def listed(value):
    return value if isinstance(value, list) else [value]


class Template(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.template = yaml_parse(TEMPLATE.read_text())
        cls.resources = cls.template["Resources"]

    def tool(self, *command):
        """Runs a program of this environment where nothing can be reached."""
        with tempfile.TemporaryDirectory() as home:
            nowhere = "http://127.0.0.1:9"
            environment = {
                "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
                "HOME": home,
                # SAM wants to know one even for what needs none.
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_EC2_METADATA_DISABLED": "true",
                "SAM_CLI_TELEMETRY": "0",
                "HTTP_PROXY": nowhere,
                "HTTPS_PROXY": nowhere,
            }
            ran = subprocess.run(command, env=environment, capture_output=True, text=True)
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)

    def test_cfn_lint_has_no_complaint(self):
        self.tool("cfn-lint", "--non-zero-exit-code", "informational", TEMPLATE)

    def test_sam_takes_it(self):
        self.tool("sam", "validate", "--template", TEMPLATE)

    def test_sam_has_no_complaint(self):
        self.tool("sam", "validate", "--lint", "--template", TEMPLATE)

    def properties(self, kind):
        return {
            name: resource["Properties"]
            for name, resource in self.resources.items()
            if resource["Type"] == kind
        }

    # Permissions

    def statements(self):
        """Statements that allow something, by the resource that they belong to."""
        for name, role in self.properties("AWS::IAM::Role").items():
            for policy in role["Policies"]:
                yield from ((name, one) for one in policy["PolicyDocument"]["Statement"])
        for name, policy in self.properties("AWS::IAM::ManagedPolicy").items():
            yield from ((name, one) for one in policy["PolicyDocument"]["Statement"])

    def granted(self, name):
        own = [one["Action"] for owner, one in self.statements() if owner == name]
        return {action for some in own for action in listed(some)}

    def test_the_worker_may_do_what_it_calls_and_nothing_else(self):
        text = sources("worker/src", "proto/store/src")
        needed = actions(text) - FORGETTING | LAMBDA | {MISSING_OBJECTS}
        # The template has no topic.
        self.assertEqual(self.granted("WorkerRole"), needed - {"sns:Publish"})

    def test_the_sender_of_callbacks_has_no_business_with_payloads(self):
        worker = self.granted("WorkerRole")
        payloads = {action for action in worker if action.startswith("s3:")}
        self.assertEqual(self.granted("CallbacksRole"), worker - payloads)

    def test_the_dead_letter_worker_has_no_business_with_payloads(self):
        worker = self.granted("WorkerRole")
        payloads = {action for action in worker if action.startswith("s3:")}
        self.assertEqual(self.granted("DeadLettersRole"), worker - payloads)

    def test_the_gateway_may_do_what_it_calls_and_nothing_else(self):
        text = sources("gateway/src", "proto/store/src", without="cli")
        needed = actions(text) | {MISSING_OBJECTS}
        # The template has no topic.
        self.assertEqual(self.granted("GatewayPolicy"), needed - {"sns:Publish"})

    def test_a_replay_may_do_what_it_calls_and_nothing_else(self):
        self.assertEqual(self.granted("ReplayPolicy"), actions(sources("gateway/src/cli")))

    def test_nothing_is_granted_wholesale(self):
        for owner, statement in self.statements():
            self.assertEqual(statement["Effect"], "Allow")
            for action in listed(statement["Action"]):
                self.assertNotIn("*", action, owner)
            for resource in listed(statement["Resource"]):
                self.assertIsInstance(resource, dict, f"{owner}: a resource of this stack")

    # Queues

    def test_a_message_survives_its_move_to_the_dead_letters(self):
        queue, dead = self.resources["Queue"], self.resources["DeadLetterQueue"]
        retention = self.template["Parameters"][queue["Properties"]["MessageRetentionPeriod"]["Ref"]]
        self.assertGreater(dead["Properties"]["MessageRetentionPeriod"], retention["MaxValue"])
        self.assertGreaterEqual(queue["Properties"]["RedrivePolicy"]["maxReceiveCount"], 100)

    def test_a_message_stays_invisible_for_six_invocations_and_the_window(self):
        times = self.template["Mappings"]["VisibilityTimeout"]
        parameters = self.template["Parameters"]
        window = parameters["BatchWindowSeconds"]["MaxValue"]
        self.assertEqual(set(times), set(parameters["FunctionTimeoutSeconds"]["AllowedValues"]))
        for timeout, visibility in times.items():
            self.assertGreaterEqual(visibility["Seconds"], 6 * int(timeout) + window)
        timeout = self.template["Globals"]["Function"]["Timeout"]["Ref"]
        found = {"Fn::FindInMap": ["VisibilityTimeout", {"Ref": timeout}, "Seconds"]}
        for function in self.properties("AWS::Serverless::Function").values():
            for event in function["Events"].values():
                queue = event["Properties"]["Queue"]["Fn::GetAtt"][0]
                self.assertEqual(self.resources[queue]["Properties"]["VisibilityTimeout"], found)

    def test_one_failed_message_does_not_bring_its_batch_back(self):
        for function in self.properties("AWS::Serverless::Function").values():
            for event in function["Events"].values():
                types = event["Properties"]["FunctionResponseTypes"]
                self.assertEqual(types, ["ReportBatchItemFailures"])

    # Stores

    def test_the_table_is_the_one_that_the_code_makes(self):
        table = self.resources["Table"]["Properties"]
        store = ROOT / "proto/store/src/dynamodb"
        key = re.search(r'PK: &str = "(\w+)"', (store / "item.rs").read_text())[1]
        ttl = re.search(r'attribute_name\("(\w+)"\)', (store / "table.rs").read_text())[1]
        self.assertEqual(table["KeySchema"], [{"AttributeName": key, "KeyType": "HASH"}])
        self.assertEqual(table["TimeToLiveSpecification"]["AttributeName"], ttl)

    def test_a_payload_outlives_every_copy_of_its_message(self):
        queue = self.template["Parameters"]["MessageRetentionSeconds"]["MaxValue"]
        dead, parked = (
            self.resources[name]["Properties"]["MessageRetentionPeriod"]
            for name in ["DeadLetterQueue", "ParkingQueue"]
        )
        rule = self.resources["Payloads"]["Properties"]["LifecycleConfiguration"]["Rules"][0]
        days = self.template["Parameters"][rule["ExpirationInDays"]["Ref"]]["MinValue"]
        self.assertGreater(days * DAY, queue + dead + parked)
        # What the stores take for the longest life of a copy, in days.
        constant = r"COPIES_SURVIVE: Duration = Duration::from_secs\((\d+) \* 24 \* 60 \* 60\)"
        default = re.search(constant, sources("worker/src"))
        self.assertGreater(int(default[1]) * DAY, queue + dead + parked)

    # Functions

    def test_the_worker_reads_every_variable_that_is_set(self):
        known = set(re.findall(r'"(QB_\w+)"', sources("worker/src")))
        shared = self.template["Globals"]["Function"]["Environment"]["Variables"]
        for function in self.properties("AWS::Serverless::Function").values():
            names = {*shared, *function["Environment"]["Variables"]}
            ours = {name for name in names if name.startswith("QB_")}
            self.assertLessEqual(ours, known)

    def test_all_functions_have_what_a_worker_cannot_do_without(self):
        shared = self.template["Globals"]["Function"]["Environment"]["Variables"]
        roles = set()
        for function in self.properties("AWS::Serverless::Function").values():
            variables = {**shared, **function["Environment"]["Variables"]}
            for name in ["QB_ENVELOPE_KEYS", "QB_STORE_TABLE", "QB_PARKING_QUEUE_URL"]:
                self.assertIn(name, variables)
            roles.add(variables["QB_WORKER_ROLE"])
        self.assertEqual(roles, {"jobs", "dead-letters", "callbacks"})
        self.assertIn("{{resolve:", str(shared["QB_ENVELOPE_KEYS"]), "no secret in the template")


if __name__ == "__main__":
    unittest.main()
