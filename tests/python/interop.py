"""The published interoperability cases of gRPC, as a Python client drives them.

    python interop.py HOST:PORT [case ...]

The names are those of the published descriptions; `half_duplex` is a feature that
they describe without a case. Each case is a function of a `Client`, which raises
when it fails, and may return what a client in Python cannot see of it.
"""

import queue
import sys
import time

import stubs  # noqa: F401 (makes the generated modules importable)
import grpc
from grpc.testing import empty_pb2, messages_pb2, test_pb2_grpc

# All calls of a case together: ends what hangs.
SECONDS = 300
REQUEST, RESPONSE = 271828, 314159
STREAM = [(27182, 31415), (8, 9), (1828, 2653), (45904, 58979)]
INITIAL = ("x-grpc-test-echo-initial", "test_initial_metadata_value")
TRAILING = ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab")
SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"
CASES = {}


class Client:
    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)
        self.service = test_pb2_grpc.TestServiceStub(self.channel)
        self.deadline = time.monotonic() + SECONDS

    @property
    def left(self):
        return max(self.deadline - time.monotonic(), 0.001)

    def unary(self, request, **named):
        return self.service.UnaryCall.with_call(request, timeout=self.left, **named)

    def connect(self, patience=SECONDS):
        grpc.channel_ready_future(self.channel).result(patience)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()


def case(function):
    CASES[function.__name__] = function
    return function


