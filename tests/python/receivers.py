"""Receivers of callbacks, which misbehave on demand."""

import http.server
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
from processes import PATIENCE
from queuebridge.v1 import callback_pb2, callback_pb2_grpc


class Webhook:
    """An HTTP server that keeps what it is sent, and answers as it was told: with a status,
    or with a status, headers, a size, and an event that it waits for."""

    def __init__(self):
        self.received = []
        self.answers = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.received.append((self.path, dict(self.headers), body, time.time()))
                answer = receiver.answers.pop(0) if receiver.answers else 204
                status, headers, size, held = answer if isinstance(answer, tuple) else (answer, {}, 0, None)
                if held:
                    held.wait(PATIENCE)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(size))
                self.end_headers()
                try:
                    for _ in range(size // 65536):
                        self.wfile.write(b"x" * 65536)
                except OSError:
                    pass

            do_GET = do_POST

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def of(self, id):
        """The bodies and headers that came for a job."""
        return [each for each in list(self.received) if each[1].get("webhook-id") == id]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Notified(callback_pb2_grpc.CallbacksServicer):
    """A gRPC receiver, which refuses as often as it was told."""

    def __init__(self):
        self.received = []
        self.refusals = 0
        self.server = grpc.server(ThreadPoolExecutor(4))
        callback_pb2_grpc.add_CallbacksServicer_to_server(self, self.server)
        port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        self.url = f"http://127.0.0.1:{port}"

    def Notify(self, request, context):
        self.received.append((request, dict(context.invocation_metadata())))
        if self.refusals:
            self.refusals -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
        return callback_pb2.NotifyResponse()

    def close(self):
        self.server.stop(0)
