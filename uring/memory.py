"""From Python objects to addresses, with something to hold on to for as long as the kernel may look there.

Every function returns the address (and length or count) and a *pin*: an object that keeps the memory alive and in
place while it exists. For a `bytearray` or an `mmap` the pin is a buffer export, so that resizing or closing it raises
`BufferError` instead of pulling the memory away.
"""

from __future__ import annotations

import ctypes
import os
from _ctypes import _SimpleCData
from ctypes import Array, Structure, addressof, c_int32, c_size_t, c_ssize_t, c_void_p

from .errors import ArgumentOutOfRange, BufferNotContiguous, BufferNotWritable, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias, TypeGuard

    from _typeshed import ReadableBuffer, StrOrBytesPath, WriteableBuffer

    Readable: TypeAlias = "ReadableBuffer | iovec"
    Writable: TypeAlias = "WriteableBuffer | iovec"
    Address: TypeAlias = "ReadableBuffer | int | None"
    Path: TypeAlias = "StrOrBytesPath | int"
    Iovecs: TypeAlias = "Sequence[Readable] | Array[iovec]"
    Fds: TypeAlias = "Sequence[int] | Array[c_int32]"


class _PyBuffer(Structure):
    """CPython's Py_buffer."""

    _fields_ = (
        ("buf", c_void_p),
        ("obj", c_void_p),
        ("len", c_ssize_t),
        ("itemsize", c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", c_void_p),
        ("shape", c_void_p),
        ("strides", c_void_p),
        ("suboffsets", c_void_p),
        ("internal", c_void_p),
    )


_get_buffer = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.POINTER(_PyBuffer), ctypes.c_int)(
    ("PyObject_GetBuffer", ctypes.pythonapi)
)
_release_buffer = ctypes.PYFUNCTYPE(None, ctypes.POINTER(_PyBuffer))(("PyBuffer_Release", ctypes.pythonapi))
_bytes_address = ctypes.PYFUNCTYPE(c_void_p, ctypes.py_object)(("PyBytes_AsString", ctypes.pythonapi))
# Where in a bytes object its bytes begin: CPython's id() is an address, and five times as fast as asking.
_EMPTY = b""
_BYTES_AT = _bytes_address(_EMPTY) - id(_EMPTY)
# An array of no bytes in a writable object's memory, which holds on to it and knows its address.
_at = (ctypes.c_char * 0).from_buffer
_increment_reference = ctypes.PYFUNCTYPE(None, ctypes.py_object)(("Py_IncRef", ctypes.pythonapi))


class iovec(Structure):  # noqa: N801 - the kernel's name
    """A piece of memory: `iovec(buffer)`, or `iovec(base=address, len=size)` for memory the caller looks after.

    Attributes:
        base: address.
        len: length in bytes.
    """

    _fields_ = (("base", c_size_t), ("len", c_size_t))

    def __init__(self, base: ReadableBuffer | int = 0, len: int | None = None) -> None:  # noqa: A002 - the kernel's
        if isinstance(base, int):
            super().__init__(base, 0 if len is None else len)
            self.pin: object = None
            self.is_writable = True
            return
        address, size_bytes, self.pin = readable(base)
        self.is_writable = not memoryview(base).readonly
        if len is not None and not 0 <= len <= size_bytes:
            raise ArgumentOutOfRange(f"iovec of {len} bytes over a buffer of {size_bytes}")
        super().__init__(address, size_bytes if len is None else len)

    def __repr__(self) -> str:
        return f"iovec(base={self.base:#x}, len={self.len})"


def _exported(view: memoryview) -> int:
    """Address of a contiguous view that stays alive in the caller's hands."""
    if not view.c_contiguous:
        raise BufferNotContiguous(f"a view with strides {view.strides} has no single address; copy it first")
    if not view.readonly:
        # Four times as fast as asking for the buffer, as must be done for what is read-only.
        return addressof(_at(view))
    info = _PyBuffer()
    _get_buffer(view, info, 0)
    address = info.buf or 0
    _release_buffer(info)
    return address


def readable(buffer: Readable) -> tuple[int, int, object]:
    """Address, length in bytes and pin of memory the kernel will read."""
    if type(buffer) is bytes:
        return id(buffer) + _BYTES_AT, len(buffer), buffer
    if type(buffer) is bytearray:
        return writable(buffer)
    if isinstance(buffer, iovec):
        return buffer.base, buffer.len, buffer
    view = memoryview(buffer)
    return _exported(view), view.nbytes, view


