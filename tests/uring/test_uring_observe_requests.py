"""What each capability is observed with, and what each answer is taken for: golden/requests.toml."""

from __future__ import annotations

import errno
import resource
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from observing import Observing
from scripted_kernel import NAMES

from uring.observe import REQUESTS, State, features, limits

EXPECTED: list[dict[str, Any]] = tomllib.loads(
    (Path(__file__).parent / "golden" / "requests.toml").read_text(encoding="utf-8")
)["request"]

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the words in the file are little-endian")


@pytest.fixture(scope="module")
def observing() -> Iterator[Observing]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = Observing(monkeypatch)
        yield made
        made.end()


@pytest.mark.parametrize("expected", EXPECTED, ids=lambda one: f"{one['id']}-{'-'.join(one['answers'])}")
def test_what_is_asked_and_what_each_answer_says(expected: dict[str, Any], observing: Observing) -> None:
    told = {"id": expected["id"], **observing.described(REQUESTS[expected["id"]], expected["answers"])}
    assert told == expected


def test_every_capability_is_in_the_file_and_the_first_answers_are_of_a_kernel_that_has_it() -> None:
    first = {one["id"]: one["found"].partition(":")[0].split()[0] for one in reversed(EXPECTED)}
    assert set(first) == set(REQUESTS)
    # What only a network card could show, and what lies in files of the kernel's.
    others = {"cqe-tstamp-hw", "feat-fast-poll", "feat-native-workers"}
    assert {name for name, state in first.items() if state != "has"} == others


# Names that are no part of a request: of results, and of what a bit stands for that is not asked with.
_NOT_ASKED = ("IORING_CQE_F_", "IORING_FEAT_", "IORING_SQ_", "IORING_CQ_", "IORING_NOTIF_", "IORING_OFF_", "RLIMIT_")
# Where the file has a number: in memory, or as an index of its own.
_BY_NUMBER = ("IO_URING_", "IOU_PBUF_", "IORING_RESTRICTION_", "IORING_MEM_REGION_", "IORING_RSRC_", "IORING_REG_WAIT_")
_BY_NUMBER += ("ZCRX_", "IORING_REGISTER_DST_REPLACE", "IORING_REGISTER_SRC_REGISTERED", "IORING_REGISTER_FILES_SKIP")


@pytest.mark.parametrize("identifier", REQUESTS)
def test_a_request_has_in_it_what_the_capability_is_called_after(identifier: str) -> None:
    asked = " ".join(line for one in EXPECTED if one["id"] == identifier for line in one["asked"])
    words = set(asked.replace("=", " ").replace("|", " ").split())
    for symbol in REQUESTS[identifier].symbols:
        if symbol.startswith((*_NOT_ASKED, *_BY_NUMBER)) or symbol not in NAMES or identifier in _OTHERWISE:
            continue
        assert symbol in words or symbol.removeprefix("IORING_OP_") in words, asked


_OTHERWISE = {
    "register-use-registered-ring": "the bit is taken off the number, and said in words",
    "msg-ring-data": "IORING_MSG_DATA is 0",
    "files-update-alloc": "the number is an offset there",
    "napi-tracking-inactive": "what is replaced says what unregistering leaves",
    "uring-cmd-multishot": "the flag is known to whoever refuses a buffer without it",
    "socket-siocinq": "SOCKET_URING_OP_SIOCINQ is 0",
}


# -- what else the machine says ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "threads", "state"),
    [
        ("UserFiles:\t0\nPollList:\n  op=1, task_works=0\n  op=27, task_works=0\nCqOverflowList:\n", 0, State.HAS),
        ("PollList:\n  op=27, task_works=0\n", 2, State.HAS),
        ("PollList:\n  op=2, task_works=0\nCqOverflowList:\n  op=27, res=0\n", 1, State.LACKS),
        ("PollList:\n", 0, State.NOT_DETERMINABLE),
    ],
)
def test_a_receive_that_is_polled_for_is_in_the_rings_list(
    text: str, threads: int, state: State, observing: Observing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "workers", lambda: threads)
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: text)
    assert features._fast_poll(observing.world).state is state
    observing.world.clean()


@pytest.mark.parametrize(("counts", "state"), [([0, 1], State.HAS), ([1, 0], State.HAS), ([0, 0], State.LACKS)])
def test_a_worker_is_seen_before_or_after(
    counts: list[int], state: State, observing: Observing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "workers", iter(counts).__next__)
    assert observing.ask(REQUESTS["feat-native-workers"], ["later 1"]).state is state


def test_threads_of_the_kernel_are_counted_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate(["python", "iou-wrk-7", "iou-sqp-7", "iou-wrk-7"]):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "comm").write_text(f"{name}\n", encoding="ascii")
    monkeypatch.setattr(features, "Path", lambda _: tmp_path)
    assert features.workers() == 2


def test_only_root_can_become_somebody_else(observing: Observing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert observing.ask(REQUESTS["feat-cur-personality"], ["EACCES"]).state is State.NOT_DETERMINABLE
    assert observing.ask(REQUESTS["rings-without-memlock"], []).state is State.HAS
    assert [line for line in observing.kernel.asked if line.startswith("seteuid")] == []


@pytest.mark.parametrize(
    ("limits_now", "is_allowed", "wanted", "called"),
    [
        # The soft limit alone, wherever the hard one lets it.
        ((10, -1), False, 50, [(50, -1), (10, -1)]),
        ((10, 50), False, 50, [(50, 50), (10, 50)]),
        # Above it by privilege, which cannot be undone without it; or as far as it goes.
        ((10, 20), True, 50, [(50, 50), (10, 50)]),
        ((10, 20), False, 20, [(50, 50), (20, 20), (10, 20)]),
    ],
)
def test_limits_are_raised_as_far_as_they_go(
    limits_now: tuple[int, int],
    is_allowed: bool,
    wanted: int,
    called: list[tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[tuple[int, int]] = []

    def setrlimit(kind: int, values: tuple[int, int]) -> None:
        assert kind == resource.RLIMIT_NOFILE
        found.append(values)
        if values[1] > limits_now[1] != -1 and not is_allowed:
            raise PermissionError(errno.EPERM, "not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: limits_now)
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    with limits._limited(resource.RLIMIT_NOFILE, 50) as value:
        assert value == wanted
        assert len(found) == len(called) - 1
    assert found == called
