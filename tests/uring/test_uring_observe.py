"""Observing what a kernel has: on this machine's kernel, and on kernels that know nothing, or answer nonsense."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import open_files, why_no_ring

import uring
from uring import syscalls
from uring.observe import REQUESTS, Observation, State, find, limits, observe, ordered, runner, world
from uring.observe.bare import Cqe, Ring
from uring.observe.finding import ANY, Finding, RefusedError, Request, judge, name_of, own_id
from uring.observe.numbers import number_of

# What each series of kernels was seen to have, and in which release.
OBSERVED = json.loads((Path(__file__).parent / "observed.json").read_text(encoding="utf-8"))["kernels"]
HAS, LACKS, OFF, UNKNOWN = State.HAS, State.LACKS, State.OFF, State.NOT_DETERMINABLE
needs_ring = pytest.mark.skipif(why_no_ring() is not None, reason=f"no io_uring on this machine: {why_no_ring()}")


def version(series: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", series)[:2])


@pytest.fixture(scope="module")
def here() -> dict[str, Observation]:
    """All of this machine's kernel."""
    return {one.id: one for one in observe()}


# -- this machine's kernel --------------------------------------------------------------------------------------------


@needs_ring
def test_everything_is_observed_once_and_in_order(here: dict[str, Observation]) -> None:
    assert list(here) == [one.id for one in ordered()] == [one.id for one in sorted(ordered(), key=_risk_last)]
    assert set(here) == set(REQUESTS)
    assert all(one.evidence for one in here.values())


def _risk_last(one: Request) -> tuple[bool, str]:
    return one.is_risky, one.id


@needs_ring
def test_no_observation_is_mistaken(here: dict[str, Observation]) -> None:
    assert [one for one in here.values() if "observation itself failed" in one.evidence] == []


@needs_ring
def test_this_kernel_has_what_its_series_was_seen_to_have(here: dict[str, Observation]) -> None:
    """What an older series has, too: nothing was ever taken away. More may have been backported."""
    mine = version(platform.release())
    older = [series for series in OBSERVED if version(series) <= mine]
    if not older:
        pytest.skip(f"{platform.release()} is older than the kernels that were looked at")
    series = max(older, key=version)
    if version(series) != mine:
        series = f"{series} and older"
    missing = [
        one
        for one in here.values()
        if one.state is LACKS and one.id not in TAKEN_AWAY and expected(max(older, key=version), one.id) is HAS
    ]
    assert missing == [], series


@needs_ring
def test_this_kernels_limits_are_those_of_its_series(here: dict[str, Observation]) -> None:
    mine = version(platform.release())
    if (known := OBSERVED.get(".".join(str(number) for number in mine))) is None:
        pytest.skip(f"no kernel of the series of {platform.release()} was looked at")
    values = {one.id: one.value for one in here.values() if one.state is HAS and one.id.startswith("limit-")}
    assert values == {name: value for name, value in known["values"].items() if name in values}


# Rings are charged by some kernels and not by others.
TAKEN_AWAY = {"rings-without-memlock", "buffer-ring-min-left"}


def expected(series: str, identifier: str) -> State:
    """What a series was seen to have."""
    others = OBSERVED[series]["others"]
    return next((State(state) for state, names in others.items() if identifier in names), HAS)


@needs_ring
def test_what_cannot_be_determined_has_a_reason_outside_of_the_kernel(here: dict[str, Observation]) -> None:
    undetermined = {one.id: one.evidence for one in here.values() if one.state is UNKNOWN}
    # Root can become somebody else, and has zero-copy receive; hard limits and network cards are the machine's.
    outside = {"cqe-tstamp-hw", "limit-fixed-files", "feat-cur-personality", "limit-sq-entries", "limit-cq-entries"}
    reasons = re.compile(r"EPERM|ZCRX_REG_NODEV is refused with EINVAL")
    assert {
        name: why
        for name, why in undetermined.items()
        if name not in outside and not ("zcrx" in name and reasons.search(why))
    } == {}


@needs_ring
def test_the_kernels_claims_agree_with_what_is_observed(here: dict[str, Observation]) -> None:
    """Of the probe, of the feature bits, and of the query where there is one."""
    assert {one.id for one in here.values() if one.claimed is not None} >= {
        one for one in REQUESTS if one.startswith(("feat-", "op-"))
    }
    assert [
        one
        for one in here.values()
        if one.claimed is not None
        and one.state is not UNKNOWN
        and one.claimed != bool(one)
        # A registration that the kernel was built without has its number all the same.
        and not (one.claimed and one.state is OFF)
    ] == []


