"""Frames of HTTP/2 by hand, for what no client would send."""

import socket
import struct

from processes import PATIENCE

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    0, 1, 3, 4, 6, 7, 8, 9,
)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW_SIZE = 4
ENHANCE_YOUR_CALM = 11


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(**values):
    known = {"window": INITIAL_WINDOW_SIZE}
    pairs = [struct.pack(">HI", known[name], value) for name, value in values.items()]
    return frame(SETTINGS, payload=b"".join(pairs))


def header(name, value):
    """A literal of HPACK that is not remembered."""
    text = lambda text: bytes([len(text)]) + text.encode()
    return b"\0" + text(name) + text(value)


def call(path, **more):
    """The headers of a call in gRPC."""
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost"}
    fields |= {"content-type": "application/grpc", "te": "trailers"}
    fields |= {name.replace("_", "-"): value for name, value in more.items()}
    return b"".join(header(*field) for field in fields.items())


def message(body, flag=0):
    return bytes([flag]) + struct.pack(">I", len(body)) + body


class Connection:
    """A connection that sends what it is told and reads when it is told."""

    def __init__(self, address, source="127.0.0.2", first=settings(), receive_buffer=None):
        host, port = address.rsplit(":", 1)
        self.socket = socket.socket()
        self.window = 65_535
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.bind((source, 0))
        self.socket.settimeout(PATIENCE)
        self.socket.connect((host, int(port)))
        self.send(PREFACE + first)

    def send(self, data):
        self.socket.sendall(data)

    def send_all_that_is_taken(self, data, most, patience=1):
        """Sends again and again until nothing is taken for `patience` seconds, the other side
        ends it, or `most` bytes are sent; returns how many were."""
        self.socket.settimeout(patience)
        sent = 0
        try:
            while sent < most:
                sent += self.socket.send(data)
        except (TimeoutError, OSError):
            pass
        self.socket.settimeout(PATIENCE)
        return sent

    def send_message(self, stream, data):
        """Sends a part of a request as fast as the other side takes it; returns whether it
        was taken to the end, or the call was answered before that."""
        windows = {0: self.window, stream: 65_535}
        while data:
            piece = data[: min(16_384, *windows.values())]
            if piece:
                self.send(frame(DATA, 0, stream, piece))
                data = data[len(piece) :]
                windows = {of: left - len(piece) for of, left in windows.items()}
            else:
                kind, of, payload = self.read_frame()
                if kind == WINDOW_UPDATE and of in windows:
                    windows[of] += int.from_bytes(payload)
                elif kind in (HEADERS, RST_STREAM) and of == stream:
                    return False
            self.window = windows[0]
        return True

    def read_frame(self):
        """The kind of the next frame, its stream, and what it says; its flags are `flags`."""
        head = self._read(9)
        self.flags = head[4]
        return head[3], int.from_bytes(head[5:]), self._read(int.from_bytes(head[:3]))

    def _read(self, length):
        data = b""
        while len(data) < length:
            received = self.socket.recv(length - len(data))
            if not received:
                raise ConnectionError("the other side has ended the connection")
            data += received
        return data

    def answer(self, path, body, **more):
        """Calls a method with a body, and returns the data of the answer."""
        self.send(frame(HEADERS, END_HEADERS, 1, call(path, **more)) + frame(DATA, END_STREAM, 1, body))
        return self.answered(1)

    def answered(self, asked):
        """The data of the answer in a stream, once it has ended."""
        data = b""
        while True:
            kind, stream, payload = self.read_frame()
            if stream == asked and kind == DATA:
                data += payload
            if stream == asked and (kind == RST_STREAM or self.flags & END_STREAM):
                return data

    def ended(self):
        """Reads to the end, and returns the code of the last GOAWAY, if there was one."""
        code = None
        try:
            while True:
                kind, _, payload = self.read_frame()
                if kind == GOAWAY:
                    code = int.from_bytes(payload[4:8])
        except ConnectionError:
            return code

    def close(self):
        self.socket.close()
