"""Every `prep_*`, constant and structure against what Zig's and the kernel's own sources say (golden/golden.json)."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from typing import Any

import pytest

import uring
from uring import flags, structs, zcrx
from uring.sqe_fields import FIELDS

GOLDEN = json.loads((Path(__file__).parent / "golden" / "golden.json").read_text(encoding="utf-8"))
ZIG, LINUX = GOLDEN["zig"], GOLDEN["linux"]
# Beside Zig's, what only liburing has.
CASES = [*ZIG["cases"], *GOLDEN["liburing"]["cases"]]
PREPS = sorted(name for name in dir(uring.io_uring_sqe) if name.startswith("prep_"))
STRUCTS = {
    name: getattr(uring, name, None) or getattr(structs, name, None) or getattr(zcrx, name)
    for name in {*ZIG["layouts"], *LINUX["layouts"]} - {"io_uring_sqe", "io_uring_cqe", "io_uring_buf_ring"}
}
# Zig's field -> ours, where ours says more or keeps it out of sight.
RENAMED = {
    "kernel_timespec": {},
    "io_uring_buf_reg": {"resv": "min_left"},
    "io_uring_napi": {"_pad": "opcode", "resv": "op_param"},
    "statx_timestamp": {"__pad1": "_reserved"},
    "Statx": {"__pad1": "_pad1", "__pad2": "_reserved"},
    "msghdr": {},
    "sockaddr_in": {"port": "_port"},
    "sockaddr_in6": {"port": "_port"},
    "iovec": {},
}
ENUMS = {
    "IORING_OP_": uring.IORING_OP,
    "SOCKET_URING_OP_": uring.IO_URING_SOCKET_OP,
}


def to_python(name: str, value: Any) -> Any:
    """The argument as a Python caller would pass it, at the address it had in Zig."""
    if not isinstance(value, dict):
        return value
    if "pointer" in value:
        # provide_buffers takes a buffer here, whose length Zig does not know.
        return uring.iovec(value["pointer"], 1 << 62) if name == "prep_provide_buffers" else value["pointer"]
    if "iovec" in value:
        return uring.iovec(*value["iovec"])
    address, length = value["slice"]
    if name.startswith(("prep_readv", "prep_writev")):
        return (uring.iovec * length).from_address(address)
    if name == "prep_epoll_wait":
        return (uring.epoll_event * length).from_address(address)
    if name in ("prep_files_update", "prep_files_update_alloc"):
        return (ctypes.c_int32 * length).from_address(address)
    if name == "prep_futex_waitv":
        return (uring.futex_waitv * length).from_address(address)
    return uring.iovec(address, length)


@pytest.mark.parametrize("name", PREPS)
def test_prep_writes_the_same_bytes_as_zig_and_liburing(name: str) -> None:
    """Whatever lay in the entry before, all 64 bytes are Zig's, or liburing's where Zig has no such function."""
    cases = [case for case in CASES if case["name"] == name]
    assert cases, "golden.json has no case; add one to golden/dump.zig or golden/liburing_cases.py"
    for case in cases:
        sqe = uring.io_uring_sqe()
        sqe._view[:] = b"\xa5" * 64
        arguments = [to_python(name, value) for value in case["arguments"]]
        getattr(sqe, name)(*arguments)
        assert case["sqe"] == bytes(sqe).hex(), case["arguments"]


def test_every_prep_is_there() -> None:
    """No operation of Zig's SQE is missing, and none is untested."""
    assert sorted({case["name"] for case in CASES}) == PREPS


@pytest.mark.parametrize("name", PREPS)
def test_prep_clears_the_second_half_of_a_128_byte_entry(name: str) -> None:
    """With IORING_SETUP_SQE128 nothing of an earlier request stays behind."""
    case = next(case for case in CASES if case["name"] == name)

    class Owner:
        layout = uring.sqe_fields.SQE128_LAYOUT
        is_plain = True

    owner = Owner()
    memory = memoryview(bytearray(b"\xa5" * 256))
    sqe = uring.io_uring_sqe.at(memory, 128, owner)
    getattr(sqe, name)(*(to_python(name, value) for value in case["arguments"]))
    assert case["sqe"] == bytes(sqe).hex()
    assert bytes(64) == bytes(memory[192:])
    assert bytes(memory[:128]) == b"\xa5" * 128, "wrote outside of the entry"
    assert not owner.is_plain