@needs_ring
def test_observing_leaves_nothing_behind(here: dict[str, Observation]) -> None:
    assert here
    before = state_of_process()
    assert len(list(observe(["op-nop", "limit-fixed-buffers"]))) == 2
    assert state_of_process() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def state_of_process() -> tuple[object, ...]:
    return open_files(), Path.cwd(), os.geteuid(), Path("/proc/self/ns/net").readlink()


@needs_ring
def test_programs_ask_by_id_and_by_the_kernels_name() -> None:
    found = uring.capabilities("IORING_OP_NOP", "op-nop", "cqe-32")
    assert list(found) == ["IORING_OP_NOP", "op-nop", "cqe-32"]
    assert found["op-nop"] == found["IORING_OP_NOP"]
    assert found["op-nop"]
    assert found["op-nop"].claimed in {True, None}
    with pytest.raises(KeyError, match="no capability is called 'recv-multishoot'"):
        uring.capabilities("recv-multishoot")


@needs_ring
def test_programs_may_ask_for_everything(here: dict[str, Observation]) -> None:
    assert {name: one.state for name, one in uring.capabilities().items()} == {
        name: one.state for name, one in here.items()
    }


def test_the_ring_is_imported_without_what_observes() -> None:
    code = "import sys, uring; print([name for name in sys.modules if name.startswith('uring.observe')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout == "[]\n"


# -- which, and in which order ----------------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What was to be asked; nothing is."""
    found: list[list[str]] = []

    def instead(requests: list[Request], deadline_s: float) -> Iterator[Observation]:
        assert deadline_s == runner.DEADLINE_S
        found.append([one.id for one in requests])
        return iter(())

    monkeypatch.setattr("uring.observe.one_by_one", instead)
    return found


def test_all_but_these_and_from_here_on(asked: list[list[str]]) -> None:
    every = [one.id for one in ordered()]
    list(observe())
    list(observe(exclude=["op-nop"]))
    list(observe(after="op-nop"))
    list(observe(["op-read", "op-nop", "op-tee"], after="op-nop", exclude=["op-tee"]))
    place = every.index("op-nop")
    assert asked == [every, every[:place] + every[place + 1 :], every[place + 1 :], ["op-read"]]
    for mistake in ({"after": "op-nope"}, {"exclude": ["op-nope"]}, {"selection": ["op-nope"]}):
        with pytest.raises(KeyError):
            list(observe(**mistake))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("op-openat", "op-openat"),
        ("IORING_OP_OPENAT", "op-openat"),
        ("IORING_REGISTER_FILES2", "register-files2"),
        ("IORING_UNREGISTER_FILES", "unregister-files"),
        ("IORING_FEAT_NODROP", "feat-nodrop"),
        ("IORING_SETUP_SQPOLL", "setup-sqpoll"),
        ("IORING_ENTER_EXT_ARG", "enter-ext-arg"),
        ("IOSQE_ASYNC", "sqe-async"),
        ("IORING_CQE_F_MORE", "cqe-more"),
        ("IORING_RECV_MULTISHOT", "recv-multishot"),
    ],
)
def test_the_kernels_names_mean_the_thing_itself(name: str, identifier: str) -> None:
    assert find(name).id == identifier


@pytest.mark.parametrize(
    ("symbol", "identifier"),
    [
        ("IORING_OP_READ_FIXED", "op-read-fixed"),
        ("IORING_SETUP_SQE128", "setup-sqe128"),
        ("IORING_FEAT_EXT_ARG", "feat-ext-arg"),
        ("IORING_ENTER_GETEVENTS", "enter-getevents"),
        ("IORING_CQE_F_32", "cqe-32"),
        ("IOSQE_IO_LINK", "sqe-io-link"),
        ("IORING_REGISTER_NAPI", "register-napi"),
        ("IORING_UNREGISTER_NAPI", "unregister-napi"),
    ],
)
def test_a_symbol_has_an_id_of_its_own(symbol: str, identifier: str) -> None:
    assert own_id(symbol) == identifier
    assert REQUESTS[identifier].symbols[0] == symbol


@needs_ring
def test_who_can_be_queried_claims_or_denies_every_number_and_flag(here: dict[str, Observation]) -> None:
    if not here["register-query"]:
        pytest.skip(f"this kernel has no IORING_REGISTER_QUERY: {here['register-query'].evidence}")
    said = ("op-", "feat-", "setup-", "enter-", "sqe-", "register-", "unregister-")
    silent = {one.id for one in here.values() if one.id.startswith(said) and one.claimed is None}
    assert silent == {"register-use-registered-ring", "sqe-personality"}


