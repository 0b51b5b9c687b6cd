"""Processes that are stopped or killed at a named point: nothing accepted is lost."""

import signal
import threading

import grpc
from bridge import Bridge, reason, seconds
from processes import PATIENCE, until
from queuebridge.demo.v1 import probe_pb2
from queuebridge.v1 import job_pb2, jobs_pb2


class Faults(Bridge):
    def test_a_killed_workers_jobs_are_done_by_another(self):
        jobs = [self.submit("Append", self.append(f"killed-{i}", then_wait=20)) for i in range(5)]
        until(
            lambda: sum(self.executions(f"killed-{i}") for i in range(5)) == 5,
            "all five to be in the middle",
        )
        self.worker.stop(signal.SIGKILL)
        type(self).worker = self.new_worker()
        for number, job in enumerate(jobs):
            job = self.finished(job.id)
            self.assertEqual((job.state, job.attempt), (job_pb2.STATE_SUCCEEDED, 2))
            self.assertEqual(self.executions(f"killed-{number}"), 2)

    def test_a_stopped_worker_finishes_what_runs(self):
        job = self.submit("Append", self.append("stopped", then_wait=3))
        until(lambda: self.executions("stopped") == 1, "the start")
        self.assertEqual(self.worker.stop(), 0)
        done = self.get(job.id)
        self.assertEqual((done.state, done.attempt), (job_pb2.STATE_SUCCEEDED, 1))
        type(self).worker = self.new_worker()

    def test_a_worker_that_gives_up_gives_its_claim_back(self):
        self.worker.stop()
        impatient = self.new_worker(QB_WORKER_DRAIN_TIMEOUT="1s", QB_WORKER_LEASE="60s")
        job = self.submit("Append", self.append("impatient", then_wait=20))
        until(lambda: self.executions("impatient") == 1, "the start")
        self.assertEqual(impatient.stop(), 0)
        type(self).worker = self.new_worker()
        done = self.finished(job.id)
        self.assertEqual((done.state, done.attempt), (job_pb2.STATE_SUCCEEDED, 1))
        self.assertEqual(self.executions("impatient"), 2)

    def test_a_killed_gateways_jobs_are_known_to_another(self):
        gateway = self.new_gateway()
        jobs = self.connect(gateway)
        job = self.submit("Append", self.append("orphan"), jobs=jobs)
        gateway.stop(signal.SIGKILL)
        self.assertEqual(self.finished(job.id).state, job_pb2.STATE_SUCCEEDED)
        self.assertEqual(self.executions("orphan"), 1)

    def test_a_stopped_gateway_loses_no_accepted_call(self):
        gateway = self.new_gateway(QB_DRAIN_TIMEOUT="600s")
        jobs = self.connect(gateway)
        accepted, refused = [], []
        busy = threading.Semaphore(0)

        def caller():
            while True:
                try:
                    accepted.append(self.submit("Append", self.append("drained"), jobs=jobs).id)
                    busy.release()
                except grpc.RpcError as error:
                    refused.append(error.code())
                    return

        waiting = self.submit("Sleep", probe_pb2.SleepRequest(duration=seconds(900)), jobs=jobs)
        answers = []
        waiter = threading.Thread(target=lambda: answers.append(self.get(waiting.id, 300, jobs)))
        callers = [threading.Thread(target=caller) for _ in range(8)]
        for thread in [waiter, *callers]:
            thread.start()
        for _ in range(40):
            busy.acquire()
        # Before the end of the wait, and long before that of the drain.
        self.assertEqual(gateway.stop(patience=200), 0)
        for thread in [waiter, *callers]:
            thread.join(PATIENCE)
        self.assertEqual(set(refused), {grpc.StatusCode.UNAVAILABLE})
        self.assertLess(answers[0].state, job_pb2.STATE_SUCCEEDED, "answered with what there is")
        self.jobs.Cancel(jobs_pb2.CancelRequest(id=waiting.id))
        self.finished(waiting.id)
        for id in accepted:
            self.assertEqual(self.finished(id).state, job_pb2.STATE_SUCCEEDED)
        self.assertGreaterEqual(self.executions("drained"), len(accepted))

    def test_a_stream_is_acknowledged_to_the_end_when_its_gateway_stops(self):
        gateway = self.new_gateway()
        jobs = self.connect(gateway)
        stop = threading.Event()
        acks, ends = [], []

        def submissions():
            yield self.request("Append", self.append("streamed"))
            stop.wait(PATIENCE)

        def read():
            try:
                acks.extend(jobs.SubmitStream(submissions()))
            except grpc.RpcError as error:
                ends.append((error.code().name, reason(error)[0]))

        reader = threading.Thread(target=read)
        reader.start()
        until(lambda: self.executions("streamed") == 1, "the first of the stream to run")
        self.assertEqual(gateway.stop(), 0)
        stop.set()
        reader.join(PATIENCE)
        self.assertEqual(ends, [("UNAVAILABLE", "DRAINING")])

    def test_a_job_past_its_expiry_never_runs(self):
        self.worker.stop()
        job = self.submit("Append", self.append("late"), expire_after=seconds(1))
        until(lambda: self.get(job.id).state == job_pb2.STATE_EXPIRED, "the expiry")
        type(self).worker = self.new_worker()
        until(lambda: self.is_empty(self.queue), "the message to be gone")
        self.assertEqual(self.executions("late"), 0)
        expired = self.get(job.id)
        self.assertEqual(reason(expired.error)[0], "JOB_EXPIRED")
        self.assertEqual(expired.complete_time, expired.expire_time)

    def test_a_job_that_runs_into_its_expiry_is_expired(self):
        request = self.append("overrun", then_wait=600)
        # The handler has to begin in this time.
        job = self.submit("Append", request, expire_after=seconds(20))
        self.assertEqual(self.finished(job.id).state, job_pb2.STATE_EXPIRED)
        self.assertEqual(self.executions("overrun"), 1)

    def test_what_is_not_ours_hurts_no_neighbour(self):
        for body in ["{}", "not base64", "AAAA"]:
            self.sqs.send_message(QueueUrl=self.queue, MessageBody=body)
        job = self.finished(self.submit("Echo").id)
        self.assertEqual(job.state, job_pb2.STATE_SUCCEEDED)

    def test_a_queue_that_is_gone_refuses_and_an_endpoint_that_is_gone_is_unavailable(self):
        routes = f'[{{ methods = "*", queue = "{self.queue}-gone" }}]'
        jobs = self.connect(self.new_gateway(QB_ROUTES=routes))
        self.refused("INTERNAL", "PUBLISH_FAILED", "", self.submit, "Echo", jobs=jobs)
        nowhere = self.connect(self.new_gateway(AWS_ENDPOINT_URL="http://127.0.0.1:9"))
        with self.assertRaises(grpc.RpcError) as raised:
            self.submit("Echo", jobs=nowhere)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.UNAVAILABLE)
        id = self.submit("Echo").id
        with self.assertRaises(grpc.RpcError) as raised:
            nowhere.GetResult(jobs_pb2.GetResultRequest(id=id))
        error = raised.exception
        self.assertEqual((error.code().name, reason(error)[0]), ("UNAVAILABLE", "STORE_UNAVAILABLE"))
