"""Requests go through a process of their own and come back as they were answered, whatever the library prints."""

import sys
from types import SimpleNamespace

import pytest

from aerialworld_sim.gazebo.asking import Asker

#: A transport whose services answer with what they were asked, or not at all.
TRANSPORT = """
class NodeOptions:
    partition = ""

class Node:
    def __init__(self, options):
        self.partition = options.partition
    def request_raw(self, service, request, request_type, response_type, timeout):
        print("the library talks", flush=True)
        if service == "/none":
            return False, b""
        text = f"{self.partition} {request_type} {response_type} {timeout} "
        return True, text.encode() + request
"""


class Message:
    def __init__(self, kind, content=b""):
        self.DESCRIPTOR, self.content = SimpleNamespace(full_name=kind), content

    def SerializeToString(self):
        return self.content

    def ParseFromString(self, data):
        self.content = data


@pytest.fixture
def asker(tmp_path, monkeypatch):
    (tmp_path / "standing_transport.py").write_text(TRANSPORT)
    monkeypatch.setenv("PYTHONPATH", ":".join([str(tmp_path), *filter(None, sys.path)]))
    made = Asker("standing_transport", "a partition")
    yield made
    made.close()


def test_a_request_is_answered(asker):
    for content in (b"", bytes(range(256)), b"\n\n"):
        answer = Message("gz.msgs.Boolean")
        assert asker.ask("/world/w/control", Message("gz.msgs.WorldControl", content), answer, 1.5)
        assert answer.content == b"a partition gz.msgs.WorldControl gz.msgs.Boolean 1500 " + content


def test_no_answer_and_none_from_a_process_that_is_gone(asker):
    answer = Message("gz.msgs.Boolean", b"before")
    assert not asker.ask("/none", Message("gz.msgs.Empty"), answer, 0.1) and answer.content == b""
    asker._process.kill()
    asker._process.wait()
    for _ in range(2):
        assert not asker.ask("/some", Message("gz.msgs.Empty"), answer, 0.1)
