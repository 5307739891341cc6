"""A ring with nothing in between: on this machine's kernel, in every layout of its queues."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import open_files, why_no_ring

import uring
from uring import IORING_OP, flags, syscalls
from uring.observe.bare import Cqe, Ring, sqe
from uring.observe.finding import NoAnswerError, RefusedError
from uring.observe.world import World

pytestmark = pytest.mark.skipif(why_no_ring() is not None, reason=f"no io_uring on this machine: {why_no_ring()}")


@pytest.fixture(
    params=[
        0,
        flags.IORING_SETUP_SQE128,
        flags.IORING_SETUP_CQE32,
        flags.IORING_SETUP_SQE128 | flags.IORING_SETUP_CQE32,
        flags.IORING_SETUP_NO_SQARRAY,
        flags.IORING_SETUP_SUBMIT_ALL,
        flags.IORING_SETUP_SQPOLL,
    ],
    ids=lambda bits: uring.IORING_SETUP(bits).name or "plain",
)
def ring(request: pytest.FixtureRequest) -> Iterator[Ring]:
    """Four entries."""
    try:
        made = Ring(4, request.param)
    except RefusedError as error:
        pytest.skip(f"this kernel lacks a setup flag: {error}")
    yield made
    made.close()


def test_completions_come_for_what_was_asked_in_whatever_layout(ring: Ring) -> None:
    """More than once around the queues: three at a time of four, and of eight."""
    for batch in range(6):
        first = ring.submit(sqe(IORING_OP.NOP), sqe(255), sqe(IORING_OP.NOP, user_data=1000 + batch))
        assert first == 3 * batch + 1
        found: list[tuple[int, int]] = []
        while len(found) < 3:
            found += [(cqe.user_data, cqe.res) for cqe in ring.reap(1)]
        assert found == [(first, 0), (first + 1, -errno.EINVAL), (1000 + batch, 0)]
        assert ring.take() == []


def test_a_closed_ring_leaves_nothing() -> None:
    before = open_files()
    one = Ring(4, 0)
    assert open_files() != before
    one.close()
    assert (open_files(), one.fd) == (before, -1)
    one.close()
    assert open_files() == before


def test_who_asks_is_asleep_until_there_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """And does not look again and again."""
    one, entered = World(), 0
    real = Ring.enter

    def enter(ring: Ring, *arguments: int) -> int:
        nonlocal entered
        entered += 1
        return real(ring, *arguments)

    monkeypatch.setattr(Ring, "enter", enter)
    assert one.ask(sqe(IORING_OP.TIMEOUT, addr=one.time(0, 50_000_000), size=1)) == -errno.ETIME
    # To submit, to look, and to look again when it is there, unless it was there at once.
    assert entered in {2, 3}
    one.clean()
    one.ring.close()
    os.close(one.file)


@pytest.mark.parametrize("mapped_before", [0, 1])
def test_a_ring_that_cannot_be_mapped_leaves_nothing(mapped_before: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before, mapped, unmapped = open_files(), [], []
    real_mmap, real_munmap = syscalls.mmap, syscalls.munmap

    def mmap(size: int, *arguments: Any) -> int:
        if len(mapped) == mapped_before:
            raise OSError(errno.ENOMEM, "no memory")
        mapped.append((real_mmap(size, *arguments), size))
        return mapped[-1][0]

    def munmap(address: int, size: int) -> None:
        unmapped.append((address, size))
        real_munmap(address, size)

    monkeypatch.setattr(syscalls, "mmap", mmap)
    monkeypatch.setattr(syscalls, "munmap", munmap)
    with pytest.raises(OSError, match="no memory"):
        Ring(4)
    assert (open_files(), unmapped) == (before, mapped)


@pytest.mark.parametrize(("answer", "number"), [(0, errno.EAGAIN), (-errno.EBUSY, errno.EBUSY)])
def test_who_takes_no_entry_refuses_it(answer: int, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After one of two was taken."""
    one = Ring(4)
    asked: list[tuple[int, int]] = []
    answers = iter([1, answer])

    def enter(_: Ring, to_submit: int, bits: int) -> int:
        asked.append((to_submit, bits))
        return next(answers)

    with monkeypatch.context() as patched:
        patched.setattr(Ring, "enter", enter)
        with pytest.raises(RefusedError) as refused:
            one.submit(sqe(IORING_OP.NOP), sqe(IORING_OP.NOP))
    assert (refused.value.what, refused.value.number) == ("io_uring_enter", number)
    assert asked == [(2, flags.IORING_ENTER_GETEVENTS), (1, flags.IORING_ENTER_GETEVENTS)]
    one.close()


def test_completions_that_come_one_by_one_are_waited_for() -> None:
    one = World()
    one.ring.submit(
        *(sqe(IORING_OP.TIMEOUT, addr=one.time(0, place * 10_000_000), size=1) for place in (3, 1, 2)),
    )
    assert [(cqe.user_data, cqe.res) for cqe in one.ring.reap(3)] == [(at, -errno.ETIME) for at in (2, 3, 1)]
    one.ring.close()
    os.close(one.file)


def test_completions_of_others_are_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Ring(4)
    reaped: list[int] = []

    def reap(_: Ring, count: int) -> list[Cqe]:
        reaped.append(count)
        return [Cqe(999, 0, 0)]

    with monkeypatch.context() as patched:
        patched.setattr(Ring, "reap", reap)
        patched.setattr("uring.observe.bare.ANSWER_S", 0.01)
        with pytest.raises(NoAnswerError, match=r"^only others' completions within 0\.01 s$"):
            one.ask(sqe(IORING_OP.NOP))
    assert set(reaped) == {1}
    one.close()