def test_cmd_sock_on_a_big_endian_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """level and optname are two 32-bit fields at 16 and 20, and the command lies at 8, whatever the byte order.

    Zig packs them through 64-bit integers, which swaps them on big-endian machines.
    """
    from uring import prep_network

    for order in ("little", "big"):
        monkeypatch.setattr(prep_network.sys, "byteorder", order)
        command = prep_network._two_words(3, 0).to_bytes(8, order)
        pair = prep_network._two_words(0x11223344, 0x55667788).to_bytes(8, order)
        assert (3).to_bytes(4, order) == command[:4]
        assert (0x11223344).to_bytes(4, order) == pair[:4]
        assert (0x55667788).to_bytes(4, order) == pair[4:]


def test_poll_mask_on_a_big_endian_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel swaps the halves of 16 bits there, not the bytes."""
    from uring import sqe

    monkeypatch.setattr(sqe.sys, "byteorder", "big")
    assert sqe.poll_bits(0x11223345) == 0x33451122


@pytest.mark.parametrize(("field", "code", "offset"), FIELDS)
def test_field_reads_and_writes_its_own_bytes(field: str, code: str, offset: int) -> None:
    """Each field lies where Zig and C have it, is as wide, and touches no other."""
    zig_offset, size_bytes = ZIG["layouts"]["io_uring_sqe"]["fields"][field]
    assert zig_offset == offset
    assert LINUX["layouts"]["io_uring_sqe"]["fields"].get(field, offset) == offset
    value = -1 if code == "i" else (1 << 8 * size_bytes) - 1
    sqe = uring.io_uring_sqe(**{field: value})
    expected = bytearray(64)
    expected[offset : offset + size_bytes] = b"\xff" * size_bytes
    assert expected.hex() == bytes(sqe).hex()
    assert value == getattr(sqe, field)


def test_sqe_fields_are_zigs() -> None:
    """Nothing is missing and nothing was made up."""
    assert list(ZIG["layouts"]["io_uring_sqe"]["fields"]) == [name for name, _, _ in FIELDS]


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_structure_layout(name: str) -> None:
    """Sizes, and every field's offset and width."""
    struct = STRUCTS[name]
    zig, linux = ZIG["layouts"].get(name), LINUX["layouts"].get(name)
    for layout in filter(None, (zig, linux)):
        # In C the probe's operations are an array without a length; here, as in Zig, there are 256.
        is_open_ended = name == "io_uring_probe" and layout is linux
        assert layout["size"] == (struct.ops.offset if is_open_ended else ctypes.sizeof(struct)), name
        for field, place in layout["fields"].items():
            offset, size_bytes = place if isinstance(place, list) else (place, None)
            ours = getattr(struct, RENAMED.get(name, {}).get(field, field) if layout is zig else field)
            assert offset == ours.offset, f"{name}.{field}"
            if size_bytes and field not in RENAMED.get(name, {}):
                assert size_bytes == ours.size, f"{name}.{field}"


def test_cqe_layouts() -> None:
    """A completion is 16 bytes, a big one 32, and the words of both are where C has them."""
    from uring.cqe import CQE32_LAYOUT, CQE_LAYOUT

    fields = LINUX["layouts"]["io_uring_cqe"]["fields"]
    assert LINUX["layouts"]["io_uring_cqe"]["size"] == CQE_LAYOUT.size == fields["big_cqe"]
    assert ZIG["layouts"]["io_uring_cqe"]["size"] == CQE_LAYOUT.size
    assert fields["big_cqe"] + 16 == CQE32_LAYOUT.size
    raw = bytearray(32)
    raw[fields["user_data"]], raw[fields["res"]], raw[fields["flags"]], raw[16], raw[24] = 1, 2, 3, 4, 5
    assert CQE_LAYOUT.unpack_from(raw) == (1, 2, 3)
    assert CQE32_LAYOUT.unpack_from(raw) == (1, 2, 3, 4, 5)
    raw[fields["res"] : fields["res"] + 4] = b"\xff" * 4
    assert CQE_LAYOUT.unpack_from(raw)[1] == -1


def test_buffer_ring_tail_offset() -> None:
    """The tail shares the first entry's last two bytes."""
    from uring import buffers

    assert LINUX["layouts"]["io_uring_buf_ring"]["fields"]["tail"] == buffers._TAIL_WORD * 2
    assert ZIG["layouts"]["io_uring_buf_ring"]["fields"]["tail"] == [buffers._TAIL_WORD * 2, 2]
    assert LINUX["layouts"]["io_uring_buf"]["size"] == buffers._BUF_BYTES


