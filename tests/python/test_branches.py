"""Jobs with branches through real processes: over a real topic's protocol, and over a
queue for each branch."""

import json
import os
import pathlib
import subprocess
import uuid

import grpc
from bridge import FIXTURES, IMAGES, PROBE, Bridge, client, seconds
from google.longrunning import operations_pb2, operations_pb2_grpc
from processes import BINARIES, until
from queuebridge.demo.v1 import images_pb2, probe_pb2
from queuebridge.v1 import callback_pb2, gather_pb2, job_pb2, jobs_pb2
from receivers import Webhook

NAMES = ["thumbnail", "describe", "assess"]
ALL, ANY, TWO = (gather_pb2.GatherRule(need=need) for need in (0, 1, 2))


def states(job):
    return {branch.name: branch.job.state for branch in job.gather.branches}


class Branches(Bridge):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.worker.stop()
        cls.gateway.stop()
        cls.name = cls.queue.rsplit("/", 1)[1]
        cls.sns = client("sns")
        cls.topic = cls.sns.create_topic(Name=cls.name)["TopicArn"]
        cls.queues = {}
        for name in NAMES:
            cls.queues[name] = cls.new_queue(name)
            cls.subscribe(cls.topic, name, cls.queues[name], cls.new_queue(f"{name}-dead"))
        cls.callback_queue, cls.parked = cls.new_queue("callbacks"), cls.new_queue("parked")
        method = lambda name: f', method = "{IMAGES}{name.capitalize()}"'
        over_topic = [f'{{ name = "{name}"{method(name)} }}' for name in NAMES]
        over_queues = [f'{{ name = "{name}", queue = "{cls.queues[name]}" }}' for name in NAMES]
        gone = over_queues[:2] + [f'{{ name = "gone", queue = "{cls.queue}-gone" }}']
        common = f'max_attempts = {cls.attempts}, initial_backoff = "1s", max_backoff = "1s"'
        routes = [
            f'{{ methods = "{IMAGES}Analyze", topic = "{cls.topic}", {common}, '
            f'branch = [{", ".join(over_topic)}] }}',
            f'{{ methods = "{PROBE}*", {common}, branch = [{", ".join(over_queues)}] }}',
            f'{{ methods = "{PROBE}Echo", {common}, branch = [{", ".join(gone)}] }}',
        ]
        cls.gateway_environment |= {
            "QB_ROUTES": f"[{', '.join(routes)}]",
            "QB_CALLBACKS_QUEUE": cls.callback_queue,
            "QB_CALLBACKS_ALLOW_HTTP": "true",
        }
        cls.worker_environment |= {
            "QB_CALLBACK_QUEUE_URL": cls.callback_queue,
            "QB_PARKING_QUEUE_URL": cls.parked,
        }
        cls.gateway = cls.new_gateway()
        cls.jobs = cls.connect(cls.gateway)
        cls.workers = {name: cls.branch_worker(name) for name in NAMES}
        cls.sender = cls.new_worker(
            QB_QUEUE_URL=cls.callback_queue,
            QB_WORKER_ROLE="callbacks",
            QB_CALLBACK_ALLOW_NETWORKS="127.0.0.0/8",
        )

    @classmethod
    def new_queue(cls, name, **attributes):
        return cls.sqs.create_queue(QueueName=f"{cls.name}-{name}", Attributes=attributes)["QueueUrl"]

    @classmethod
    def arn(cls, url):
        found = cls.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return found["Attributes"]["QueueArn"]

    @classmethod
    def subscribe(cls, topic, name, queue, dead):
        cls.sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=cls.arn(queue),
            Attributes={
                "RawMessageDelivery": "true",
                "FilterPolicy": json.dumps({"qb-branches": [name]}),
                "RedrivePolicy": json.dumps({"deadLetterTargetArn": cls.arn(dead)}),
            },
        )

    @classmethod
    def branch_worker(cls, name, **environment):
        environment = {"QB_QUEUE_URL": cls.queues[name], "QB_BRANCH": name, **environment}
        return cls.new_worker(**environment)

    def setUp(self):
        self.hook = Webhook()
        self.addCleanup(self.hook.close)

    def webhook(self):
        return callback_pb2.Callback(webhook_url=self.hook.url)

    def picture(self):
        return images_pb2.AnalyzeRequest(image=(FIXTURES / "shapes.png").read_bytes())

    def analyze(self, **fields):
        return self.submit(IMAGES + "Analyze", self.picture(), **fields)

    def stopped(self, name):
        """Nobody works for this branch until the test ends."""
        self.workers[name].kill()
        self.workers[name].process.wait()

        def again():
            type(self).workers[name] = self.branch_worker(name)

        self.addCleanup(again)

    # Over the topic

    def test_all_branches_of_a_topic_answer_and_each_calls_its_own_method(self):
        job = self.finished(self.analyze().id)
        self.assertEqual(job.state, job_pb2.STATE_SUCCEEDED)
        self.assertEqual(job.response.type, "queuebridge.v1.Gather")
        thumbnail, describe, assess = job.gather.branches
        small = images_pb2.ThumbnailResponse.FromString(thumbnail.job.response.message)
        self.assertEqual((small.width, small.height), (256, 192))
        about = images_pb2.DescribeResponse.FromString(describe.job.response.message)
        self.assertGreater(len(about.dominant_colours), 1)
        how = images_pb2.AssessResponse.FromString(assess.job.response.message)
        self.assertGreater(how.contrast, 0)
        for branch in job.gather.branches:
            self.assertEqual(branch.job.method, IMAGES + branch.name.capitalize())
            self.assertEqual(self.get(branch.job.id).response, branch.job.response)

    def test_any_and_two_of_three_do_without_a_killed_worker(self):
        self.stopped("assess")
        for rule, needed in [(ANY, 1), (TWO, 2)]:
            job = self.finished(self.analyze(gather=rule).id)
            self.assertEqual(job.state, job_pb2.STATE_SUCCEEDED)
            self.assertGreaterEqual(job.gather.succeeded, needed)
            self.assertEqual(states(job)["assess"], job_pb2.STATE_ACCEPTED)
            self.assertTrue(job.gather.branches[2].late)
        waiting = self.analyze(gather=ALL)
        shown = until(lambda: (j := self.get(waiting.id)).gather.succeeded == 2 and j, "two")
        self.assertEqual(shown.state, job_pb2.STATE_RUNNING)
        self.assertFalse(shown.HasField("response") or shown.HasField("error"))
        self.doCleanups()
        self.assertEqual(self.finished(waiting.id).state, job_pb2.STATE_SUCCEEDED)

    def test_at_its_deadline_a_gather_is_decided_and_told_although_nobody_waits(self):
        self.stopped("assess")
        ids = {}
        for partial, kind in [(True, "job.succeeded"), (False, "job.expired")]:
            # The other two branches have to answer in this time.
            rule = gather_pb2.GatherRule(deadline=seconds(30), partial=partial)
            ids[kind] = self.analyze(gather=rule, callback=self.webhook()).id
        for kind, id in ids.items():
            ((_, _, body, _),) = until(lambda: self.hook.of(id), "the callback")
            told = json.loads(body)
            self.assertEqual(told["type"], kind)
            told = {branch["name"]: branch["state"] for branch in told["data"]["branches"]}
            self.assertEqual(told, {"thumbnail": "SUCCEEDED", "describe": "SUCCEEDED", "assess": "ACCEPTED"})

    def test_a_picture_that_is_none_fails_at_the_first_branch(self):
        job = self.submit(IMAGES + "Analyze", images_pb2.AnalyzeRequest(image=b"no picture"))
        job = self.finished(job.id)
        self.assertEqual(job.state, job_pb2.STATE_FAILED)
        self.assertEqual(job.error.code, grpc.StatusCode.INVALID_ARGUMENT.value[0])
        self.assertIn("branches failed, and 3 had to succeed", job.error.message)

    def test_what_is_too_large_for_a_topic_goes_to_the_payload_store(self):
        image = self.picture().image + os.urandom(400_000)
        job = self.submit(IMAGES + "Analyze", images_pb2.AnalyzeRequest(image=image))
        self.assertEqual(self.finished(job.id).gather.succeeded, 3)

    def test_a_delay_is_kept_over_a_topic(self):
        job = self.analyze(delay=seconds(3))
        job = self.finished(job.id)
        for branch in job.gather.branches:
            begun = branch.job.start_time.ToMilliseconds() - job.submit_time.ToMilliseconds()
            self.assertGreaterEqual(begun, 2_000)

    def test_the_operation_of_a_gather_has_the_list_as_its_response(self):
        job = self.analyze()
        operations = operations_pb2_grpc.OperationsStub(grpc.insecure_channel(self.gateway.address))
        request = operations_pb2.WaitOperationRequest(name=f"operations/{job.id}", timeout=seconds(300))
        operation = operations.WaitOperation(request)
        gather = job_pb2.Gather()
        self.assertTrue(operation.done and operation.response.Unpack(gather))
        self.assertEqual(gather.succeeded, 3)

    # Over a queue for each branch

    def test_a_worker_that_is_killed_in_the_middle_is_made_up_for(self):
        file = f"killed-{uuid.uuid4()}"
        job = self.submit("Append", self.append(file, then_wait=20), gather=ALL, callback=self.webhook())
        until(lambda: self.executions(file) == 3, "all branches to run")
        self.workers["describe"].kill()
        type(self).workers["describe"] = self.branch_worker("describe")
        done = self.finished(job.id)
        self.assertEqual((done.state, done.gather.succeeded), (job_pb2.STATE_SUCCEEDED, 3))
        self.assertEqual(done.gather.branches[1].job.attempt, 2)
        self.assertEqual(self.executions(file), 4)
        until(lambda: self.hook.of(job.id), "the callback")

    def test_a_branch_whose_queue_is_gone_is_listed_as_failed(self):
        job = self.finished(self.submit("Echo", gather=TWO).id)
        self.assertEqual(job.state, job_pb2.STATE_SUCCEEDED)
        self.assertEqual(states(job)["gone"], job_pb2.STATE_FAILED)
        job = self.finished(self.submit("Echo", gather=ALL).id)
        self.assertEqual(job.state, job_pb2.STATE_FAILED)

    def test_another_gateway_knows_the_same(self):
        other = self.connect(self.new_gateway())
        request = {"request_id": str(uuid.uuid4()), "gather": ALL}
        first = self.submit("Append", self.append("same"), **request)
        second = self.submit("Append", self.append("same"), jobs=other, **request)
        self.assertEqual(first.id, second.id)
        ids = lambda job: [branch.job.id for branch in job.gather.branches]
        self.assertEqual(ids(self.finished(first.id, other)), ids(first))
        self.assertEqual(self.executions("same"), 3)

    def test_a_cancelled_gather_never_runs(self):
        for name in NAMES:
            self.stopped(name)
        job = self.submit("Append", self.append("never"))
        cancelled = self.jobs.Cancel(jobs_pb2.CancelRequest(id=job.id))
        self.assertEqual(set(states(cancelled).values()), {job_pb2.STATE_CANCELLED})
        self.doCleanups()
        for queue in self.queues.values():
            until(lambda: self.is_empty(queue), "the message to be gone")
        self.assertEqual(self.executions("never"), 0)

    def test_a_parked_branch_is_replayed_alone(self):
        key = str(uuid.uuid4())
        # Each branch fails by itself as often as it may; together they use the failures up.
        request = probe_pb2.FlakyRequest(key=key, failures=99)
        job = self.finished(self.submit("Flaky", request, branches=["describe"]).id)
        self.assertEqual(job.state, job_pb2.STATE_FAILED)
        branch = job.gather.branches[0].job.id
        replay = subprocess.run(
            [BINARIES / "queuebridge", "replay", "--parking-queue", self.parked, "--job", branch,
             "--gateway", f"http://{self.gateway.address}", "--json"],
            env={"PATH": os.environ["PATH"], **self.common},
            stdout=subprocess.PIPE,
            check=True,
        )
        line = json.loads(replay.stdout.splitlines()[0])
        self.assertEqual(line["status"], "REPLAYED")
        new = self.finished(line["newJob"])
        self.assertEqual([branch.name for branch in new.gather.branches], ["describe"])

    def test_what_leaves_no_branch_is_refused(self):
        unknown = {"branches": ["nobody"]}
        self.refused("INVALID_ARGUMENT", "INVALID_FIELD", "branches[0]", self.submit, "Append", **unknown)
        many = {"gather": gather_pb2.GatherRule(need=4)}
        self.refused(
            "FAILED_PRECONDITION", "TOO_FEW_BRANCHES", "gather.need", self.submit, "Append", **many
        )

    # Losses

    def test_what_a_topic_cannot_deliver_is_found_by_its_dead_letters(self):
        # The emulator has no dead letters of subscriptions: the message is put there. Nobody
        # has ever received from these queues, so that nothing else takes it, or is in them.
        queue, dead = self.new_queue("lost"), self.new_queue("lost-dead")
        self.subscribe(self.topic, "lost", queue, dead)
        branch = f'{{ name = "lost", method = "{IMAGES}Assess" }}'
        route = f'{{ methods = "{IMAGES}Analyze", topic = "{self.topic}", branch = [{branch}] }}'
        jobs = self.connect(self.new_gateway(QB_ROUTES=f"[{route}]"))
        job = self.submit(IMAGES + "Analyze", self.picture(), jobs=jobs)
        take = lambda: self.sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages")
        (message,) = until(take, "the branch's message")
        self.sqs.send_message(QueueUrl=dead, MessageBody=message["Body"])
        self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        self.new_worker(
            QB_QUEUE_URL=dead,
            QB_WORKER_ROLE="dead-letters",
            QB_BRANCH=f"other-dead=other,{dead.rsplit('/', 1)[1]}=lost",
        )
        done = self.finished(job.id, jobs)
        self.assertEqual(states(done), {"lost": job_pb2.STATE_FAILED})
        self.assertIn("dead-lettered", done.gather.branches[0].job.error.message)


