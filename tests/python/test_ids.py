"""What the id of a job is no right to: its answer, its request, a second run. Callers of one
tenant who may do different things, and of another one."""

import hashlib
import json
import secrets

import grpc
from bridge import ENDPOINT, PROBE, Bridge, error_details_pb2, rpc_status, reason, seconds
from lossy import Lossy
from processes import PATIENCE, Gateway, until
from queuebridge.demo.v1 import probe_pb2, probe_pb2_grpc
from queuebridge.v1 import callback_pb2, executions_pb2_grpc, job_pb2, jobs_pb2
from receivers import Webhook

SEND = "SendMessageBatch"
NOT_GRANTED = ("PERMISSION_DENIED", "NOT_GRANTED")
REFUSED = ("INVALID_ARGUMENT", "INVALID_FIELD")
NO_TOKEN = ("INVALID_ARGUMENT", "RESUBMIT_TOKEN_INVALID")
GRANTS = """
grant = [
    { roles = ["owner"], verbs = ["submit", "read", "watch", "cancel", "admin"] },
    { roles = ["submitter"], verbs = ["submit"] },
]
"""
# The tenant and the role of each caller.
CALLERS = {
    "owner": ("shop", "owner"),
    "submitter": ("shop", "submitter"),
    "outsider": ("shop", "guest"),
    "stranger": ("acme", "owner"),
}


