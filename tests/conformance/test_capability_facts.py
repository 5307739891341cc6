"""The table of facts: complete, unique, and the same facts as `uring`'s; and what real kernels have of it."""

import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import observed_kernels
import pytest
from archive_kernels import oldest_and_newest

import uring
from conformance.capabilities import BY_ID, CAPABILITIES, Capability, Source, stated
from conformance.capabilities.expectation import contradicting, disagreements
from conformance.capabilities.record import build
from uring import flags
from uring.observe import REQUESTS

ROOT = Path(__file__).resolve().parents[2]
# Debian's newest header, compiled.
HEADER = json.loads((ROOT / "tests/uring/golden/golden.json").read_text(encoding="utf-8"))["linux"]["constants"]
INSTALLED = Path("/usr/include/linux/io_uring.h")
KINDS = {
    "operation": "op-",
    "setup-flag": "setup-",
    "feature": "feat-",
    "sqe-flag": "sqe-",
    "cqe-flag": "cqe-",
    "enter-flag": "enter-",
}
# What is a value of no capability: masks, shifts, offsets, ends of lists, and results.
NO_CAPABILITY = re.compile(
    r"_LAST$|_BIT$|_MASK$|_SHIFT$|^IORING_OFF_(?!PBUF_RING$)|^IO_WQ_|^IO_URING_OP_SUPPORTED$|^IO_URING_NAPI_REGISTER_OP$"
    # What was there before it had a name.
    r"|^IO_URING_NAPI_TRACKING_DYNAMIC$|^IORING_RW_ATTR_FLAG_PI$|^IORING_MEM_REGION_TYPE_USER$"
    # Arguments of futexes, whoever waits on them.
    r"|^FUTEX2?_"
)


def about(symbol: str) -> list[Capability]:
    return [one for one in CAPABILITIES if symbol in one.symbols]


def test_there_are_more_than_two_hundred_and_each_is_there_once() -> None:
    assert len(CAPABILITIES) == len(BY_ID) == len({one.id for one in CAPABILITIES}) > 280
    assert [name for name, count in Counter(one.title for one in CAPABILITIES).items() if count > 1] == []


def test_what_is_known_is_observed_and_what_is_observed_is_known() -> None:
    assert set(BY_ID) == set(REQUESTS)


@pytest.mark.parametrize("symbol", sorted(name for name in HEADER if not NO_CAPABILITY.search(name)))
def test_every_name_of_the_kernels_header_is_of_a_capability(symbol: str) -> None:
    assert about(symbol) != []


@pytest.mark.skipif(not INSTALLED.exists(), reason="linux-libc-dev is not installed")
def test_every_name_of_the_installed_header_is_of_a_capability() -> None:
    text = INSTALLED.read_text(encoding="utf-8")
    names = set(re.findall(r"^#define\s+((?:IORING|IOSQE|IOU)_\w+)\s", text, re.MULTILINE))
    names |= set(re.findall(r"^\s+(IORING_(?:OP|REGISTER|UNREGISTER|RESTRICTION|MSG)_\w+)", text, re.MULTILINE))
    assert len(names) > 100
    assert [name for name in names if not NO_CAPABILITY.search(name) and not about(name)] == []


@pytest.mark.parametrize("one", CAPABILITIES, ids=lambda one: one.id)
def test_a_capabilitys_number_is_the_headers(one: Capability) -> None:
    symbol = one.symbols[0]
    if symbol in HEADER:
        assert one.number == HEADER[symbol]
    else:
        # Of other headers, or of none.
        assert re.match(r"ZCRX_|IO_URING_QUERY_|RLIMIT_", symbol)


@pytest.mark.parametrize(
    ("symbol", "number"),
    [
        ("IO_URING_QUERY_OPCODES", 0),
        ("IO_URING_QUERY_ZCRX", 1),
        ("IO_URING_QUERY_SCQ", 2),
        ("IO_URING_QUERY_ZCRX_EVENT", 3),
        ("ZCRX_REG_IMPORT", 1),
        ("ZCRX_REG_NODEV", 2),
        ("ZCRX_CTRL_FLUSH_RQ", 0),
        ("ZCRX_CTRL_EXPORT", 1),
        ("ZCRX_CTRL_ARM_EVENT", 2),
        ("ZCRX_CTRL_ADD_AREA", 3),
        ("RLIMIT_MEMLOCK", None),
    ],
)
def test_numbers_of_other_headers(symbol: str, number: int | None) -> None:
    """<linux/io_uring/query.h> and <linux/io_uring/zcrx.h> of 7.3."""
    assert {one.number for one in CAPABILITIES if one.symbols[0] == symbol} == {number}


