"""An event source mapping as AWS documents it, between a queue and functions.

The emulator has one of its own, which is used where it does (`test_mapping`
says where). This one is a model of the rest: batches above ten and their
window, the 6 MB of an event, an invalid answer that fails the whole batch, and
concurrency by message group.
"""

import base64
import json
import queue
import threading
import time

MAX_EVENT_BYTES = 6 * 1024 * 1024


def failed(event, answer):
    """The ids of an event's records that its answer leaves in the queue."""
    ids = [record["messageId"] for record in event["Records"]]
    if isinstance(answer, dict) and "errorMessage" in answer:
        return ids
    if answer is None:
        return []
    if not isinstance(answer, dict):
        return ids
    listed = answer.get("batchItemFailures") or []
    try:
        named = [failure["itemIdentifier"] for failure in listed]
    except (KeyError, TypeError):
        return ids
    return named if all(name in ids for name in named) else ids


def record(message, arn):
    """A received message as a record of an event."""

    def attribute(value):
        known = {"dataType": value["DataType"], "stringListValues": [], "binaryListValues": []}
        if "StringValue" in value:
            known["stringValue"] = value["StringValue"]
        if "BinaryValue" in value:
            known["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
        return known

    attributes = message.get("MessageAttributes", {})
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {name: attribute(value) for name, value in attributes.items()},
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
        "awsRegion": "us-east-1",
    }


def fitting(records):
    """How many of these records an event can hold."""
    size = len('{"Records": []}')
    for count, one in enumerate(records):
        size += len(json.dumps(one)) + 2
        if size > MAX_EVENT_BYTES:
            return count
    return len(records)


class EventSource:
    """Runs until it is stopped. Each of `functions` takes an event and returns its
    answer: one execution environment each, with one invocation at a time."""

    def __init__(self, sqs, url, functions, batch_size=10, window=0, function_timeout=30):
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        ordered = url.endswith(".fifo")
        if ordered and (batch_size > 10 or window):
            raise ValueError("an ordered queue has batches of at most 10 and no window")
        if batch_size > 10 and window < 1:
            raise ValueError("batches above 10 need a window of at least 1 s")
        if int(attributes["VisibilityTimeout"]) < function_timeout:
            raise ValueError("the function's time-out is longer than the visibility time-out")
        self.sqs, self.url, self.arn = sqs, url, attributes["QueueArn"]
        self.batch_size, self.window = batch_size, window
        self.batches = []
        self.stopping = threading.Event()
        self.free = queue.SimpleQueue()
        for function in functions:
            self.free.put(function)
        self.thread = threading.Thread(target=self.poll, daemon=True)
        self.thread.start()

    def stop(self):
        self.stopping.set()
        self.thread.join()

    def poll(self):
        waiting = []
        while not self.stopping.is_set():
            try:
                function = self.free.get(timeout=0.1)
            except queue.Empty:
                continue
            records, waiting = self.gather(waiting)
            if records:
                arguments = (function, {"Records": records})
                threading.Thread(target=self.invoke, args=arguments, daemon=True).start()
            else:
                self.free.put(function)

    def gather(self, waiting):
        """The records of an event, which is full or as it is when the window
        closes, and those received that did not fit. The window opens with the
        first record."""
        closes = time.monotonic() + self.window if waiting else None
        while len(waiting) < self.batch_size and not self.stopping.is_set():
            answer = self.sqs.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=min(10, self.batch_size - len(waiting)),
                WaitTimeSeconds=0 if waiting else 1,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
            received = answer.get("Messages", [])
            waiting = waiting + [record(message, self.arn) for message in received]
            if fitting(waiting) < len(waiting):
                break
            if waiting and closes is None:
                closes = time.monotonic() + self.window
            if not waiting or time.monotonic() >= closes:
                break
            if not received:
                self.stopping.wait(0.05)
        count = fitting(waiting)
        return waiting[:count], waiting[count:]

    def invoke(self, function, event):
        try:
            answer = function(event)
        except (OSError, ValueError):
            answer = {"errorMessage": "the invocation failed"}
        finally:
            self.free.put(function)
        left = set(failed(event, answer))
        done = [one for one in event["Records"] if one["messageId"] not in left]
        self.batches.append((event, answer))
        for start in range(0, len(done), 10):
            self.sqs.delete_message_batch(
                QueueUrl=self.url,
                Entries=[
                    {"Id": str(index), "ReceiptHandle": one["receiptHandle"]}
                    for index, one in enumerate(done[start : start + 10])
                ],
            )
