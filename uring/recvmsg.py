"""What a multishot IORING_OP_RECVMSG leaves in the buffer it picks: a header, the name, control data, the payload."""

from __future__ import annotations

from ctypes import Structure, c_int, c_size_t, c_uint32, sizeof

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import ReadableBuffer

    from .memory import msghdr


class io_uring_recvmsg_out(Structure):  # noqa: N801 - the kernel's name
    """The header. Its lengths are those of the message, and may be more than there was room for."""

    _fields_ = (("namelen", c_uint32), ("controllen", c_uint32), ("payloadlen", c_uint32), ("flags", c_uint32))


class cmsghdr(Structure):  # noqa: N801 - the system's name
    """The header of one piece of control data."""

    _fields_ = (("len", c_size_t), ("level", c_int), ("type", c_int))


class ReceivedMessage:
    """A message in a buffer: views of its parts, as far as there was room for them.

    Attributes:
        header: with MSG_TRUNC and MSG_CTRUNC in its `flags` where there was not.
        name: the sender's address.
        control: control data.
        payload: the data.
    """

    __slots__ = ("control", "header", "name", "payload")

    def __init__(
        self, header: io_uring_recvmsg_out, name: memoryview, control: memoryview, payload: memoryview
    ) -> None:
        self.header = header
        self.name = name
        self.control = control
        self.payload = payload

    def cmsgs(self) -> Iterator[tuple[int, int, memoryview]]:
        """The pieces of control data: level, type and data, as `socket.recvmsg` has them."""
        rest = self.control
        while len(rest) >= sizeof(cmsghdr):
            header = cmsghdr.from_buffer_copy(rest)
            if not sizeof(cmsghdr) <= header.len <= len(rest):
                return
            yield header.level, header.type, rest[sizeof(cmsghdr) : header.len]
            rest = rest[-(-header.len // sizeof(c_size_t)) * sizeof(c_size_t) :]


def recvmsg_validate(buffer: ReadableBuffer, size_bytes: int, msg: msghdr) -> ReceivedMessage | None:
    """Find the parts of a message that a multishot receive left in a buffer.

    Args:
        buffer: the buffer that the completion names.
        size_bytes: the completion's result.
        msg: as given to `recvmsg_multishot`: how much room each part has.

    Returns:
        The parts; None where the result leaves no room for header, name and control data.

    Since 6.0. Source: io_uring_prep_recvmsg_multishot(3).
    """
    view = memoryview(buffer).cast("B")[: max(size_bytes, 0)]
    control_at = sizeof(io_uring_recvmsg_out) + msg.namelen
    payload_at = control_at + msg.controllen
    if len(view) < payload_at:
        return None
    header = io_uring_recvmsg_out.from_buffer_copy(view)
    name = view[sizeof(io_uring_recvmsg_out) : control_at][: header.namelen]
    control = view[control_at:payload_at][: header.controllen]
    return ReceivedMessage(header, name, control, view[payload_at:])