def ours(name: str) -> int | None:
    """Our value of a kernel constant, under the name our tables give it."""
    for prefix, enum in ENUMS.items():
        if name.startswith(prefix):
            member = enum.__members__.get(name.removeprefix(prefix))
            return None if member is None else int(member)
    if (member := uring.IORING_REGISTER.__members__.get(name.removeprefix("IORING_"))) is not None:
        return int(member)
    value = getattr(uring, name, None)
    return value if isinstance(value, int) else None


@pytest.mark.parametrize("name", sorted(name for name in LINUX["constants"] if not name.endswith("_LAST")))
def test_constant_is_the_kernels(name: str) -> None:
    """Every constant of the kernel's newest header is here with its value."""
    value = LINUX["constants"][name]
    if name.startswith("IOSQE_") and name.endswith("_BIT"):
        name, value = name.removesuffix("_BIT"), 1 << value
    assert value == ours(name)


@pytest.mark.parametrize("name", sorted(ZIG["constants"]))
def test_constant_is_zigs(name: str) -> None:
    """Every constant of Zig's linux.zig is here with its value."""
    value = ZIG["constants"][name]
    if name == "SYS.io_uring_setup":
        assert value == uring.syscalls.SYS_IO_URING_SETUP
    elif name == "SYS.io_uring_enter":
        assert value == uring.syscalls.SYS_IO_URING_ENTER
    elif name == "SYS.io_uring_register":
        assert value == uring.syscalls.SYS_IO_URING_REGISTER
    elif "." in name:
        table, _, member = name.partition(".")
        enum = {
            "IORING_OP": uring.IORING_OP,
            "IORING_REGISTER": uring.IORING_REGISTER,
            "IO_URING_SOCKET_OP": uring.IO_URING_SOCKET_OP,
        }.get(table)
        if enum is not None and member != "REGISTER_USE_REGISTERED_RING":
            assert value == int(enum[member])
        else:
            # Zig has enums where the kernel has plain names.
            flat = f"{table}_{member}".replace("REGISTER_REGISTER", "REGISTER").replace("MSG_RING_COMMAND_", "MSG_")
            assert value == getattr(uring, flat)
    else:
        assert value == ours(name)


def test_nothing_is_made_up() -> None:
    """Our constants exist in the kernel's header or in Zig."""
    known = {*LINUX["constants"], *ZIG["constants"]}
    mine = {name for name, value in vars(flags).items() if name.isupper() and isinstance(value, int)}
    assert set() == mine - known
    assert [f"IORING_OP_{op.name}" for op in uring.IORING_OP] == sorted(
        (name for name in LINUX["constants"] if name.startswith("IORING_OP_") and not name.endswith("_LAST")),
        key=LINUX["constants"].__getitem__,
    )
    assert len(uring.IORING_REGISTER) == LINUX["constants"]["IORING_REGISTER_LAST"]


@pytest.mark.parametrize(
    ("enum", "prefix"),
    [
        (uring.IORING_SETUP, "IORING_SETUP_"),
        (uring.IORING_FEAT, "IORING_FEAT_"),
        (uring.IOSQE, "IOSQE_"),
        (uring.IORING_CQE_F, "IORING_CQE_F_"),
        (uring.IORING_ENTER, "IORING_ENTER_"),
        (uring.IORING_SQ, "IORING_SQ_"),
    ],
)
def test_flag_class_names_every_bit(enum: Any, prefix: str) -> None:
    """The classes for reading have the same bits as the flat names."""
    header = {
        name.removeprefix(prefix).removesuffix("_BIT"): 1 << value if name.endswith("_BIT") else value
        for name, value in LINUX["constants"].items()
        if name.startswith(prefix)
    }
    header = {"BIG" if name == "32" else name: value for name, value in header.items()}
    assert header == {member.name: int(member) for member in enum}


def test_operations_and_features_have_their_kernels() -> None:
    """The tables for `probe` cover every operation and feature."""
    assert list(uring.IORING_OP) == list(uring.OPERATION_SINCE)
    assert [feature.name for feature in uring.IORING_FEAT] == list(uring.FEATURE_SINCE)


def test_a_field_of_the_class_says_where_it_is() -> None:
    assert uring.io_uring_sqe.opcode.at == 0
    assert uring.io_uring_sqe.user_data.at == 32
