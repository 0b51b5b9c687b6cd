"""Makes a thumbnail through the bridge.

    python3 tests/python/thumbnail.py ADDRESS PICTURE THUMBNAIL
"""

import sys

import stubs  # noqa: F401 (makes the generated modules importable)
import grpc
from google.protobuf import duration_pb2
from queuebridge.demo.v1 import images_pb2
from queuebridge.v1 import jobs_pb2, jobs_pb2_grpc


def call(channel, method, request, response_type):
    """Submits one call, waits for its answer, and returns it as a message."""
    jobs = jobs_pb2_grpc.JobsStub(channel)
    job = jobs.Submit(jobs_pb2.SubmitRequest(method=method, request=request.SerializeToString()))
    while not job.HasField("response") and not job.HasField("error"):
        wait = duration_pb2.Duration(seconds=20)
        job = jobs.GetResult(jobs_pb2.GetResultRequest(id=job.id, wait=wait))
    if job.HasField("error"):
        raise RuntimeError(f"{job.error.code}: {job.error.message}")
    return response_type.FromString(job.response.message)


def main(address, picture, thumbnail):
    with open(picture, "rb") as file:
        request = images_pb2.ThumbnailRequest(image=file.read(), max_edge=128)
    method = "/queuebridge.demo.v1.Images/Thumbnail"
    with grpc.insecure_channel(address) as channel:
        answer = call(channel, method, request, images_pb2.ThumbnailResponse)
    with open(thumbnail, "wb") as file:
        file.write(answer.image)
    print(f"{thumbnail}: {answer.width} x {answer.height}")


if __name__ == "__main__":
    main(*sys.argv[1:])
