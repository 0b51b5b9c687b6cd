"""The templates of infra/, created by an emulator of CloudFormation, and jobs through what
they have made: a gateway with the very configuration that the templates were made from, and
worker functions as the templates have them."""

import json
import os
import pathlib
import tempfile
import unittest

import stubs
import boto3
import botocore.config
import functions
import grpc
import routed
from google.protobuf import duration_pb2
from queuebridge.demo.v1 import images_pb2, probe_pb2
from queuebridge.v1 import job_pb2, jobs_pb2, jobs_pb2_grpc

from bridge import ENDPOINT, FIXTURES, IMAGES, PROBE, key
from processes import Gateway, until

INFRA = stubs.ROOT / "infra"
REGION = "eu-central-1"


class Account:
    """An account of the emulator, which takes an account's number for a key's id."""

    def __init__(self, number):
        self.number = number
        self.environment = {
            "AWS_ENDPOINT_URL": ENDPOINT,
            "AWS_ACCESS_KEY_ID": number,
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
        }
        self.formation = self.client("cloudformation")
        self.outputs = {}

    def client(self, service):
        return boto3.client(
            service,
            endpoint_url=ENDPOINT,
            region_name=REGION,
            aws_access_key_id=self.number,
            aws_secret_access_key="test",
            config=botocore.config.Config(s3={"addressing_style": "path"}),
        )

    def ended(self, stack):
        (found,) = self.formation.describe_stacks(StackName=stack)["Stacks"]
        return None if found["StackStatus"].endswith("IN_PROGRESS") else found

    def create(self, name, **parameters):
        """Creates a stack, and waits for it."""
        stack = f"queuebridge-{name}"
        made = self.formation.create_stack(
            StackName=stack,
            TemplateBody=(INFRA / f"{name}.yaml").read_text(),
            Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        found = until(lambda: self.ended(made["StackId"]), stack)
        if found["StackStatus"] != "CREATE_COMPLETE":
            events = self.formation.describe_stack_events(StackName=stack)["StackEvents"]
            reasons = [one.get("ResourceStatusReason") for one in events]
            raise AssertionError(f"{stack}: {found['StackStatus']}: {reasons}")
        outputs = {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", [])}
        self.outputs |= outputs
        return made["StackId"]

    def delete(self, stack):
        self.formation.delete_stack(StackName=stack)
        return until(lambda: self.ended(stack), stack)["StackStatus"]


class Deployed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="qb-"))
        # The one of infra/gateway.toml.
        account = cls.account = Account("111122223333")
        account.create("keys")
        account.create("artifacts")
        own = {"KeyArn": account.outputs["KeyArn"]}
        account.create("stores", **own)
        account.create("queues", **own)
        secrets = account.client("secretsmanager")
        cls.keys = {name: f"1:{key()}" for name in ["envelope-keys", "job-id-keys"]}
        arns = {
            name: secrets.create_secret(Name=f"queuebridge/{name}", SecretString=text)["ARN"]
            for name, text in cls.keys.items()
        }
        bucket = account.outputs["CodeBucket"]
        account.client("s3").put_object(Bucket=bucket, Key="worker-1.zip", Body=functions.code())
        parameters = {
            **own,
            "CodeBucket": bucket,
            "Architecture": "x86_64",
            "EnvelopeKeysSecretArn": arns["envelope-keys"],
        }
        for name in ["workers", "dead-letters", "callbacks"]:
            account.create(name, WorkerCode="worker-1.zip", **parameters)
        cls.functions = account.client("lambda")
        for function in cls.functions.list_functions()["Functions"]:
            # Here the names of AWS do not lead to the emulator.
            variables = function["Environment"]["Variables"]
            variables |= {"AWS_ENDPOINT_URL": ENDPOINT, "QB_DEMO_APPEND_DIR": str(cls.dir)}
            cls.functions.update_function_configuration(
                FunctionName=function["FunctionName"], Environment={"Variables": variables}
            )
        for mapping in cls.functions.list_event_source_mappings()["EventSourceMappings"]:
            # The emulator takes the number in a parameter for text.
            cls.functions.update_event_source_mapping(
                UUID=mapping["UUID"], ScalingConfig={"MaximumConcurrency": 2}
            )
        # As in gateway-fargate.yaml, but for the address.
        environment = {
            **account.environment,
            "QB_CONFIG_TEXT": (INFRA / "gateway.toml").read_text(),
            "QB_ENVELOPE_KEYS": cls.keys["envelope-keys"],
            "QB_JOB_ID_KEYS": cls.keys["job-id-keys"],
        }
        cls.gateway = Gateway(environment, cls.dir / "gateway.log")
        cls.addClassCleanup(cls.gateway.kill)
        channel = grpc.insecure_channel(cls.gateway.address)
        cls.addClassCleanup(channel.close)
        cls.jobs = jobs_pb2_grpc.JobsStub(channel)
        cls.sqs = account.client("sqs")

    def url(self, name):
        return self.sqs.get_queue_url(QueueName=f"queuebridge-{name}")["QueueUrl"]

    def finished(self, method, request, **fields):
        job = self.jobs.Submit(
            jobs_pb2.SubmitRequest(method=method, request=request.SerializeToString(), **fields)
        )
        wait = duration_pb2.Duration(seconds=20)

        def ended():
            found = self.jobs.GetResult(jobs_pb2.GetResultRequest(id=job.id, wait=wait))
            return found if found.state > job_pb2.STATE_RUNNING else None

        done = until(ended, f"the end of {job.id}")
        self.assertEqual(done.state, job_pb2.STATE_SUCCEEDED, done)
        return done

    def test_a_job_comes_back_from_the_function_behind_its_queue(self):
        job = self.finished(PROBE + "Echo", probe_pb2.EchoRequest(payload=b"hello"))
        answer = probe_pb2.EchoResponse.FromString(job.response.message)
        self.assertEqual(answer.payload, b"hello")

    def test_a_request_that_no_message_can_carry_goes_through_the_bucket(self):
        payload = os.urandom(1_200_000)
        job = self.finished(PROBE + "Echo", probe_pb2.EchoRequest(payload=payload))
        answer = probe_pb2.EchoResponse.FromString(job.response.message)
        self.assertEqual(answer.payload, payload)

    def test_an_ordered_queue_keeps_the_order(self):
        for line in "012":
            request = probe_pb2.AppendRequest(file="ordered", line=line)
            self.finished(PROBE + "Append", request, ordering_key="k")
        self.assertEqual((self.dir / "ordered").read_text().split(), list("012"))

    def test_a_topic_brings_one_call_to_all_its_branches(self):
        picture = images_pb2.AnalyzeRequest(image=(FIXTURES / "shapes.png").read_bytes())
        job = self.finished(IMAGES + "Analyze", picture)
        self.assertEqual(job.gather.succeeded, 3)

    def test_each_routed_method_answers_its_own_stub(self):
        routed.check_each(self, self.gateway.address)

    def test_a_dead_letter_is_parked(self):
        self.sqs.send_message(QueueUrl=self.url("probe-dead"), MessageBody="nonsense")
        parked = self.url("parked")

        def received():
            answer = self.sqs.receive_message(
                QueueUrl=parked, WaitTimeSeconds=5, MessageAttributeNames=["All"]
            )
            return answer.get("Messages")

        (message,) = until(received, "a parked message")
        self.assertEqual(message["Body"], "nonsense")
        self.assertIn("qb-parked", message["MessageAttributes"])

    def test_queues_are_what_the_template_says(self):
        read = self.sqs.get_queue_attributes
        answer = read(QueueUrl=self.url("probe"), AttributeNames=["All"])["Attributes"]
        self.assertEqual(answer["VisibilityTimeout"], "360")
        self.assertEqual(answer["KmsMasterKeyId"], self.account.outputs["KeyArn"])
        redrive = json.loads(answer["RedrivePolicy"])
        self.assertTrue(redrive["deadLetterTargetArn"].endswith(":queuebridge-probe-dead"))
        ordered = read(QueueUrl=self.url("ordered.fifo"), AttributeNames=["All"])["Attributes"]
        self.assertEqual(ordered["FifoThroughputLimit"], "perMessageGroupId")

    def test_functions_have_their_secret_and_their_source(self):
        for name in ["probe", "dead-letters", "callbacks"]:
            function = self.functions.get_function_configuration(
                FunctionName=f"queuebridge-{name}-worker"
            )
            variables = function["Environment"]["Variables"]
            self.assertEqual(variables["QB_ENVELOPE_KEYS"], self.keys["envelope-keys"])
            mappings = self.functions.list_event_source_mappings(
                FunctionName=function["FunctionName"]
            )["EventSourceMappings"]
            self.assertGreaterEqual(len(mappings), 1)
            for mapping in mappings:
                self.assertEqual(mapping["FunctionResponseTypes"], ["ReportBatchItemFailures"])


class Removed(unittest.TestCase):
    def test_the_stacks_go_and_what_was_promised_stays(self):
        account = Account("222233334444")
        stacks = [account.create("stores"), account.create("queues")]
        for stack in reversed(stacks):
            self.assertEqual(account.delete(stack), "DELETE_COMPLETE")
        self.assertEqual(account.client("sqs").list_queues().get("QueueUrls", []), [])
        self.assertEqual(account.client("sns").list_topics()["Topics"], [])
        tables = account.client("dynamodb").list_tables()["TableNames"]
        self.assertEqual(tables, ["queuebridge"])
        account.client("s3").head_bucket(Bucket=f"queuebridge-payloads-222233334444-{REGION}")


if __name__ == "__main__":
    unittest.main()
