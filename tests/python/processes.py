"""Processes of the bridge, which end with the test however that ends."""

import ctypes
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

_LIBC = ctypes.CDLL(None)
BINARIES = pathlib.Path(os.environ["QB_TEST_BINARIES"])
# Ends what hangs. Nothing here takes that long, not even on a machine with other work.
PATIENCE = 600


def until(condition, what, patience=PATIENCE):
    """Waits until the condition holds, and returns what it then is."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {patience} s in vain for {what}")


def die_with_parent():
    """Ends this process when the one that started it ends, however that happens."""
    _LIBC.prctl(1, signal.SIGKILL)


class Process:
    """A program with its log."""

    def __init__(self, program, arguments, environment, log):
        self.log = pathlib.Path(log)
        self.name = program
        with open(self.log, "wb") as output:
            self.process = subprocess.Popen(
                [BINARIES / program, *arguments],
                env={"PATH": os.environ["PATH"], "TMPDIR": tempfile.gettempdir(), **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )

    def logged(self, message, **known):
        """The fields of the first log line with this message, and with what is known of them."""
        ended = self.process.poll() is not None
        for line in self.log.read_text().splitlines():
            try:
                fields = json.loads(line).get("fields", {})
            except ValueError:
                continue
            if fields.get("message") == message and known.items() <= fields.items():
                return fields
        if ended:
            raise AssertionError(f"{self.name} ended: {self.log.read_text()}")
        return None

    def kill(self, how=signal.SIGKILL):
        if self.process.poll() is None:
            self.process.send_signal(how)

    def stop(self, how=signal.SIGTERM, patience=PATIENCE):
        """Ends it and returns its exit code."""
        self.kill(how)
        return self.process.wait(patience)


class Gateway(Process):
    """`queuebridge serve`, on a port that the system chooses."""

    def __init__(self, environment, log, *arguments):
        listen = {"QB_LISTEN": "127.0.0.1:0"}
        super().__init__("queuebridge", ["serve", *arguments], {**environment, **listen}, log)
        self.address = until(lambda: self.logged("listening"), "the gateway")["address"]


class Worker(Process):
    """A worker binary, by default that of the demo services, polling."""

    def __init__(self, environment, log, program="queuebridge-demo"):
        super().__init__(program, [], environment, log)
        until(lambda: self.logged("polling"), "the worker")
