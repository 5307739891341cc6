"""First kernels and words: held against a list by release, and against what must hold between them in any history."""

import re
from itertools import pairwise

import golden_facts
import observed_kernels
import pytest

from conformance import zig_index
from conformance.capabilities import BY_ID, CAPABILITIES, Capability
from conformance.capabilities.expectation import series_key
from conformance.capabilities.observed import _GROUPS
from uring.observe.finding import own_id

# Whose members have their numbers in the order in which they came.
FAMILIES = (
    *("IORING_OP_", "IORING_SETUP_", "IORING_FEAT_", "IOSQE_", "IORING_CQE_F_", "IORING_ENTER_", "IORING_SQ_"),
    *("IORING_ACCEPT_", "IORING_POLL_ADD_", "IORING_POLL_UPDATE_", "IORING_ASYNC_CANCEL_", "IORING_NOP_"),
    *("IORING_MSG_RING_", "IORING_URING_CMD_", "IOU_PBUF_RING_", "IORING_RESTRICTION_", "SOCKET_URING_OP_"),
    *("IO_URING_QUERY_", "ZCRX_CTRL_", "IORING_REGISTER_|IORING_UNREGISTER_", "IORING_TIMEOUT_|IORING_LINK_TIMEOUT_"),
    *("IORING_RECVSEND_|IORING_RECV_|IORING_SEND_",),
)
# Of other kinds than their neighbours by name.
NO_MEMBERS = {"IORING_REGISTER_FILES_SKIP", "IORING_REGISTER_SRC_REGISTERED", "IORING_REGISTER_DST_REPLACE"}
OUT_OF_ORDER = {
    # Its number was taken two releases before it was there.
    "IORING_REGISTER_ZCRX_IFQ",
    # A flag in a number's highest bit.
    "IORING_REGISTER_USE_REGISTERED_RING",
    # Flags of a single operation's completions are in the upper half.
    "IORING_CQE_F_TSTAMP_HW",
}
# Limits are older than the flags that they are found with.
DATED = [one for one in CAPABILITIES if one.since is not None and one.kind != "limit"]


def first_kernel(symbol: str) -> tuple[int, ...] | None:
    """Of what a symbol is itself, or else of the first that it is there for; None where nobody says."""
    own = BY_ID.get(own_id(symbol) or "")
    users = [own] if own else [one for one in DATED if symbol in one.symbols]
    return min((series_key(one.since) for one in users if one.since), default=None)


def test_the_facts_are_those_that_were_looked_at() -> None:
    """`python tests/conformance/golden_facts.py` writes the list anew; hold what it changes against the history."""
    assert list(golden_facts.lines()) == golden_facts.FILE.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("prefixes", FAMILIES)
def test_numbers_were_given_in_the_order_of_kernels(prefixes: str) -> None:
    members = sorted(
        {
            (one.number, one.symbols[0])
            for one in DATED
            if re.match(prefixes, one.symbols[0]) and one.symbols[0] not in NO_MEMBERS | OUT_OF_ORDER
        }
    )
    assert members
    assert [
        (older, newer)
        for (_, older), (_, newer) in pairwise(members)
        if (first_kernel(older) or ()) > (first_kernel(newer) or ())
    ] == []


@pytest.mark.parametrize(
    "kind", ["operation", "setup-flag", "feature", "sqe-flag", "cqe-flag", "enter-flag", "registration"]
)
def test_what_has_a_number_is_told_in_the_order_of_numbers(kind: str) -> None:
    numbers = [one.number or 0 for one in CAPABILITIES if one.kind == kind]
    assert numbers == sorted(numbers) != []


def test_groups_are_told_in_their_order() -> None:
    assert list(dict.fromkeys(one.kind for one in CAPABILITIES)) == list(_GROUPS)


@pytest.mark.parametrize("one", DATED, ids=lambda one: one.id)
def test_nothing_is_older_than_what_it_is_asked_with(one: Capability) -> None:
    assert one.since is not None
    older = [symbol for symbol in one.symbols if (first := first_kernel(symbol)) and series_key(one.since) < first]
    assert older == []


def test_kernels_are_held_to_their_history_where_a_page_says_otherwise() -> None:
    several = [one for one in CAPABILITIES if any("kernel history" in source.where for source in one.sources[1:])]
    assert several == []


def test_the_oldest_kernel_has_the_operations_of_5_15() -> None:
    """Debian's 5.10 was given all of io_uring, but for what needs more than that."""
    lacked = set(observed_kernels.known()["5.10"]["others"]["lacks"])
    backported = [one.id for one in CAPABILITIES if one.since and (5, 10) < series_key(one.since) <= (5, 15)]
    assert len(backported) > 30
    assert lacked.intersection(backported) == {"op-mkdirat", "op-symlinkat", "op-linkat", "buffers-without-memlock"}


@pytest.mark.parametrize("test", zig_index.ported_tests(), ids=lambda test: test.function)
def test_a_test_needs_the_kernel_of_the_newest_thing_it_exercises(test: zig_index.PortedTest) -> None:
    """And a ring of `uring`, which is one mapping; what needs no ring has no newest thing."""
    # A group of buffers makes its ring without it where a kernel does not have it.
    needed_symbols = [symbol for symbol in test.symbols if symbol != "IOU_PBUF_RING_INC"]
    firsts = [first for symbol in needed_symbols if (first := first_kernel(symbol))]
    needed = max([*firsts, first_kernel("IORING_FEAT_SINGLE_MMAP") or ()]) if firsts else (5, 1)
    assert series_key(test.since) == needed


@pytest.mark.parametrize("one", CAPABILITIES, ids=lambda one: one.id)
def test_who_is_told_how_to_find_out_is_told_since_when(one: Capability) -> None:
    """Of the query, and of the probe."""
    for release in re.findall(r"since (\d+\.\d+) also `IORING_REGISTER_QUERY`", one.detect):
        assert release == BY_ID["register-query"].since
    for release in re.findall(r"older than (\d+\.\d+) has no probe", one.detect):
        assert release == BY_ID["register-probe"].since
    assert len(re.findall(r"\b\d\.\d+\b", one.detect)) == len(re.findall("since |older than ", one.detect))