class Groups(Bridge):
    """Jobs over a list of inputs, as one."""

    def batch(self, jobs, **group):
        request = jobs_pb2.SubmitBatchRequest(jobs=jobs, group=jobs_pb2.Group(**group))
        return self.jobs.SubmitBatch(request)

    def test_a_group_is_gathered_over_several_batches_and_listed_page_by_page(self):
        inputs = [self.request("Echo", probe_pb2.EchoRequest(payload=str(n).encode())) for n in range(300)]
        first = self.batch(inputs[:200], total=300, request_id=str(uuid.uuid4()))
        self.batch(inputs[200:], id=first.group.id, first=200)
        # The answer was lost: it is sent again.
        again = self.batch(inputs[200:], id=first.group.id, first=200)
        self.assertTrue(all(result.HasField("job") for result in again.results))
        done = self.finished(first.group.id)
        self.assertEqual((done.state, done.gather.total), (job_pb2.STATE_SUCCEEDED, 300))
        self.assertEqual(done.gather.succeeded, 300)
        listed, token = [], ""
        while not listed or token:
            page = self.jobs.ListBranches(
                jobs_pb2.ListBranchesRequest(id=first.group.id, page_size=128, page_token=token)
            )
            listed += page.branches
            token = page.next_page_token
        self.assertEqual([branch.name for branch in listed], [str(n) for n in range(300)])
        for n, branch in enumerate(listed):
            answer = probe_pb2.EchoResponse.FromString(branch.job.response.message)
            self.assertEqual((answer.payload, branch.job.attempt), (str(n).encode(), 1))

    def test_a_job_of_a_group_that_fails_is_the_groups_failure(self):
        failing = lambda often: probe_pb2.FlakyRequest(key=str(uuid.uuid4()), failures=often)
        group = self.batch([self.request("Flaky", failing(often)) for often in (0, 99, 0)]).group
        done = self.finished(group.id)
        unavailable = grpc.StatusCode.UNAVAILABLE.value[0]
        self.assertEqual((done.state, done.error.code), (job_pb2.STATE_FAILED, unavailable))
        self.assertEqual([branch.name for branch in done.gather.branches], ["0", "1", "2"])


