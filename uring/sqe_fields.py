"""The 64 bytes of a submission queue entry: their layout, field access, and the one function that fills them in."""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error

from .errors import ArgumentOutOfRange
from .flags import IORING_FILE_INDEX_ALLOC, IOSQE, IOSQE_IO_LINK
from .opcodes import IORING_OP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol, Self, overload

    class Owner(Protocol):
        """What an SQE needs to know about the queue it lies in."""

        layout: Struct
        is_plain: bool


# Field, struct code, offset. In memory order and without gaps, so the codes joined are the whole layout.
FIELDS = (
    ("opcode", "B", 0),
    ("flags", "B", 1),
    ("ioprio", "H", 2),
    ("fd", "i", 4),
    ("off", "Q", 8),
    ("addr", "Q", 16),
    ("len", "I", 24),
    ("rw_flags", "I", 28),
    ("user_data", "Q", 32),
    ("buf_index", "H", 40),
    ("personality", "H", 42),
    ("splice_fd_in", "i", 44),
    ("addr3", "Q", 48),
    ("resv", "Q", 56),
)
SQE_BYTES = 64
SQE_LAYOUT = Struct("=" + "".join(code for _, code, _ in FIELDS))
# `x` bytes are written as zeros: the second half of a 128-byte entry never keeps what was there before.
SQE128_LAYOUT = Struct(SQE_LAYOUT.format + "64x")
USER_DATA_OFFSET = 32
_U64 = 0xFFFFFFFFFFFFFFFF


class Standalone:
    """Owner of entries that lie in no queue."""

    layout = SQE_LAYOUT
    is_plain = False


_STANDALONE: Owner = Standalone()


class Field:
    """One field, readable and writable in place."""

    __slots__ = ("at", "code", "name")

    def __init__(self, name: str, code: str, at: int) -> None:
        self.name = name
        self.code = Struct("=" + code)
        self.at = at

    if TYPE_CHECKING:

        @overload
        def __get__(self, entry: None, owner: type) -> Self: ...
        @overload
        def __get__(self, entry: SqeFields, owner: type) -> int: ...

    def __get__(self, entry: SqeFields | None, owner: type) -> int | Self:
        if entry is None:
            return self
        return int(self.code.unpack_from(entry._view, entry._offset + self.at)[0])

    def __set__(self, entry: SqeFields, value: int) -> None:
        entry._owner.is_plain = False
        try:
            self.code.pack_into(entry._view, entry._offset + self.at, value)
        except struct_error as error:
            raise ArgumentOutOfRange(f"io_uring_sqe.{self.name} = {value!r}: {error}") from None


def file_slot(file_index: int) -> int:
    """The signed 32 bits that name a slot of the file table: index + 1, or all ones to let the kernel choose."""
    encoded = file_index if file_index == IORING_FILE_INDEX_ALLOC else file_index + 1
    if not 0 < encoded <= IORING_FILE_INDEX_ALLOC:
        raise ArgumentOutOfRange(f"file index {file_index} is not in 0 to 0xfffffffe or IORING_FILE_INDEX_ALLOC")
    return signed32(encoded)


def signed32(value: int) -> int:
    """The same 32 bits as a signed number."""
    return value - (1 << 32) if value >= 1 << 31 else value


