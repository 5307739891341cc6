"""A ring with nothing in between: on this machine's kernel, in every layout of its queues."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest
from conftest import open_files, why_no_ring

import uring
from uring import IORING_OP, flags
from uring.observe.bare import Ring, sqe
from uring.observe.finding import RefusedError

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
