"""Callers who mean harm: while they do, honest calls succeed and the gateway's memory is
bounded."""

import resource
import select
import socket
import struct
import threading
import time

import stubs  # noqa: F401
import grpc
import http2
from bridge import Bridge, reason, seconds
from grpc_health.v1 import health_pb2, health_pb2_grpc
from http2 import Connection, frame
from processes import PATIENCE, until
from queuebridge.demo.v1 import probe_pb2
from queuebridge.v1 import job_pb2, jobs_pb2, jobs_pb2_grpc
from test_tls import Secured

MIB = 1 << 20
SUBMIT = "/queuebridge.v1.Jobs/Submit"
SUBMIT_STREAM = "/queuebridge.v1.Jobs/SubmitStream"
GET = "/queuebridge.v1.Jobs/GetResult"
WATCH, CHECK = "/grpc.health.v1.Health/Watch", "/grpc.health.v1.Health/Check"


def closed(connection):
    """Reads until the other side ends it; when it does not, the time-out of the socket is
    the failure."""
    try:
        while connection.recv(1 << 16):
            pass
    except ConnectionError:
        pass


def answer(connection):
    """What the other side has said when it ends it."""
    said = b""
    try:
        while piece := connection.recv(1 << 16):
            said += piece
    except ConnectionError:
        pass
    return said


