"""Streams of messages through a queue, and processes that are killed in their middle."""

import queue
import signal

import grpc
from bridge import reason, seconds
from calling import Calls, Reader, request_id
from processes import PATIENCE, until
from queuebridge.demo.v1 import probe_pb2
from queuebridge.v1 import job_pb2, jobs_pb2

MANY = 5_000
# At 20 ms a number: half a minute, so that a stream is in its middle when a process is killed.
LONG = 1_500


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
        place = self.place(self.route(calls='when_abandoned = "cancel"'))
        reader, job = self.running(place, 72_000, 0.1, "first")
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
        reader, _ = self.running(self.here, LONG, 0.02, "broken")
        self.replace_worker()
        answers, error = reader.end()
        self.assertIsNotNone(error, "the stream was whole")
        self.assertEqual((error.code().name, reason(error)[0]), ("ABORTED", "STREAM_RETRIED"))
        self.assertEqual(numbers(answers), up_to(len(answers)), "of one attempt")

    def test_where_attempts_are_alike_the_stream_goes_on(self):
        place = self.place(self.route(calls="deterministic = true"))
        reader, job = self.running(place, LONG, 0.02, "alike")
        self.replace_worker()
        answers, error = reader.end()
        self.assertIsNone(error)
        self.assertEqual(numbers(answers), up_to(LONG), "no gap and no repeat")
        self.assertEqual(self.finished(job.id).attempt, 2)

    def test_a_stream_is_read_on_at_another_gateway_when_the_first_is_killed(self):
        doomed = self.place()
        reader, job = self.running(doomed, LONG, 0.02, "moved")
        doomed.gateway.stop(signal.SIGKILL)
        answers, error = reader.end()
        self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
        rest = self.read(job.id, len(answers))
        self.assertEqual(numbers(answers) + rest, up_to(LONG))
        self.assertEqual(self.finished(job.id).attempt, 1)


    def test_a_large_stream_goes_on_at_once_when_its_gateway_was_killed(self):
        """Its worker waits for a reader, and the next one is as good as the first."""
        said = [probe_pb2.ChatRequest(payload=bytes([number]) * 100_000) for number in range(60)]
        named = {"timeout": PATIENCE, "metadata": [request_id("large")]}
        doomed = self.place()
        first = doomed.probe.Chat(iter(said), **named)
        self.assertEqual(next(first).number, 1)
        doomed.gateway.stop(signal.SIGKILL)
        answers = list(self.there.probe.Chat(iter(said), **named))
        self.assertEqual(numbers(answers), up_to(60))
        self.assertEqual([one.payload for one in answers], [one.payload for one in said])


class Requests(Calls):
    """Requests that stay open while their handler runs."""

    def started(self, *begins):
        """Calls, and their jobs, which run."""
        self.worker.stop()
        calls, ids = [], []

        def new():
            peek = {"MessageAttributeNames": ["All"], "VisibilityTimeout": 0}
            found = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10, **peek)
            found = [each["MessageAttributes"]["qb-job"] for each in found.get("Messages", [])]
            return {each["StringValue"] for each in found}.difference(ids)

        for begin in begins:
            calls.append(begin())
            ids += until(new, "the job")
        type(self).worker = self.new_worker()
        for id in ids:
            until(lambda: self.get(id).state == job_pb2.STATE_RUNNING, "the handler")
        return calls, ids

    def open_sum(self, place):
        """A request that stays open, and how to begin its call."""
        said = Open(*(probe_pb2.SumRequest(number=number) for number in range(3)))
        self.addCleanup(said.close)
        return said, lambda: place.probe.Sum.future(iter(said), timeout=PATIENCE)

    def test_what_comes_later_is_part_of_the_request_also_after_the_worker_was_killed(self):
        said, begin = self.open_sum(self.here)
        [call], [id] = self.started(begin)
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
        [call], [id] = self.started(self.open_sum(self.here)[1])
        call.cancel()
        self.assertEqual(self.finished(id).state, job_pb2.STATE_CANCELLED)

    def test_a_worker_notices_by_its_silence_that_a_gateway_is_gone(self):
        doomed = self.place()
        said = [probe_pb2.ChatRequest(payload=bytes(100_000)) for _ in range(60)]
        named = {"timeout": PATIENCE, "metadata": [request_id("unread")]}
        unread = lambda: doomed.probe.Chat(iter(said), **named)
        calls, [open_one, unread] = self.started(self.open_sum(doomed)[1], unread)
        doomed.gateway.stop(signal.SIGKILL)
        for call in calls:
            self.assertEqual(call.exception(PATIENCE).code(), grpc.StatusCode.UNAVAILABLE)
        # A request without an end is never taken for whole, and an answer that nobody
        # reads is held back no longer.
        self.assertEqual(self.finished(open_one).state, job_pb2.STATE_CANCELLED)
        self.assertEqual(self.finished(unread).state, job_pb2.STATE_SUCCEEDED)