def test_operations_and_features_are_those_of_the_ring() -> None:
    """Both ways, with their numbers and first kernels: the facts are `uring`'s, and there is no second list."""
    operations = {one.symbols[0]: one for one in CAPABILITIES if one.kind == "operation"}
    assert {name: (one.number, one.since) for name, one in operations.items()} == {
        f"IORING_OP_{op.name}": (int(op), since) for op, since in uring.OPERATION_SINCE.items()
    }
    features = {one.symbols[0].removeprefix("IORING_FEAT_"): one for one in CAPABILITIES if one.kind == "feature"}
    assert {name: one.number for name, one in features.items()} == {bit.name: int(bit) for bit in uring.IORING_FEAT}
    documented = {name: since for name, since in uring.FEATURE_SINCE.items() if since is not None}
    assert {name: features[name].since for name in documented} == documented


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("setup-flag", flags.IORING_SETUP),
        ("sqe-flag", flags.IOSQE),
        ("cqe-flag", flags.IORING_CQE_F),
        ("enter-flag", flags.IORING_ENTER),
    ],
)
def test_flags_are_those_of_the_ring(kind: str, members: Any) -> None:
    assert sorted(one.number for one in CAPABILITIES if one.kind == kind) == sorted(int(bit) for bit in members)


def test_registrations_are_those_of_the_ring() -> None:
    found = sorted(one.number or 0 for one in CAPABILITIES if one.kind == "registration")
    assert found == [*range(len(uring.IORING_REGISTER)), uring.IORING_REGISTER_USE_REGISTERED_RING]


@pytest.mark.parametrize("one", CAPABILITIES, ids=lambda one: one.id)
def test_a_capability_is_worded_for_a_reader(one: Capability) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", one.id)
    assert one.id.startswith(KINDS.get(one.kind, ""))
    assert one.title == one.title.strip() != ""
    assert re.fullmatch(r"([A-Z0-9-]|\w+\(2\)).*\.", one.sentence)
    assert one.detect
    assert "{" not in one.detect
    for source in one.sources:
        assert re.fullmatch(r"[5-7]\.\d+", source.version)
        assert re.search(r"^\w+\([237]\)$|^kernel history|^liburing header$", source.where)


def test_who_contradicts_whom_is_kept() -> None:
    assert BY_ID["op-waitid"].sources == (
        Source("6.7", "io_uring_prep_waitid(3)"),
        Source("6.5", "io_uring_enter(2)"),
    )
    assert [one.version for one in BY_ID["register-query"].sources] == ["6.18", "6.15"]
    assert {one.id for one in CAPABILITIES if len(one.sources) > 1} == {
        "accept-direct",
        "op-waitid",
        "query-opcodes",
        "query-scq",
        "query-without-ring",
        "query-zcrx",
        "register-query",
        "register-zcrx-ctrl",
        "zcrx-export",
        "zcrx-flush-rq",
    }


def test_a_record_is_made_of_a_row() -> None:
    (one,) = build(
        "sub-feature", (("cancel-fd", "t", "5.19 a(3); 6.0 kernel history", "S."),), "{id} {symbol} {number}"
    )
    assert (one.id, one.kind, one.title, one.sentence, one.since) == ("cancel-fd", "sub-feature", "t", "S.", "5.19")
    assert one.sources == (Source("5.19", "a(3)"), Source("6.0", "kernel history"))
    assert one.symbols == ("IORING_ASYNC_CANCEL_FD", "IORING_OP_ASYNC_CANCEL")
    assert (one.number, one.detect) == (2, "cancel-fd IORING_ASYNC_CANCEL_FD 2")
    (undocumented,) = build("sub-feature", (("cancel-fd", "t", "", "S."),), "")
    assert (undocumented.sources, undocumented.since) == ((), None)


