"""Callbacks through real processes, checked by the reference library of the
specification."""

import base64
import json
import os
import subprocess
import threading

import nacl.signing
import standardwebhooks
from bridge import Bridge, client, seconds
from processes import BINARIES, until
from queuebridge.demo.v1 import probe_pb2
from queuebridge.v1 import callback_pb2, job_pb2, jobs_pb2
from receivers import Notified, Webhook


class Callbacks(Bridge):
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

    def called(self, id, times=1):
        """What came for a job, once it has come so often."""
        return until(lambda: len(self.hook.of(id)) >= times and self.hook.of(id), "the callback")

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

    # How jobs end

    def test_every_end_is_told_and_signed(self):
        echo = probe_pb2.EchoRequest(payload=b"hello")
        fail = probe_pb2.FailRequest(code=5, message="not here")
        sleep = probe_pb2.SleepRequest(duration=seconds(60))
        self.worker.stop()
        cancelled = self.submit("Echo", echo, callback=self.webhook())
        self.jobs.Cancel(jobs_pb2.CancelRequest(id=cancelled.id))
        type(self).worker = self.new_worker()
        jobs = {
            "succeeded": self.submit("Echo", echo, callback=self.webhook()),
            "failed": self.submit("Fail", fail, callback=self.webhook()),
            "expired": self.submit("Sleep", sleep, callback=self.webhook(), expire_after=seconds(2)),
            "cancelled": cancelled,
        }
        for state, job in jobs.items():
            event = self.verified(self.called(job.id)[0])
            data = event["data"]
            self.assertEqual(event["type"], f"job.{state}")
            self.assertEqual((data["id"], data["name"]), (job.id, f"operations/{job.id}"))
            self.assertEqual((data["method"], data["state"]), (job.method, state.upper()))
            stored = self.finished(job.id)
            self.assertEqual(data["complete_time"], stored.complete_time.ToJsonString())
            if state == "succeeded":
                response = base64.b64decode(data["response"]["message"])
                self.assertEqual(response, stored.response.message)
                self.assertEqual(data["response"]["type"], "queuebridge.demo.v1.EchoResponse")
            else:
                self.assertEqual(data["error"]["number"], stored.error.code)
        self.assertEqual(json.loads(self.hook.of(jobs["failed"].id)[0][2])["data"]["error"]["code"], "NOT_FOUND")

    def test_a_large_answer_is_told_by_its_size_and_place(self):
        request = probe_pb2.EchoRequest(payload=os.urandom(100), response_bytes=1_000_000)
        job = self.submit("Echo", request, callback=self.webhook())
        received = self.called(job.id)[0]
        self.assertLess(len(received[2]), 20_000)
        response = self.verified(received)["data"]["response"]
        self.assertGreater(response["size"], 1_000_000)
        self.assertEqual(response["url"], f"https://results.example.com/{job.id}")
        self.assertNotIn("message", response)

    def test_without_workers_the_timer_tells_that_it_has_expired(self):
        queue = self.sqs.create_queue(QueueName=f"{self.common['QB_STORE_TABLE']}-unread")["QueueUrl"]
        gateway = self.new_gateway(QB_ROUTES=f'[{{ methods = "*", queue = "{queue}" }}]')
        jobs = self.connect(gateway)
        job = self.submit("Echo", jobs=jobs, callback=self.webhook(), expire_after=seconds(2))
        self.assertEqual(self.verified(self.called(job.id)[0])["type"], "job.expired")
        self.assertEqual(self.get(job.id).state, job_pb2.STATE_EXPIRED)

    # Receivers that misbehave

    def test_what_fails_is_tried_again_with_the_same_id_and_runs_once(self):
        for first in [500, 302, 404]:
            self.hook.answers = [first]
            file = f"again-{first}"
            job = self.submit("Append", self.append(file), callback=self.webhook())
            received = self.called(job.id, 2)
            self.assertEqual(len({r[1]["webhook-id"] for r in received}), 1)
            for each in received:
                self.verified(each)
            self.assertNotEqual(received[0][1]["webhook-timestamp"], received[1][1]["webhook-timestamp"])
            self.assertEqual(self.executions(file), 1)

    def test_a_redirect_is_not_followed(self):
        self.hook.answers = [(302, {"location": self.hook.url + "/elsewhere"}, 0, None)]
        job = self.submit("Echo", callback=self.webhook())
        self.called(job.id, 2)
        self.assertEqual({path for path, *_ in self.hook.received}, {"/hook"})

    def test_a_receiver_may_ask_for_time(self):
        self.hook.answers = [(429, {"retry-after": "9"}, 0, None)]
        job = self.submit("Echo", callback=self.webhook())
        first, second = self.called(job.id, 2)[:2]
        self.assertGreaterEqual(second[3] - first[3], 8)

    def test_a_huge_and_a_slow_answer_hold_nobody(self):
        release = threading.Event()
        self.addCleanup(release.set)
        self.hook.answers = [(200, {}, 50_000_000, None), (200, {}, 0, release)]
        one = self.submit("Echo", callback=self.webhook())
        self.called(one.id)
        # While the first of them is slow, the other one passes.
        two, three = [self.submit("Echo", callback=self.webhook()) for _ in range(2)]
        self.called(two.id)
        self.called(three.id)
        release.set()
        for job in [one, two, three]:
            said = until(lambda: self.sender.logged("called back", job=job.id), "the end of the call")
            self.assertEqual(said["tries"], 1)
        self.assertEqual([len(self.hook.of(job.id)) for job in [one, two, three]], [1, 1, 1])

    def test_gone_means_never_again(self):
        self.hook.answers = [410]
        job = self.submit("Echo", callback=self.webhook())
        self.called(job.id)
        reason = until(lambda: self.in_parking(job.id), "the parked callback")
        self.assertEqual(reason, "CALLBACK_GONE")
        other = self.submit("Echo", callback=self.webhook())
        until(lambda: self.in_parking(other.id), "the next one")
        self.assertEqual(len(self.hook.received), 1)

    def test_a_parked_callback_is_replayed(self):
        self.hook.answers = [410]
        job = self.submit("Echo", callback=self.webhook())
        self.called(job.id)
        until(lambda: self.in_parking(job.id), "the parked callback")
        # Another receiver would be left in peace; this sender has forgotten.
        self.sender.kill()
        type(self).sender = self.new_worker(**self.sender_environment)
        command = ["replay", "--parking-queue", self.parked, "--job", job.id]
        command += ["--gateway", f"http://{self.gateway.address}"]
        replay = lambda *more: subprocess.run(
            [BINARIES / "queuebridge", *command, *more],
            env={**self.common, "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
        )
        # Until the look into the parking queue is over, the message is hidden.

        def refused():
            found = replay()
            return found if "--callback-queue" in found.stdout else None

        without = until(refused, "the refusal")
        self.assertEqual(without.returncode, 1, without)
        done = replay("--callback-queue", self.callback_queue)
        self.assertEqual(done.returncode, 0, done)
        self.called(job.id, 2)
        self.assertIsNone(self.in_parking(job.id))

    def test_what_must_not_be_called_is_not_called(self):
        hidden = self.hook.url.replace("127.0.0.1", "[::1]")
        for url in [hidden, "http://169.254.169.254/latest/meta-data", "http://10.0.0.1/"]:
            job = self.submit("Echo", callback=self.webhook(url))
            reason = until(lambda: self.in_parking(job.id), "the parked callback")
            self.assertEqual(reason, "CALLBACK_REFUSED", url)
        self.assertEqual(self.hook.received, [])

    # Other targets

    def told_of(self, id):
        received = self.sqs.receive_message(
            QueueUrl=self.told, MaxNumberOfMessages=10, MessageAttributeNames=["All"], VisibilityTimeout=1
        )
        for message in received.get("Messages", []):
            if message["MessageAttributes"]["qb-job"]["StringValue"] == id:
                return message
        return None

    def test_queues_and_topics_are_told(self):
        for target in [{"queue_url": self.told}, {"topic_arn": self.topic}]:
            job = self.submit("Echo", callback=callback_pb2.Callback(**target))
            message = until(lambda: self.told_of(job.id), "the message")
            self.assertEqual(json.loads(message["Body"])["type"], "job.succeeded")
            self.assertEqual(message["MessageAttributes"]["qb-state"]["StringValue"], "SUCCEEDED")

    def test_a_grpc_receiver_is_told_and_told_again(self):
        receiver = Notified()
        self.addCleanup(receiver.close)
        receiver.refusals = 1
        callback = callback_pb2.Callback(grpc_url=receiver.url)
        job = self.submit("Echo", probe_pb2.EchoRequest(payload=b"x"), callback=callback)
        until(lambda: len(receiver.received) == 2, "the second try")
        request, metadata = receiver.received[1]
        self.assertEqual((request.id, request.job.id), (job.id, job.id))
        self.assertEqual(request.job.response.message, self.get(job.id).response.message)
        self.assertIn("webhook-signature", metadata)

    # Refusals

    def test_what_is_not_allowed_is_refused_at_the_door(self):
        refused = lambda field, **target: self.refused(
            "INVALID_ARGUMENT",
            "INVALID_FIELD",
            field,
            lambda: self.submit("Echo", callback=callback_pb2.Callback(**target)),
        )
        refused("callback", **{})
        refused("callback.webhook_url", webhook_url="ftp://example.com")
        refused("callback.webhook_url", webhook_url="https://u:p@example.com/")
        refused("callback.queue_url", queue_url=self.queue)
        refused("callback.topic_arn", topic_arn=self.topic + "x")
        refused("callback.grpc_url", grpc_url="https://example.com/path")
        bare = self.connect(self.new_gateway(QB_CALLBACKS_QUEUE=""))
        self.refused(
            "FAILED_PRECONDITION",
            "NO_CALLBACKS",
            "callback",
            lambda: self.submit("Echo", jobs=bare, callback=self.webhook()),
        )

    # Crashes

    def test_a_killed_sender_and_a_killed_worker_lose_nothing(self):
        self.sender.kill()
        job = self.submit("Append", self.append("killed"), callback=self.webhook())
        self.finished(job.id)
        self.worker.kill()
        type(self).worker = self.new_worker()
        held = threading.Event()
        self.addCleanup(held.set)
        self.hook.answers = [(200, {}, 0, held)]
        sender = self.new_worker(**self.sender_environment)
        self.called(job.id)
        # In the middle of its call.
        sender.kill()
        type(self).sender = self.new_worker(**self.sender_environment)
        self.called(job.id, 2)
        self.assertEqual(self.executions("killed"), 1)