class Ordered(Bridge):
    """A FIFO topic with FIFO queues."""

    def test_each_branch_keeps_the_order(self):
        name = self.queue.rsplit("/", 1)[1]
        sns = client("sns")
        topic = sns.create_topic(Name=f"{name}.fifo", Attributes={"FifoTopic": "true"})["TopicArn"]
        for branch in ["one", "two"]:
            attributes = {"FifoQueue": "true"}
            queue = self.sqs.create_queue(QueueName=f"{name}-{branch}.fifo", Attributes=attributes)
            found = self.sqs.get_queue_attributes(QueueUrl=queue["QueueUrl"], AttributeNames=["QueueArn"])
            sns.subscribe(
                TopicArn=topic,
                Protocol="sqs",
                Endpoint=found["Attributes"]["QueueArn"],
                Attributes={
                    "RawMessageDelivery": "true",
                    "FilterPolicy": json.dumps({"qb-branches": [branch]}),
                },
            )
            self.new_worker(QB_QUEUE_URL=queue["QueueUrl"], QB_BRANCH=branch)
        route = f'{{ methods = "*", topic = "{topic}", branch = [{{ name = "one" }}, {{ name = "two" }}] }}'
        jobs = self.connect(self.new_gateway(QB_ROUTES=f"[{route}]"))
        file = pathlib.Path(f"ordered-{uuid.uuid4()}")
        line = lambda n: probe_pb2.AppendRequest(file=str(file), line=str(n))
        ids = [self.submit("Append", line(n), jobs=jobs, ordering_key="k").id for n in range(6)]
        for id in ids:
            self.assertEqual(self.finished(id, jobs).gather.succeeded, 2)
        lines = (self.dir / file).read_text().split()
        # Both branches write to one file: each in its own order.
        self.assertEqual(sorted(lines), sorted([str(n) for n in range(6)] * 2))
        first = [lines.index(str(n)) for n in range(6)]
        self.assertEqual(first, sorted(first))
