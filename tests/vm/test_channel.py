"""The host's end of the channel: deadlines, and a word for each way it can end."""

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from vm.channel import Channel, ChannelClosedError, ChannelCorruptError, ChannelTimeoutError
from vm.guest.frames import Decoder, encode


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    yield channel, theirs
    channel.close()
    theirs.close()


def test_messages_go_both_ways(ends: tuple[Channel, socket.socket]) -> None:
    channel, guest = ends
    guest.sendall(encode(0, {"type": "ready"}) + encode(1, {"type": "done"}))
    assert [channel.receive(1.0), channel.receive(1.0)] == [{"type": "ready"}, {"type": "done"}]
    channel.send({"type": "run"}, 1.0)
    channel.send({"type": "run"}, 1.0)
    decoder = Decoder()
    decoder.feed(guest.recv(4096))
    assert [decoder.next(), decoder.next()] == [{"type": "run"}, {"type": "run"}]


def test_silence_ends_with_the_deadline(ends: tuple[Channel, socket.socket]) -> None:
    with pytest.raises(ChannelTimeoutError, match="nothing whole within"):
        ends[0].receive(0.01)


def test_a_trickle_of_bytes_does_not_extend_the_deadline(ends: tuple[Channel, socket.socket]) -> None:
    channel, guest = ends
    frame = encode(0, {"type": "late", "filler": "x" * 100_000})
    stop = threading.Event()

    def trickle() -> None:
        for byte in frame:
            if stop.wait(0.001):
                return
            guest.sendall(bytes([byte]))

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        with pytest.raises(ChannelTimeoutError):
            channel.receive(0.1)
    finally:
        stop.set()
        thread.join()


def test_the_end_of_qemu_is_told_from_silence(ends: tuple[Channel, socket.socket]) -> None:
    channel, guest = ends
    guest.sendall(encode(0, {"type": "ready"})[:10])
    guest.close()
    with pytest.raises(ChannelClosedError):
        channel.receive(1.0)
    with pytest.raises(ChannelClosedError):
        channel.send({"type": "run"}, 1.0)


def test_garbage_is_told_from_an_end(ends: tuple[Channel, socket.socket]) -> None:
    channel, guest = ends
    guest.sendall(b"Oops: 0000")
    with pytest.raises(ChannelCorruptError, match="Oops"):
        channel.receive(1.0)


def test_a_guest_that_reads_nothing_does_not_block_us_for_ever(ends: tuple[Channel, socket.socket]) -> None:
    with pytest.raises(ChannelTimeoutError, match="took no 'start'"):
        ends[0].send({"type": "start", "filler": os.urandom(5_000_000).hex()}, 0.05)