def test_symbols_without_a_capability_of_their_own() -> None:
    assert own_id("SPLICE_F_FD_IN_FIXED") is None
    assert number_of("RLIMIT_MEMLOCK") is None
    assert number_of("IORING_OP_TEE") == 33
    assert number_of("IORING_UNREGISTER_FILES") == 3
    assert number_of("SOCKET_URING_OP_GETSOCKOPT") == 2
    assert number_of("IORING_SETUP_DEFER_TASKRUN") == 1 << 13
    assert number_of("ZCRX_CTRL_ADD_AREA") == 3


@pytest.mark.parametrize("one", REQUESTS.values(), ids=lambda one: one.id)
def test_a_request_has_an_id_and_the_kernels_names(one: Request) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", one.id)
    assert one.symbols
    for symbol in one.symbols:
        assert symbol == "RLIMIT_MEMLOCK" or isinstance(number_of(symbol), int)


def test_nothing_is_observed_in_two_ways() -> None:
    from uring.observe.finding import add

    with pytest.raises(ValueError, match="op-nop is observed in two ways"):
        add("op-nop", "IORING_OP_NOP", lambda w: judge("", 0, (0,)))


# -- what a result says -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "state", "evidence"),
    [
        (0, HAS, "x: 0"),
        (16, HAS, "x: 16"),
        (15, UNKNOWN, "x: 15 tells neither"),
        (-errno.EINVAL, LACKS, "x: EINVAL"),
        (-errno.EOPNOTSUPP, OFF, "x: EOPNOTSUPP (CONFIG_X)"),
        (-errno.ENOMEM, UNKNOWN, f"x: ENOMEM ({os.strerror(errno.ENOMEM)}) tells neither"),
        (-4096, UNKNOWN, None),
    ],
)
def test_results_are_judged(result: int, state: State, evidence: str | None) -> None:
    found = judge("x", result, (0, range(16, 18)), off={-errno.EOPNOTSUPP: "CONFIG_X"})
    assert found.state is state
    assert evidence is None or found.evidence == evidence


@pytest.mark.parametrize(
    ("result", "name"),
    [
        *((16, "16"), (0, "0"), (-errno.EINVAL, "EINVAL"), (-95, "EOPNOTSUPP"), (-4095, "-4095"), (-4096, "-4096")),
        (-524, "-524"),
    ],
)
def test_results_have_names(result: int, name: str) -> None:
    """524 is the kernel's own ENOTSUPP, which the C library does not know."""
    assert name_of(result) == name


def test_any_is_every_result_that_is_no_error() -> None:
    assert (0 in ANY, (1 << 31) - 1 in ANY, -1 in ANY) == (True, True, False)


def test_an_observation_is_true_where_the_kernel_has_it() -> None:
    assert [bool(Observation("x", state, "")) for state in State] == [True, False, False, False]


@pytest.mark.parametrize(("number", "state"), [(errno.EINVAL, LACKS), (errno.ENOMEM, UNKNOWN), (errno.EPERM, UNKNOWN)])
def test_without_its_requirement_a_kernel_lacks_it(number: int, state: State) -> None:
    found = RefusedError("a ring", number).finding()
    assert found == Finding(state, f"needs a ring, which is refused with {errno.errorcode[number]}")


def answers_up_to(limit: int, beyond: int) -> Callable[[world.World, int], int]:
    return lambda _, count: 0 if count <= limit else beyond


