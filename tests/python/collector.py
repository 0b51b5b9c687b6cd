"""A collector of traces: OTLP by HTTP, with Protobuf and JSON, and by gRPC."""

import base64
import gzip
import http.server
import json
import ssl
import threading
from concurrent import futures

import grpc
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

CONSUMER = trace_pb2.Span.SPAN_KIND_CONSUMER
EXPORT = trace_service_pb2.ExportTraceServiceRequest
PROTOBUF = "application/x-protobuf"
JSON = "application/json"


def attributes(of):
    """Its attributes; each has one value."""
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in of.attributes}


def from_json(body):
    """OTLP's JSON has ids in hexadecimal digits, where that of Protobuf has Base64."""

    def ids(value):
        if isinstance(value, list):
            return [ids(item) for item in value]
        if not isinstance(value, dict):
            return value
        names = {"traceId", "spanId", "parentSpanId"}
        encoded = lambda text: base64.b64encode(bytes.fromhex(text)).decode()
        return {
            name: encoded(item) if name in names else ids(item) for name, item in value.items()
        }

    return json_format.ParseDict(ids(json.loads(body)), EXPORT())


class Received:
    """Keeps the spans that it is sent, and how each export came."""

    def __init__(self):
        self.spans, self.resources, self.exports, self.errors = [], [], [], []

    def take(self, request, metadata):
        self.exports.append(metadata)
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


class Collector(Received):
    """By HTTP; over TLS with a certificate for localhost."""

    def __init__(self, signed=None):
        super().__init__()
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(headers["content-length"]))
                if headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                kind = headers["content-type"]
                if self.path != "/v1/traces" or kind not in (PROTOBUF, JSON):
                    collector.errors.append((self.path, kind))
                read = from_json if kind == JSON else EXPORT.FromString
                collector.take(read(body), headers)
                self.send_response(200)
                self.send_header("content-type", kind)
                answer = b"{}" if kind == JSON else b""
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                """Says nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if signed:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(signed.certificate, signed.key)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        host = "https://localhost" if signed else "http://127.0.0.1"
        self.endpoint = f"{host}:{self.server.server_port}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class GrpcCollector(Received):
    """By gRPC; over TLS with a certificate for localhost."""

    def __init__(self, signed=None):
        super().__init__()

        def export(request, context):
            self.take(request, dict(context.invocation_metadata()))
            return trace_service_pb2.ExportTraceServiceResponse()

        method = grpc.unary_unary_rpc_method_handler(
            export,
            request_deserializer=EXPORT.FromString,
            response_serializer=trace_service_pb2.ExportTraceServiceResponse.SerializeToString,
        )
        service = "opentelemetry.proto.collector.trace.v1.TraceService"
        self.server = grpc.server(futures.ThreadPoolExecutor(2))
        handler = grpc.method_handlers_generic_handler(service, {"Export": method})
        self.server.add_generic_rpc_handlers([handler])
        if signed:
            pair = (signed.key.read_bytes(), signed.certificate.read_bytes())
            port = self.server.add_secure_port("localhost:0", grpc.ssl_server_credentials([pair]))
        else:
            port = self.server.add_insecure_port("localhost:0")
        self.server.start()
        self.endpoint = f"{'https' if signed else 'http'}://localhost:{port}"

    def close(self):
        self.server.stop(None).wait()
