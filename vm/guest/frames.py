r"""The framing both ends of the channel speak: numbered, length-checked, checksummed messages of JSON.

A frame is ``@SEQUENCE LENGTH CRC32 PAYLOAD\n``, eight hexadecimal digits in each of the three fields; the payload is
JSON, or that compressed by zlib with `WORDS`. Anything else in between, a gap in the sequence or a wrong checksum is
corruption, and says so: a damaged verdict must never be believed.
"""

import json
import zlib
from typing import Any

HEADER_SIZE = 28  # "@" + 8 + " " + 8 + " " + 8 + " "
FRAME_SIZE_MAX = 64 * 1024 * 1024
# An emulated serial port moves a byte in the time that compressing ten takes. A small window is quickly set up, but
# not as quickly as what most tests have to tell is moved as it is.
_COMPRESSED_SIZE_MIN = 96
_COMPRESSION = {"level": 1, "wbits": 12, "memLevel": 4}
# What messages often say, the most frequent last: short ones have nothing to repeat but this.
WORDS = (
    b'{"type":"start","entry":"{"type":"collected","items":["conformance/test_","errors":[],"features":{"failed"skipped'
    b'"stacks":[],"output":"","longrepr":{"reprcrash":{"path":"message":"dmesg":["left":["taint":"is_spoiled":'
    b'{"type":"done","reports":[{"outcome":"passed","when":"setup","duration":0.001,"start":17},{"outcome":"passed",'
    b'"when":"call","duration":0.001,"start":17},{"outcome":"passed","when":"teardown","duration":0.000,"start":17}]}'
)


class FrameCorruptError(Exception):
    """The bytes on the channel are not the frames the other end sent."""


def encode(sequence: int, message: dict[str, Any]) -> bytes:
    """Return the frame for ``message``, the ``sequence``-th of this direction (counted from 0)."""
    payload = json.dumps(message, separators=(",", ":")).encode("ascii")
    if len(payload) >= _COMPRESSED_SIZE_MIN:
        packer = zlib.compressobj(**_COMPRESSION, zdict=WORDS)
        payload = packer.compress(payload) + packer.flush()
    return b"@%08x %08x %08x %s\n" % (sequence & 0xFFFFFFFF, len(payload), zlib.crc32(payload), payload)


class Decoder:
    """Turns the bytes of one direction into messages, refusing anything damaged, lost or repeated."""

    def __init__(self) -> None:
        self._pending = bytearray()
        # The number the next frame must have.
        self.sequence = 0

    def feed(self, data: bytes) -> None:
        """Add bytes that arrived."""
        self._pending += data

    def next(self) -> dict[str, Any] | None:
        """Return the next whole message, or None when more bytes are needed.

        Raises:
            FrameCorruptError: bytes that are no frame, a wrong checksum, or a frame lost or repeated.
        """
        pending = self._pending
        if pending and pending[0] != 0x40:
            raise FrameCorruptError(f"expected a frame, found {bytes(pending[:80])!r}")
        if len(pending) < HEADER_SIZE:
            return None
        try:
            sequence, length, checksum = (int(pending[at : at + 8], 16) for at in (1, 10, 19))
        except ValueError:
            raise FrameCorruptError(f"unreadable frame header {bytes(pending[:HEADER_SIZE])!r}") from None
        if length > FRAME_SIZE_MAX:
            raise FrameCorruptError(f"a frame claims {length} bytes, more than any message has")
        end = HEADER_SIZE + length
        if len(pending) <= end:
            return None
        payload = bytes(pending[HEADER_SIZE:end])
        if pending[end] != 0x0A or zlib.crc32(payload) != checksum:
            raise FrameCorruptError(f"frame {sequence} fails its checksum: {payload[:80]!r}")
        if sequence != self.sequence & 0xFFFFFFFF:
            raise FrameCorruptError(f"expected frame {self.sequence}, got frame {sequence}: one was lost or repeated")
        del pending[: end + 1]
        self.sequence += 1
        message = json.loads(payload if payload[:1] == b"{" else _decompressed(sequence, payload))
        if not isinstance(message, dict):
            raise FrameCorruptError(f"frame {sequence} is not an object: {payload[:80]!r}")
        return message


def _decompressed(sequence: int, payload: bytes) -> bytes:
    unpacker = zlib.decompressobj(zdict=WORDS)
    try:
        content = unpacker.decompress(payload, FRAME_SIZE_MAX)
    except zlib.error as error:
        raise FrameCorruptError(f"frame {sequence} cannot be decompressed: {error}") from None
    if not unpacker.eof:
        raise FrameCorruptError(f"frame {sequence} is cut off, or holds more than any message has")
    return content