def equal(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: {found!r} instead of {expected!r}")


def ends(code, call, *arguments, details=None):
    """The call ends with this code, and with this message if one is given."""
    try:
        call(*arguments)
    except grpc.RpcError as error:
        equal((error.code(), error.details()), (code, details or error.details()), "status")
    else:
        raise AssertionError(f"OK instead of {code}")


def zeros(size):
    return messages_pb2.Payload(body=bytes(size))


def large(**fields):
    return messages_pb2.SimpleRequest(response_size=RESPONSE, payload=zeros(REQUEST), **fields)


def wants(*sizes, body=0, **fields):
    parameters = [messages_pb2.ResponseParameters(size=size) for size in sizes]
    return messages_pb2.StreamingOutputCallRequest(
        response_parameters=parameters, payload=zeros(body), **fields
    )


def bodies(answers):
    return [answer.payload.body for answer in answers]


def flag(value):
    return messages_pb2.BoolValue(value=value)


@case
def empty_unary(client):
    answer = client.service.EmptyCall(empty_pb2.Empty(), timeout=client.left)
    equal(answer, empty_pb2.Empty(), "answer")


@case
def large_unary(client):
    answer, _ = client.unary(large())
    equal(answer, messages_pb2.SimpleResponse(payload=zeros(RESPONSE)), "answer")


@case
def client_compressed_unary(client):
    gzip, plain = grpc.Compression.Gzip, grpc.Compression.NoCompression
    probe = large(expect_compressed=flag(True))
    ends(grpc.StatusCode.INVALID_ARGUMENT, lambda: client.unary(probe, compression=plain))
    for compression, expected in [(gzip, True), (plain, False)]:
        request = large(expect_compressed=flag(expected))
        answer, _ = client.unary(request, compression=compression)
        equal(answer.payload, zeros(RESPONSE), "payload")
    return "only the server sees what was compressed, and says so in the first call"


@case
def server_compressed_unary(client):
    for compressed in [True, False]:
        answer, _ = client.unary(large(response_compressed=flag(compressed)))
        equal(answer.payload, zeros(RESPONSE), "payload")
    return "the flag of a compressed message is not shown to a client in Python"


@case
def client_streaming(client):
    requests = (messages_pb2.StreamingInputCallRequest(payload=zeros(size)) for size, _ in STREAM)
    answer = client.service.StreamingInputCall(requests, timeout=client.left)
    equal(answer.aggregated_payload_size, 74922, "aggregated_payload_size")


@case
def server_streaming(client):
    sizes = [size for _, size in STREAM]
    answers = client.service.StreamingOutputCall(wants(*sizes), timeout=client.left)
    equal(bodies(answers), [bytes(size) for size in sizes], "bodies")


@case
def ping_pong(client):
    requests = queue.SimpleQueue()
    answers = client.service.FullDuplexCall(iter(requests.get, None), timeout=client.left)
    try:
        for body, size in STREAM:
            requests.put(wants(size, body=body))
            equal(next(answers).payload, zeros(size), "payload")
    finally:
        requests.put(None)
    equal(bodies(answers), [], "bodies after the last request")


@case
def half_duplex(client):
    requests = (wants(size, body=body) for body, size in STREAM)
    answers = client.service.HalfDuplexCall(requests, timeout=client.left)
    equal(bodies(answers), [bytes(size) for _, size in STREAM], "bodies")


@case
def empty_stream(client):
    answers = client.service.FullDuplexCall(iter(()), timeout=client.left)
    equal(bodies(answers), [], "bodies")


@case
def custom_metadata(client):
    metadata = [INITIAL, TRAILING]
    _, unary = client.unary(large(), metadata=metadata)
    requests = iter([wants(RESPONSE, body=REQUEST)])
    stream = client.service.FullDuplexCall(requests, timeout=client.left, metadata=metadata)
    equal(bodies(stream), [bytes(RESPONSE)], "bodies")
    for kind, call in [("unary", unary), ("full duplex", stream)]:
        found = [pair for pair in call.initial_metadata() if pair[0] in dict(metadata)]
        equal(found, [INITIAL], f"initial metadata, {kind}")
        found = [pair for pair in call.trailing_metadata() if pair[0] in dict(metadata)]
        equal(found, [TRAILING], f"trailing metadata, {kind}")


@case
def status_code_and_message(client):
    message = "test status message"
    status = messages_pb2.EchoStatus(code=2, message=message)
    request = messages_pb2.SimpleRequest(response_status=status)
    ends(grpc.StatusCode.UNKNOWN, client.unary, request, details=message)
    requests = iter([wants(response_status=status)])
    answers = client.service.FullDuplexCall(requests, timeout=client.left)
    ends(grpc.StatusCode.UNKNOWN, list, answers, details=message)


@case
def special_status_message(client):
    status = messages_pb2.EchoStatus(code=2, message=SPECIAL)
    request = messages_pb2.SimpleRequest(response_status=status)
    ends(grpc.StatusCode.UNKNOWN, client.unary, request, details=SPECIAL)


@case
def unimplemented_method(client):
    call = client.service.UnimplementedCall
    ends(grpc.StatusCode.UNIMPLEMENTED, lambda: call(empty_pb2.Empty(), timeout=client.left))


@case
def unimplemented_service(client):
    call = test_pb2_grpc.UnimplementedServiceStub(client.channel).UnimplementedCall
    ends(grpc.StatusCode.UNIMPLEMENTED, lambda: call(empty_pb2.Empty(), timeout=client.left))


@case
def cancel_after_begin(client):
    client.connect()
    requests = queue.SimpleQueue()
    call = client.service.StreamingInputCall.future(iter(requests.get, None), timeout=client.left)
    try:
        call.cancel()
        equal((call.cancelled(), call.code()), (True, grpc.StatusCode.CANCELLED), "status")
    finally:
        requests.put(None)


@case
def cancel_after_first_response(client):
    requests = queue.SimpleQueue()
    body, size = STREAM[0]
    requests.put(wants(size, body=body))
    answers = client.service.FullDuplexCall(iter(requests.get, None), timeout=client.left)
    try:
        equal(next(answers).payload, zeros(size), "payload")
        answers.cancel()
        ends(grpc.StatusCode.CANCELLED, list, answers)
    finally:
        requests.put(None)


@case
def timeout_on_sleeping_server(client):
    client.connect()
    silent = wants(body=27182)
    # The published call, which hardly leaves the client, and one that reaches a sleeper.
    sleeping = wants(9)
    sleeping.response_parameters[0].interval_us = SECONDS * 1_000_000
    for request, timeout in [(silent, 0.001), (sleeping, 0.5)]:
        requests = queue.SimpleQueue()
        requests.put(request)
        answers = client.service.FullDuplexCall(iter(requests.get, None), timeout=timeout)
        try:
            ends(grpc.StatusCode.DEADLINE_EXCEEDED, list, answers)
        finally:
            requests.put(None)


def main(address, *names):
    """Prints a line for each case, and returns how many have failed."""
    failed = 0
    for name in names or CASES:
        with Client(address) as client:
            try:
                ok, why = "ok", CASES[name](client) or ""
            except (AssertionError, grpc.RpcError, grpc.FutureTimeoutError) as error:
                ok, why = "FAILED", said(error)
                failed += 1
        print(f"{name:28} {ok:7} {why}".rstrip(), flush=True)
    return failed


def said(error):
    """An error in one short line."""
    if isinstance(error, grpc.RpcError):
        return f"{error.code().name}: {error.details()}"
    return f"{error!r}"[:200]


if __name__ == "__main__":
    if len(sys.argv) < 2 or not set(sys.argv[2:]) <= CASES.keys():
        raise SystemExit(f"usage: interop.py HOST:PORT [case ...]\ncases: {' '.join(CASES)}")
    raise SystemExit(1 if main(*sys.argv[1:]) else 0)
