"""Jobs as long-running operations, by Google's client library."""

import grpc
from bridge import Bridge, seconds
from google.api_core import exceptions, operation, operations_v1
from google.api_core.future import polling
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import duration_pb2
from processes import PATIENCE, until
from queuebridge.demo.v1 import probe_pb2
from queuebridge.v1 import executions_pb2, executions_pb2_grpc, job_pb2, jobs_pb2

POLLING = polling.DEFAULT_POLLING.with_delay(initial=0.1, maximum=0.5).with_timeout(PATIENCE)


class Operations(Bridge):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        channel = grpc.insecure_channel(cls.gateway.address)
        cls.addClassCleanup(channel.close)
        cls.operations = operations_pb2_grpc.OperationsStub(channel)
        cls.operations_client = operations_v1.OperationsClient(channel)
        cls.executions_stub = executions_pb2_grpc.ExecutionsStub(channel)

    def name(self, job):
        return f"operations/{job.id}"

    def fetch(self, name):
        return self.operations.GetOperation(operations_pb2.GetOperationRequest(name=name))

    def future(self, job, result_type):
        return operation.from_gapic(
            self.operations_client.get_operation(self.name(job)),
            self.operations_client,
            result_type,
            metadata_type=job_pb2.Job,
            polling=POLLING,
        )

    def test_a_future_has_the_typed_answer(self):
        job = self.submit("Echo", probe_pb2.EchoRequest(payload=b"hello"))
        future = self.future(job, probe_pb2.EchoResponse)
        self.assertEqual(future.result(timeout=PATIENCE).payload, b"hello")
        self.assertTrue(future.done())
        self.assertEqual(future.metadata.state, job_pb2.STATE_SUCCEEDED)
        self.assertEqual(future.metadata.id, job.id)

    def test_progress_is_seen_as_metadata(self):
        job = self.submit("Report", probe_pb2.ReportRequest(steps=40, step=seconds(0.5)))
        future = self.future(job, probe_pb2.ReportResponse)
        seen = set()

        def ended():
            progress = future.metadata.progress
            if future.metadata.HasField("progress"):
                partial = probe_pb2.ReportResponse.FromString(progress.partial_result)
                self.assertEqual(progress.message, f"step {partial.reports}")
                seen.add(progress.fraction)
            return future.done()

        until(ended, "the end")
        self.assertTrue(any(0 < fraction < 1 for fraction in seen), seen)
        self.assertIsNotNone(future.result(timeout=PATIENCE))

    def test_a_failed_job_is_an_exception_of_its_code(self):
        request = probe_pb2.FailRequest(code=9, message="not today")
        future = self.future(self.submit("Fail", request), probe_pb2.EchoResponse)
        with self.assertRaises(exceptions.FailedPrecondition) as raised:
            future.result(timeout=PATIENCE)
        self.assertIn("not today", str(raised.exception))

    def test_a_cancelled_job_is_a_cancelled_future(self):
        job = self.submit("Sleep", probe_pb2.SleepRequest(duration=seconds(60)))
        future = self.future(job, probe_pb2.SleepResponse)
        self.assertTrue(future.cancel())
        with self.assertRaises(exceptions.Cancelled):
            future.result(timeout=PATIENCE)
        self.assertTrue(future.cancelled())

    def test_an_expired_job_is_an_exceeded_deadline(self):
        request = probe_pb2.SleepRequest(duration=seconds(60))
        job = self.submit("Sleep", request, expire_after=seconds(2))
        with self.assertRaises(exceptions.DeadlineExceeded):
            self.future(job, probe_pb2.SleepResponse).result(timeout=PATIENCE)

    def test_wait_returns_when_it_is_done_and_when_the_time_is_over(self):
        job = self.submit("Sleep", probe_pb2.SleepRequest(duration=seconds(20)))
        wait = operations_pb2.WaitOperationRequest(
            name=self.name(job), timeout=duration_pb2.Duration(nanos=200_000_000)
        )
        self.assertFalse(self.operations.WaitOperation(wait).done)
        wait.ClearField("timeout")
        done = self.operations.WaitOperation(wait, timeout=PATIENCE)
        self.assertTrue(done.done)
        self.assertEqual(done.response.TypeName(), "queuebridge.demo.v1.SleepResponse")

    def test_a_deleted_operation_is_not_found(self):
        job = self.submit("Echo", wait=seconds(300))
        delete = operations_pb2.DeleteOperationRequest(name=self.name(job))
        self.operations.DeleteOperation(delete)
        self.refused("NOT_FOUND", "RESULT_PURGED", "", self.fetch, self.name(job))

    def test_names_and_lists_are_refused_precisely(self):
        refused, get = self.refused, self.fetch
        refused("INVALID_ARGUMENT", "INVALID_FIELD", "name", get, "jobs/x")
        refused("INVALID_ARGUMENT", "MALFORMED_JOB_ID", "name", get, "operations/x")
        every = operations_pb2.ListOperationsRequest(name="operations")
        refused("UNIMPLEMENTED", "NOT_LISTED", "", self.operations.ListOperations, every)

    def test_an_execution_is_streamed_to_its_end_and_can_be_taken_up_again(self):
        request = self.request("Sleep", probe_pb2.SleepRequest(duration=seconds(2)))
        stream = self.executions_stub.Execute(request)
        first = next(stream)
        self.assertFalse(first.done)
        stream.cancel()
        wait = executions_pb2.WaitExecutionRequest(name=first.name)
        shown = list(self.executions_stub.WaitExecution(wait))
        self.assertEqual([each.done for each in shown], [False] * (len(shown) - 1) + [True])
        self.assertEqual({each.name for each in shown}, {first.name})
        self.assertTrue(shown[-1].HasField("response"))
        again = list(self.executions_stub.WaitExecution(wait))
        self.assertEqual([each.done for each in again], [True])

    def test_a_refused_execution_is_an_error_of_the_call(self):
        request = jobs_pb2.SubmitRequest(method="nonsense")
        self.refused(
            "INVALID_ARGUMENT",
            "INVALID_FIELD",
            "method",
            lambda: list(self.executions_stub.Execute(request)),
        )
