"""A ring with nothing in between: on this machine's kernel, in every layout of its queues."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

import pytest
from conftest import open_files, why_no_ring

import uring
from uring import IORING_OP, flags
from uring.observe.bare import Ring, sqe
from uring.observe.finding import RefusedError
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
