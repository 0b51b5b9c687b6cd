"""A bridge with a sender of callbacks, and what its receivers get."""

import base64
import json
import os

import nacl.signing
import standardwebhooks
from bridge import Bridge, client
from processes import until
from queuebridge.v1 import callback_pb2
from receivers import Webhook


class Telling(Bridge):
    """A gateway, a worker and a sender; receivers of the tests stand on this machine."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        name = cls.queue.rsplit("/", 1)[1]
        create = lambda suffix: cls.sqs.create_queue(QueueName=f"{name}-{suffix}")["QueueUrl"]
        cls.callback_queue, cls.told, cls.parked = map(create, ["callbacks", "told", "parked"])
        sns = client("sns")
        cls.topic = sns.create_topic(Name=name)["TopicArn"]
        arn = cls.sqs.get_queue_attributes(QueueUrl=cls.told, AttributeNames=["QueueArn"])
        sns.subscribe(
            TopicArn=cls.topic,
            Protocol="sqs",
            Endpoint=arn["Attributes"]["QueueArn"],
            Attributes={"RawMessageDelivery": "true"},
        )
        cls.secret = os.urandom(32)
        cls.seed = nacl.signing.SigningKey(os.urandom(32))
        cls.worker.stop()
        cls.gateway.stop()
        cls.gateway_environment |= {
            "QB_CALLBACKS_QUEUE": cls.callback_queue,
            "QB_CALLBACKS_ALLOW_HTTP": "true",
            "QB_CALLBACKS_TARGETS": f"{cls.told},{cls.topic}",
        }
        cls.worker_environment |= {
            "QB_CALLBACK_QUEUE_URL": cls.callback_queue,
            "QB_PARKING_QUEUE_URL": cls.parked,
        }
        keys = [f"whsec_{base64.b64encode(cls.secret).decode()}"]
        keys += [f"whsk_{base64.b64encode(bytes(cls.seed)).decode()}"]
        cls.sender_environment = {
            "QB_QUEUE_URL": cls.callback_queue,
            "QB_WORKER_ROLE": "callbacks",
            "QB_CALLBACK_SIGNING_KEYS": ",".join(keys),
            "QB_CALLBACK_ALLOW_NETWORKS": "127.0.0.0/8",
            "QB_CALLBACK_RESULT_URL": "https://results.example.com/",
        }
        cls.gateway, cls.worker = cls.new_gateway(), cls.new_worker()
        cls.sender = cls.new_worker(**cls.sender_environment)
        cls.jobs = cls.connect(cls.gateway)

    def setUp(self):
        self.hook = Webhook()
        self.addCleanup(self.hook.close)

    def webhook(self, url=None):
        return callback_pb2.Callback(webhook_url=url or self.hook.url)

    def called(self, id, times=1, hook=None):
        """What came for a job, once it has come so often."""
        hook = hook or self.hook
        return until(lambda: len(hook.of(id)) >= times and hook.of(id), "the callback")

    def verified(self, received):
        _, headers, body, _ = received
        standardwebhooks.Webhook(base64.b64encode(self.secret).decode()).verify(body, headers)
        signatures = dict(s.split(",", 1) for s in headers["webhook-signature"].split())
        content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        self.seed.verify_key.verify(content, base64.b64decode(signatures["v1a"]))
        return json.loads(body)

    def in_parking(self, id):
        """The message of a job in the parking queue."""
        received = self.sqs.receive_message(
            QueueUrl=self.parked,
            MaxNumberOfMessages=10,
            VisibilityTimeout=1,
            MessageAttributeNames=["All"],
        )
        for message in received.get("Messages", []):
            attributes = {k: v["StringValue"] for k, v in message["MessageAttributes"].items()}
            if attributes["qb-job"] == id:
                return attributes["qb-parked"]
        return None

    def told_of(self, id, queue=None):
        """The message of a job in a queue that is told."""
        received = self.sqs.receive_message(
            QueueUrl=queue or self.told,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            VisibilityTimeout=1,
        )
        for message in received.get("Messages", []):
            if message["MessageAttributes"]["qb-job"]["StringValue"] == id:
                return message
        return None
