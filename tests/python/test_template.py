"""The deployable templates, checked without an account, credentials or network."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import botocore.session
from botocore import xform_name
from templates import ACCOUNT, KEY, REGION, ROOT, Stack, allows, listed

INFRA = ROOT / "infra"
# What a second configuration gives, with what the example has not.
OTHER = pathlib.Path(os.environ["QB_TEST_TEMPLATES"])
DAY = 24 * 60 * 60

# What Lambda does in the name of a function.
EVENT_SOURCE = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
LOG = {"logs:CreateLogStream", "logs:PutLogEvents"}
# S3 has no permissions of their own for the steps of an upload in parts.
UPLOADS = {"s3:CreateMultipartUpload", "s3:UploadPart", "s3:CompleteMultipartUpload"}
# In the stores, but only gateways forget results.
FORGETTING = {"s3:DeleteObject"}
# Not called, but without it a missing object looks like a forbidden one.
MISSING_OBJECTS = "s3:ListBucket"
# Of the key of what is encrypted; called by the stores and queues.
WITH_A_KEY = {"kms:Decrypt", "kms:GenerateDataKey"}
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


def granted(stack, role):
    return {action for one in stack.statements(role) for action in listed(one["Action"])}


def queue(name):
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


def templates(folder):
    """The files of a folder that are for CloudFormation."""
    files = sorted(folder.glob("*.yaml"))
    return [file for file in files if "AWSTemplateFormatVersion" in file.read_text()]


def stacks(folder, **parameters):
    return {path.stem: Stack(path, **parameters) for path in templates(folder)}


class Validators(unittest.TestCase):
    """The tools of others, where nothing can be reached."""

    def tool(self, *command):
        with tempfile.TemporaryDirectory() as home:
            nowhere = "http://127.0.0.1:9"
            environment = {
                "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
                "HOME": home,
                "TMPDIR": home,
                # SAM wants to know one even for what needs none.
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_EC2_METADATA_DISABLED": "true",
                "SAM_CLI_TELEMETRY": "0",
                "HTTP_PROXY": nowhere,
                "HTTPS_PROXY": nowhere,
            }
            ran = subprocess.run(command, env=environment, capture_output=True, text=True)
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        return ran.stdout

    def test_cfn_lint_has_no_complaint(self):
        files = [*templates(INFRA), *templates(OTHER)]
        self.assertGreater(len(files), 12)
        self.tool("cfn-lint", "--non-zero-exit-code", "informational", *files)

    def test_sam_takes_them(self):
        # It starts slowly: the template with functions and events is what it knows best.
        self.tool("sam", "validate", "--template", INFRA / "workers.yaml")

    def test_sam_has_no_complaint(self):
        self.tool("sam", "validate", "--lint", "--template", INFRA / "gateway-lambda.yaml")

    def test_checkov_has_no_finding_without_a_reason(self):
        kinds = {"cloudformation": 100, "dockerfile": 50, "kubernetes": 50}
        command = ["checkov", "--skip-download", "--framework", *kinds, "--output", "json"]
        for said in json.loads(self.tool(*command, "--directory", INFRA)):
            kind = said["check_type"]
            self.assertEqual(said["results"]["failed_checks"], [], kind)
            self.assertGreater(said["summary"]["passed"], kinds.pop(kind), kind)
            self.assertEqual(said["summary"]["parsing_errors"], 0, kind)
            for skipped in said["results"]["skipped_checks"]:
                self.assertGreater(len(skipped["check_result"]["suppress_comment"]), 20)
        self.assertEqual(kinds, {}, "all of them were looked at")

    def test_no_template_needs_a_bucket_to_be_read_from(self):
        for path in templates(INFRA):
            self.assertLessEqual(len(path.read_bytes()), 51_200, path)


class Permissions(unittest.TestCase):
    """Each program may do what its text calls, on what the configuration names."""

    @classmethod
    def setUpClass(cls):
        cls.stacks = stacks(INFRA, KeyArn=KEY)
        cls.other = stacks(OTHER, KeyArn=KEY)

    def test_a_worker_may_do_what_it_calls_and_nothing_else(self):
        text = sources("worker/src", "proto/store/src")
        # Telling topics is the callback sender's; only containers receive by themselves.
        needed = actions(text) - FORGETTING - {"sns:Publish"} | EVENT_SOURCE | {MISSING_OBJECTS}
        functions, containers = self.stacks["workers"], self.stacks["workers-fargate"]
        for worker in ["Probe", "OrderedFifo", "Images", "PicturesAssess"]:
            self.assertEqual(granted(functions, f"{worker}WorkerRole"), needed | LOG | WITH_A_KEY)
            self.assertEqual(granted(containers, f"{worker}Role"), needed | WITH_A_KEY)

    def test_the_worker_of_dead_letters_has_no_business_with_payloads(self):
        worker = granted(self.stacks["workers"], "ProbeWorkerRole")
        payloads = {action for action in worker if action.startswith("s3:")}
        self.assertEqual(granted(self.stacks["dead-letters"], "DeadLettersRole"), worker - payloads)

    def test_the_sender_of_callbacks_has_no_business_with_payloads(self):
        worker = granted(self.stacks["workers"], "ProbeWorkerRole")
        payloads = {action for action in worker if action.startswith("s3:")}
        self.assertEqual(granted(self.stacks["callbacks"], "CallbacksRole"), worker - payloads)
        told = granted(self.other["callbacks"], "CallbacksRole")
        self.assertEqual(told, worker - payloads | {"sns:Publish"})

    def test_the_sender_of_callbacks_may_tell_the_targets_of_every_tenant(self):
        statements = {s["Sid"]: s for s in self.other["callbacks"].statements("CallbacksRole") if "Sid" in s}
        told = lambda sid: [arn.split(":", 4)[4] for arn in listed(statements[sid]["Resource"])]
        own = [f"{ACCOUNT}:{name}-finished" for name in ["shop", "acme", "stock"]]
        self.assertEqual(told("TellQueues"), own)
        topics = ["999900001111:finished", "222233334444:acme-finished"]
        self.assertEqual(told("TellTopics"), topics)

    def test_a_gateway_may_do_what_it_calls_and_nothing_else(self):
        text = sources("gateway/src", "proto/store/src", without="cli")
        needed = actions(text) | {MISSING_OBJECTS} | WITH_A_KEY
        # The example has topics, the other one functions as upstreams.
        granted_to = lambda stacks: granted(stacks["gateway-fargate"], "GatewayRole")
        self.assertEqual(granted_to(self.stacks), needed - {"lambda:InvokeFunction"})
        self.assertEqual(granted_to(self.other), needed - {"sns:Publish", "sns:GetTopicAttributes"})
        elsewhere = self.stacks["gateway-policy"].statements("GatewayPolicy")
        self.assertEqual(elsewhere, self.stacks["gateway-fargate"].statements("GatewayRole"))

    def test_a_gateway_as_a_function_reads_no_queue(self):
        container = granted(self.stacks["gateway-fargate"], "GatewayRole")
        reading = {"sqs:ReceiveMessage", "sqs:DeleteMessage"}
        function = granted(self.stacks["gateway-lambda"], "GatewayRole")
        self.assertEqual(function, container - reading | LOG)

    def test_a_replay_may_do_what_it_calls_and_nothing_else(self):
        needed = actions(sources("gateway/src/cli")) | {"s3:GetObject", MISSING_OBJECTS}
        self.assertEqual(granted(self.stacks["dead-letters"], "ReplayPolicy"), needed | WITH_A_KEY)

    def test_only_a_gateway_has_data_keys_made(self):
        stacks_of_other = stacks(OTHER)
        master = "arn:aws:kms:us-west-2:444455556666:key/11111111-2222-3333-4444-555555555555"
        master = master.replace("us-west-2", REGION).replace("444455556666", ACCOUNT)
        for name, stack in stacks_of_other.items():
            for role in stack.roles():
                found = {a for a in WITH_A_KEY if allows(stack.statements(role), a, master)}
                if role in ["ExecutionRole", "FlowLogRole"]:
                    expected = set()
                else:
                    expected = WITH_A_KEY if name.startswith("gateway") else {"kms:Decrypt"}
                self.assertEqual(found, expected, f"{name}: {role}")
                self.assertFalse(allows(stack.statements(role), "kms:Decrypt", master + "0"))
        workers = stacks_of_other["workers"].properties("AWS::Lambda::Function").values()
        for worker in workers:
            variables = worker["Environment"]["Variables"]
            self.assertEqual(variables["QB_ENCRYPTION_KEYS"], master)
            self.assertEqual(variables["QB_ENCRYPTION_REQUIRED"], "true")

    def test_nothing_is_granted_wholesale(self):
        seen = 0
        for name, stack in [*self.stacks.items(), *self.other.items()]:
            for role in stack.roles():
                for statement in stack.statements(role):
                    seen += 1
                    where = f"{name}: {role}: {statement.get('Sid')}"
                    self.assertEqual(statement["Effect"], "Allow", where)
                    for action in listed(statement["Action"]):
                        self.assertNotIn("*", action, where)
                    for resource in listed(statement["Resource"]):
                        if statement["Sid"] == "Registry":
                            # AWS knows no resource for signing in at a registry.
                            self.assertEqual(statement["Action"], "ecr:GetAuthorizationToken")
                            continue
                        self.assertTrue(resource.startswith(("arn:", "<")), f"{where}: {resource}")
                        # What is below a prefix, or the streams of a log.
                        rest = re.sub(r"(:s3:::[a-z0-9-]+/[a-z/]+\*|:log-group:.*:\*)$", "", resource)
                        self.assertNotIn("*", rest, where)
        self.assertGreater(seen, 100)

    def test_the_key_is_used_by_the_account_and_by_what_delivers(self):
        policy = self.stacks["keys"].properties("AWS::KMS::Key")["Key"]["KeyPolicy"]["Statement"]
        by = {one["Sid"]: one for one in policy}
        self.assertEqual(by["Account"]["Principal"], {"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
        # A topic needs both to deliver to an encrypted queue.
        topics = by["TopicsToQueues"]
        self.assertEqual(topics["Principal"], {"Service": "sns.amazonaws.com"})
        self.assertEqual(set(topics["Action"]), WITH_A_KEY)
        own = {"ArnLike": {"aws:SourceArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:*"}}
        self.assertEqual(topics["Condition"], own)
        for one in policy:
            if one["Sid"] != "Account":
                self.assertIn("Condition", one, "no service of another account")
                self.assertNotIn("*", str(one["Action"]))


class Denials(unittest.TestCase):
    """What a program that is taken over cannot do. Complete over queues: who may do what
    with which is written down here, and everything else is refused."""

    QUEUES = {
        name: queue(f"queuebridge-{name}")
        for name in [
            "probe", "probe-dead", "ordered.fifo", "ordered-dead.fifo", "images", "images-dead",
            "pictures-assess", "pictures-assess-dead", "pictures-describe", "parked",
            "replies-0", "replies-1", "callbacks",
        ]
    }  # fmt: skip
    ACTIONS = [
        "AddPermission", "ChangeMessageVisibility", "CreateQueue", "DeleteMessage", "DeleteQueue",
        "GetQueueAttributes", "GetQueueUrl", "ListQueues", "PurgeQueue", "ReceiveMessage",
        "SendMessage", "SetQueueAttributes", "StartMessageMoveTask",
    ]  # fmt: skip
    TAKE = {"ReceiveMessage", "DeleteMessage", "GetQueueAttributes"}
    LATER = {"ChangeMessageVisibility", "GetQueueUrl"}
    SEND = {"SendMessage"}

    @classmethod
    def setUpClass(cls):
        cls.stacks = stacks(INFRA, KeyArn=KEY)

    def may(self, stack, role, action, resource):
        return allows(self.stacks[stack].statements(role), action, resource)

    def queues(self, stack, role):
        allowed = {
            name: {action for action in self.ACTIONS if self.may(stack, role, f"sqs:{action}", arn)}
            for name, arn in self.QUEUES.items()
        }
        return {name: some for name, some in allowed.items() if some}

    def test_a_worker_has_its_own_queue_only(self):
        others = {"parked": self.SEND, "replies-0": self.SEND, "replies-1": self.SEND}
        others["callbacks"] = self.SEND
        own = self.TAKE | self.LATER | self.SEND
        for stack, suffix in [("workers", "WorkerRole"), ("workers-fargate", "Role")]:
            for worker, name in [("Probe", "probe"), ("OrderedFifo", "ordered.fifo"), ("PicturesAssess", "pictures-assess")]:
                found = self.queues(stack, worker + suffix)
                self.assertEqual(found, {**others, name: own}, f"{stack}: {worker}")

    def test_dead_letters_are_all_that_their_worker_takes(self):
        dead = {name: self.TAKE | self.LATER for name in self.QUEUES if "-dead" in name}
        others = {name: self.SEND for name in ["parked", "replies-0", "replies-1", "callbacks"]}
        self.assertEqual(self.queues("dead-letters", "DeadLettersRole"), dead | others)

    def test_the_sender_of_callbacks_takes_callbacks_only(self):
        expected = {name: self.SEND for name in ["parked", "replies-0", "replies-1"]}
        expected["callbacks"] = self.TAKE | self.LATER | self.SEND
        self.assertEqual(self.queues("callbacks", "CallbacksRole"), expected)

    def test_a_gateway_reads_no_jobs_and_forges_no_announcements(self):
        send = self.SEND | {"GetQueueAttributes"}
        jobs = {name: send for name in ["probe", "ordered.fifo", "images", "callbacks"]}
        self.assertEqual(self.queues("gateway-lambda", "GatewayRole"), jobs)
        read = {"ReceiveMessage", "DeleteMessage"}
        replies = {"replies-0": read, "replies-1": read}
        self.assertEqual(self.queues("gateway-fargate", "GatewayRole"), jobs | replies)

    def test_a_replay_takes_what_is_parked_and_submits_through_the_gateway(self):
        taken = {"ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility"}
        expected = {"parked": taken, "callbacks": self.SEND}
        self.assertEqual(self.queues("dead-letters", "ReplayPolicy"), expected)
        table = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/queuebridge"
        self.assertFalse(self.may("dead-letters", "ReplayPolicy", "dynamodb:GetItem", table))

    def test_payloads_are_for_workers_and_gateways(self):
        bucket = f"arn:aws:s3:::queuebridge-payloads-{ACCOUNT}-{REGION}"
        ours, others = f"{bucket}/queuebridge/t/1", f"{bucket}/else/t/1"
        everyone = [
            ("workers", "ProbeWorkerRole", {"GetObject", "PutObject"}),
            ("workers-fargate", "ProbeRole", {"GetObject", "PutObject"}),
            ("gateway-fargate", "GatewayRole", {"GetObject", "PutObject", "DeleteObject"}),
            ("gateway-lambda", "GatewayRole", {"GetObject", "PutObject", "DeleteObject"}),
            ("dead-letters", "ReplayPolicy", {"GetObject"}),
            ("dead-letters", "DeadLettersRole", set()),
            ("callbacks", "CallbacksRole", set()),
            ("gateway-fargate", "ExecutionRole", set()),
        ]
        for stack, role, expected in everyone:
            names = ["GetObject", "PutObject", "DeleteObject", "PutObjectAcl", "DeleteObjectVersion"]
            found = {name for name in names if self.may(stack, role, f"s3:{name}", ours)}
            self.assertEqual(found, expected, f"{stack}: {role}")
            for name in [*names, "PutBucketPolicy", "DeleteBucket"]:
                self.assertFalse(self.may(stack, role, f"s3:{name}", others), f"{stack}: {role}")
                self.assertFalse(self.may(stack, role, f"s3:{name}", bucket), f"{stack}: {role}")

    def test_the_table_is_written_item_by_item_and_never_listed(self):
        table = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/queuebridge"
        for name, stack in self.stacks.items():
            for role in stack.roles():
                for action in ["Scan", "Query", "DeleteItem", "DeleteTable", "ExportTableToPointInTime"]:
                    self.assertFalse(self.may(name, role, f"dynamodb:{action}", table), f"{name}: {role}")
                other = table + "-other"
                self.assertFalse(self.may(name, role, "dynamodb:GetItem", other), f"{name}: {role}")

    def test_secrets_are_read_by_what_starts_a_container_alone(self):
        secret = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:job-id-keys-1"
        parameters = {"JobIdKeysSecretArn": secret, "EnvelopeKeysSecretArn": secret + "2"}
        read = "secretsmanager:GetSecretValue"
        for path in templates(INFRA):
            stack = Stack(path, **parameters)
            for role in stack.roles():
                may = allows(stack.statements(role), read, secret)
                # No worker ever sees the keys of job ids.
                self.assertEqual(may, (path.stem, role) == ("gateway-fargate", "ExecutionRole"))

    def test_no_program_uses_another_key_or_changes_permissions(self):
        forbidden = [
            ("kms:Decrypt", KEY + "2"), ("iam:PassRole", "arn:aws:iam::1:role/x"),
            ("sts:AssumeRole", "arn:aws:iam::1:role/x"), ("lambda:InvokeFunction", "arn:aws:lambda:::f"),
            ("lambda:UpdateFunctionCode", "arn:aws:lambda:::f"), ("kms:ScheduleKeyDeletion", KEY),
        ]  # fmt: skip
        for name, stack in self.stacks.items():
            for role in stack.roles():
                for action, resource in forbidden:
                    self.assertFalse(self.may(name, role, action, resource), f"{name}: {role}: {action}")

    def test_a_topic_delivers_to_its_own_branches_only(self):
        policies = self.stacks["queues"].properties("AWS::SQS::QueuePolicy")
        allowing = {
            name: statement
            for name, policy in policies.items()
            for statement in policy["PolicyDocument"]["Statement"]
            if statement["Effect"] == "Allow"
        }
        branches = {f"Pictures{name}Policy" for name in ["Thumbnail", "Describe", "Assess"]}
        self.assertEqual(set(allowing), branches, "nobody else is let in by a queue")
        for name, statement in allowing.items():
            self.assertEqual(statement["Principal"], {"Service": "sns.amazonaws.com"})
            self.assertEqual(statement["Action"], "sqs:SendMessage")
            topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:queuebridge-pictures"
            self.assertEqual(statement["Condition"], {"ArnEquals": {"aws:SourceArn": topic}})

    def test_nothing_is_reached_without_tls(self):
        seen = 0
        for name in ["queues", "stores", "artifacts"]:
            stack = self.stacks[name]
            kinds = {"AWS::SQS::QueuePolicy": "sqs:*", "AWS::S3::BucketPolicy": "s3:*", "AWS::SNS::TopicPolicy": "sns:Publish"}
            for kind, action in kinds.items():
                for policy in stack.properties(kind).values():
                    (deny,) = [one for one in policy["PolicyDocument"]["Statement"] if one["Effect"] == "Deny"]
                    self.assertEqual((deny["Principal"], deny["Action"]), ("*", action))
                    self.assertEqual(deny["Condition"], {"Bool": {"aws:SecureTransport": "false"}})
                    seen += 1
        queues = self.stacks["queues"].properties("AWS::SQS::Queue")
        covered = {
            arn
            for policy in self.stacks["queues"].properties("AWS::SQS::QueuePolicy").values()
            for statement in policy["PolicyDocument"]["Statement"]
            if statement["Effect"] == "Deny"
            for arn in listed(statement["Resource"])
        }
        self.assertEqual(covered, {queue(one["QueueName"]) for one in queues.values()})
        self.assertGreater(seen, 10)


class Queues(unittest.TestCase):
    def both(self):
        for folder in [INFRA, OTHER]:
            yield Stack(folder / "queues.yaml"), stacks(folder)

    def test_a_message_stays_invisible_for_six_invocations_and_the_window(self):
        seen = set()
        for stack, all_of_them in self.both():
            visibility = {
                queue(one["QueueName"]): one["VisibilityTimeout"]
                for one in stack.properties("AWS::SQS::Queue").values()
            }
            for name in ["workers", "dead-letters", "callbacks"]:
                functions = all_of_them[name].properties("AWS::Lambda::Function")
                for source in all_of_them[name].properties("AWS::Lambda::EventSourceMapping").values():
                    timeout = functions[source["FunctionName"]]["Timeout"]
                    window = source.get("MaximumBatchingWindowInSeconds", 0)
                    self.assertGreaterEqual(visibility[source["EventSourceArn"]], 6 * timeout + window)
                    seen.add((timeout, window))
        # Also where the configuration is not the usual one.
        self.assertLessEqual({(60, 0), (300, 5), (30, 5)}, seen)

    def test_a_message_survives_its_move_to_the_dead_letters(self):
        for stack, _ in self.both():
            queues = stack.properties("AWS::SQS::Queue")
            by_arn = {queue(one["QueueName"]): one for one in queues.values()}
            sources = [one for one in queues.values() if "RedrivePolicy" in one]
            self.assertGreater(len(sources), 1)
            for source in sources:
                dead = by_arn[source["RedrivePolicy"]["deadLetterTargetArn"]]
                self.assertGreater(dead["MessageRetentionPeriod"], source["MessageRetentionPeriod"])
                self.assertGreaterEqual(source["RedrivePolicy"]["maxReceiveCount"], 100)
                self.assertEqual(dead.get("FifoQueue"), source.get("FifoQueue"))
                self.assertEqual(source["QueueName"].endswith(".fifo"), source.get("FifoQueue", False))

    def test_one_failed_message_does_not_bring_its_batch_back(self):
        for _, all_of_them in self.both():
            for stack in all_of_them.values():
                for source in stack.properties("AWS::Lambda::EventSourceMapping").values():
                    self.assertEqual(source["FunctionResponseTypes"], ["ReportBatchItemFailures"])
                    if source["EventSourceArn"].endswith(".fifo"):
                        self.assertLessEqual(source["BatchSize"], 10)
                        self.assertNotIn("MaximumBatchingWindowInSeconds", source)
                        self.assertNotIn("ProvisionedPollerConfig", source)

    def test_pollers_replace_the_limit_where_they_are_provisioned(self):
        for number, expected in [(0, "ScalingConfig"), (4, "ProvisionedPollerConfig")]:
            stack = Stack(INFRA / "workers.yaml", ProvisionedPollers=number)
            source = stack.properties("AWS::Lambda::EventSourceMapping")["ProbeWorkerSource"]
            found = {"ScalingConfig", "ProvisionedPollerConfig"} & set(source)
            self.assertEqual(found, {expected})

    def test_what_sends_to_its_own_source_is_no_loop(self):
        seen = set()
        for _, all_of_them in self.both():
            for name in ["workers", "dead-letters", "callbacks"]:
                stack = all_of_them[name]
                functions = stack.properties("AWS::Lambda::Function")
                for source in stack.properties("AWS::Lambda::EventSourceMapping").values():
                    function = source["FunctionName"]
                    policy = stack.statements(f"{function}Role")
                    sends = allows(policy, "sqs:SendMessage", source["EventSourceArn"])
                    loop = functions[function].get("RecursiveLoop")
                    self.assertEqual(loop, "Allow" if sends else None, function)
                    seen.add((name, sends))
        self.assertEqual(seen, {("workers", True), ("dead-letters", False), ("callbacks", True)})

    def test_a_gateway_reserves_nothing_of_the_account_by_itself(self):
        for maximum, expected in [({}, None), ({"MaximumConcurrency": 20}, 20)]:
            stack = Stack(INFRA / "gateway-lambda.yaml", **maximum)
            function = stack.properties("AWS::Lambda::Function")["Gateway"]
            self.assertEqual(function.get("ReservedConcurrentExecutions"), expected)

    def test_every_queue_of_jobs_has_one_worker_of_each_kind(self):
        for stack, all_of_them in self.both():
            jobs = {
                queue(one["QueueName"])
                for one in stack.properties("AWS::SQS::Queue").values()
                if "RedrivePolicy" in one
            }
            mapped = all_of_them["workers"].properties("AWS::Lambda::EventSourceMapping").values()
            self.assertEqual({one["EventSourceArn"] for one in mapped}, jobs)
            tasks = all_of_them["workers-fargate"].properties("AWS::ECS::TaskDefinition").values()
            polled = {environment(one)["QB_QUEUE_URL"].rsplit("/", 1)[1] for one in tasks}
            self.assertEqual({queue(name) for name in polled}, jobs)


def environment(task):
    (container,) = task["ContainerDefinitions"]
    return {one["Name"]: one["Value"] for one in container["Environment"]}


class Stores(unittest.TestCase):
    def test_the_table_is_the_one_that_the_code_makes(self):
        table = Stack(INFRA / "stores.yaml").properties("AWS::DynamoDB::Table")["Table"]
        store = ROOT / "proto/store/src/dynamodb"
        key = re.search(r'PK: &str = "(\w+)"', (store / "item.rs").read_text())[1]
        ttl = re.search(r'attribute_name\("(\w+)"\)', (store / "table.rs").read_text())[1]
        self.assertEqual(table["KeySchema"], [{"AttributeName": key, "KeyType": "HASH"}])
        self.assertEqual(table["TimeToLiveSpecification"]["AttributeName"], ttl)

    def test_a_payload_outlives_every_copy_of_its_message(self):
        for folder in [INFRA, OTHER]:
            queues = Stack(folder / "queues.yaml").properties("AWS::SQS::Queue").values()
            times = [one["MessageRetentionPeriod"] for one in queues if "RedrivePolicy" in one]
            bucket = Stack(folder / "stores.yaml").properties("AWS::S3::Bucket")["Payloads"]
            days = bucket["LifecycleConfiguration"]["Rules"][0]["ExpirationInDays"]
            self.assertGreater(days * DAY, max(times) + 28 * DAY)
        # What the stores take for the longest life of a copy, in days.
        constant = r"COPIES_SURVIVE: Duration = Duration::from_secs\((\d+) \* 24 \* 60 \* 60\)"
        default = re.search(constant, sources("worker/src"))
        self.assertGreaterEqual(int(default[1]), 13 + 28)

    def test_what_was_promised_survives_the_stack(self):
        for name, kinds in [("stores", {"AWS::DynamoDB::Table", "AWS::S3::Bucket"}), ("keys", {"AWS::KMS::Key"})]:
            resources = Stack(INFRA / f"{name}.yaml").resources.values()
            kept = {one["Type"] for one in resources if one.get("DeletionPolicy") == "Retain"}
            self.assertEqual(kept, kinds)


class Programs(unittest.TestCase):
    def environments(self):
        """Every worker's variables, by where it runs."""
        for folder in [INFRA, OTHER]:
            for name in ["workers", "dead-letters", "callbacks"]:
                for id, one in Stack(folder / f"{name}.yaml").properties("AWS::Lambda::Function").items():
                    yield f"{name}: {id}", one["Environment"]["Variables"], {"QB_ENVELOPE_KEYS"}
            tasks = Stack(folder / "workers-fargate.yaml").properties("AWS::ECS::TaskDefinition")
            for id, task in tasks.items():
                secrets = {one["Name"] for one in task["ContainerDefinitions"][0]["Secrets"]}
                yield f"workers-fargate: {id}", environment(task), secrets

    def test_workers_read_every_variable_that_is_set_and_have_what_they_need(self):
        known = set(re.findall(r'"(QB_\w+)"', sources("worker/src")))
        roles = set()
        for where, variables, secrets in self.environments():
            ours = {name for name in variables if name.startswith("QB_")}
            self.assertLessEqual(ours, known, where)
            needed = {"QB_STORE_TABLE", "QB_PARKING_QUEUE_URL", "QB_CALLBACK_QUEUE_URL"}
            self.assertLessEqual(needed, ours, where)
            self.assertEqual(secrets, {"QB_ENVELOPE_KEYS"}, where)
            roles.add(variables["QB_WORKER_ROLE"])
            # What Lambda takes in all.
            self.assertLess(sum(len(name) + len(str(text)) for name, text in variables.items()), 4096)
        self.assertEqual(roles, {"jobs", "dead-letters", "callbacks"})

    def test_workers_of_a_topic_know_their_branch(self):
        workers = Stack(INFRA / "workers.yaml").properties("AWS::Lambda::Function")
        subscriptions = Stack(INFRA / "queues.yaml").properties("AWS::SNS::Subscription")
        self.assertEqual(len(subscriptions), 3)
        dead = Stack(INFRA / "dead-letters.yaml").properties("AWS::Lambda::Function")["DeadLetters"]
        dead = dict(pair.split("=") for pair in dead["Environment"]["Variables"]["QB_BRANCH"].split(","))
        for name, one in subscriptions.items():
            (branch,) = one["FilterPolicy"]["qb-branches"]
            self.assertTrue(one["RawMessageDelivery"])
            worker = workers[name.replace("Subscription", "Worker")]
            self.assertEqual(worker["Environment"]["Variables"]["QB_BRANCH"], branch)
            self.assertEqual(dead[one["RedrivePolicy"]["deadLetterTargetArn"].rsplit(":", 1)[1]], branch)
        self.assertNotIn("QB_BRANCH", workers["ProbeWorker"]["Environment"]["Variables"])

    def test_no_secret_is_in_a_template(self):
        for path in [*templates(INFRA), *templates(OTHER)]:
            for line in path.read_text().splitlines():
                for name in [
                    "QB_ENVELOPE_KEYS", "QB_JOB_ID_KEYS",
                    "QB_CALLBACK_SIGNING_KEYS", "QB_CALLBACK_TENANT_SIGNING_KEYS",
                ]:
                    if f"{name}:" in line:
                        self.assertIn("{{resolve:secretsmanager:", line, path)
                    if f"Name: {name}" in line:
                        self.assertIn("ValueFrom: !Ref", line, path)

    def test_containers_can_do_little_to_their_host(self):
        for name in ["gateway-fargate", "workers-fargate"]:
            for task in Stack(INFRA / f"{name}.yaml").properties("AWS::ECS::TaskDefinition").values():
                (container,) = task["ContainerDefinitions"]
                self.assertTrue(container["ReadonlyRootFilesystem"])
                self.assertNotIn(container["User"].split(":")[0], ["0", "root"])
                self.assertEqual(container["LinuxParameters"]["Capabilities"]["Drop"], ["ALL"])
                self.assertRegex(container["Image"], "@<ImageDigest>$", "never a tag that moves")

    def test_a_container_is_stopped_after_the_longest_wait(self):
        stack = Stack(INFRA / "gateway-fargate.yaml")
        wait = re.search(r"MAX_WAIT: Duration = Duration::from_secs\((\d+)\)", sources("gateway/src"))
        balancer = stack.properties("AWS::ElasticLoadBalancingV2::LoadBalancer")["LoadBalancer"]
        idle = {one["Key"]: one["Value"] for one in balancer["LoadBalancerAttributes"]}
        # Also longer than a watch may be silent: the most that a load balancer takes.
        self.assertEqual(idle["idle_timeout.timeout_seconds"], "4000")
        groups = stack.properties("AWS::ElasticLoadBalancingV2::TargetGroup")
        self.assertEqual({one["ProtocolVersion"] for one in groups.values()}, {"GRPC", "HTTP1"})
        for group in groups.values():
            delay = {one["Key"]: one["Value"] for one in group["TargetGroupAttributes"]}
            self.assertGreater(int(delay["deregistration_delay.timeout_seconds"]), int(wait[1]))
        task = stack.properties("AWS::ECS::TaskDefinition")["Task"]
        drain = re.search(r'drain_timeout = "(\d+)s"', environment(task)["QB_CONFIG_TEXT"])
        self.assertGreater(task["ContainerDefinitions"][0]["StopTimeout"], int(drain[1]))

    def test_no_connection_of_http_1_is_used_after_the_gateway_has_closed_it(self):
        stack = Stack(INFRA / "gateway-fargate.yaml")
        task = stack.properties("AWS::ECS::TaskDefinition")["Task"]
        self.assertEqual(environment(task)["QB_LIMITS_HTTP1_KEEP_ALIVE"], "false")

    def test_a_deployment_does_not_undo_the_scaling(self):
        for name in ["gateway-fargate", "workers-fargate"]:
            stack = Stack(INFRA / f"{name}.yaml", MinimumContainers=3)
            services = stack.properties("AWS::ECS::Service").values()
            targets = stack.properties("AWS::ApplicationAutoScaling::ScalableTarget").values()
            self.assertEqual(len(services), len(targets))
            for service in services:
                self.assertNotIn("DesiredCount", service)
            for target in targets:
                self.assertEqual(target["MinCapacity"], 3)

    def test_containers_get_the_configuration_as_it_is(self):
        task = Stack(INFRA / "gateway-fargate.yaml").properties("AWS::ECS::TaskDefinition")["Task"]
        self.assertEqual(environment(task)["QB_CONFIG_TEXT"], (INFRA / "gateway.toml").read_text())

    def test_a_gateway_that_asks_nobody_stays_off_the_internet(self):
        rules = lambda folder, name: str(Stack(folder / f"{name}.yaml").template.get("Rules", {}))
        for name in ["gateway-fargate", "gateway-lambda"]:
            self.assertIn("must not be internet-facing", rules(INFRA, name))
            self.assertNotIn("must not be internet-facing", rules(OTHER, name))

    def test_what_piles_up_raises_an_alarm(self):
        for folder in [INFRA, OTHER]:
            alarms = Stack(folder / "observability.yaml").properties("AWS::CloudWatch::Alarm").values()
            watched = {
                (one["MetricName"], one["Dimensions"][0]["Value"])
                for alarm in alarms
                for one in [alarm, *(m["MetricStat"]["Metric"] for m in alarm.get("Metrics", []) if "MetricStat" in m)]
                if "MetricName" in one
            }
            queues = Stack(folder / "queues.yaml").properties("AWS::SQS::Queue").values()
            for one in queues:
                name = one["QueueName"]
                if "RedrivePolicy" in one or name.endswith("callbacks"):
                    self.assertIn(("ApproximateAgeOfOldestMessage", name), watched)
                elif "dead" in name or name.endswith("-parked"):
                    self.assertIn(("ApproximateNumberOfMessagesVisible", name), watched)
                if "dead" in name:
                    # Their worker leaves them in the queue for seconds.
                    self.assertIn(("NumberOfMessagesReceived", name), watched)
            for name in ["workers", "dead-letters", "callbacks"]:
                for one in Stack(folder / f"{name}.yaml").properties("AWS::Lambda::Function").values():
                    for metric in ["Errors", "Throttles"]:
                        self.assertIn((metric, one["FunctionName"]), watched)
            for one in alarms:
                self.assertTrue(one["AlarmActions"])

    def test_what_exists_once_per_account_has_the_region_in_its_name(self):
        for folder in [INFRA, OTHER]:
            stack = Stack(folder / "observability.yaml")
            dashboard = stack.properties("AWS::CloudWatch::Dashboard")["Dashboard"]
            budget = stack.properties("AWS::Budgets::Budget")["Budget"]["Budget"]
            for name in [dashboard["DashboardName"], budget["BudgetName"]]:
                self.assertTrue(name.endswith(f"-{REGION}"), name)
        bucket = Stack(INFRA / "stores.yaml").properties("AWS::S3::Bucket")["Payloads"]
        self.assertTrue(bucket["BucketName"].endswith(f"-{ACCOUNT}-{REGION}"))

    def test_the_dashboard_is_a_document(self):
        cases = [(INFRA, {}, "none"), (OTHER, {"LoadBalancer": "app/shop/1"}, "app/shop/1")]
        for folder, parameters, balancer in cases:
            stack = Stack(folder / "observability.yaml", **parameters)
            body = stack.properties("AWS::CloudWatch::Dashboard")["Dashboard"]["DashboardBody"]
            widgets = json.loads(body)["widgets"]
            self.assertGreater(len(widgets), 8)
            for widget in widgets:
                self.assertEqual(widget["properties"]["region"], REGION)
                for _, metric, dimension, value in widget["properties"]["metrics"]:
                    self.assertTrue(value, metric)
                    if dimension == "LoadBalancer":
                        self.assertEqual(value, balancer)


if __name__ == "__main__":
    unittest.main()
