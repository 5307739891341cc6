"""The channel's framing: nothing damaged, lost, repeated or made up gets through."""

import zlib

import pytest

from vm.guest import frames
from vm.guest.frames import HEADER_SIZE, Decoder, FrameCorruptError, encode

MESSAGES = [{"type": "a"}, {"type": "b", "text": "@00000000 ü \x00\n\udcff"}, {"type": "c", "list": list(range(1000))}]
STREAM = b"".join(encode(number, message) for number, message in enumerate(MESSAGES))


def framed(payload: bytes) -> bytes:
    return b"@00000000 %08x %08x %s\n" % (len(payload), zlib.crc32(payload), payload)


def packed(content: bytes) -> bytes:
    packer = zlib.compressobj(zdict=frames.WORDS)
    return packer.compress(content) + packer.flush()


def drain(decoder: Decoder) -> list[dict[str, object]]:
    found = []
    while (message := decoder.next()) is not None:
        found.append(message)
    return found


@pytest.mark.parametrize("size", [1, 2, 7, 64, len(STREAM)])
def test_messages_arrive_whole_however_the_bytes_are_cut(size: int) -> None:
    decoder = Decoder()
    found = []
    for start in range(0, len(STREAM), size):
        decoder.feed(STREAM[start : start + size])
        found += drain(decoder)
    assert found == MESSAGES


def test_every_flipped_bit_is_noticed() -> None:
    frame = encode(0, MESSAGES[1])
    for position in range(len(frame)):
        for bit in range(8):
            damaged = bytearray(frame)
            damaged[position] ^= 1 << bit
            decoder = Decoder()
            decoder.feed(bytes(damaged))
            try:
                message = decoder.next()
            except FrameCorruptError:
                continue
            # A longer length only makes it wait; upper case digits in the header mean the same number.
            assert message is None or (message == MESSAGES[1] and position < HEADER_SIZE), (position, bit)


def test_a_truncated_frame_swallows_nothing_of_the_next() -> None:
    decoder = Decoder()
    decoder.feed(encode(0, MESSAGES[0])[:-5] + encode(1, MESSAGES[1]))
    with pytest.raises(FrameCorruptError, match="checksum"):
        drain(decoder)


def test_long_messages_are_compressed() -> None:
    text = "the same again " * 1000
    assert len(encode(0, {"text": text})) < len(text) / 20


def test_what_unpacks_to_more_than_any_message_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "FRAME_SIZE_MAX", 1000)
    decoder = Decoder()
    decoder.feed(framed(packed(b'{"text": "' + bytes(2000) + b'"}')))
    with pytest.raises(FrameCorruptError, match="more than any message"):
        drain(decoder)


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (encode(0, MESSAGES[0]) * 2, "lost or repeated"),
        (encode(1, MESSAGES[0]), "lost or repeated"),
        (b"printk: something\n", "expected a frame"),
        (b"@0000000x 00000000 00000000 {}", "unreadable"),
        (b"@00000000 ffffffff 00000000 {}", "more than any message"),
        (framed(packed(b'{"type": "a"}')[:-2]), "cut off"),
        (framed(b"printk: something"), "cannot be decompressed"),
        (framed(packed(b"[]")), "not an object"),
    ],
)
def test_what_is_no_frame_is_refused(stream: bytes, message: str) -> None:
    decoder = Decoder()
    decoder.feed(stream)
    with pytest.raises(FrameCorruptError, match=message):
        drain(decoder)