class Abuse(Secured):
    """What the gateway holds is compared with what it held before."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        # As many systems begin: the gateway takes for itself what it needs.
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, most))
        cls.target = cls.new_gateway(
            QB_LIMITS_HANDSHAKE_TIMEOUT="10s",
            QB_LIMITS_CONNECTIONS="11000",
            QB_LIMITS_CONNECTIONS_PER_ADDRESS="10500",
        )
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def setUp(self):
        self.stop = threading.Event()
        self.honest, self.failed, self.slowest = 0, [], 0
        self.thread = threading.Thread(target=self._call)
        self._call_once()
        self.before = self.resident()
        self.most = self.before
        self.thread.start()
        self.addCleanup(self.thread.join)
        self.addCleanup(self.stop.set)

    def _call_once(self):
        """Over a new connection, from another address than that of the others."""
        request = self.request("Echo", probe_pb2.EchoRequest(), wait=seconds(300))
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(self.target.address, options) as channel:
            job = jobs_pb2_grpc.JobsStub(channel).Submit(request, timeout=PATIENCE)
        if job.state != job_pb2.STATE_SUCCEEDED:
            raise AssertionError(job)

    def _call(self):
        while not self.stop.is_set():
            begun = time.monotonic()
            try:
                self._call_once()
                self.honest += 1
            except (grpc.RpcError, AssertionError) as error:
                self.failed.append(error)
            self.slowest = max(self.slowest, time.monotonic() - begun)
            self.most = max(self.most, self.resident())

    def resident(self):
        with open(f"/proc/{self.target.process.pid}/status") as status:
            line = next(line for line in status if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def survived(self, mib):
        """Honest calls go on and have gone on, and no more memory than that was taken."""
        before = self.honest
        until(lambda: self.failed or self.honest >= before + 3, "honest calls")
        self.stop.set()
        self.thread.join()
        self.assertEqual(self.failed, [])
        self.assertIsNone(self.target.process.poll())
        grown = (self.most - self.before) / MIB
        print(f"{self.id()}: {self.honest} calls, slowest {self.slowest:.2f} s, {grown:+.0f} MiB")
        self.assertLess(grown, mib)

    def connection(self, **options):
        connection = Connection(self.target.address, **options)
        self.addCleanup(connection.close)
        return connection

    def plain(self):
        host, port = self.target.address.rsplit(":", 1)
        connection = socket.create_connection((host, int(port)), PATIENCE, ("127.0.0.2", 0))
        self.addCleanup(connection.close)
        return connection

    def test_connections_that_say_nothing_or_begin_no_request(self):
        silent = [self.plain() for _ in range(300)]
        begun = [self.plain() for _ in range(300)]
        for connection in begun:
            connection.send(http2.PREFACE[:10])
        for connection in silent + begun:
            closed(connection)
        self.survived(64)

    def test_headers_of_http_1_that_come_a_byte_at_a_time(self):
        slow = [self.plain() for _ in range(100)]
        for connection in slow:
            connection.send(b"POST /queuebridge.v1.Jobs/Submit HTTP/1.1\r\n")
        stop = threading.Event()

        def drip():
            while not stop.wait(1):
                for connection in slow:
                    try:
                        connection.send(b"a")
                    except OSError:
                        pass

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            for connection in slow:
                closed(connection)
        finally:
            stop.set()
            dripping.join()
        self.survived(64)

    def test_calls_that_are_reset_as_soon_as_they_begin(self):
        head = http2.call(SUBMIT)
        codes = []
        for _ in range(20):
            connection = self.connection()
            reset = struct.pack(">I", 8)

            def burst(stream):
                begin = frame(http2.HEADERS, http2.END_HEADERS, stream, head)
                return begin + frame(http2.RST_STREAM, 0, stream, reset)

            try:
                connection.send(b"".join(burst(2 * n + 1) for n in range(20_000)))
            except OSError:
                pass
            codes.append(connection.ended())
        self.assertIn(http2.ENHANCE_YOUR_CALM, codes)
        self.survived(64)

    def test_headers_that_do_not_end(self):
        more = http2.header("x-more", "y" * 100) * 100
        for end in range(20):
            connection = self.connection()
            head = frame(http2.HEADERS, 0, 1, http2.call(SUBMIT))
            connection.send(head)
            flood = frame(http2.CONTINUATION, 0, 1, more if end % 2 else b"")
            sent = connection.send_all_that_is_taken(flood, 64 * MIB, 30)
            self.assertLess(sent, 64 * MIB, "it is cut off")
        self.survived(64)

    def test_headers_that_are_too_large(self):
        connection = self.connection()
        head = http2.call(GET) + http2.header("x-more", "y" * 100) * 300
        connection.send(frame(http2.HEADERS, 0, 1, head[:16384]))
        connection.send(frame(http2.CONTINUATION, http2.END_HEADERS, 1, head[16384:]))
        metadata = [("x-more", "y" * 40_000)]
        with grpc.insecure_channel(self.target.address) as channel:
            jobs = jobs_pb2_grpc.JobsStub(channel)
            with self.assertRaises(grpc.RpcError) as raised:
                jobs.GetResult(jobs_pb2.GetResultRequest(id="x"), metadata=metadata, timeout=PATIENCE)
            self.assertNotEqual(raised.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
            fits = [("x-more", "y" * 8_000)]
            with self.assertRaises(grpc.RpcError) as raised:
                jobs.GetResult(jobs_pb2.GetResultRequest(id="x"), metadata=fits, timeout=PATIENCE)
            self.assertEqual(raised.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.survived(64)

    def test_floods_whose_answers_nobody_reads(self):
        for kind, payload in [(http2.PING, b"12345678"), (http2.SETTINGS, b"")]:
            for _ in range(5):
                connection = self.connection(receive_buffer=4096)
                connection.send_all_that_is_taken(frame(kind, payload=payload) * 1000, 64 * MIB)
        self.survived(64)

    def test_data_without_content(self):
        connection = self.connection()
        connection.send(frame(http2.HEADERS, http2.END_HEADERS, 1, http2.call(SUBMIT)))
        empty = frame(http2.DATA, 0, 1) * 1000
        sent = connection.send_all_that_is_taken(empty, 256 * MIB, 30)
        self.assertLess(sent, 256 * MIB, "it is cut off")
        self.survived(64)

    def test_messages_that_do_not_end(self):
        begun = b"\0" + struct.pack(">I", 4 * MIB - 5) + bytes(MIB)
        greedy, late = self.connection(), self.connection()
        # There is room for 64 of them.
        for connection, streams, much in [(greedy, 60, 65536), (late, 100, 16384)]:
            for stream in range(1, 2 * streams, 2):
                connection.send(frame(http2.HEADERS, http2.END_HEADERS, stream, http2.call(SUBMIT)))
                self.assertTrue(connection.send_message(stream, begun[:much]))
        # The others wait for it, and are refused in the end.
        for _ in range(96):
            while late.read_frame()[0] != http2.HEADERS:
                pass
        self.survived(300)

    def test_requests_of_http_1_that_do_not_end(self):
        head = f"POST {SUBMIT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        head += f"content-length: {8 * MIB}\r\n\r\n"
        body = memoryview(head.encode() + b" " * (15 * MIB // 4))
        # Each of them also has a buffer of 16 KiB for what was not read yet.
        left = {self.plain(): body for _ in range(600)}
        # All at once, and of each as much as the gateway takes until it answers and closes.
        answers = []
        refused = lambda answer: b"429 Too Many Requests" in answer.partition(b"\r\n")[0]
        while any(left.values()) or not any(map(refused, answers)):
            self.assertTrue(left, f"no refusal among {set(answers)}")
            unsent = [connection for connection, rest in left.items() if rest]
            readable, writable, _ = select.select(left, unsent, [], PATIENCE)
            self.assertTrue(readable or writable, "neither taken nor answered")
            for connection in readable:
                answers.append(answer(connection))
                del left[connection]
            for connection in set(writable).intersection(left):
                try:
                    left[connection] = left[connection][connection.send(left[connection]) :]
                except ConnectionError:
                    # The answer can be read.
                    pass
        said = next(filter(refused, answers))
        self.assertIn(b"as much work in hand as it may", said)
        self.survived(400)

    def test_messages_that_are_only_announced(self):
        begun = b"\0" + struct.pack(">I", 4 * MIB - 5) + bytes(8000)
        for _ in range(10):
            connection = self.connection()
            for number in range(200):
                stream = 2 * number + 1
                connection.send(frame(http2.HEADERS, http2.END_HEADERS, stream, http2.call(SUBMIT)))
                self.assertTrue(connection.send_message(stream, begun))
        # Of eight GiB there are 16 MiB. Huge pages may make 2 MiB of each that has room.
        self.survived(300)

    def test_answers_that_nobody_takes(self):
        payload = b"x" * 256 * 1024
        job = self.submit("Echo", probe_pb2.EchoRequest(payload=payload))
        job = self.finished(job.id)
        body = http2.message(jobs_pb2.GetResultRequest(id=job.id).SerializeToString())
        for window in [0, 1 << 30]:
            connection = self.connection(first=http2.settings(window=window), receive_buffer=4096)
            for number in range(100):
                stream = 2 * number + 1
                connection.send(frame(http2.HEADERS, http2.END_HEADERS, stream, http2.call(GET)))
                connection.send(frame(http2.DATA, http2.END_STREAM, stream, body))
        # Fifty MiB of answers, all read from the store at once, in copies that are gone after it.
        self.survived(512)

    def large(self):
        """A small request for an answer of 3 MB, under an id that leads to it again."""
        asked = probe_pb2.EchoRequest(response_bytes=3_000_000)
        request = self.request("Echo", asked, request_id=self.id())
        job = self.finished(self.jobs.Submit(request).id)
        self.assertEqual(job.response.size, len(job.response.message))
        return request, job

    def test_a_batch_that_asks_for_a_large_answer_again_and_again(self):
        request, job = self.large()
        batch = jobs_pb2.SubmitBatchRequest(jobs=[request] * 400)
        with grpc.insecure_channel(self.target.address) as channel:
            results = jobs_pb2_grpc.JobsStub(channel).SubmitBatch(batch).results
        answers = [result.job.response for result in results]
        self.assertEqual({answer.size for answer in answers}, {job.response.size})
        self.assertLess(sum(len(answer.message) for answer in answers), 4 * MIB)
        left_out = [answer for answer in answers if not answer.message]
        self.assertEqual({len(answer.sha256) for answer in left_out}, {32})
        self.survived(200)

    def test_a_stream_of_large_answers_that_nobody_takes(self):
        request, _ = self.large()
        connection = self.connection(first=http2.settings(window=0), receive_buffer=4096)
        connection.send(frame(http2.HEADERS, http2.END_HEADERS, 1, http2.call(SUBMIT_STREAM)))
        for _ in range(256):
            connection.send(frame(http2.DATA, 0, 1, http2.message(request.SerializeToString())))
        self.survived(200)

    def test_large_answers_that_nobody_takes(self):
        _, job = self.large()
        body = http2.message(jobs_pb2.GetResultRequest(id=job.id).SerializeToString())
        connections = []
        for _ in range(6):
            connection = self.connection(first=http2.settings(window=0), receive_buffer=4096)
            connections.append(connection)
            for number in range(100):
                stream = 2 * number + 1
                connection.send(frame(http2.HEADERS, http2.END_HEADERS, stream, http2.call(GET)))
                connection.send(frame(http2.DATA, http2.END_STREAM, stream, body))
        # Until each is refused, or has begun with an answer that cannot go on.
        for connection in connections:
            answers = 0
            while answers < 100:
                answers += connection.read_frame()[0] == http2.HEADERS
        # 1,700 MiB of answers, of which there is room for 256, and what is read on the way.
        self.survived(480)

    def test_health_checks_of_callers_who_are_not_known(self):
        def taken_on(path, calls, **options):
            """How many of a connection's calls are not refused at once, and the connection."""
            connection = self.connection(**options)
            head, empty = http2.call(path), http2.message(b"")
            for stream in range(1, 2 * calls, 2):
                begin = frame(http2.HEADERS, http2.END_HEADERS, stream, head)
                connection.send(begin + frame(http2.DATA, http2.END_STREAM, stream, empty))
            heard = refused = 0
            while heard < calls:
                if connection.read_frame()[0] == http2.HEADERS:
                    heard += 1
                    refused += connection.flags & http2.END_STREAM
            return calls - refused, connection

        request = health_pb2.HealthCheckRequest()
        options = [("grpc.use_local_subchannel_pool", 1)]
        channel = grpc.insecure_channel(self.target.address, options)
        self.addCleanup(channel.close)
        honest = health_pb2_grpc.HealthStub(channel)
        check = lambda: honest.Check(request, timeout=PATIENCE).status
        watches = []

        def watch():
            watches.append(honest.Watch(request, timeout=PATIENCE))
            return next(watches[-1]).status

        serving = health_pb2.HealthCheckResponse.SERVING
        crowd = [taken_on(WATCH, 1000) for _ in range(30)]
        self.assertEqual({taken for taken, _ in crowd}, {8})
        crowd += [taken_on(WATCH, 8) for _ in range(110)]
        # 128 have 8 each, and 12 have one.
        self.assertEqual(sum(taken for taken, _ in crowd), 1024 + 12)
        self.assertEqual(check(), serving)
        self.assertEqual(watch(), serving, "each connection has one")
        with self.assertRaises(grpc.RpcError) as raised:
            watch()
        self.assertEqual(raised.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertEqual(reason(raised.exception)[0], "OVERLOADED")
        # Answers to checks that nobody takes, or only their first byte.
        for window in [0, 1]:
            options = {"first": http2.settings(window=window), "receive_buffer": 4096}
            unread = [taken_on(CHECK, 1000, **options) for _ in range(5)]
            self.assertEqual({taken for taken, _ in unread}, {32})
            unread += [taken_on(CHECK, 32, **options) for _ in range(40)]
            self.assertEqual(unread[-1][0], 1, "each connection has one")
            self.assertEqual(check(), serving)
            for _, connection in unread:
                connection.close()
            until(lambda: taken_on(CHECK, 32, **options)[0] == 32, "the places")
        for _, connection in crowd:
            connection.close()

        def has_place():
            try:
                return watch() == serving
            except grpc.RpcError:
                return False

        until(has_place, "a place for a watch")
        self.survived(160)

    def test_ten_thousand_connections_that_do_nothing(self):
        for _ in range(10_000):
            self.connection()
        self.survived(1024)


class SlowHandshakes(Secured):
    def test_they_hold_up_nobody_and_end(self):
        for patience in ["300s", "10s"]:
            gateway = self.secure_gateway(self.server, QB_LIMITS_HANDSHAKE_TIMEOUT=patience)
            host, port = gateway.address.rsplit(":", 1)
            slow = []
            for number in range(500):
                connection = socket.create_connection((host, int(port)), PATIENCE)
                self.addCleanup(connection.close)
                # Some say nothing, others begin a record.
                connection.send(b"\x16\x03\x01"[: number % 4])
                slow.append(connection)
            # With the longer patience all of them are still there.
            self.assertEqual(self.echo(self.channel(gateway), 200), job_pb2.STATE_SUCCEEDED)
        for connection in slow:
            closed(connection)
        self.assertEqual(self.echo(self.channel(gateway)), job_pb2.STATE_SUCCEEDED)


class Crowd(Bridge):
    def test_who_comes_in_too_large_numbers_is_turned_away_and_nobody_else(self):
        gateway = self.new_gateway(QB_LIMITS_CONNECTIONS_PER_ADDRESS="50")
        crowd = [Connection(gateway.address) for _ in range(50)]
        for connection in crowd:
            self.addCleanup(connection.close)
        for _ in range(20):
            try:
                turned_away = Connection(gateway.address)
            except ConnectionError:
                continue
            closed(turned_away.socket)
            turned_away.close()
        said = until(lambda: gateway.logged("connections were refused"), "the warning")
        self.assertEqual(said["limit"], "limits.connections_per_address")
        self.submit("Echo", probe_pb2.EchoRequest(), jobs=self.connect(gateway))
