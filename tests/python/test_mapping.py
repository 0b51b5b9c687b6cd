"""From the gateway to the result through an event source mapping and the worker's
binary: over the emulator's mapping, and where that falls short of AWS's
documentation over a model of it, with the Lambda emulator of AWS behind."""

import unittest

import functions
from bridge import ENDPOINT, Bridge, client
from event_source import EventSource, failed
from processes import BINARIES, until
from queuebridge.demo.v1 import probe_pb2
from queuebridge.v1 import job_pb2
from rie import Function


class Functions(Bridge):
    """A bridge whose worker is a Lambda function."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for queue in [cls.queue, cls.fifo]:
            # No shorter than the time of the functions.
            attributes = {"VisibilityTimeout": "300"}
            cls.sqs.set_queue_attributes(QueueUrl=queue, Attributes=attributes)

    @classmethod
    def new_worker(cls, **environment):
        """The function is the only worker here."""

    @classmethod
    def function_environment(cls):
        return {name: v for name, v in cls.worker_environment.items() if name != "QB_QUEUE_URL"}

    def jobs_finish(self, jobs, state=job_pb2.STATE_SUCCEEDED):
        for job in jobs:
            self.assertEqual(self.finished(job.id).state, state)


class EmulatedMapping(Functions):
    """The emulator runs the mapping and the function. It takes at most ten records
    per batch, has no window, and runs one batch of an ordered queue at a time."""

    # It may start an environment for each, and a flaky handler fails once in each.
    concurrency = 2
    attempts = 6

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lambdas = client("lambda")
        name = cls.dir.name
        environment = {"AWS_ENDPOINT_URL": ENDPOINT, **cls.function_environment()}
        lambdas.create_function(
            FunctionName=name,
            Runtime="provided.al2023",
            Handler="bootstrap",
            Role="arn:aws:iam::000000000000:role/worker",
            Code={"ZipFile": functions.code()},
            Timeout=300,
            MemorySize=512,
            Environment={"Variables": environment},
        )
        cls.addClassCleanup(lambdas.delete_function, FunctionName=name)
        for queue in [cls.queue, cls.fifo]:
            answer = cls.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
            mapping = lambdas.create_event_source_mapping(
                FunctionName=name,
                EventSourceArn=answer["Attributes"]["QueueArn"],
                BatchSize=10,
                FunctionResponseTypes=["ReportBatchItemFailures"],
                ScalingConfig={"MaximumConcurrency": cls.concurrency},
            )
            delete = lambdas.delete_event_source_mapping
            cls.addClassCleanup(delete, UUID=mapping["UUID"])
        routes = f'[{{ methods = "*", queue = "{cls.fifo}", initial_backoff = "1s" }}]'
        cls.ordered = cls.connect(cls.new_gateway(QB_ROUTES=routes))

    def test_jobs_go_through_the_mapping(self):
        jobs = [self.submit("Append", self.append(f"job-{n}")) for n in range(20)]
        self.jobs_finish(jobs)
        self.assertEqual([self.executions(f"job-{n}") for n in range(20)], [1] * 20)
        until(lambda: self.is_empty(self.queue), "an empty queue")

    def test_only_the_failed_record_comes_back(self):
        flaky = self.submit("Flaky", probe_pb2.FlakyRequest(key="mapping", failures=1))
        others = [self.submit("Append", self.append(f"beside-{n}")) for n in range(5)]
        self.jobs_finish(others)
        again = self.finished(flaky.id)
        self.assertEqual(again.state, job_pb2.STATE_SUCCEEDED)
        self.assertGreaterEqual(again.attempt, 2)
        self.assertEqual([self.executions(f"beside-{n}") for n in range(5)], [1] * 5)
        until(lambda: self.is_empty(self.queue), "an empty queue")

    def test_a_group_waits_for_its_failed_record(self):
        def line(number):
            request = probe_pb2.AppendRequest(file="group", line=str(number))
            return self.submit("Append", request, jobs=self.ordered, ordering_key="k")

        before = [line(number) for number in range(3)]
        flaky = probe_pb2.FlakyRequest(key="ordered mapping", failures=1)
        flaky = self.submit("Flaky", flaky, jobs=self.ordered, ordering_key="k")
        after = [line(number) for number in range(3, 6)]
        self.jobs_finish([*before, *after])
        self.assertEqual((self.dir / "group").read_text().split(), list("012345"))
        again, follower = self.finished(flaky.id), self.finished(after[0].id)
        self.assertGreaterEqual(again.attempt, 2)
        self.assertEqual(follower.attempt, 1)
        self.assertLessEqual(
            again.complete_time.ToNanoseconds(), follower.start_time.ToNanoseconds()
        )
        until(lambda: self.is_empty(self.fifo), "an empty queue")


class DocumentedMapping(Functions):
    """What the emulator's mapping lacks, over a model of AWS's."""

    def source(self, queue, functions, **settings):
        source = EventSource(self.sqs, queue, functions, **settings)
        self.addCleanup(source.stop)
        return source

    def environments(self, count):
        """Functions under the Lambda emulator of AWS."""
        for number in range(count):
            log = self.dir / f"{self.id()}-{number}.log"
            function = Function(BINARIES / "queuebridge-demo", self.function_environment(), log)
            self.addCleanup(function.kill)
            yield function.invoke

    def test_a_window_gathers_more_than_one_receive(self):
        jobs = [self.submit("Append", self.append(f"window-{n}")) for n in range(35)]
        flaky = self.submit("Flaky", probe_pb2.FlakyRequest(key="window", failures=1))
        # The batch is full with all of them: the window ends only what is late.
        source = self.source(self.queue, self.environments(1), batch_size=36, window=20)
        self.jobs_finish([*jobs, flaky])
        first = len(source.batches[0][0]["Records"])
        self.assertGreater(first, 10)
        self.assertEqual([self.executions(f"window-{n}") for n in range(35)], [1] * 35)
        until(lambda: self.is_empty(self.queue), "an empty queue")

    def test_environments_share_the_groups_of_an_ordered_queue(self):
        routes = f'[{{ methods = "*", queue = "{self.fifo}", initial_backoff = "1s" }}]'
        ordered = self.connect(self.new_gateway(QB_ROUTES=routes))
        jobs = []
        for number in range(8):
            for group in "ab":
                request = probe_pb2.AppendRequest(file=f"shared-{group}", line=str(number))
                jobs.append(self.submit("Append", request, jobs=ordered, ordering_key=group))
        self.source(self.fifo, self.environments(2))
        self.jobs_finish(jobs)
        for group in "ab":
            lines = (self.dir / f"shared-{group}").read_text().split()
            self.assertEqual(lines, [str(number) for number in range(8)])

    def test_a_batch_whose_function_failed_comes_back_as_a_whole(self):
        queue = self.sqs.create_queue(
            QueueName=f"{self.dir.name}-whole", Attributes={"VisibilityTimeout": "300"}
        )["QueueUrl"]
        self.addCleanup(self.sqs.delete_queue, QueueUrl=queue)
        routes = f'[{{ methods = "*", queue = "{queue}" }}]'
        jobs = self.connect(self.new_gateway(QB_ROUTES=routes))
        calls = iter([True])
        (working,) = self.environments(1)

        def first_fails(event):
            if next(calls, False):
                # Instead of waiting for the time-out.
                for record in event["Records"]:
                    self.sqs.change_message_visibility(
                        QueueUrl=queue, ReceiptHandle=record["receiptHandle"], VisibilityTimeout=0
                    )
                return {"errorMessage": "out of memory", "errorType": "Runtime.ExitError"}
            return working(event)

        jobs = [self.submit("Append", self.append(f"whole-{n}"), jobs=jobs) for n in range(5)]
        source = self.source(queue, [first_fails])
        self.jobs_finish(jobs)
        self.assertEqual([self.executions(f"whole-{n}") for n in range(5)], [1] * 5)
        self.assertIn("errorMessage", source.batches[0][1])
        received = {
            record["attributes"]["ApproximateReceiveCount"]
            for event, _ in source.batches[1:]
            for record in event["Records"]
        }
        self.assertIn("2", received)

    def test_the_mapping_asks_for_what_aws_asks_for(self):
        for queue, settings in [
            (self.queue, {"batch_size": 11}),
            (self.fifo, {"window": 1}),
            (self.fifo, {"batch_size": 11}),
            (self.queue, {"function_timeout": 301}),
        ]:
            with self.assertRaises(ValueError):
                EventSource(self.sqs, queue, [], **settings)


class Answers(unittest.TestCase):
    """What an answer leaves in the queue, as AWS documents it."""

    def test_what_stays_in_the_queue(self):
        event = {"Records": [{"messageId": "a"}, {"messageId": "b"}]}
        for answer in [None, {}, {"batchItemFailures": None}, {"batchItemFailures": []}]:
            self.assertEqual(failed(event, answer), [], answer)
        one = {"batchItemFailures": [{"itemIdentifier": "b"}]}
        self.assertEqual(failed(event, one), ["b"])
        for broken in [
            "not json",
            {"errorMessage": "x"},
            {"batchItemFailures": [{"itemIdentifier": ""}]},
            {"batchItemFailures": [{"itemIdentifier": None}]},
            {"batchItemFailures": [{"itemIdentifier": "c"}]},
            {"batchItemFailures": [{"wrong": "a"}]},
        ]:
            self.assertEqual(failed(event, broken), ["a", "b"], broken)
