"""Loads, stores and fences on memory that the kernel changes while we look.

The kernel's contract (head of io_uring.c): acquire on the CQ tail and the SQ head, release on the CQ head, the SQ tail
and a buffer ring's tail, and a full fence between the SQ tail and the NEED_WAKEUP flag when a kernel thread polls.

What CPython gives us: one item of a `memoryview` cast to a native format is one load or store on x86-64 and aarch64
(it is a `memcpy` of constant size). x86-64 keeps their order, but for a load after a store; aarch64 does not, so there
every acquire and release is a fence. Elsewhere (riscv64) such an access is four byte accesses and could tear: there
libatomic does the loads and stores, and without libatomic the ring refuses to start.
`struct` is never used on an index: its explicit-endian formats are byte loops.
"""

from __future__ import annotations

import ctypes
import os
from _thread import allocate_lock

from .errors import MachineNotSupported, RingClosed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    Words: TypeAlias = "memoryview[int] | AtomicWords"

_SEQ_CST = 5
# membarrier(2), on the machines whose plain accesses do not tear.
_SYS_MEMBARRIER = {"x86_64": 324, "aarch64": 283}
_MEMBARRIER_CMD_QUERY = 0
_MEMBARRIER_CMD_GLOBAL_EXPEDITED = 1 << 1


def load_libatomic() -> ctypes.PyDLL | None:
    """GCC's run-time library of atomic operations, if this machine has it."""
    try:
        return ctypes.PyDLL("libatomic.so.1")
    except OSError:
        return None


def lock_fence() -> Callable[[], None]:
    """A full fence on x86-64: taking a lock is a locked instruction there, and every one of those is a full fence."""
    lock = allocate_lock()
    acquire, release = lock.acquire, lock.release

    def fence() -> None:
        acquire()
        release()

    return fence


def libatomic_fence(libatomic: ctypes.PyDLL) -> Callable[[], None]:
    """A full fence everywhere, with one library call."""
    call = libatomic.atomic_thread_fence
    call.argtypes = [ctypes.c_int]
    call.restype = None

    def fence() -> None:
        call(_SEQ_CST)

    return fence


def membarrier_fence(machine: str) -> Callable[[], None] | None:
    """A full fence from the kernel; None when the kernel does not offer the command.

    GLOBAL_EXPEDITED fences the calling thread always; PRIVATE_EXPEDITED does nothing in a process of one thread.
    """
    call = ctypes.PyDLL(None).syscall
    call.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_uint, ctypes.c_int]
    call.restype = ctypes.c_long
    number = _SYS_MEMBARRIER[machine]
    offered = call(number, _MEMBARRIER_CMD_QUERY, 0, 0)
    if offered < 0 or not offered & _MEMBARRIER_CMD_GLOBAL_EXPEDITED:
        return None

    def fence() -> None:
        call(number, _MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0)

    return fence


class AtomicWords:
    """Indexed like a `memoryview` of unsigned integers, for machines where that would tear."""

    __slots__ = ("_address", "_length", "_load", "_step", "_store")

    def __init__(self, libatomic: ctypes.PyDLL, address: int, size_bytes: int, step: int) -> None:
        value = {2: ctypes.c_uint16, 4: ctypes.c_uint32}[step]
        self._address = address
        self._length = size_bytes // step
        self._step = step
        self._load = ctypes.PYFUNCTYPE(value, ctypes.c_void_p, ctypes.c_int)((f"__atomic_load_{step}", libatomic))
        self._store = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, value, ctypes.c_int)(
            (f"__atomic_store_{step}", libatomic)
        )

    def _at(self, index: int) -> int:
        if not self._address:
            raise RingClosed("shared memory was unmapped")
        if not 0 <= index < self._length:
            raise IndexError(f"word {index} of {self._length}")
        return self._address + index * self._step

    def __getitem__(self, index: int) -> int:
        return int(self._load(self._at(index), _SEQ_CST))

    def __setitem__(self, index: int, value: int) -> None:
        self._store(self._at(index), value, _SEQ_CST)

    def release(self) -> None:
        """The memory goes away: refuse every later access."""
        self._address = 0


class Machine:
    """How this kind of machine reaches shared memory.

    Attributes:
        fence: full fence, for the SQPOLL handshake.
        order: fence to put behind an acquiring load and before a releasing store; None where the machine keeps order.
    """

    def __init__(self, name: str, libatomic: ctypes.PyDLL | None) -> None:
        self._atomic = None
        self.order: Callable[[], None] | None = None
        self.fence: Callable[[], None]
        if name == "x86_64":
            self.fence = lock_fence()
            return
        fence = libatomic_fence(libatomic) if libatomic else membarrier_fence(name) if name == "aarch64" else None
        if fence is None:
            raise MachineNotSupported(
                f"{name}: CPython's own memory accesses are not enough here; install libatomic (libatomic.so.1)"
            )
        self.fence = fence
        if name == "aarch64":
            self.order = fence
        else:
            # libatomic's sequentially consistent loads and stores carry their own order.
            self._atomic = libatomic

    def words(self, address: int, size_bytes: int, step: int = 4) -> Words:
        """Indices of `step` bytes in shared memory, each item access being a single load or store."""
        if self._atomic is not None:
            return AtomicWords(self._atomic, address, size_bytes, step)
        memory = memoryview((ctypes.c_ubyte * size_bytes).from_address(address)).cast("B")
        return memory.cast("H") if step == 2 else memory.cast("I")


_machine: Machine | None = None


def this_machine() -> Machine:
    """The machine we run on, examined once.

    Raises:
        MachineNotSupported: neither CPython nor libatomic can access a shared index in one piece.
    """
    global _machine  # noqa: PLW0603 - examined once
    if _machine is None:
        name = os.uname().machine
        _machine = Machine(name, None if name == "x86_64" else load_libatomic())
    return _machine
