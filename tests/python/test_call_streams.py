"""Streams of messages through a queue, and processes that are killed in their middle."""

import queue
import signal

import grpc
from bridge import reason, seconds
from calling import PATIENCE, Calls, Reader, request_id
from processes import until
from queuebridge.demo.v1 import probe_pb2
from queuebridge.v1 import job_pb2, jobs_pb2

MANY = 5_000


def numbers(answers):
    return [answer.number for answer in answers]


def up_to(last):
    return list(range(1, last + 1))


def count(last, pause=0.0):
    return probe_pb2.CountRequest(up_to=last, pause=seconds(pause))


class Open:
    """A stream of requests that stays open until `close`."""

    def __init__(self, *requests):
        self.requests = queue.SimpleQueue()
        for request in requests:
            self.requests.put(request)
        self.close = lambda: self.requests.put(None)

    def __iter__(self):
        return iter(self.requests.get, None)


class Streams(Calls):
    def running(self, place, last, pause, id):
        """A stream in its middle, and its job."""
        request = count(last, pause)
        call = place.probe.Count(request, timeout=PATIENCE, metadata=[request_id(id)])
        reader = Reader(call)
        until(lambda: len(reader.answers) >= 10 or reader.error, "the first answers")
        return reader, self.job("Count", request, id)

    def replace_worker(self):
        self.worker.stop(signal.SIGKILL)
        type(self).worker = self.new_worker()

    def read(self, id, start, attempt=b""):
        request = jobs_pb2.ReadStreamRequest(id=id, attempt=attempt, **{"from": start})
        answers = list(self.there.jobs.ReadStream(request, timeout=PATIENCE))
        values = [probe_pb2.CountResponse.FromString(answer.message) for answer in answers]
        self.assertEqual(numbers(answers), list(range(start, start + len(answers))))
        return numbers(values)

    def test_thousands_of_messages_come_in_order_and_can_be_read_again(self):
        request, metadata = count(MANY), [request_id("many")]
        answers = self.here.probe.Count(request, timeout=PATIENCE, metadata=metadata)
        self.assertEqual(numbers(answers), up_to(MANY))
        id = self.job("Count", request, "many").id
        self.assertEqual(self.read(id, MANY - 5), up_to(MANY)[-5:])

    def test_the_first_message_comes_long_before_the_handler_ends(self):
        # A handler of two hours; ten messages are seen, and then nobody wants the rest.
        reader, job = self.running(self.here, 72_000, 0.1, "first")
        self.assertEqual(self.get(job.id, jobs=self.there.jobs).state, job_pb2.STATE_RUNNING)
        reader.call.cancel()
        self.assertEqual(reader.end()[1].code(), grpc.StatusCode.CANCELLED)
        self.assertEqual(self.finished(job.id).state, job_pb2.STATE_CANCELLED)

    def test_a_conversation_goes_back_and_forth(self):
        said = Open()
        self.addCleanup(said.close)
        answers = self.here.probe.Chat(iter(said), timeout=PATIENCE)
        for number in range(1, 6):
            said.requests.put(probe_pb2.ChatRequest(payload=bytes([number])))
            answer = next(answers)
            self.assertEqual((answer.number, answer.payload), (number, bytes([number])))
        said.close()
        self.assertEqual(list(answers), [])

    def test_a_worker_killed_in_the_middle_of_a_stream_ends_it_with_aborted(self):
        reader, _ = self.running(self.here, 600, 0.02, "broken")
        self.replace_worker()
        answers, error = reader.end()
        self.assertIsNotNone(error, "the stream was whole")
        self.assertEqual((error.code().name, reason(error)[0]), ("ABORTED", "STREAM_RETRIED"))
        self.assertEqual(numbers(answers), up_to(len(answers)), "of one attempt")

    def test_where_attempts_are_alike_the_stream_goes_on(self):
        place = self.place(self.route(calls="deterministic = true"))
        reader, job = self.running(place, 600, 0.02, "alike")
        self.replace_worker()
        answers, error = reader.end()
        self.assertIsNone(error)
        self.assertEqual(numbers(answers), up_to(600), "no gap and no repeat")
        self.assertEqual(self.finished(job.id).attempt, 2)

    def test_a_stream_is_read_on_at_another_gateway_when_the_first_is_killed(self):
        doomed = self.place()
        reader, job = self.running(doomed, 600, 0.02, "moved")
        doomed.gateway.stop(signal.SIGKILL)
        answers, error = reader.end()
        self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
        rest = self.read(job.id, len(answers))
        self.assertEqual(numbers(answers) + rest, up_to(600))
        self.assertEqual(self.finished(job.id).attempt, 1)


class Requests(Calls):
    """Requests that stay open while their handler runs."""

    def started(self, place):
        """A call whose request is open, and its job, which runs."""
        self.worker.stop()
        said = Open(*(probe_pb2.SumRequest(number=number) for number in range(3)))
        self.addCleanup(said.close)
        call = place.probe.Sum.future(iter(said), timeout=2 * PATIENCE)

        def message():
            peek = {"MessageAttributeNames": ["All"], "VisibilityTimeout": 0}
            return self.sqs.receive_message(QueueUrl=self.queue, **peek).get("Messages")

        [message] = until(message, "the job")
        id = message["MessageAttributes"]["qb-job"]["StringValue"]
        type(self).worker = self.new_worker()
        until(lambda: self.get(id).state == job_pb2.STATE_RUNNING, "the handler")
        return said, call, id

    def test_what_comes_later_is_part_of_the_request_also_after_the_worker_was_killed(self):
        said, call, id = self.started(self.here)
        said.requests.put(probe_pb2.SumRequest(number=100))
        self.worker.stop(signal.SIGKILL)
        said.requests.put(probe_pb2.SumRequest(number=1000))
        type(self).worker = self.new_worker()
        said.close()
        # In the mode sync nothing is retried that a handler says, but a lost worker is.
        answer = call.result(PATIENCE)
        self.assertEqual((answer.sum, answer.numbers), (1103, 5))
        self.assertEqual(self.finished(id).attempt, 2)

    def test_a_request_that_its_caller_breaks_off_is_never_taken_for_whole(self):
        _, call, id = self.started(self.here)
        call.cancel()
        self.assertEqual(self.finished(id).state, job_pb2.STATE_CANCELLED)

    def test_a_request_whose_gateway_is_killed_is_never_taken_for_whole(self):
        doomed = self.place()
        _, call, id = self.started(doomed)
        doomed.gateway.stop(signal.SIGKILL)
        self.assertEqual(call.exception(PATIENCE).code(), grpc.StatusCode.UNAVAILABLE)
        # Only its silence tells a worker that a gateway is gone.
        self.assertEqual(self.finished(id).state, job_pb2.STATE_CANCELLED)
        said = self.worker.logged("the gateway of an open stream is gone")
        self.assertEqual(said["job"], id)
