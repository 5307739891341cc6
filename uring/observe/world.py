"""What requests are about: files, pipes, sockets, memory, rings. Made when asked for, and cleaned up after each."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import socket
import struct
from ctypes import Structure, addressof

from .. import flags as f
from .. import syscalls
from ..opcodes import IORING_REGISTER, OP
from ..structs import io_uring_buf_reg, io_uring_params, kernel_timespec
from .bare import Ring, sqe
from .finding import RefusedError

_BYTES = 1 << 16
CONTENT = b"0123456789abcdef" * 256
_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
LOOPBACK = "127.0.0.1"
# Where in our memory the kernel may write, and how far the registered buffer goes.
BUFFER_BYTES = 4096


class World:
    """Everything of one process that observes.

    Attributes:
        file: a memfd with `CONTENT`.
        buffer: address of `BUFFER_BYTES` that the kernel may write, buffer 0 of `fixed`.
        patience_s: how long to wait, in all, for memory that was locked before.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.buffer = addressof(ctypes.c_char.from_buffer(self._memory))
        self._used = 2 * BUFFER_BYTES
        self.file = os.memfd_create("uring-observe")
        os.pwrite(self.file, CONTENT, 0)
        self.patience_s = 15.0
        self._ring: Ring | None = None
        self._fixed: Ring | None = None
        self._fds: list[int] = []
        self._rings: list[Ring] = []
        self._sockets: list[socket.socket] = []
        self._pins: list[object] = []
        self._has_loopback: bool | None = None

    def clean(self) -> None:
        """Close what one request needed; the shared rings stay."""
        for ring in self._rings:
            ring.close()
        for one in self._sockets:
            one.close()
        for fd in self._fds:
            syscalls.close(fd)
        self._rings, self._sockets, self._fds, self._pins = [], [], [], []
        self._used = 2 * BUFFER_BYTES

    def renew(self) -> None:
        """Let go of the shared rings, too: the last request did not end well."""
        self._ring = self._fixed = None

    # ---- rings

    @property
    def ring(self) -> Ring:
        """A plain ring, shared by requests that leave nothing behind."""
        if self._ring is None:
            self._ring = Ring()
        return self._ring

    @property
    def fixed(self) -> Ring:
        """A shared ring with one registered buffer, and registered files: `file`, and seven free slots."""
        if self._fixed is None:
            ring = Ring()
            iovec = struct.pack("=QQ", self.buffer, BUFFER_BYTES)
            self.need(ring, "registered buffers", IORING_REGISTER.REGISTER_BUFFERS, self.put(iovec), 1)
            fds = self.fds(self.file, *[-1] * 7)
            self.need(ring, "registered files", IORING_REGISTER.REGISTER_FILES, fds, 8)
            self._fixed = ring
        return self._fixed

    @staticmethod
    def need(ring: Ring, what: str, opcode: int, address: int = 0, count: int = 0) -> int:
        """Register what a request needs.

        Raises:
            RefusedError: the kernel does not take it.
        """
        result = ring.register(opcode, address, count)
        if result < 0:
            raise RefusedError(what, -result)
        return result

    def fresh(self, flags: int = 0, entries: int = 8, **fields: int) -> Ring:
        """A ring of this request's own."""
        ring = Ring(entries, flags, **fields)
        self._rings.append(ring)
        return ring

    def setup(self, flags: int, entries: int = 4, **fields: int) -> tuple[int, io_uring_params]:
        """io_uring_setup(2) and nothing else. Returns its result, which is closed later, and the parameters."""
        params = io_uring_params(flags=flags, **fields)
        result = syscalls.io_uring_setup_errno(entries, params)
        if not flags & f.IORING_SETUP_REGISTERED_FD_ONLY:
            self.closed(result)
        return result, params

    def with_files(self, *fds: int, flags: int = 0) -> Ring:
        """A ring of this request's own with registered files, -1 being a free slot."""
        ring = self.fresh(flags)
        self.need(ring, "registered files", IORING_REGISTER.REGISTER_FILES, self.fds(*fds), len(fds))
        return ring

    def ask(self, entry: list[int]) -> int:
        """Ask on the plain ring. Returns `res`."""
        return self.ring.ask(entry).res

    def ask_fd(self, entry: list[int]) -> int:
        """Ask for a descriptor, which is closed later. Returns `res`."""
        return self.closed(self.ask(entry))

    def ask_fixed(self, entry: list[int]) -> int:
        """Ask on the ring with registered resources. Returns `res`."""
        return self.fixed.ask(entry).res

    # ---- memory

    def room(self, size: int) -> int:
        """Address of zeroed memory."""
        start = self._used
        self._used += -(-size // 64) * 64
        if self._used > _BYTES:
            raise MemoryError("a request needs too much memory")
        self._memory[start : start + size] = bytes(size)
        return self.buffer + start

    def put(self, content: bytes) -> int:
        """Address of a copy, with a NUL behind it."""
        address = self.room(len(content) + 1)
        start = address - self.buffer
        self._memory[start : start + len(content)] = content
        return address

    def pages(self, size: int) -> int:
        """Address of whole pages of their own."""
        memory = mmap.mmap(-1, size, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
        self._pins.append(memory)
        return addressof(ctypes.c_char.from_buffer(memory))

    def at(self, structure: Structure) -> int:
        """Address of a structure that is kept."""
        self._pins.append(structure)
        return addressof(structure)

    @staticmethod
    def write(address: int, content: bytes) -> None:
        """Copy to where there is room."""
        ctypes.memmove(address, content, len(content))

    @staticmethod
    def get(address: int, size: int) -> bytes:
        """What memory holds."""
        return ctypes.string_at(address, size)

    def iovec(self, *pieces: tuple[int, int]) -> int:
        """Address of iovecs; the buffer's first 16 bytes if none is given."""
        return self.put(b"".join(struct.pack("=QQ", *piece) for piece in pieces or ((self.buffer, 16),)))

    def fds(self, *fds: int) -> int:
        """Address of descriptors."""
        return self.put(struct.pack(f"={len(fds)}i", *fds))

    def how(self, flags: int) -> int:
        """Address of an open_how."""
        return self.put(struct.pack("=QQQ", flags, 0, 0))

    def message(self, address: int, size: int) -> int:
        """Address of a msghdr with one iovec."""
        return self.put(struct.pack("=QIxxxxQQQQixxxx", 0, 0, self.iovec((address, size)), 1, 0, 0, 0))

    def time(self, seconds: int = 0, nanoseconds: int = 0) -> int:
        """Address of a time."""
        return self.at(kernel_timespec(seconds, nanoseconds))

    # ---- descriptors

    def keep(self, fd: int) -> int:
        """Have a descriptor closed later."""
        self._fds.append(fd)
        return fd

    def pipe(self, content: bytes = b"") -> tuple[int, int]:
        """Both ends, reading first; with something in it."""
        reading, writing = os.pipe()
        self._fds += [reading, writing]
        if content:
            os.write(writing, content)
        return reading, writing

    def pair(self, content: bytes = b"") -> tuple[int, int]:
        """Connected stream sockets; the first one can receive the content."""
        one, other = socket.socketpair()
        self._sockets += [one, other]
        if content:
            other.send(content)
        return one.fileno(), other.fileno()

    def listener(self, connections: int = 0) -> tuple[int, bytes]:
        """A listening socket with connections waiting, and its address."""
        listening = socket.socket(socket.AF_UNIX)
        listening.bind("")
        listening.listen(8)
        self._sockets.append(listening)
        for _ in range(connections):
            client = socket.socket(socket.AF_UNIX)
            self._sockets.append(client)
            client.connect(listening.getsockname())
        name = listening.getsockname()
        return listening.fileno(), struct.pack("=H", socket.AF_UNIX) + name

    def loopback(self) -> None:
        """Have 127.0.0.1, in a network of this process's own where the system's is not up.

        Raises:
            OSError: there is none, and none can be made.
        """
        if self._has_loopback:
            return
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            if not self._loopback_flags(probe) & _IFF_UP:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.unshare(_CLONE_NEWNET):
                    number = ctypes.get_errno()
                    raise OSError(number, f"no loopback network, and none can be made: {os.strerror(number)}")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            flags = self._loopback_flags(probe)
            if not flags & _IFF_UP:
                fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("=16sh22x", b"lo", flags | _IFF_UP))
        self._has_loopback = True

    @staticmethod
    def _loopback_flags(probe: socket.socket) -> int:
        answer = fcntl.ioctl(probe, _SIOCGIFFLAGS, struct.pack("=16sh22x", b"lo", 0))
        return int(struct.unpack_from("=16sh", answer)[1])

    def udp(self) -> int:
        """A datagram socket connected to itself through the loopback network."""
        self.loopback()
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sockets.append(one)
        one.bind((LOOPBACK, 0))
        one.connect(one.getsockname())
        return one.fileno()

    def tcp(self) -> tuple[int, int]:
        """Two connected TCP sockets."""
        self.loopback()
        with socket.create_server((LOOPBACK, 0)) as server:
            one = socket.create_connection(server.getsockname())
            other, _ = server.accept()
        self._sockets += [one, other]
        return one.fileno(), other.fileno()

    def closed(self, result: int) -> int:
        """A request's result, which is closed later if it is a descriptor."""
        if result >= 0:
            self._fds.append(result)
        return result

    def pin(self, thing: object) -> None:
        """Keep something until the request is over."""
        self._pins.append(thing)

    # ---- provided buffers

    def buffer_ring(self, ring: Ring, count: int = 2, size: int = 8, group: int = 7, flags: int = 0) -> int:
        """Register a buffer ring with `count` buffers of `size` bytes at `buffer`, the first ones of a page.

        Raises:
            RefusedError: the kernel does not take it.
        """
        address = self.pages(4096)
        self.need(
            ring,
            f"a buffer ring with the flags {flags:#x}",
            IORING_REGISTER.REGISTER_PBUF_RING,
            self.at(io_uring_buf_reg(address, 8, group, flags)),
            1,
        )
        for index in range(count):
            entry = struct.pack("=QIH", self.buffer + index * size, size, index)
            ctypes.memmove(address + index * 16, entry, len(entry))
        ctypes.memmove(address + 14, struct.pack("=H", count), 2)
        return address

    def provide(self, ring: Ring, count: int = 2, size: int = 8, group: int = 7) -> None:
        """Provide buffers the legacy way.

        Raises:
            RefusedError: the kernel does not take them.
        """
        result = ring.ask(sqe(OP.PROVIDE_BUFFERS, count, addr=self.buffer, size=size, buf_index=group)).res
        if result < 0:
            raise RefusedError("provided buffers", -result)
