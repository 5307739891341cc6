"""Tests that misbehave, as a user might write them. `test_guest_faults.py` sends them into a guest, one after another.

Where one has to look at what an earlier one left, it stands right behind it. Kernel faults come without a module: SysRq
and /dev/kmsg are what a stock kernel offers.
"""

# ruff: noqa: PLW0603, PT012, PTH108, PTH109, PTH123 - in the words of a user
import ctypes
import fcntl
import mmap
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import uring

STARTED_S = time.time()
libc = ctypes.CDLL(None, use_errno=True)
MNT_DETACH, MS_REMOUNT, MS_RDONLY = 2, 32, 1


def sysrq(key):
    Path("/proc/sysrq-trigger").write_text(key)
    time.sleep(10)


def test_first():
    assert os.getcwd() == "/work"


# -- the test's process -----------------------------------------------------------------------------------------------


def test_os_exit():
    print("last words")
    os._exit(3)


def test_after_os_exit():
    pass


def test_sigsegv():
    ctypes.string_at(0)


def test_sigkill():
    os.kill(os.getpid(), signal.SIGKILL)


def test_hang():
    threading.Event().wait()


def test_closes_0_to_255():
    os.closerange(0, 256)


def test_after_closes():
    assert os.fstat(0)


def test_closes_the_channel():
    """And the line to the agent, and all else that is not its own."""
    os.closerange(899, 1024)


def test_after_closes_the_channel():
    pass


def test_closes_the_channel_alone():
    os.close(900)


def test_puts_another_file_in_place_of_the_channel():
    with open("/dev/shm/instead", "wb") as file:
        os.dup2(file.fileno(), 900)
    os.unlink("/dev/shm/instead")


def test_after_another_file():
    pass


def test_writes_into_the_channel():
    os.write(900, b"@00000000 00000002 00000000 {}\n")


def test_after_writes_into_the_channel():
    pass


def test_child_comes_back():
    """A child that goes on where only its parent should, while that waits for it."""
    child = os.fork()
    if child:
        time.sleep(1)


def test_after_child_comes_back():
    pass


def has_to_be_looked_at():
    """The next test is not taken from the same list: what came up is looked at by the agent."""
    Path("/dev/kmsg").write_text("<6>something\n")


def test_ends_before_it_goes_on():
    """The process that runs the tests ends when it would go on to the next one: that is not the next one's fault."""
    from harness.guest.progress import Progress

    Progress.begin = lambda self: os._exit(8)


def test_after_ends_before_it_goes_on():
    pass


def test_ends_before_the_next():
    """As above, when it would take the next list."""
    from harness.guest.wire import Wire

    has_to_be_looked_at()
    Wire.receive = lambda self: os._exit(7)


def test_after_ends_before_the_next():
    pass


def test_ends_instead_of_the_next():
    """As above, but only when the next one was handed over: it is not taken."""
    from harness.guest.wire import Wire

    has_to_be_looked_at()

    def receive(self):
        select.select([self.descriptor], [], [])
        os._exit(7)

    Wire.receive = receive


def test_after_ends_instead_of_the_next():
    pass


# -- what it prints ---------------------------------------------------------------------------------------------------


def test_prints_megabytes():
    for _ in range(30):
        print("x" * 100_000)
    raise AssertionError("to see what it printed")


def test_prints_noise():
    os.write(1, b"\xff\xfe\x00\x00 no UTF-8, and a NUL\n")
    os.write(2, b'@00000005 00000020 12345678 {"type":"done","dmesg":[]}\n')
    print('@00000000 00000002 00000000 {}\n{"type": "report"}')
    raise AssertionError("to see what it printed")


def test_imitates_a_kernel_warning():
    Path("/dev/kmsg").write_text("<4>WARNING: CPU: 0 PID: 1 at fs/io_uring.c:1 imitation\n")


# -- what it leaves ---------------------------------------------------------------------------------------------------


def test_changes_the_clock():
    time.clock_settime(time.CLOCK_REALTIME, time.time() + 365 * 86400)


def test_after_the_clock():
    assert abs(time.time() - STARTED_S) < 86400


def test_leaves_things():
    global kept
    kept = uring.IoUring(4)
    os.chdir("/proc")
    os.umask(0o77)
    resource.setrlimit(resource.RLIMIT_NOFILE, (500, 800))
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(1000)"])
    Path("/tmp/forgotten").write_text("x")


def test_after_leaves_things():
    assert os.getcwd() == "/work"
    assert not Path("/tmp/forgotten").exists()
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert threading.active_count() == 1
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 500


def test_arms_a_timer():
    """It would end the process in the middle of the next test."""
    signal.setitimer(signal.ITIMER_REAL, 0.5, 2)


def test_after_a_timer():
    time.sleep(1)