def test_what_kernels_list_of_themselves_is_stated() -> None:
    found = {one["id"]: one for one in stated()}
    assert len(found) == len(uring.IORING_OP) + len(uring.IORING_FEAT)
    assert {name: found["op-ftruncate"][name] for name in ("title", "kind", "symbols", "fact", "value", "since")} == {
        "title": "ftruncate",
        "kind": "operation",
        "symbols": ("IORING_OP_FTRUNCATE",),
        "fact": "operations",
        "value": "FTRUNCATE",
        "since": "6.9",
    }
    assert (found["feat-nodrop"]["fact"], found["feat-nodrop"]["value"]) == ("features", "IORING_FEAT_NODROP")


# -- real kernels -----------------------------------------------------------------------------------------------------

_SWITCHED_OFF = """
import json
from pathlib import Path
from uring.observe import observe
Path("/proc/sys/kernel/io_uring_disabled").write_text("2")
print(json.dumps([[one.id, one.state, one.evidence] for one in observe(["op-nop", "recv-multishot"])]))
"""


@pytest.mark.vm
def test_what_the_administrator_switched_off_is_off() -> None:
    evidence = "sysctl kernel.io_uring_disabled is 2; a plain ring of one entry is refused with EPERM"
    command = [sys.executable, "-c", "import uring_matrix.cli as cli; cli.main()", "shell", oldest_and_newest()[-1]]
    done = subprocess.run(command, input=_SWITCHED_OFF, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [["op-nop", "off", evidence], ["recv-multishot", "off", evidence]]


# -- documented and observed ------------------------------------------------------------------------------------------


def observed() -> dict[str, dict[str, str]]:
    """Series to id to state."""
    return {
        series: {
            one.id: next((state for state, names in known["others"].items() if one.id in names), "has")
            for one in CAPABILITIES
        }
        for series, known in observed_kernels.known().items()
    }


def test_every_disagreement_of_documentation_and_kernels_is_explained() -> None:
    """And nothing is explained that is none: a version that is changed in the facts is found here."""
    explained = tomllib.loads((ROOT / "conformance/capabilities/disagreements.toml").read_text(encoding="utf-8"))
    expected: dict[str, tuple[str, ...]] = {}
    for one in explained["disagreement"]:
        for name in one["capabilities"] if one["why"] else ():
            expected[name] = (*expected.get(name, ()), *one["series"])
    found = disagreements(CAPABILITIES, observed())
    assert {f"{name} {source.version}": series for (name, source), series in found.items()} == expected


def test_neighbouring_kernels_differ() -> None:
    kernels = list(observed().values())
    assert len(kernels) >= 11
    assert all(older != newer for older, newer in pairwise(kernels))


def test_hardly_anything_cannot_be_determined() -> None:
    """What needs hardware; and commands of zero-copy receive where it cannot be had without a network card."""
    undetermined = {
        series: {name for name, state in states.items() if state == "not-determinable"}
        for series, states in observed().items()
    }
    controls = {"zcrx-flush-rq", "zcrx-export", "zcrx-arm-event", "zcrx-add-area"}
    assert {series: names - {"cqe-tstamp-hw"} for series, names in undetermined.items() if len(names) > 1} == {
        "6.19": controls,
        "7.0": controls,
    }


@pytest.mark.parametrize(
    ("states", "series"),
    [
        ({"5.10": "lacks", "6.1": "lacks", "6.12": "has"}, ()),
        ({"6.12": "has", "6.1": "has", "5.10": "lacks"}, ("6.1",)),
        ({"5.10": "has", "6.1": "lacks", "6.12": "lacks"}, ("5.10", "6.12")),
        ({"5.10": "off", "6.1": "not-determinable", "6.12": "off"}, ()),
        ({"6.2": "has", "6.3": "lacks"}, ("6.3",)),
        ({"6.12": "lacks", "6.3": "lacks", "6.2": "has"}, ("6.3", "6.12")),
        ({"6.2": "lacks", "6.3": "has"}, ("6.2",)),
    ],
)
def test_who_says_6_2_is_contradicted(states: dict[str, str], series: tuple[str, ...]) -> None:
    assert contradicting(Source("6.2", "x(3)"), states) == series
