"""A gRPC server that nobody here wrote the messages of: parts of Google Cloud Pub/Sub,
and IAM's policies, which its reflection tells."""

import inspect
import re
from concurrent.futures import ThreadPoolExecutor

import grpc
from google import pubsub_v1
from google.iam.v1 import iam_policy_pb2, iam_policy_pb2_grpc, policy_pb2
from google.protobuf import empty_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

IAM = iam_policy_pb2.DESCRIPTOR.services_by_name["IAMPolicy"].full_name


class Policies(iam_policy_pb2_grpc.IAMPolicyServicer):
    def GetIamPolicy(self, request, context):
        binding = policy_pb2.Binding(role="roles/reader", members=[request.resource])
        return policy_pb2.Policy(version=3, bindings=[binding], etag=b"\x00\xff")


class PubSub:
    """Topics, and a pull that hands out what it is told."""

    def __init__(self):
        self.topics = {}

    def create_topic(self, topic, context):
        self.topics[topic.name] = topic
        context.send_initial_metadata([("x-region", "here")])
        context.set_trailing_metadata([("x-cost-bin", b"\x01\xff")])
        return topic

    def get_topic(self, request, context):
        if request.topic in self.topics:
            return self.topics[request.topic]
        status = status_pb2.Status(code=5, message="no such topic")
        status.details.add().Pack(error_details_pb2.ResourceInfo(resource_name=request.topic))
        context.abort_with_status(rpc_status.to_status(status))

    def list_topics(self, request, context):
        return pubsub_v1.ListTopicsResponse(topics=list(self.topics.values()))

    def delete_topic(self, request, context):
        del self.topics[request.topic]
        return empty_pb2.Empty()

    def streaming_pull(self, requests, context):
        for request in requests:
            for id in request.ack_ids or [request.subscription]:
                message = pubsub_v1.PubsubMessage(data=id.encode())
                received = pubsub_v1.ReceivedMessage(ack_id=id, message=message)
                yield pubsub_v1.StreamingPullResponse(received_messages=[received])


def unary(function, request, response=None):
    encode = response.serialize if response else empty_pb2.Empty.SerializeToString
    return grpc.unary_unary_rpc_method_handler(function, request.deserialize, encode)


def start():
    """The server and its port."""
    server = grpc.server(ThreadPoolExecutor(16))
    pubsub = PubSub()
    publisher = {
        "CreateTopic": unary(pubsub.create_topic, pubsub_v1.Topic, pubsub_v1.Topic),
        "GetTopic": unary(pubsub.get_topic, pubsub_v1.GetTopicRequest, pubsub_v1.Topic),
        "ListTopics": unary(
            pubsub.list_topics, pubsub_v1.ListTopicsRequest, pubsub_v1.ListTopicsResponse
        ),
        "DeleteTopic": unary(pubsub.delete_topic, pubsub_v1.DeleteTopicRequest),
    }
    subscriber = {
        "StreamingPull": grpc.stream_stream_rpc_method_handler(
            pubsub.streaming_pull,
            pubsub_v1.StreamingPullRequest.deserialize,
            pubsub_v1.StreamingPullResponse.serialize,
        )
    }
    for name, methods in [("Publisher", publisher), ("Subscriber", subscriber)]:
        handler = grpc.method_handlers_generic_handler(f"google.pubsub.v1.{name}", methods)
        server.add_generic_rpc_handlers([handler])
    iam_policy_pb2_grpc.add_IAMPolicyServicer_to_server(Policies(), server)
    reflection.enable_server_reflection([IAM, reflection.SERVICE_NAME], server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def methods():
    """The path of every method that Pub/Sub's generated clients call, and its kind."""
    calls = re.compile(r'\.((?:unary|stream)_(?:unary|stream))\(\s*"(/[^"]+)"')
    clients = [
        pubsub_v1.PublisherClient,
        pubsub_v1.SubscriberClient,
        pubsub_v1.SchemaServiceClient,
    ]
    sources = [inspect.getsource(client.get_transport_class("grpc")) for client in clients]
    return {path: kind for source in sources for kind, path in calls.findall(source)}
