"""Calls of the demo's methods through a gateway, each with its own stub: an answer is always
of the called method's type."""

import stubs
import grpc
from processes import PATIENCE
from queuebridge.demo.v1 import images_pb2, images_pb2_grpc, probe_pb2, probe_pb2_grpc


def check_each(test, address):
    """Asserts that each method answers as it does when it is called directly."""
    with grpc.insecure_channel(address) as channel:
        check_images(test, images_pb2_grpc.ImagesStub(channel))
        check_probe(test, probe_pb2_grpc.ProbeStub(channel))


def check_images(test, images):
    picture = (stubs.ROOT / "tests/fixtures/shapes.png").read_bytes()
    small = images.Thumbnail(images_pb2.ThumbnailRequest(image=picture), timeout=PATIENCE)
    test.assertEqual((small.width, small.height), (256, 192))
    about = images.Describe(images_pb2.DescribeRequest(image=picture), timeout=PATIENCE)
    test.assertGreater(len(about.dominant_colours), 1)
    how = images.Assess(images_pb2.AssessRequest(image=picture), timeout=PATIENCE)
    test.assertGreater(how.contrast, 0)
    whole = images.Analyze(images_pb2.AnalyzeRequest(image=picture), timeout=PATIENCE)
    parts = images_pb2.AnalyzeResponse(thumbnail=small, description=about, assessment=how)
    test.assertEqual(whole, parts)


def check_probe(test, probe):
    echoed = probe.Echo(probe_pb2.EchoRequest(payload=b"hello"), timeout=PATIENCE)
    test.assertEqual(echoed.payload, b"hello")
    with test.assertRaises(grpc.RpcError) as failed:
        probe.Fail(probe_pb2.FailRequest(code=5, message="none"), timeout=PATIENCE)
    test.assertEqual(failed.exception.code(), grpc.StatusCode.NOT_FOUND)
