"""Tests and what kernels state, in one form: lines, what somebody means, and the kernel to require."""

import dataclasses
from typing import Any

import pytest
import sample
from msgspec.structs import replace

from reports.capabilities import Basis, Entry, entries, entry_id, exercised_by, find, nearest, requirement
from reports.matrix import Matrix, MinimumKind, Outcome, derive
from reports.results import Results, Status

STATX = replace(
    sample.FTRUNCATE, id="op-statx", title="statx", symbols=("IORING_OP_STATX",), since="5.6", value="STATX"
)


def results(**operations: list[str] | None) -> Results:
    """A whole run, in which the 41 name symbols, and kernels list operations: those named have their own lists."""
    run = sample.whole()
    tests = tuple(
        replace(test, title="accept, multishot", symbols=("IORING_OP_ACCEPT", "IORING_ACCEPT_MULTISHOT"))
        if test.id == "test_accept_multishot"
        else replace(test, symbols=("IORING_OP_BIND", "IORING_OP_LISTEN"))
        if test.id == "test_bind_listen_connect"
        else test
        for test in run.tests
    )
    kernels = tuple(replace(kernel, features=_facts(kernel.series, operations)) for kernel in run.kernels)
    return replace(run, tests=tests, kernels=kernels, capabilities=(sample.FTRUNCATE, STATX))


def _facts(series: str, operations: dict[str, list[str] | None]) -> dict[str, Any]:
    name = "k" + series.replace(".", "_")
    if name in operations:
        return {"operations": operations[name]}
    return {"operations": ["STATX", *(["FTRUNCATE"] if sample.is_there("6.9", series) else [])]}


def derived(run: Results) -> tuple[Matrix, dict[str, Any]]:
    matrix = derive(run)
    return matrix, {one.id: one for one in entries(run, matrix)}


def test_every_test_and_every_listed_capability_is_a_line() -> None:
    matrix, found = derived(results())
    assert len(found) == 41 + 2
    one = found["op-ftruncate"]
    assert (one.basis, one.documented, one.group, one.row) == (Basis.STATED, "6.9", "Operations", None)
    assert one.minimums[matrix.lines[0]].label() == "> 6.1.170, ≤ 6.12.94"
    tested = found["accept-multishot"]
    assert (tested.basis, tested.alias, tested.title) == (Basis.TESTED, "accept multishot", "accept, multishot")
    assert tested.row.test.id == "test_accept_multishot"


def test_what_no_kernel_was_asked_about_is_no_line() -> None:
    run = results()
    run = replace(run, kernels=tuple(replace(kernel, features={}) for kernel in run.kernels))
    assert len(derived(run)[1]) == 41


def test_a_kernel_that_could_not_be_asked_says_nothing() -> None:
    matrix, found = derived(results(k6_1=None, k7_3=[]))
    by_name = dict(zip((column.name for column in matrix.columns), found["op-statx"].outcomes, strict=True))
    assert (by_name["5.10"], by_name["6.1"], by_name["7.3"]) == (Outcome.PASSES, Outcome.OPEN, Outcome.LACKS)


def test_ids_are_what_a_function_is_called() -> None:
    assert entry_id("test_accept_multishot") == "accept-multishot"


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("accept-multishot", ["accept-multishot"]),
        ("accept, multishot", ["accept-multishot"]),
        ("accept multishot", ["accept-multishot"]),
        ("bind/listen/connect", ["bind-listen-connect"]),
        ("IORING_OP_FTRUNCATE", ["op-ftruncate"]),
        ("ftruncate", ["op-ftruncate"]),
        ("io_uring_op_ftruncate", []),
        # A test says more than the kernel's own word; the symbol in full is the kernel's own word.
        ("statx", ["statx"]),
        ("IORING_OP_STATX", ["op-statx"]),
        # No kernel lists these in this sample.
        ("IORING_OP_BIND", ["bind-listen-connect"]),
        ("IORING_OP_LISTEN", ["bind-listen-connect"]),
        ("direct socket", ["socket-direct-socket-direct-alloc-close-direct"]),
        ("", []),
        ("/", []),
    ],
)
def test_a_capability_is_found_by_what_people_call_it(text: str, ids: list[str]) -> None:
    assert [one.id for one in find(text, derived(results())[1].values())] == ids


