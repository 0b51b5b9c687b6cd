"""A collector of traces: OTLP by HTTP with Protobuf."""

import http.server
import threading

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

CONSUMER = trace_pb2.Span.SPAN_KIND_CONSUMER


def attributes(of):
    """Its attributes; each has one value."""
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in of.attributes}


class Collector:
    """Keeps the spans that it is sent."""

    def __init__(self):
        collector = self
        self.spans, self.resources, self.errors = [], [], []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.take(self.path, self.headers["content-type"], body)
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                """Says nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def take(self, path, content_type, body):
        if (path, content_type) != ("/v1/traces", "application/x-protobuf"):
            self.errors.append((path, content_type))
        request = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
        for resource_spans in request.resource_spans:
            self.resources.append(attributes(resource_spans.resource))
            for scope_spans in resource_spans.scope_spans:
                self.spans.extend(scope_spans.spans)

    def of(self, trace_id):
        """The spans of a trace that have arrived so far."""
        return [span for span in self.spans if span.trace_id.hex() == trace_id]

    def linking_to(self, trace_id):
        """The spans of other traces that link to one."""
        return [
            span
            for span in self.spans
            if span.trace_id.hex() != trace_id
            and trace_id in {link.trace_id.hex() for link in span.links}
        ]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