def writable(buffer: Writable) -> tuple[int, int, object]:
    """Address, length in bytes and pin of memory the kernel will write.

    Raises:
        BufferNotWritable: the object promises not to change (`bytes`, a read-only view or mapping).
    """
    if type(buffer) is bytearray:
        # The usual buffer is always writable and in one piece, and what `_at` makes holds an export, too.
        pin = _at(buffer)
        return addressof(pin), len(buffer), pin
    if isinstance(buffer, iovec):
        if not buffer.is_writable:
            raise BufferNotWritable("the iovec was made from read-only memory; use a bytearray")
        return buffer.base, buffer.len, buffer
    view = memoryview(buffer)
    if view.readonly:
        raise BufferNotWritable(f"the kernel cannot write into a read-only {type(buffer).__name__}; use a bytearray")
    return _exported(view), view.nbytes, view


def address_of(value: Address) -> tuple[int, object]:
    """Address and pin of a structure the kernel reads.

    An integer is an address the caller looks after; None is the null pointer.
    """
    if value is None:
        return 0, None
    if isinstance(value, int):
        return value, None
    if isinstance(value, (Structure, Array, _SimpleCData)):
        return addressof(value), value
    address, _, pin = readable(value)
    return address, pin


def writable_address_of(value: Address) -> tuple[int, object]:
    """Address and pin of a structure the kernel fills in; read-only memory is refused."""
    if value is None or isinstance(value, (int, Structure, Array, _SimpleCData)):
        return address_of(value)
    address, _, pin = writable(value)
    return address, pin


def path_of(path: Path) -> tuple[int, object]:
    """Address and pin of a NUL-terminated path: `str`, `bytes`, `os.PathLike`, or a raw address."""
    if isinstance(path, int):
        return path, None
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise UsageError(f"a path cannot contain a NUL byte: {encoded!r}")
    # CPython ends the memory of every bytes object with a NUL.
    return id(encoded) + _BYTES_AT, encoded


def iovecs_of(buffers: Iovecs, *, is_written: bool) -> tuple[int, int, object]:
    """Address, count and pin of an array of `iovec`; a ctypes array of them is used in place."""
    if isinstance(buffers, Array):
        return addressof(buffers), len(buffers), buffers
    array = (iovec * len(buffers))()
    pins: list[object] = [array]
    for entry, buffer in zip(array, buffers, strict=True):
        entry.base, entry.len, pin = writable(buffer) if is_written else readable(buffer)
        pins.append(pin)
    return addressof(array), len(array), pins


def fds_of(fds: Fds) -> tuple[int, int, object]:
    """Address, count and pin of an array of 32-bit descriptors; a ctypes array is used in place."""
    array = fds if isinstance(fds, Array) else (c_int32 * len(fds))(*fds)
    return addressof(array), len(array), array


class msghdr(Structure):  # noqa: N801 - the kernel's name
    """A message for sendmsg(2) and recvmsg(2).

    Args:
        name: socket address (a structure or buffer; filled in when receiving), or None.
        iov: the buffers, as `iovec` or any buffer; a ctypes array of iovec is used in place.
        control: ancillary data, or None.
        flags: filled in when receiving.
        namelen: length of `name` in bytes, when it is not all of it.
    """

    _fields_ = (
        ("name", c_size_t),
        ("namelen", ctypes.c_uint32),
        ("iov", c_size_t),
        ("iovlen", c_size_t),
        ("control", c_size_t),
        ("controllen", c_size_t),
        ("flags", ctypes.c_int),
    )

    def __init__(
        self,
        name: ReadableBuffer | None = None,
        iov: Iovecs = (),
        control: ReadableBuffer | None = None,
        flags: int = 0,
        namelen: int | None = None,
    ) -> None:
        super().__init__()
        pins: list[object] = []
        if name is not None:
            self.name, self.namelen, pin = readable(name)
            pins.append(pin)
        if namelen is not None:
            self.namelen = namelen
        self.iov, self.iovlen, pin = iovecs_of(iov, is_written=False)
        pins.append(pin)
        if control is not None:
            self.control, self.controllen, pin = readable(control)
            pins.append(pin)
        self.flags = flags
        self.pins = pins


def keep_forever(pin: object) -> None:
    """Give up a reference for good: the kernel may still use the memory and can no longer be asked when it ends."""
    _increment_reference(pin)


def is_buffer_list(value: object) -> TypeGuard[Iovecs]:
    """Whether this means several buffers: a list, a tuple, or a ctypes array of `iovec`, which is no buffer of data."""
    if type(value) is bytearray:
        # The usual buffer; being no ctypes array is found out slowly.
        return False
    return isinstance(value, (list, tuple)) or (isinstance(value, Array) and value._type_ is iovec)