@needs_ring
@pytest.mark.parametrize(
    ("limit", "value"), [(1024, 1024), (16384, 16384), (1023, None), (1025, None), (16383, None), (1 << 20, None)]
)
def test_the_limit_of_buffers_is_found(limit: int, value: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """1024 before 5.13, which no kernel of the archive is."""
    monkeypatch.setattr(limits, "_buffers", answers_up_to(limit, -errno.EINVAL))
    found = runner.found_by(REQUESTS["limit-fixed-buffers"], world.World())
    assert (found.state, found.value) == (UNKNOWN if value is None else HAS, value)


@needs_ring
@pytest.mark.parametrize(
    ("limit", "allowed", "value"),
    [
        (1024, 1 << 20, 1024),
        (1 << 15, 1 << 20, 1 << 15),
        (1 << 20, 1 << 20, 1 << 20),
        (1 << 15, 1 << 15, None),
        (1024, 4096, 1024),
        (1025, 1 << 20, None),
        (1 << 16, 1 << 20, None),
    ],
)
def test_the_limit_of_files_is_found(
    limit: int, allowed: int, value: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_files", answers_up_to(min(limit, allowed), -errno.EMFILE))
    monkeypatch.setattr(limits, "_limited", lambda *_: contextlib.nullcontext(allowed))
    found = runner.found_by(REQUESTS["limit-fixed-files"], world.World())
    assert (found.state, found.value) == (UNKNOWN if value is None else HAS, value)


@needs_ring
@pytest.mark.parametrize(("name", "value"), [("limit-sq-entries", 77), ("limit-cq-entries", 78)])
def test_the_largest_queue_is_what_the_kernel_made_of_a_larger_one(
    name: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = uring.io_uring_params(sq_entries=77, cq_entries=78)
    monkeypatch.setattr(world.World, "setup", lambda *_, **__: (0, made))
    # Not by `observe`, whose own rings would be of this kernel, too.
    one = find(name).ask(world.World())
    assert (one.state, one.value, str(value) in one.evidence) == (HAS, value, True)


@needs_ring
def test_what_is_listed_where_no_table_of_free_slots_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels before 5.19 have no sparse tables, and those before 5.13 no empty buffers."""
    asked: list[tuple[int, bytes, int]] = []
    real = Ring.register

    def older(ring: Ring, opcode: int, address: int = 0, count: int = 0) -> int:
        content = world.World.get(address, 4)
        asked.append((opcode, content, count))
        if opcode == uring.IORING_REGISTER.REGISTER_FILES2:
            return -errno.EINVAL
        if opcode == uring.IORING_REGISTER.REGISTER_BUFFERS and content == bytes(4):
            return -errno.EFAULT
        return real(ring, opcode, address, count)

    monkeypatch.setattr(Ring, "register", older)
    one = world.World()
    assert (limits._files(one, 100), limits._buffers(one, 100)) == (0, 0)
    register = uring.IORING_REGISTER
    assert [(opcode, count) for opcode, _, count in asked] == [
        # The size of the description, and else how many.
        *((register.REGISTER_FILES2, 32), (register.REGISTER_FILES, 100)),
        *((register.REGISTER_BUFFERS, 100), (register.REGISTER_BUFFERS, 100)),
    ]
    assert asked[1][1] == b"\xff" * 4


@needs_ring
@pytest.mark.parametrize(
    "name",
    [
        "register-ring-fds",
        "unregister-ring-fds",
        "register-use-registered-ring",
        "feat-reg-reg-ring",
        "enter-registered-ring",
        "clone-buffers-registered",
    ],
)
def test_indices_of_rings_are_given_back(name: str, here: dict[str, Observation]) -> None:
    """A thread has sixteen of them."""
    one = world.World()
    found = {runner.found_by(REQUESTS[name], one).state for _ in range(20)}
    assert found == {here[name].state}


@pytest.mark.parametrize("is_open", [True, False])
def test_who_overlooks_the_slot_closes_no_descriptor_for_good(is_open: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where kernels take no slot to close, it is descriptor 0 that they close."""

    class Overlooking:
        @staticmethod
        def ask(entry: list[int]) -> Cqe:
            if entry[0] == uring.IORING_OP.CLOSE and is_open:
                os.close(entry[3])
            return Cqe(1, int(entry[0] == uring.IORING_OP.READ), 0)

    one = world.World()
    monkeypatch.setattr(one, "with_files", lambda *_: Overlooking)
    kept = os.dup(0)
    try:
        if not is_open:
            os.close(0)
        before = open_files()
        assert find("close-direct").ask(one).state is LACKS
        assert open_files() == before
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(one.file)


# -- kernels that are not there ---------------------------------------------------------------------------------------


class Answering(Ring):
    """A ring of a kernel that answers everything in one way."""

    answer = -errno.EINVAL
    # Registrations that it takes.
    knows: tuple[int, ...] = ()
    # Whether it makes any ring that is asked for.
    is_open = False

    def __init__(self, entries: int = 8, flags: int = 0, **fields: int) -> None:
        if self.is_open:
            flags, fields = 0, {}
        if flags:
            raise RefusedError(f"a ring with the flags {flags:#x}", -self.answer)
        super().__init__(entries, flags, **fields)

    def ask(self, entry: list[int]) -> Cqe:
        return Cqe(entry[8], self.answer, 0)

    def submit(self, *entries: list[int]) -> int:
        self.waiting = [Cqe(place + 1, self.answer, 0) for place in range(len(entries))]
        return 1

    def reap(self, count: int = 0) -> list[Cqe]:
        found, self.waiting = self.waiting, []
        return found + [Cqe(0, self.answer, 0)] * (count - len(found))

    def register(self, opcode: int, address: int = 0, count: int = 0) -> int:
        return 0 if opcode in self.knows else self.answer

    def enter(self, to_submit: int, flags: int, wait: int = 0, argument: int = 0, size: int = 8) -> int:
        return self.answer


def asked_of_a_kernel_that_answers(
    answer: int, monkeypatch: pytest.MonkeyPatch, knows: tuple[int, ...] = (), *, is_open: bool = False
) -> dict[str, Finding]:
    monkeypatch.setattr(Answering, "is_open", is_open)
    monkeypatch.setattr(Answering, "answer", answer)
    monkeypatch.setattr(Answering, "knows", knows)
    real = syscalls.io_uring_setup_errno
    monkeypatch.setattr(
        syscalls,
        "io_uring_setup_errno",
        lambda entries, params: real(entries, params) if not params.flags else answer,
    )
    for call in ("io_uring_register_errno", "io_uring_enter_errno"):
        monkeypatch.setattr(syscalls, call, lambda *_, **__: answer)
    monkeypatch.setattr(world, "Ring", Answering)
    monkeypatch.setattr("uring.observe.rings.Ring", Answering)
    one = world.World()
    return {request.id: runner.found_by(request, one) for request in ordered()}


# What does not hang on an answer of io_uring at all.
_BY_OTHER_MEANS = {
    "cqe-tstamp-hw": UNKNOWN,
    # Where the request fails that the feature is about, nothing is known of the feature.
    **dict.fromkeys(("feat-cur-personality", "feat-fast-poll", "feat-native-workers", "feat-nodrop"), UNKNOWN),
    **dict.fromkeys(("feat-single-mmap", "feat-submit-stable"), UNKNOWN),
    "sq-need-wakeup": LACKS,
    "cq-eventfd-disabled": LACKS,
    # A plain ring is there.
    "setup-attach-wq": LACKS,
    "buffers-without-memlock": UNKNOWN,
    # Whether more is refused than allowed.
    "limit-fixed-buffers": UNKNOWN,
    "limit-fixed-files": UNKNOWN,
}


@needs_ring
@pytest.mark.parametrize("is_open", [False, True])
def test_a_kernel_that_knows_nothing_lacks_everything(is_open: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    found = asked_of_a_kernel_that_answers(-errno.EINVAL, monkeypatch, is_open=is_open)
    # About plain rings, which this kernel has.
    del found["rings-without-memlock"]
    assert {name: one for name, one in found.items() if one.state is not _BY_OTHER_MEANS.get(name, LACKS)} == {}


_RESOURCES = (uring.IORING_REGISTER.REGISTER_BUFFERS, uring.IORING_REGISTER.REGISTER_FILES)
_ABOUT_RESOURCES = {"register-buffers", "register-files", "buffers-sparse", "files-sparse", "buffers-without-memlock"}


@needs_ring
def test_a_kernel_that_knows_files_and_buffers_lacks_what_is_done_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    found = asked_of_a_kernel_that_answers(-errno.EINVAL, monkeypatch, _RESOURCES)
    del found["rings-without-memlock"]
    expected = _BY_OTHER_MEANS | dict.fromkeys(_ABOUT_RESOURCES, HAS)
    assert {name: one for name, one in found.items() if one.state is not expected.get(name, LACKS)} == {}


@needs_ring
@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("knows", [(), _RESOURCES])
def test_a_nonsensical_answer_tells_nothing(
    knows: tuple[int, ...], is_open: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody answers ENOTNAM: whoever takes it for an answer would take anything for one."""
    found = asked_of_a_kernel_that_answers(-errno.ENOTNAM, monkeypatch, knows, is_open=is_open)
    told = {name: one for name, one in found.items() if one.state is not UNKNOWN}
    if knows:
        told = {name: one for name, one in told.items() if name not in _ABOUT_RESOURCES}
    # About plain rings, and words of the queue's that only a real one sets.
    words = {"sq-cq-overflow"} | ({"sq-taskrun", "sq-need-wakeup"} if is_open else set())
    assert set(told) - {"rings-without-memlock"} == words
