"""Callbacks through real processes, checked by the reference library of the
specification."""

import base64
import hashlib
import hmac
import json
import os
import posixpath
import secrets
import subprocess
import threading
import urllib.parse

import standardwebhooks
from bridge import PROBE, seconds
from processes import BINARIES, until
from queuebridge.demo.v1 import probe_pb2
from queuebridge.v1 import callback_pb2, job_pb2, jobs_pb2
from receivers import Notified, Webhook
from telling import Telling


class Callbacks(Telling):
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

    def test_nothing_climbs_out_of_an_allowed_path_at_a_server_that_resolves_dots(self):
        allow = f"{self.hook.url}/*,https://[2001:db8::1]:443/hooks/*,https://a.example"
        jobs = self.connect(self.new_gateway(QB_CALLBACKS_ALLOW=allow))
        submit = lambda url: self.submit("Echo", jobs=jobs, callback=self.webhook(url))
        beyond = "../admin .%2e/admin %2e./admin ..%2fadmin ..%5cadmin ..;/admin %252e%252e/admin ..\\admin"
        beyond += " ..%c0%afadmin %%32e./admin ..%3b/admin ..%00/admin .%u002e/admin ..%20/admin"
        port = self.hook.server.server_port
        urls = [f"{self.hook.url}/{path}" for path in beyond.split()]
        urls += [self.hook.url.replace("127.0.0.1", host) + "/x" for host in ["0x7f.1", "2130706433", "127.1"]]
        urls += [self.hook.url.replace(str(port), other) + "/x" for other in ["0", "65536", f"0{port}"]]
        urls += [self.hook.url + "/x#y", self.hook.url.replace("//", "//u@") + "/x"]
        for url in urls:
            self.refused("INVALID_ARGUMENT", "INVALID_FIELD", "callback.webhook_url", lambda: submit(url))
        for url in ["https://[2001:db8::1]/hooks/x", "https://a.example:443/x"]:
            submit(url)
        paths = ["x", "a%20b", "..x/x../...", "100%25", "%C3%A9?y=/../..%2f"]
        ids = {path: submit(f"{self.hook.url}/{path}").id for path in paths}
        for path, id in ids.items():
            self.assertEqual(self.called(id)[0][0], f"/hook/{path}")
        for path, *_ in self.hook.received:
            decoded = path.partition("?")[0]
            for _ in range(4):
                decoded = urllib.parse.unquote(decoded)
                self.assertTrue(posixpath.normpath(decoded).startswith("/hook/"), path)

    # Other targets

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