def ringed() -> list[Entry]:
    """Entries of which three have to do with buffer rings, as the suite calls them."""
    run = results()
    called = {
        "test_buffergroup": ("provided buffer ring", ("IORING_REGISTER_PBUF_RING", "IOSQE_BUFFER_SELECT")),
        "test_ring_mapped_buffers_recv": (
            "provided buffer ring, receive until it is empty",
            ("IORING_REGISTER_PBUF_RING", "IOSQE_BUFFER_SELECT"),
        ),
        "test_ring_mapped_buffers_multishot_recv": (
            "receive, multishot",
            (
                *("IORING_RECV_MULTISHOT", "IORING_CQE_F_MORE", "IOSQE_BUFFER_SELECT", "IORING_REGISTER_PBUF_RING"),
                "IORING_ACCEPT_MULTISHOT",
            ),
        ),
    }
    tests = tuple(
        replace(test, title=called[test.id][0], symbols=called[test.id][1]) if test.id in called else test
        for test in run.tests
    )
    return list(derived(replace(run, tests=tests))[1].values())


@pytest.mark.parametrize("text", ["buffer-ring", "ring buffer", "IORING_REGISTER_PBUF_RING", "test_buffergroup"])
def test_one_that_all_others_go_on_from_is_meant(text: str) -> None:
    assert [one.id for one in find(text, ringed())] == ["buffergroup"]


def test_a_symbol_is_what_those_tests_are_about_that_name_it_early() -> None:
    assert [one.id for one in find("IORING_CQE_F_MORE", ringed())] == ["ring-mapped-buffers-multishot-recv"]
    assert [one.id for one in find("IORING_ACCEPT_MULTISHOT", ringed())] == ["accept-multishot"]


def test_tests_of_what_kernels_list_are_those_that_are_about_it() -> None:
    known = ringed()
    listed = replace_symbols(next(one for one in known if one.id == "op-statx"), "IORING_REGISTER_PBUF_RING")
    assert [one.id for one in exercised_by(listed, known)] == ["buffergroup", "ring-mapped-buffers-recv"]
    assert exercised_by(replace_symbols(listed, "IORING_OP_XYZZY"), known) == ()


def replace_symbols(entry: Entry, *symbols: str) -> Entry:
    return dataclasses.replace(entry, symbols=symbols)


@pytest.mark.parametrize(
    ("text", "first"),
    [("acept-multishot", "accept-multishot"), ("IORING_OP_FTRUNCAT", "op-ftruncate"), ("ftrunc", "op-ftruncate")],
)
def test_the_nearest_is_what_looks_most_like_it(text: str, first: str) -> None:
    assert nearest(text, ringed())[0].id == first


def test_nothing_is_near_what_looks_like_nothing() -> None:
    assert nearest("xyzzy", ringed()) == ()


def test_what_is_ambiguous_is_all_that_it_may_be() -> None:
    found = [one.id for one in find("timeout", derived(results())[1].values())]
    assert {"timeout-remove", "accept-connect-recv-link-timeout"} < set(found)


def test_the_kernel_to_require_is_the_one_that_has_all() -> None:
    matrix, found = derived(results())
    wanted = [found["accept-multishot"], found["bind-listen-connect"], found["op-ftruncate"]]
    asked = requirement(wanted, matrix, matrix.lines[0])
    assert (asked.documented, asked.tested.label()) == ("6.11", "> 6.1.170, ≤ 6.12.94")


def test_what_is_documented_nowhere_makes_no_documented_requirement() -> None:
    run = results()
    run = replace(run, capabilities=(replace(sample.FTRUNCATE, since=None),))
    matrix, found = derived(run)
    wanted = [found["accept-multishot"], found["op-ftruncate"]]
    assert requirement(wanted, matrix, matrix.lines[0]).documented is None


def test_a_hole_in_one_of_them_is_a_hole_in_all() -> None:
    run = sample.with_cell(results(), "test_accept_multishot", "7.3", status=Status.INFRA)
    matrix, found = derived(run)
    wanted = [found["accept-multishot"], found["statx"]]
    asked = requirement(wanted, matrix, matrix.lines[0]).tested
    assert [kernel.id for kernel in asked.unknown] == ["7.3"]
    assert asked.kind is MinimumKind.BETWEEN
