"""A kernel that answers as it is told, and writes down what it is asked, in the words of <linux/io_uring.h>.

It stands where the system calls do, so that all of what observes is used: rings' memory too. Each ring is a memfd,
which is mapped for real. What was asked is written with the header's names (golden/golden.json), not with those of
`uring`: a wrong number has another name, or none.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import json
import os
import re
import resource
import socket
import struct
import termios
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uring import syscalls
from uring.observe.world import World

NAMES: dict[str, int] = json.loads((Path(__file__).parent / "golden" / "golden.json").read_text(encoding="utf-8"))[
    "linux"
]["constants"]
# Descriptors are larger than that, and smaller than FLOOR + 300: so they are no numbers that mean something else.
FLOOR = 300
HEAD, TAIL, SQ_FLAGS, CQ_HEAD, CQ_TAIL, CQ_FLAGS, CQES, ARRAY = 68, 76, 84, 92, 100, 108, 192, 3072
_FIELDS = (
    *("opcode", "flags", "ioprio", "fd", "off", "addr", "len", "rw_flags"),
    *("user_data", "buf_index", "personality", "file_index", "addr3", "pad2"),
)
_SQE = struct.Struct("=BBHiQQIIQHHIQQ")
# Which of the header's names a field of an operation is made of.
_BITS = {
    "ACCEPT ioprio": "IORING_ACCEPT_",
    "ASYNC_CANCEL rw_flags": "IORING_ASYNC_CANCEL_",
    "FIXED_FD_INSTALL rw_flags": "IORING_FIXED_FD_",
    "FSYNC rw_flags": "IORING_FSYNC_",
    "MSG_RING rw_flags": "IORING_MSG_RING_",
    "NOP rw_flags": "IORING_NOP_",
    "POLL_ADD len": "IORING_POLL_",
    "POLL_REMOVE len": "IORING_POLL_",
    "READ pad2": "IORING_RW_ATTR_FLAG_",
    "RECV ioprio": "IORING_RECV",
    "RECVMSG ioprio": "IORING_RECV",
    "SEND ioprio": "IORING_(RECVSEND|SEND)_",
    "SENDMSG ioprio": "IORING_(RECVSEND|SEND)_",
    "SENDMSG_ZC ioprio": "IORING_(RECVSEND|SEND_ZC)_",
    "SEND_ZC ioprio": "IORING_(RECVSEND|SEND_ZC)_",
    "SPLICE rw_flags": "SPLICE_F_",
    "TIMEOUT rw_flags": r"IORING_TIMEOUT_(?!\w*MASK)",
    "TIMEOUT_REMOVE rw_flags": r"IORING_(LINK_)?TIMEOUT_(?!\w*MASK)",
    "URING_CMD rw_flags": r"IORING_URING_CMD_(?!MASK)",
}
_ENUMS = {
    "MSG_RING addr": "IORING_MSG_(DATA|SEND_FD)",
    "URING_CMD off": "SOCKET_URING_OP_",
}
CLOCKS = {time.CLOCK_MONOTONIC: 1_000, time.CLOCK_REALTIME: 2_000, time.CLOCK_BOOTTIME: 3_000}


@functools.cache
def _enum(pattern: str, value: int) -> str:
    return next((name for name, number in NAMES.items() if number == value and re.match(pattern, name)), str(value))


@functools.cache
def bits(pattern: str, value: int) -> str:
    """The header's names of the bits that are set."""
    found, left = [], value
    for name, number in NAMES.items():
        is_bit = number > 0 and not number & (number - 1)
        if is_bit and number & left and re.match(pattern, name) and not name.endswith("_BIT"):
            found.append(name)
            left &= ~number
    return "|".join([*found, hex(left)] if left or not found else found)


def result_of(word: str) -> int:
    """A result: `16`, `EINVAL`."""
    return -getattr(errno, word) if word[0] == "E" else int(word)