class Tenants(Telling):
    """Three tenants of one gateway. acme has lists and keys of its own; shop and eve have
    those of the deployment."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.of_acme, cls.shared = Webhook(), Webhook()
        name = cls.queue.rsplit("/", 1)[1]
        cls.acmes_queue = cls.sqs.create_queue(QueueName=f"{name}-acme")["QueueUrl"]
        cls.receiver = Notified()
        for each in [cls.of_acme, cls.shared, cls.receiver]:
            cls.addClassCleanup(each.close)
        keys = cls.dir / "api-keys.toml"
        cls.credentials = {tenant: secrets.token_urlsafe(32) for tenant in ["acme", "shop", "eve"]}
        keys.write_text("".join(
            f'[[key]]\nid = "{tenant}"\ntenant = "{tenant}"\n'
            f'sha256 = "{hashlib.sha256(secret.encode()).hexdigest()}"\n'
            for tenant, secret in cls.credentials.items()
        ))
        below = lambda hook: hook.url.removesuffix("/hook") + "/*"
        route = f'queue = "{cls.queue}", callback = {{ webhook_url = "{cls.shared.url}" }}'
        cls.gateway = cls.new_gateway(
            QB_AUTH="",
            QB_CALLBACKS_ALLOW=below(cls.shared),
            QB_ROUTES=f'[{{ methods = "*", queue = "{cls.queue}" }}, {{ methods = "{PROBE}Append", {route} }}]',
            QB_CONFIG_TEXT=f"""
                [auth]
                api_keys = "{keys}"
                [[callbacks.tenant]]
                name = "acme"
                allow = ["{below(cls.of_acme)}", "{cls.receiver.url}/*"]
                targets = ["{cls.acmes_queue}"]
            """,
        )
        cls.jobs = cls.connect(cls.gateway)
        cls.sender.stop()
        cls.acmes_secret = os.urandom(32)
        own = f"acme=whsec_{base64.b64encode(cls.acmes_secret).decode()}"
        cls.sender = cls.new_worker(**cls.sender_environment, QB_CALLBACK_TENANT_SIGNING_KEYS=own)

    def of(self, tenant):
        return (("x-api-key", f"{tenant}.{self.credentials[tenant]}"),)

    def submit_as(self, tenant, name="Echo", request=None, **target):
        callback = callback_pb2.Callback(**target) if target else None
        request = self.request(name, request, callback=callback)
        return self.jobs.Submit(request, metadata=self.of(tenant)).id

    def verifies(self, secret, headers, body):
        try:
            standardwebhooks.Webhook(base64.b64encode(secret).decode()).verify(body, headers)
            return True
        except standardwebhooks.WebhookVerificationError:
            return False

    def is_of(self, tenant, id, hook):
        """What came for a job is told of this tenant, and signed by its keys alone."""
        _, headers, body, _ = self.called(id, hook=hook)[0]
        self.assertEqual(json.loads(body)["data"]["tenant"], tenant)
        self.assertEqual(self.verifies(self.acmes_secret, headers, body), tenant == "acme")
        self.assertEqual(self.verifies(self.secret, headers, body), tenant != "acme")
        forged = body.replace(f'"{tenant}"'.encode(), b'"other"')
        self.assertNotEqual(forged, body)
        self.assertFalse(self.verifies(self.acmes_secret, headers, forged))
        self.assertFalse(self.verifies(self.secret, headers, forged))

    def test_one_tenant_cannot_tell_the_receivers_of_another(self):
        hook, grpc_url = self.of_acme.url, self.receiver.url
        climbing = self.shared.url.removesuffix("hook") + "x/..%2Fhook"
        acmes = {"webhook_url": hook, "grpc_url": grpc_url, "queue_url": self.acmes_queue}
        others = {"webhook_url": self.shared.url, "queue_url": self.told, "topic_arn": self.topic}
        cases = [("eve", target) for target in acmes.items()]
        cases += [("eve", ("webhook_url", climbing))]
        cases += [("acme", target) for target in others.items()]
        before = len(self.of_acme.received)
        for tenant, (field, value) in cases:
            refused = ("INVALID_ARGUMENT", "INVALID_FIELD", f"callback.{field}")
            self.refused(*refused, lambda: self.submit_as(tenant, **{field: value}))
            batch = jobs_pb2.SubmitBatchRequest(
                jobs=[self.request("Echo")],
                group=jobs_pb2.Group(callback=callback_pb2.Callback(**{field: value})),
            )
            self.refused(*refused, lambda: self.jobs.SubmitBatch(batch, metadata=self.of(tenant)))
        self.assertEqual(len(self.of_acme.received), before)

    def test_a_receiver_hears_of_which_tenant_and_only_its_keys_sign(self):
        self.is_of("acme", self.submit_as("acme", webhook_url=self.of_acme.url), self.of_acme)
        self.is_of("eve", self.submit_as("eve", webhook_url=self.shared.url), self.shared)
        # Of a route that tells somebody, every tenant's jobs are told.
        for tenant in ["acme", "shop"]:
            id = self.submit_as(tenant, "Append", self.append(f"route-{tenant}"))
            self.is_of(tenant, id, self.shared)

    def test_a_grpc_receiver_and_a_queue_hear_of_which_tenant(self):
        id = self.submit_as("acme", grpc_url=self.receiver.url)
        until(lambda: self.receiver.received, "the notification")
        request, metadata = self.receiver.received[0]
        self.assertEqual((request.id, request.tenant), (id, "acme"))
        # The reference library takes text only.
        signed = lambda: f"{id}.{metadata['webhook-timestamp']}.".encode() + request.SerializeToString()
        tag = lambda: base64.b64encode(hmac.digest(self.acmes_secret, signed(), "sha256")).decode()
        self.assertEqual(metadata["webhook-signature"], f"v1,{tag()}")
        request.tenant = "eve"
        self.assertNotEqual(metadata["webhook-signature"], f"v1,{tag()}")
        for tenant, queue in [("acme", self.acmes_queue), ("eve", self.told)]:
            id = self.submit_as(tenant, queue_url=queue)
            message = until(lambda: self.told_of(id, queue), "the message")
            self.assertEqual(message["MessageAttributes"]["qb-tenant"]["StringValue"], tenant)
            self.assertEqual(json.loads(message["Body"])["data"]["tenant"], tenant)

    def test_who_refuses_one_tenant_still_hears_of_the_others(self):
        url = self.shared.url + "/gone"
        self.shared.answers = [410]
        refused = self.submit_as("eve", webhook_url=url)
        self.called(refused, hook=self.shared)
        self.assertEqual(until(lambda: self.in_parking(refused), "the parked callback"), "CALLBACK_GONE")
        self.is_of("shop", self.submit_as("shop", webhook_url=url), self.shared)
        again = self.submit_as("eve", webhook_url=url)
        until(lambda: self.in_parking(again), "the next one")
        self.assertEqual(self.shared.of(again), [])