class Ids(Bridge):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        name = cls.queue.rsplit("/", 1)[1]
        create = lambda suffix: cls.sqs.create_queue(QueueName=f"{name}-{suffix}")["QueueUrl"]
        cls.callback_queue, parked = map(create, ["callbacks", "parked"])
        cls.gateway.stop()
        cls.worker.stop()
        cls.worker_environment |= {
            "QB_CALLBACK_QUEUE_URL": cls.callback_queue,
            "QB_PARKING_QUEUE_URL": parked,
        }
        cls.gateway_environment |= {
            "QB_CALLBACKS_QUEUE": cls.callback_queue,
            "QB_CALLBACKS_ALLOW_HTTP": "true",
        }
        del cls.gateway_environment["QB_AUTH"]
        attaching = f'{{ methods = "*", queue = "{cls.queue}", attach_within = "1h" }}'
        cls.secrets = {id: secrets.token_urlsafe(32) for id in CALLERS}
        keys = cls.dir / "api-keys.toml"
        keys.write_text("".join(map(cls.entry, CALLERS)))
        cls.file = cls.dir / "gateway.toml"
        cls.file.write_text(f'[auth]\napi_keys = "{keys}"\n{GRANTS}')
        cls.network = Lossy(ENDPOINT)
        cls.addClassCleanup(cls.network.close)
        cls.guarded = cls.new_guarded()
        cls.jobs = cls.connect(cls.guarded)
        cls.far_gateway = cls.new_guarded(AWS_ENDPOINT_URL=cls.network.url)
        cls.far = cls.connect(cls.far_gateway)
        cls.attaching = cls.new_guarded(QB_ROUTES=f"[{attaching}]")
        cls.worker = cls.new_worker()
        cls.sender = cls.new_worker(
            QB_QUEUE_URL=cls.callback_queue,
            QB_WORKER_ROLE="callbacks",
            QB_CALLBACK_ALLOW_NETWORKS="127.0.0.0/8",
        )

    @classmethod
    def entry(cls, id):
        tenant, role = CALLERS[id]
        sha256 = hashlib.sha256(cls.secrets[id].encode()).hexdigest()
        return (
            f'[[key]]\nid = "{id}"\nsha256 = "{sha256}"\n'
            f'tenant = "{tenant}"\nroles = ["{role}"]\n'
        )

    @classmethod
    def new_guarded(cls, **environment):
        log = cls.dir / f"gateway-{next(cls.numbers)}.log"
        environment = {**cls.gateway_environment, **environment}
        gateway = Gateway(environment, log, "--config", str(cls.file))
        cls.addClassCleanup(gateway.kill)
        return gateway

    def setUp(self):
        self.own, self.thief = Webhook(), Webhook()
        self.addCleanup(self.own.close)
        self.addCleanup(self.thief.close)
        self.addCleanup(self.network.heal)

    def of(self, id):
        return (("x-api-key", f"{id}.{self.secrets[id]}"),)

    def send(self, who, request, jobs=None):
        return (jobs or self.jobs).Submit(request, metadata=self.of(who), timeout=PATIENCE)

    def is_refused(self, expected, call, *arguments, **named):
        with self.assertRaises(grpc.RpcError) as raised:
            call(*arguments, **named)
        error = raised.exception
        self.assertEqual((error.code().name, reason(error)[0]), expected, error.details())
        return error

    def hook(self, receiver):
        return callback_pb2.Callback(webhook_url=receiver.url)

    def told(self, id, receiver):
        until(lambda: receiver.of(id), "the callback")

    def ended(self, id):
        """The owner's job once it is over."""

        def over():
            request = jobs_pb2.GetResultRequest(id=id, wait=seconds(20))
            job = self.jobs.GetResult(request, metadata=self.of("owner"))
            return job if job.state > job_pb2.STATE_RUNNING else None

        return until(over, f"the end of {id}")

    def nothing_more_is_told(self):
        """A job that comes after all others was told: so were they, if they were to be."""
        last = self.send("owner", self.request("Echo", callback=self.hook(self.own)))
        self.told(last.id, self.own)

    def restart_worker(self):
        type(self).worker = self.new_worker()

    def test_the_id_of_a_finished_job_gives_nobody_its_answer(self):
        secret = probe_pb2.EchoRequest(payload=b"secret")
        id = self.send("owner", self.request("Echo", secret)).id
        self.ended(id)
        theft = dict(job_id=id, callback=self.hook(self.thief), wait=seconds(300))
        for request in [secret, probe_pb2.EchoRequest()]:
            theft_of = self.request("Echo", request, **theft)
            self.is_refused(REFUSED, self.send, "submitter", theft_of)
            self.is_refused(REFUSED, self.send, "owner", theft_of)
            self.is_refused(REFUSED, self.send, "stranger", theft_of)
            self.is_refused(NOT_GRANTED, self.send, "outsider", theft_of)
        with grpc.insecure_channel(self.guarded.address) as channel:
            execute = executions_pb2_grpc.ExecutionsStub(channel).Execute
            follow = lambda: next(iter(execute(theft_of, metadata=self.of("submitter"))))
            self.is_refused(REFUSED, follow)
        # An id is no token either.
        token = self.request("Echo", secret, resubmit_token=id, callback=self.hook(self.thief))
        self.is_refused(NO_TOKEN, self.send, "submitter", token)
        self.nothing_more_is_told()
        self.assertEqual(self.thief.received, [])

    def test_the_id_of_a_pending_job_replaces_no_request(self):
        self.worker.stop()
        small = self.send("owner", self.request("Append", self.append("owners"))).id
        large = probe_pb2.EchoRequest(payload=secrets.token_bytes(1_500_000))
        stored = self.send("owner", self.request("Echo", large)).id
        other = probe_pb2.EchoRequest(payload=secrets.token_bytes(1_500_000))
        for request in [
            self.request("Append", self.append("submitters"), job_id=small),
            self.request("Echo", other, job_id=stored),
        ]:
            self.is_refused(REFUSED, self.send, "submitter", request)
        self.restart_worker()
        self.assertEqual(self.ended(small).state, job_pb2.STATE_SUCCEEDED)
        self.assertEqual(self.ended(stored).state, job_pb2.STATE_SUCCEEDED)
        self.assertEqual((self.executions("owners"), self.executions("submitters")), (1, 0))

    def unknown(self, who, request):
        """A submission of which nobody knows whether the queue has it: its id and token."""
        self.network.lose("request", SEND, times=100)
        unknown = ("UNAVAILABLE", "PUBLISH_OUTCOME_UNKNOWN")
        error = self.is_refused(unknown, self.send, who, request, self.far)
        self.network.heal()
        info = error_details_pb2.ErrorInfo()
        rpc_status.from_call(error).details[0].Unpack(info)
        return info.metadata["job_id"], info.metadata["resubmit_token"]

    def test_a_token_is_a_right_of_its_caller_to_the_same_submission(self):
        user = [job_pb2.Metadatum(key="x-user", ascii="ann")]
        fields = dict(metadata=user, callback=self.hook(self.own))
        request = lambda file="token", **more: self.request(
            "Append", self.append(file), **{**fields, **more}
        )
        id, token = self.unknown("owner", request())
        again = dict(resubmit_token=token)
        for who in ["submitter", "stranger"]:
            self.is_refused(NO_TOKEN, self.send, who, request(**again))
        for changed in [
            request("another", **again),
            request(metadata=[job_pb2.Metadatum(key="x-user", ascii="bob")], **again),
            request(callback=self.hook(self.thief), **again),
            request(delay=seconds(1), **again),
        ]:
            self.is_refused(NO_TOKEN, self.send, "owner", changed)
        trace = job_pb2.Metadatum(key="x-request-id", ascii="another-attempt")
        for _ in range(2):
            taken = self.send("owner", request(metadata=[*user, trace], **again))
            self.assertEqual(taken.id, id)
        self.assertEqual(self.ended(id).state, job_pb2.STATE_SUCCEEDED)
        self.told(id, self.own)
        self.nothing_more_is_told()
        self.assertEqual(self.thief.received, [])
        self.assertEqual((self.executions("token"), self.executions("another")), (1, 0))
        refused = ("shop", PROBE + "Append", "INVALID_ARGUMENT")
        acts = self.acts()
        self.assertEqual(acts.count(("resubmit", "api-key:owner", "shop", id, "OK")), 2)
        self.assertEqual(acts.count(("refuse", "api-key:submitter", *refused)), 1)
        self.assertEqual(acts.count(("refuse", "api-key:owner", *refused)), 4)

    def acts(self):
        """Who has done what with which job, or method, by the audit log."""
        whole, _, _ = self.guarded.log.read_text().rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines()]
        acts = [line["fields"] for line in lines if line["target"] == "queuebridge::audit"]
        of = lambda act: act.get("job", act.get("method"))
        return [
            (act["act"], act.get("subject"), act.get("tenant"), of(act), act.get("code"))
            for act in acts
        ]

    def test_who_may_only_submit_follows_a_job_of_its_own(self):
        request = lambda **more: self.request("Append", self.append("followed"), **more)
        id, token = self.unknown("submitter", request())
        with grpc.insecure_channel(self.guarded.address) as channel:
            execute = executions_pb2_grpc.ExecutionsStub(channel).Execute
            seen = list(execute(request(resubmit_token=token), metadata=self.of("submitter")))
        self.assertTrue(seen[-1].done and seen[-1].name.endswith(id))
        self.assertEqual(self.executions("followed"), 1)

    def test_a_request_id_leads_others_to_the_job_and_not_to_its_answer(self):
        user = [job_pb2.Metadatum(key="x-user", ascii="ann")]
        request = lambda **more: self.request(
            "Append", self.append("once"), **{"request_id": "once", "metadata": user, **more}
        )
        id = self.send("owner", request(wait=seconds(300))).id
        own = self.send("owner", request(wait=seconds(300)))
        self.assertEqual((own.id, own.state), (id, job_pb2.STATE_SUCCEEDED))
        seen = self.send("submitter", request(wait=seconds(300)))
        self.assertEqual((seen.id, seen.state), (id, job_pb2.STATE_ACCEPTED))
        self.assertIsNone(seen.WhichOneof("outcome"))
        reused = ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
        for changed in [
            request(metadata=[job_pb2.Metadatum(key="x-user", ascii="bob")]),
            request(metadata=[]),
            request(callback=self.hook(self.thief)),
            request(delay=seconds(1)),
        ]:
            for who in ["owner", "submitter"]:
                self.is_refused(reused, self.send, who, changed)
        self.assertEqual(self.executions("once"), 1)

    def test_the_answer_of_a_call_is_for_its_caller(self):
        with grpc.insecure_channel(self.attaching.address) as channel:
            append = probe_pb2_grpc.ProbeStub(channel).Append
            call = lambda who, file, *more: append(
                self.append(file), metadata=self.of(who) + more, timeout=PATIENCE
            )
            name = ("qb-request-id", "named")
            for _ in range(2):
                call("owner", "named", name)
            self.is_refused(NOT_GRANTED, call, "submitter", "named", name)
            self.assertEqual(self.executions("named"), 1)
            for who in ["owner", "submitter"]:
                for _ in range(2):
                    call(who, "equal")
            self.assertEqual(self.executions("equal"), 2, "one for each of the callers")