@dataclass
class Answer:
    """What a request comes to: `16 IORING_CQE_F_MORE buffer+8:abc`.

    Attributes:
        text: as it is written. `never` completes nothing, `later 0` only when it is looked for again, and `0 & 1` are
            two completions. `fd` is a descriptor. `buffer+8:abc` leaves a text where it says, and `argument+4:0x2` a
            word: in what was registered, or what `addr` points to.
    """

    text: str

    def parts(self) -> list[list[str]]:
        """The words of each completion."""
        return [part.split() for part in self.text.split("&")]


@dataclass
class _Ring:
    fd: int
    name: str
    flags: int
    sq_entries: int
    cq_entries: int
    head: int = 0
    later: list[tuple[int, list[str], list[int]]] = field(default_factory=list)
    looked: int = 0
    serial: int = 0
    shared: list[tuple[int, int, bytes]] = field(default_factory=list)


class ScriptedKernel:
    """Answers one request at a time.

    Attributes:
        script: answers to come, of entries, registrations, and calls of io_uring_enter(2) for their own sake.
        overridden: answers to single steps, by their number, rings being steps too.
        asked: what was asked, a line for each step.
        is_step_of_script: for each step, whether it took an answer from the script.
    """

    def __init__(self) -> None:
        self.rings: dict[int, _Ring] = {}
        self.world: World | None = None
        self.sizes: dict[int, int] = {}
        self.mapped: list[tuple[int, int]] = []
        self.limits = {
            resource.RLIMIT_NOFILE: (1024, resource.RLIM_INFINITY),
            resource.RLIMIT_MEMLOCK: (8 << 20, 8 << 20),
        }
        self.pid, self.log = os.getpid(), os.memfd_create("log")
        self.begin([])

    def begin(self, script: list[str], overridden: dict[int, str] | None = None) -> None:
        """Forget what was asked. With answers overridden, what is asked is not written down."""
        self.script = list(script)
        self.overridden = overridden or {}
        self.is_quiet = bool(overridden)
        self.asked: list[str] = []
        self.is_step_of_script: list[bool] = []
        self.is_ready = False
        self.sq_flags = 0
        if self.script and self.script[0].startswith("rings "):
            self.sq_flags = NAMES[self.script.pop(0).removeprefix("rings ")]
        for ring in self.rings.values():
            ring.serial = 0

    def _answer(self, line: str, *, of_script: bool = True) -> Answer:
        step = len(self.asked)
        self.asked.append(line)
        if os.getpid() != self.pid:
            os.write(self.log, json.dumps([line, of_script]).encode() + b"\n")
        self.is_step_of_script.append(of_script)
        said = (self.script.pop(0) if self.script else "ENOTNAM") if of_script else "0"
        return Answer(self.overridden.get(step, said))

    # ---- system calls

    def setup(self, entries: int, params: Any) -> int:
        """io_uring_setup(2)."""
        made = [
            f"{name}={getattr(params, name)}"
            for name in ("cq_entries", "sq_thread_idle", "sq_thread_cpu")
            if getattr(params, name)
        ]
        if params.wq_fd:
            made.append(f"wq_fd={self.fd(params.wq_fd)}")
        for offsets in ("sq_off", "cq_off"):
            if at := getattr(params, offsets).user_addr:
                made.append(f"{offsets}.user_addr={self.memory(at)}")
        names = [bits("IORING_SETUP_", params.flags)] if params.flags else []
        line = " ".join([f"setup {entries}", *names, *made])
        result = result_of(self._answer(line, of_script=False).text) if self.is_ready else 0
        if result < 0:
            return result
        limit = 77
        clamped = min(entries, limit) if params.flags & NAMES["IORING_SETUP_CLAMP"] else entries
        params.sq_entries = clamped
        params.cq_entries = min(params.cq_entries, 2 * limit + 1) if params.cq_entries else 2 * clamped
        fd = os.memfd_create("ring")
        os.ftruncate(fd, NAMES["IORING_OFF_PBUF_RING"] * 2)
        sq, cq = params.sq_off, params.cq_off
        sq.head, sq.tail, sq.flags, sq.array = HEAD, TAIL, SQ_FLAGS, ARRAY
        cq.head, cq.tail, cq.flags, cq.cqes = CQ_HEAD, CQ_TAIL, CQ_FLAGS, CQES
        params.features = NAMES["IORING_FEAT_SINGLE_MMAP"]
        name = (
            f"ring{sum(one.name.startswith('ring') for one in self.rings.values()) + 1}" if self.is_ready else "plain"
        )
        if name == "plain" and any(one.name == "plain" for one in self.rings.values()):
            name = "fixed"
        ring = _Ring(fd, name, params.flags, params.sq_entries, params.cq_entries)
        if params.flags & NAMES["IORING_SETUP_NO_MMAP"]:
            return fd
        self.rings[fd] = ring
        # Where a queue begins is up to the kernel; here near the end of what a counter holds.
        for at in (HEAD, TAIL, CQ_HEAD, CQ_TAIL):
            self._write(ring, at, 0xFFFF_FFFE)
        ring.head = 0xFFFF_FFFE
        self._write(ring, SQ_FLAGS, self.sq_flags)
        return fd

    def mmap(self, size_bytes: int, flags: int, fd: int, offset: int, call: str) -> int:
        """mmap(2), and that as much is mapped as there is."""
        ring = self.rings[fd]
        sqe_bytes = 128 if ring.flags & NAMES["IORING_SETUP_SQE128"] else 64
        cqe_bytes = 32 if ring.flags & NAMES["IORING_SETUP_CQE32"] else 16
        sizes = {
            NAMES["IORING_OFF_SQ_RING"]: max(ARRAY + 4 * ring.sq_entries, CQES + cqe_bytes * ring.cq_entries),
            NAMES["IORING_OFF_SQES"]: sqe_bytes * ring.sq_entries,
        }
        if offset in sizes:
            # MAP_SHARED and MAP_POPULATE
            assert (size_bytes, flags) == (sizes[offset], 0x8001)
        else:
            base = NAMES["IORING_OFF_PBUF_RING"]
            assert (size_bytes, flags, offset & base) == (4096, 1, base)
            answer = self._answer(
                f"{ring.name} mmap {size_bytes} group {(offset ^ base) >> NAMES['IORING_OFF_PBUF_SHIFT']}",
                of_script=False,
            )
            if (result := result_of(answer.text)) < 0:
                syscalls.tables.fail(call, -result, syscalls.tables.MMAP)
        address: int = self.real_mmap(size_bytes, flags, fd, offset, call)
        self.mapped.append((address, size_bytes))
        if offset not in sizes:
            ring.shared.append((address, size_bytes, bytes(size_bytes)))
        return address

    def munmap(self, address: int, size_bytes: int) -> None:
        """munmap(2)."""
        self.mapped.remove((address, size_bytes))
        for ring in self.rings.values():
            ring.shared = [one for one in ring.shared if one[0] != address]
        self.real_munmap(address, size_bytes)

    def close(self, fd: int) -> None:
        """close(2), but for numbers that are no descriptors."""
        if fd >= FLOOR:
            self.rings.pop(fd, None)
            self.real_close(fd)

    def register(self, fd: int, opcode: int, address: int, count: int) -> int:
        """io_uring_register(2)."""
        if not self.is_ready:
            return 0
        flag = " through an index" if opcode & 1 << 31 else ""
        name = _enum("IORING_(UN)?REGISTER_(?!FILES_SKIP|USE|SRC|DST)", opcode & ~(1 << 31))
        known = self.fd(fd)
        content = f" {self.memory(address)}" if address else ""
        answer = self._answer(f"{known} {name}{flag}{content} {count}")
        words, *completions = answer.parts() if answer.text != "never" else [["ENOTNAM"]]
        for completion in completions:
            self._complete(self.rings[fd], 0, completion, [0] * 15)
        self._leave(words[1:], address)
        if name in ("IORING_REGISTER_PBUF_RING", "IORING_REGISTER_MEM_REGION") and fd in self.rings:
            shared = struct.unpack("=Q", ctypes.string_at(address, 8))[0]
            if name == "IORING_REGISTER_MEM_REGION":
                shared = struct.unpack("=Q", ctypes.string_at(shared, 8))[0]
            if shared in self.sizes:
                self.rings[fd].shared.append((shared, self.sizes[shared], bytes(self.sizes[shared])))
        return self._result(words[0])

    def enter(self, fd: int, to_submit: int, wait: int, flags: int, argument: int = 0, size: int = 8) -> int:
        """io_uring_enter(2)."""
        if fd not in self.rings or (to_submit, flags) != (0, NAMES["IORING_ENTER_GETEVENTS"]) or not self.is_reaping:
            is_waking = flags == NAMES["IORING_ENTER_SQ_WAKEUP"] and self.rings[fd].flags & NAMES["IORING_SETUP_SQPOLL"]
            if to_submit == 0 and not is_waking:
                content = f" {self.memory(argument)}" if argument else ""
                line = f"{self.fd(fd)} enter {bits('IORING_ENTER_', flags)} wait {wait}{content} size {size}"
                line += self._meanwhile(self.rings[fd]) if fd in self.rings else ""
                text = self._answer(line).text
                return result_of("ENOTNAM" if text == "never" else text)
            ring = self.rings[fd]
            taken = self._consume(ring)
            if not is_waking:
                assert (to_submit, flags, wait, argument, size) == (taken, NAMES["IORING_ENTER_GETEVENTS"], 0, 0, 8)
            return taken
        assert (wait, argument, size) == (0, 0, 8)
        ring = self.rings[fd]
        ring.looked += 1
        if ring.looked > 1:
            for number, words, entry in ring.later:
                self._complete(ring, number, words, entry)
            ring.later = []
        return 0

    def note(self, line: str) -> None:
        """Write down what was asked of the rest of the kernel."""
        self._answer(line, of_script=False)

    def setrlimit(self, kind: int, limits: tuple[int, int]) -> None:
        """setrlimit(2), of somebody without privileges."""
        name = next(name for name in vars(resource) if name.startswith("RLIMIT_") and getattr(resource, name) == kind)
        self.note(f"setrlimit {name} {limits[0]} {limits[1]}")
        if limits[1] > self.limits[kind][1] != resource.RLIM_INFINITY:
            raise PermissionError(errno.EPERM, "not allowed to raise maximum limit")

    # ---- rings

    def _read(self, ring: _Ring, at: int) -> int:
        return int(struct.unpack("=I", os.pread(ring.fd, 4, at))[0])

    def _write(self, ring: _Ring, at: int, value: int) -> None:
        os.pwrite(ring.fd, struct.pack("=I", value & 0xFFFF_FFFF), at)

    def _consume(self, ring: _Ring) -> int:
        tail, taken = self._read(ring, TAIL), 0
        size = 128 if ring.flags & NAMES["IORING_SETUP_SQE128"] else 64
        ring.looked = 0
        while ring.head != tail:
            slot = ring.head & (ring.sq_entries - 1)
            index = self._read(ring, ARRAY + 4 * slot)
            content = os.pread(ring.fd, size, NAMES["IORING_OFF_SQES"] + index * size)
            assert not any(content[64:])
            entry = list(_SQE.unpack(content[:64]))
            ring.head = ring.head + 1 & 0xFFFF_FFFF
            taken += 1
            ring.serial += 1
            if not self.is_ready:
                self._complete(ring, entry[8], ["0"], entry)
                continue
            answer = self._answer(f"{ring.name} {self._entry(entry, ring.serial)}{self._meanwhile(ring)}")
            entry.append(
                struct.unpack("=Q", ctypes.string_at(entry[5], 8))[0]
                if entry[5] in self.sizes and self.sizes[entry[5]] >= 8
                else 0
            )
            for part in answer.parts():
                if part[0] == "later":
                    ring.later.append((entry[8], part[1:], entry))
                elif part[0] != "never":
                    self._complete(ring, entry[8], part, entry)
        self._write(ring, HEAD, ring.head)
        return taken

    def _complete(self, ring: _Ring, number: int, words: list[str], entry: list[int]) -> None:
        flags = 0
        rest = []
        for word in words[1:]:
            if word.startswith("sq_flags="):
                self._write(ring, SQ_FLAGS, NAMES[word.partition("=")[2]])
            elif word.startswith("seek="):
                assert self.world is not None
                os.lseek(self.world.file, int(word[5:]), os.SEEK_SET)
            elif word == "signal":
                assert self.world is not None
                os.write(self.world._fds[0], struct.pack("=Q", 1))
            elif word.startswith("data="):
                number = int(word[5:], 0)
            elif word.startswith("IORING_CQE_F_"):
                flags |= NAMES[word]
            elif word.startswith("flags="):
                flags |= int(word[6:], 0)
            elif word.startswith("to="):
                other = next(one for one in self.rings.values() if one.name == word[3:])
                ring = other
            else:
                rest.append(word)
        self._leave(rest, entry[5], entry[-1])
        if flags & NAMES["IORING_CQE_F_MORE"] and entry[0] == NAMES["IORING_OP_SEND_ZC"]:
            os.write(entry[3], ctypes.string_at(entry[5], entry[6]))
        tail = self._read(ring, CQ_TAIL)
        size = 32 if ring.flags & NAMES["IORING_SETUP_CQE32"] else 16
        at = CQES + (tail & (ring.cq_entries - 1)) * size
        os.pwrite(ring.fd, struct.pack("=QiI", number, self._result(words[0]), flags), at)
        self._write(ring, CQ_TAIL, tail + (2 if flags & NAMES["IORING_CQE_F_32"] else 1))

    def _result(self, word: str) -> int:
        if word in ("fd", "inherited"):
            fd = os.memfd_create("opened")
            os.set_inheritable(fd, word == "inherited")
            return fd
        return result_of(word)

    def _leave(self, words: list[str], argument: int, submitted: int = 0) -> None:
        assert self.world is not None
        for word in words:
            place, _, content = word.partition(":")
            name, _, offset = place.partition("+")
            base = {"argument": argument, "submitted": submitted, "buffer": self.world.buffer}.get(name, 0)
            if name == "data":
                # Of a query, whose header points to it.
                base = struct.unpack("=Q", ctypes.string_at(argument + 8, 8))[0]
            is_number = content[:1] in "-0123456789"
            left = struct.pack("=I", int(content, 0) & 0xFFFF_FFFF) if is_number else content.lstrip("'").encode()
            if base > 4096:
                ctypes.memmove(base + int(offset), left, len(left))

    # ---- in words

    def _entry(self, entry: list[int], serial: int) -> str:
        if self.is_quiet:
            return ""
        one = dict(zip(_FIELDS, entry, strict=True))
        name = _enum("IORING_OP_", one.pop("opcode")).removeprefix("IORING_OP_")
        if one["user_data"] == serial:
            del one["user_data"]
        words = []
        for key, value in one.items():
            label = f"{name} {key}"
            if key == "fd":
                words += [f"fd={self.fd(value)}"] if value != -1 else []
            elif not value:
                continue
            elif key == "flags":
                words.append(f"flags={bits('IOSQE_', value)}")
            elif label in _BITS:
                words.append(f"{key}={bits(_BITS[label], value)}")
            elif label in _ENUMS:
                words.append(f"{key}={_enum(_ENUMS[label], value)}")
            elif key == "file_index" and value == NAMES["IORING_FILE_INDEX_ALLOC"]:
                words.append("file_index=IORING_FILE_INDEX_ALLOC")
            elif key in ("off", "addr", "addr3"):
                words.append(f"{key}={self.memory(value)}")
            elif key == "file_index":
                words.append(f"file_index={self.fd(value)}")
            else:
                words.append(f"{key}={value}")
        return " ".join([name, *words])

    def memory(self, address: int) -> str:
        """What there is at an address, if it is one."""
        if self.is_quiet:
            return ""
        assert self.world is not None
        offset = address - self.world.buffer
        if 0 <= offset < 4096:
            return f"buffer+{offset}" if offset else "buffer"
        if (size := self.sizes.get(address)) is None:
            return (
                self.fd(address)
                if FLOOR <= address < FLOOR + 300
                else hex(address)
                if address > 1 << 16
                else str(address)
            )
        content = ctypes.string_at(address, size)
        text = content.decode("latin-1")
        if text.isascii() and text.isprintable():
            return "'" + re.sub(r"/fd/(\d+)$", lambda found: f"/fd/{self.fd(int(found[1]))}", text) + "'"
        if self._is_name(content):
            # What the system chose: the name of a socket, or its port.
            return f"{size}[{content[:2].hex()} {content[4:8].hex() if size > 8 else ''} ...]"
        return f"{size}[{self._words(content)}]"

    @staticmethod
    def _is_name(content: bytes) -> bool:
        family = content[:2]
        return (len(content) == 8 and family == b"\1\0" and content[2:3] == b"\0" and content[3:].isalnum()) or (
            len(content) == 16 and family == b"\2\0" and content[2:4] != b"\0\0" and content[4:8] == b"\x7f\0\0\1"
        )

    def _words(self, content: bytes) -> str:
        found, at = [], 0
        end = len(content.rstrip(b"\0"))
        if end > 1024:
            unit, count = content[:16], end // 16
            assert content.startswith(unit * count)
            return f"({self._words(unit)}) x {count} {self._words(content[16 * count : end])}".strip()
        while at < end:
            # 4: where structures that are not aligned have their pointers.
            if at % 4 == 0 and len(content) >= at + 8:
                value = int(struct.unpack_from("=Q", content, at)[0])
                if value in self.sizes or (self.world and 0 <= value - self.world.buffer < 4096):
                    found.append(self.memory(value))
                    at += 8
                    continue
            if len(content) >= at + 4:
                value = int(struct.unpack_from("=i", content, at)[0])
                found.append(
                    self.fd(value)
                    if FLOOR <= value < FLOOR + 300
                    else str(value)
                    if abs(value) < 1 << 16
                    else f"{value & 0xFFFF_FFFF:#x}"
                )
            else:
                found.append(content[at:].hex())
            at += 4
        return " ".join(found)

    def _meanwhile(self, ring: _Ring) -> str:
        """What was written into memory that the kernel shares, since it was shown last."""
        if self.is_quiet:
            return ""
        found = ""
        for at, (address, size, shown) in enumerate(ring.shared):
            content = ctypes.string_at(address, size)
            if content != shown:
                ring.shared[at] = address, size, content
                found += f" sharing {size}[{self._words(content)}]"
        return found

    def fd(self, fd: int) -> str:
        """Which descriptor it is, by what it is open for."""
        if self.is_quiet:
            return ""
        if fd == os.getpid():
            return "<self>"
        if not FLOOR <= fd < FLOOR + 300:
            return str(fd)
        if fd in self.rings:
            return self.rings[fd].name
        assert self.world is not None
        if fd == self.world.file:
            return "<file>"
        try:
            os.fstat(fd)
        except OSError:
            return str(fd)
        kind = re.sub(r":?\[\d+\]|/memfd:| \(deleted\)", "", str(Path(f"/proc/self/fd/{fd}").readlink()))
        kind = kind.replace("anon_inode", "").replace(":[", "").strip("[]:")
        if kind == "pipe":
            kind += " writing" if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_WRONLY else " reading"
            kind += f" {self._waiting(fd)}"
        elif kind == "socket":
            with socket.socket(fileno=os.dup(fd)) as one:
                is_listening = bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
                kind = f"{one.family.name} {one.type.name}{' listening' if is_listening else f' {self._waiting(fd)}'}"
        elif kind == "" or "event" in str(Path(f"/proc/self/fd/{fd}").readlink()):
            info = Path(f"/proc/self/fdinfo/{fd}").read_text(encoding="ascii")
            kind = " ".join(
                [
                    "event",
                    *re.findall(r"eventfd-count:\s+(\w+)", info),
                    *(f"watching {bits}" for bits in re.findall(r"events:\s+(\w+)", info)),
                ]
            )
        place = next((at for at, one in enumerate(self.world._sockets) if one.fileno() == fd), None)
        if place is None:
            place = self.world._fds.index(fd) if fd in self.world._fds else None
        return f"<{kind}{'' if place is None else f' #{place}'}>"

    @staticmethod
    def _waiting(fd: int) -> int:
        return int(struct.unpack("=i", fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4))[0])
