"""Gazebo's services, asked from a process of its own.

gz-transport's Python bindings (13 to 15) hold the interpreter while a request awaits its answer, and the one thread
that receives everything waits for the interpreter when a message comes for a subscriber: in one process each waits for
the other until the request times out, although Gazebo did what it was asked. So who subscribes does not ask: `Asker`
runs this module as a process without subscribers and talks to it in lines of JSON.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from importlib import import_module
from typing import Any


class Asker:
    """Asks services of a gz-transport partition; `transport` is the module of the bindings, e.g. gz.transport13."""

    def __init__(self, transport: str, partition: str) -> None:
        command = [sys.executable, "-m", __name__, transport, partition]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def ask(self, service: str, request: Any, reply: Any, seconds: float) -> bool:
        """Send the message `request` and read the answer into the message `reply`; False where none came in time, or
        the process has ended."""
        types = request.DESCRIPTOR.full_name, reply.DESCRIPTOR.full_name
        body = base64.b64encode(request.SerializeToString()).decode()
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps([service, body, *types, int(seconds * 1000)]) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return False
        line = self._process.stdout.readline()
        answered, body = json.loads(line) if line else (False, "")
        reply.ParseFromString(base64.b64decode(body))
        return bool(answered)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def main(transport: str, partition: str) -> None:
    """Answer each line [service, request, its type, the answer's type, milliseconds] with [answered, answer]; messages
    are serialised, in base64."""
    # What the library prints must not come between the answers.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        bindings = import_module(transport)
        options = bindings.NodeOptions()
        options.partition = partition
        node = bindings.Node(options)
        for line in sys.stdin:
            service, body, request, reply, milliseconds = json.loads(line)
            answered, answer = node.request_raw(service, base64.b64decode(body), request, reply, milliseconds)
            answers.write(json.dumps([answered, base64.b64encode(answer).decode()]) + "\n")
            answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