class SqeFields:
    """A submission queue entry: memory, fields, comparison. The operations are added by the classes above it.

    An entry in a ring is a view of the slot, as a pointer is in Zig: when the slot is used again, the old object shows
    the new request.
    """

    __slots__ = ("_offset", "_owner", "_pins", "_view")

    opcode = Field(*FIELDS[0])
    flags = Field(*FIELDS[1])
    ioprio = Field(*FIELDS[2])
    fd = Field(*FIELDS[3])
    off = Field(*FIELDS[4])
    addr = Field(*FIELDS[5])
    len = Field(*FIELDS[6])
    rw_flags = Field(*FIELDS[7])
    user_data = Field(*FIELDS[8])
    buf_index = Field(*FIELDS[9])
    personality = Field(*FIELDS[10])
    splice_fd_in = Field(*FIELDS[11])
    addr3 = Field(*FIELDS[12])
    resv = Field(*FIELDS[13])

    def __init__(self, **fields: int) -> None:
        """An entry of its own, not in any ring; keyword arguments are fields, the rest is zero."""
        self._view = memoryview(bytearray(SQE_BYTES))
        self._offset = 0
        self._owner = _STANDALONE
        self._pins: object = None
        for name, value in fields.items():
            setattr(self, name, value)

    @classmethod
    def at(cls, view: memoryview, offset: int, owner: Owner) -> Self:
        """The entry that lies at `offset` of a ring's memory."""
        entry = cls.__new__(cls)
        entry._view = view
        entry._offset = offset
        entry._owner = owner
        entry._pins = None
        return entry

    def _write(
        self,
        opcode: int,
        fd: int,
        off: int = 0,
        addr: int = 0,
        len: int = 0,  # noqa: A002 - the field's name
        rw_flags: int = 0,
        ioprio: int = 0,
        buf_index: int = 0,
        splice_fd_in: int = 0,
        addr3: int = 0,
        pins: object = None,
    ) -> None:
        """Fill in the whole entry; what is not given becomes zero, `user_data` included.

        The pins are stored first, so that an entry never points to memory that nobody holds.
        """
        owner = self._owner
        owner.is_plain = False
        self._pins = pins
        if off < 0:
            off = _minus_one("offset", off)
        if addr < 0:
            addr = _minus_one("address or offset", addr)
        try:
            owner.layout.pack_into(
                self._view,
                self._offset,
                opcode,
                0,
                ioprio,
                fd,
                off,
                addr,
                len,
                rw_flags,
                0,
                buf_index,
                0,
                splice_fd_in,
                addr3,
                0,
            )
        except struct_error as error:
            raise ArgumentOutOfRange(
                f"IORING_OP_{IORING_OP(opcode).name}: an argument does not fit its field: {error} (fd={fd}, off={off}, "
                f"addr={addr:#x}, len={len}, rw_flags={rw_flags}, ioprio={ioprio}, buf_index={buf_index}, "
                f"splice_fd_in={splice_fd_in}, addr3={addr3:#x})"
            ) from None

    def set_flags(self, flags: int) -> None:
        """Add IOSQE_* bits."""
        self.flags |= flags

    def link_next(self) -> None:
        """Start the next entry only when this one is complete (IOSQE_IO_LINK). Since 5.3."""
        self.flags |= IOSQE_IO_LINK

    @property
    def cmd(self) -> bytes:
        """The command bytes from offset 48 on: 16 of them, or 80 in a ring with IORING_SETUP_SQE128."""
        return bytes(self._view[self._offset + 48 : self._offset + self._owner.layout.size])

    @cmd.setter
    def cmd(self, command: bytes) -> None:
        self._owner.is_plain = False
        size_bytes = self._owner.layout.size - 48
        if len(command) > size_bytes:
            raise ArgumentOutOfRange(f"a command of {len(command)} bytes; this ring's entries hold {size_bytes}")
        start = self._offset + 48
        self._view[start : start + size_bytes] = bytes(command).ljust(size_bytes, b"\0")

    def __bytes__(self) -> bytes:
        return bytes(self._view[self._offset : self._offset + SQE_BYTES])

    def __eq__(self, other: object) -> bool:
        return bytes(self) == bytes(other) if isinstance(other, SqeFields) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        values = dict(zip((name for name, _, _ in FIELDS), SQE_LAYOUT.unpack(bytes(self)), strict=True))
        opcode = values.pop("opcode")
        shown = [f"opcode={IORING_OP(opcode).name if opcode in IORING_OP._value2member_map_ else opcode}"]
        if values["flags"]:
            shown.append(f"flags={IOSQE(values.pop('flags'))!r}")
        in_hex = ("off", "addr", "user_data", "addr3", "rw_flags")
        shown += [
            f"{name}={value:#x}" if name in in_hex else f"{name}={value}" for name, value in values.items() if value
        ]
        return f"io_uring_sqe({', '.join(shown)})"


def _minus_one(name: str, value: int) -> int:
    """-1 stands for all ones, as in C: "the file's own position" or "no offset"."""
    if value != -1:
        raise ArgumentOutOfRange(f"{name} {value} is negative; only -1 has a meaning (the file's own position)")
    return _U64
