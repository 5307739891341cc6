"""The monitor's conversation, with a QEMU that is a thread of ours."""

import json
import socket
import threading
from collections.abc import Iterator

import pytest

from vm.monitor import Monitor, MonitorError


@pytest.fixture
def ends() -> Iterator[tuple[Monitor, socket.socket]]:
    ours, theirs = socket.socketpair()
    monitor = Monitor(ours)
    yield monitor, theirs
    monitor.close()
    theirs.close()


def serve(theirs: socket.socket, answers: dict[str, dict[str, object]]) -> threading.Thread:
    """Answer as QEMU does, until it is asked something that is not in `answers`."""

    def talk() -> None:
        theirs.sendall(json.dumps({"QMP": {"version": {"qemu": {}}, "capabilities": []}}).encode() + b"\n")
        while data := theirs.recv(65536):  # one command at a time, with nothing behind it
            asked = json.loads(data)
            if asked["execute"] not in answers:
                return
            theirs.sendall(json.dumps({"id": asked.get("id"), **answers[asked["execute"]]}).encode() + b"\n")

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    return thread


def test_a_command_is_answered(ends: tuple[Monitor, socket.socket]) -> None:
    monitor, theirs = ends
    serve(theirs, {"qmp_capabilities": {"return": {}}, "query-status": {"return": {"running": True}}})
    assert monitor.execute("query-status") == {"running": True}
    assert monitor.execute("query-status") == {"running": True}


def test_a_refusal_is_a_sentence(ends: tuple[Monitor, socket.socket]) -> None:
    monitor, theirs = ends
    refusal = {"error": {"class": "GenericError", "desc": "machine does not provide NMIs"}}
    serve(theirs, {"qmp_capabilities": {"return": {}}, "inject-nmi": refusal})
    with pytest.raises(MonitorError, match="inject-nmi: machine does not provide NMIs"):
        monitor.execute("inject-nmi")


def test_silence_ends_with_the_deadline(ends: tuple[Monitor, socket.socket]) -> None:
    with pytest.raises(MonitorError, match="no answer to query-status"):
        ends[0].execute("query-status", timeout_s=0.05)


def test_silence_after_the_greeting_ends_too(ends: tuple[Monitor, socket.socket]) -> None:
    monitor, theirs = ends
    serve(theirs, {"qmp_capabilities": {"return": {}}})
    with pytest.raises(MonitorError, match="no answer to query-status"):
        monitor.execute("query-status", timeout_s=0.5)


def test_a_qemu_that_is_gone_is_told(ends: tuple[Monitor, socket.socket]) -> None:
    monitor, theirs = ends
    theirs.close()
    with pytest.raises(MonitorError, match="QEMU's monitor"):
        monitor.execute("query-status", timeout_s=5)
    monitor.close()
    monitor.close()  # twice is fine
