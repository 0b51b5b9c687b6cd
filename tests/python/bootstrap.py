#!/usr/bin/env python3
"""A Lambda runtime of a few lines, which does what its event says: it tests the
model of the Runtime API by hand, without the client that the worker uses."""

import base64
import http.client
import json
import os
import signal
import sys
import threading

API = os.environ["AWS_LAMBDA_RUNTIME_API"]
RUNTIME = "/2018-06-01/runtime"
KIND = "Lambda-Runtime-Function-Error-Type"
BODY = "Lambda-Runtime-Function-Error-Body"


def call(method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(API)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return answer, answer.read()


def stream(path, chunks, failing):
    """Streams an answer whose trailers say that it failed in the middle."""
    connection = http.client.HTTPConnection(API)
    connection.putrequest("POST", path)
    connection.putheader("Transfer-Encoding", "chunked")
    connection.putheader("Lambda-Runtime-Function-Response-Mode", "streaming")
    connection.putheader("Content-Type", "text/plain")
    connection.putheader("Trailer", f"{KIND}, {BODY}")
    connection.endheaders()
    for chunk in chunks:
        connection.send(b"%x\r\n%s\r\n" % (len(chunk), chunk.encode()))
    connection.send(b"0\r\n")
    if failing:
        document = base64.b64encode(b"in the middle").decode()
        connection.send(f"{KIND}: Stream.Broke\r\n{BODY}: {document}\r\n".encode())
    connection.send(b"\r\n")
    return connection.getresponse().status


def serve():
    while True:
        head, event = call("GET", f"{RUNTIME}/invocation/next")
        event = json.loads(event)
        path = f"{RUNTIME}/invocation/{head.headers['Lambda-Runtime-Aws-Request-Id']}"
        match event["do"]:
            case "echo":
                call("POST", f"{path}/response", json.dumps(event))
                again, _ = call("POST", f"{path}/response", "again")
                print("a second answer:", again.status, flush=True)
            case "fail":
                call("POST", f"{path}/error", "why", {KIND: "Handler.Failed"})
            case "stream":
                stream(f"{path}/response", event["chunks"], event["failing"])
            case "answer":
                answer, _ = call("POST", f"{path}/response", b" " * event["bytes"])
                print("an answer:", answer.status, flush=True)
            case "exit":
                os._exit(event["code"])
            case "hang":
                threading.Event().wait()


def register():
    headers = {"Lambda-Extension-Name": "internal"}
    head, _ = call("POST", "/2020-01-01/extension/register", '{"events": []}', headers)
    identity = {"Lambda-Extension-Identifier": head.headers["Lambda-Extension-Identifier"]}
    wait = ("GET", "/2020-01-01/extension/event/next", None, identity)
    threading.Thread(target=call, args=wait, daemon=True).start()


def stop(*_):
    print("told to stop", flush=True)
    if "IGNORE_SIGTERM" not in os.environ:
        os._exit(7)


if os.environ.get("START") == "fail":
    call("POST", f"{RUNTIME}/init/error", "no start", {KIND: "Init.Failed"})
    sys.exit(1)
if os.environ.get("START") == "extension":
    signal.signal(signal.SIGTERM, stop)
    register()
for _ in range(int(os.environ.get("AWS_LAMBDA_MAX_CONCURRENCY", "1")) - 1):
    threading.Thread(target=serve, daemon=True).start()
serve()
