"""Socket addresses: `sockaddr_in("127.0.0.1", 80)`, `sockaddr_in6("::1", 80)`, `sockaddr_un("/run/socket")`.

Only the C half of the socket module is imported; the whole costs milliseconds.
"""

from __future__ import annotations

import os
from _socket import AF_INET, AF_INET6, AF_UNIX, inet_ntop, inet_pton
from ctypes import BigEndianStructure, Structure, c_char, c_ubyte, c_uint16, c_uint32, sizeof

from .errors import ArgumentOutOfRange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath


class _Port(BigEndianStructure):
    """A port in network byte order."""

    _fields_ = (("value", c_uint16),)


def _port(port: int) -> _Port:
    if not 0 <= port <= 0xFFFF:
        raise ArgumentOutOfRange(f"port {port} is not in 0 to 65535")
    return _Port(port)


class sockaddr_in(Structure):  # noqa: N801 - the system's name
    """An IPv4 address and port; without arguments, room for one."""

    _fields_ = (("family", c_uint16), ("_port", _Port), ("addr", c_ubyte * 4), ("zero", c_ubyte * 8))

    def __init__(self, host: str = "0.0.0.0", port: int = 0) -> None:  # noqa: S104 - the empty address
        super().__init__(AF_INET, _port(port), (c_ubyte * 4)(*inet_pton(AF_INET, host)))

    @property
    def host(self) -> str:
        """The address in dotted form."""
        return inet_ntop(AF_INET, bytes(self.addr))

    @property
    def port(self) -> int:
        """The port."""
        return int(self._port.value)

    def __len__(self) -> int:
        return sizeof(self)


class sockaddr_in6(Structure):  # noqa: N801 - the system's name
    """An IPv6 address and port; without arguments, room for one."""

    _fields_ = (
        ("family", c_uint16),
        ("_port", _Port),
        ("flowinfo", c_uint32),
        ("addr", c_ubyte * 16),
        ("scope_id", c_uint32),
    )

    def __init__(self, host: str = "::", port: int = 0, flowinfo: int = 0, scope_id: int = 0) -> None:
        super().__init__(AF_INET6, _port(port), flowinfo, (c_ubyte * 16)(*inet_pton(AF_INET6, host)), scope_id)

    @property
    def host(self) -> str:
        """The address in text form."""
        return inet_ntop(AF_INET6, bytes(self.addr))

    @property
    def port(self) -> int:
        """The port."""
        return int(self._port.value)

    def __len__(self) -> int:
        return sizeof(self)


class sockaddr_un(Structure):  # noqa: N801 - the system's name
    """A Unix socket's path; one that starts with a NUL byte is abstract."""

    _fields_ = (("family", c_uint16), ("path", c_char * 108))

    def __init__(self, path: StrOrBytesPath = b"") -> None:
        encoded = os.fsencode(path)
        if len(encoded) > 107:
            raise ArgumentOutOfRange(f"a Unix socket path has at most 107 bytes, not {len(encoded)}")
        super().__init__(AF_UNIX)
        self._length = 2 + len(encoded) + (0 if encoded[:1] == b"\0" else 1)
        (c_char * 108).from_buffer(self, 2).raw = encoded.ljust(108, b"\0")

    def __len__(self) -> int:
        return self._length


class sockaddr_storage(Structure):  # noqa: N801 - the system's name
    """Room for any socket address."""

    _fields_ = (("family", c_uint16), ("data", c_ubyte * 126))

    def __len__(self) -> int:
        return sizeof(self)
