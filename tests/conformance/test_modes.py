"""Ring modes: what each does to requests on their way, and that a kernel without one has none of its tests."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import uring
from conformance import mode_rings
from conformance.modes import MODES
from uring.observe import find
from uring.ring_core import RingCore

ROOT = Path(__file__).parents[2]


@pytest.fixture
def visible(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What becomes visible to the kernel, entry by entry."""
    seen: list[bytes] = []
    flush = RingCore.flush_sq

    def flush_sq(ring: RingCore) -> int:
        seen.extend(bytes(ring.sq.sqes[at & ring.sq.mask]) for at in range(ring.sq.sqe_head, ring.sq.sqe_tail))
        return flush(ring)

    monkeypatch.setattr(RingCore, "flush_sq", flush_sq)
    return seen


@pytest.fixture
def zeros() -> Iterator[int]:
    fd = os.open("/dev/zero", os.O_RDONLY)
    yield fd
    os.close(fd)


def made(name: str, entries: int = 4) -> uring.IoUring:
    mode = MODES[name]
    ring = mode.ring_class()(entries, mode.flags)
    assert mode.flags == ring.flags & mode.flags
    return ring


@pytest.mark.parametrize("name", MODES)
def test_a_kernel_can_be_asked_for_all_that_a_mode_needs(name: str) -> None:
    for symbol in MODES[name].flag_names:
        assert find(symbol)


@pytest.mark.parametrize("name", MODES)
def test_a_ring_of_each_mode_reads(name: str, zeros: int) -> None:
    missing = [symbol for symbol, seen in uring.capabilities(*MODES[name].flag_names or ["op-nop"]).items() if not seen]
    if missing:
        pytest.skip(f"this kernel lacks {missing}")
    with made(name) as ring:
        buffer = bytearray(b"x" * 8)
        ring.read(7, zeros, buffer, 0)
        assert 1 == ring.submit()
        assert (7, 8) == ring.copy_cqe()[:2]
        assert bytes(8) == buffer


def test_every_request_is_for_a_worker(visible: list[bytes], zeros: int) -> None:
    with made("async") as ring:
        ring.nop(1)
        ring.read(2, zeros, bytearray(1), 0).link_next()
        ring.read(3, zeros, bytearray(1), 0)
        assert 3 == ring.submit_and_wait(3)
    assert [uring.IOSQE_ASYNC, uring.IOSQE_ASYNC | uring.IOSQE_IO_LINK, uring.IOSQE_ASYNC] == [e[1] for e in visible]


def test_every_file_is_a_registered_one(visible: list[bytes], zeros: int) -> None:
    """And no longer than a request is in flight: a socket that is closed is closed."""
    first, second = os.pipe()
    with made("fixed-file") as ring:
        ring.read(1, zeros, bytearray(1), 0)
        ring.write(2, second, b"x", 0)
        ring.openat(3, -100, "/dev/null", 0, 0)
        assert 3 == ring.submit_and_wait(3)
        os.close(second)
        opened = [cqe.res for cqe in (ring.copy_cqe(), ring.copy_cqe(), ring.copy_cqe()) if cqe.user_data == 3]
        assert [b"x", b""] == [os.read(first, 1), os.read(first, 1)]
    for fd in (first, *opened):
        os.close(fd)
    fixed = [(entry[0], entry[1], int.from_bytes(entry[4:8], "little", signed=True)) for entry in visible]
    flag = uring.IOSQE_FIXED_FILE
    assert [
        (uring.IORING_OP.READ, flag, 0),
        (uring.IORING_OP.WRITE, flag, 1),
        (uring.IORING_OP.OPENAT, 0, -100),
    ] == fixed


def test_a_file_that_is_none_is_left_to_the_kernel(visible: list[bytes]) -> None:
    with made("fixed-file") as ring:
        ring.read(1, 12345, bytearray(1), 0)
        assert 1 == ring.submit()
        assert -uring.E.BADF == ring.copy_cqe().res
    assert [0] == [entry[1] for entry in visible]


def test_a_polled_ring_tells_what_it_made_visible() -> None:
    with made("sqpoll", 2) as ring:
        for number in range(40):
            ring.nop(number)
            ring.nop(number)
            assert 2 == ring.submit()
            assert [number, number] == [ring.copy_cqe().user_data, ring.copy_cqe().user_data]


def test_a_registered_ring_is_entered_by_its_index(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    enter = uring.syscalls.enter
    monkeypatch.setattr(uring.syscalls, "enter", lambda *words: calls.append(words[1:5]) or enter(*words))
    with made("registered-ring") as ring:
        index = ring._enter_fd
        ring.nop(1)
        assert 1 == ring.submit_and_wait(1)
    assert [(index, 1, 1, uring.IORING_ENTER_GETEVENTS | uring.IORING_ENTER_REGISTERED_RING)] == calls
    assert index < 16


def test_a_mode_that_the_kernel_lacks_is_unsupported_and_asked_for_once(tmp_path: Path) -> None:
    """Not 41 riddles: each test says what the kernel said, and nothing of it runs."""
    (tmp_path / "lacking.py").write_text(
        "import uring\n"
        "from uring.observe import State\n"
        "real = uring.capabilities\n"
        "def capabilities(*names):\n"
        "    print('asked for', names)\n"
        "    seen = real(*names)\n"
        "    for one in seen.values():\n"
        "        object.__setattr__(one, 'state', State.LACKS)\n"
        "    return seen\n"
        "uring.capabilities = capabilities\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-rs", "-p", "no:cacheprovider", "-p", "lacking"]
    done = subprocess.run(
        [*command, "--mode=sqe128", str(ROOT / "conformance/zig/test_basics.py")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 1 == done.stdout.count("asked for ('IORING_SETUP_SQE128',)"), done.stdout + done.stderr
    assert 3 == done.stdout.count("no ring mode sqe128 [IORING_SETUP_SQE128: io_uring_setup with SQE128"), done.stdout
    assert "3 skipped" in done.stdout


def test_which_operations_take_files_is_known_of_all() -> None:
    """A new operation has to say whether its `fd` is a file."""
    none = (
        "NOP POLL_REMOVE TIMEOUT TIMEOUT_REMOVE ASYNC_CANCEL LINK_TIMEOUT OPENAT CLOSE FILES_UPDATE STATX MADVISE "
        "OPENAT2 EPOLL_CTL PROVIDE_BUFFERS REMOVE_BUFFERS RENAMEAT UNLINKAT MKDIRAT SYMLINKAT LINKAT MSG_RING SETXATTR "
        "GETXATTR SOCKET WAITID FUTEX_WAIT FUTEX_WAKE FUTEX_WAITV FIXED_FD_INSTALL PIPE NOP128"
    )
    without = none.split()
    assert {operation.name for operation in uring.IORING_OP} - set(without) == {
        operation.name for operation in mode_rings._TAKES_FILE
    }


def test_each_mode_is_explained() -> None:
    section = (ROOT / "docs/usage.md").read_text().partition("## Ring modes\n")[2].partition("\n## ")[0]
    rows = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]
    assert list(MODES) == rows