def test_makes_a_posix_timer():
    """The same, by other means: libc's timer_create and timer_settime."""
    timer = ctypes.c_void_p()
    assert libc.timer_create(time.CLOCK_MONOTONIC, None, ctypes.byref(timer)) == 0
    half_a_second = struct.pack("qqqq", 0, 0, 0, 500_000_000)
    assert libc.timer_settime(timer, 0, half_a_second, None) == 0


def test_after_a_posix_timer():
    time.sleep(1)


class TestAlarm:
    @pytest.fixture(scope="class")
    @staticmethod
    def alarm():
        """Lives for several tests, and rightly is armed."""
        signal.alarm(1000)
        yield
        assert signal.alarm(0) > 0

    def test_one(self, alarm):
        pass

    def test_another(self, alarm):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0


def test_forks_a_hundred():
    for _ in range(100):
        if os.fork() == 0:
            while True:
                signal.pause()


def test_after_forks():
    names = [path for path in Path("/proc").iterdir() if path.name.isdigit() and (path / "cmdline").read_bytes()]
    assert len(names) == 3  # PID 1, the agent and this process


class TestSharing:
    @pytest.fixture(scope="class")
    @staticmethod
    def server():
        """Lives for several tests, and rightly has a descriptor."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            yield listener

    def test_one(self, server):
        assert server.fileno() >= 0

    def test_another(self, server):
        assert server.getsockname()[1] > 0


def test_exhausts_descriptors():
    global descriptors
    descriptors = []
    with pytest.raises(OSError, match="Too many open files"):
        while True:
            descriptors.append(os.open("/dev/null", os.O_RDONLY))


def test_unmounts():
    assert libc.umount2(b"/dev/shm", MNT_DETACH) == 0


def test_after_unmounts():
    assert os.path.ismount("/dev/shm")


def test_remounts():
    assert libc.mount(None, b"/dev/shm", None, MS_REMOUNT | MS_RDONLY, None) == 0


def test_after_remounts():
    Path("/dev/shm/file").write_text("x")
    Path("/dev/shm/file").unlink()


def test_fills_scratch():
    with pytest.raises(OSError, match="No space left"), open("/tmp/full", "wb", buffering=0) as file:
        while file.write(bytes(1 << 20)) == 1 << 20:
            pass
        os.fsync(file.fileno())
        raise OSError("No space left, as a short write says")


def test_after_fills_scratch(scratch):
    (scratch / "file").write_bytes(bytes(8 << 20))


# -- the kernel -------------------------------------------------------------------------------------------------------


def test_out_of_memory():
    kept = []
    while True:
        kept.append(bytearray(b"x") * (8 << 20))


def test_child_out_of_memory():
    """The test survives and passes: the kernel's message makes it no clean pass."""
    child = os.fork()
    if child == 0:
        Path("/proc/self/oom_score_adj").write_text("1000")
        kept = []
        while True:
            kept.append(bytearray(b"x") * (8 << 20))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


class Stuck:
    """A thread in uninterruptible sleep: it waits for the lock of a file whose owner waits for a page from us."""

    def __init__(self):
        self.uffd = libc.syscall(323, os.O_CLOEXEC)
        assert self.uffd >= 0, os.strerror(ctypes.get_errno())
        fcntl.ioctl(self.uffd, 0xC018AA3F, struct.pack("QQQ", 0xAA, 0, 0))  # UFFDIO_API
        self.pages = mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.pages))
        request = struct.pack("QQQQ", address, mmap.PAGESIZE, 1, 0)
        fcntl.ioctl(self.uffd, 0xC020AA00, request)  # UFFDIO_REGISTER, for missing pages
        self.file = os.open("/dev/shm/locked", os.O_RDWR | os.O_CREAT, 0o600)
        os.unlink("/dev/shm/locked")
        self.threads = [
            threading.Thread(target=libc.pwrite, args=(self.file, ctypes.c_void_p(address), mmap.PAGESIZE, 0)),
            threading.Thread(target=os.ftruncate, args=(self.file, 0)),
        ]
        for thread in self.threads:
            thread.daemon = True
            thread.start()
            time.sleep(0.5)

    def release(self):
        os.close(self.uffd)
        for thread in self.threads:
            thread.join()
        os.close(self.file)


def test_a_task_hung_for_a_while():
    """A real splat, and a test that passes."""
    stuck = Stuck()
    time.sleep(42)
    stuck.release()


def test_a_task_hangs_for_good():
    Stuck()
    threading.Event().wait()


def test_panic():
    print("before the panic")
    sysrq("c")


def test_powers_off():
    sysrq("o")


def test_reboots():
    sysrq("b")


def test_kills_the_agent():
    os.kill(os.getppid(), signal.SIGSEGV)
    time.sleep(10)


def test_leaves_a_name():
    socket.sethostname("seen")


def test_crashes_in_an_old_guest_only():
    """The first try crashes; the second one has a fresh guest, and passes."""
    if socket.gethostname() == "seen":
        os.kill(os.getpid(), signal.SIGKILL)


def test_last():
    assert os.getcwd() == "/work"
