"""What watches tests in a guest, tried on this machine: traces, the wire, the kernel's log."""

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.guest import kmsg, leak_check
from harness.guest.item_loop import _clip, _clipped
from harness.guest.wire import Wire, WireError

ROOT = str(Path(__file__).parents[2])


@pytest.fixture
def process():
    """Another process to look at, which does what it is told."""
    program = "import os, sys\nfor line in sys.stdin:\n    exec(line)\n    print('done', flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        yield started
        started.stdin.close()


def tell(process, line):
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


CHANGES = {
    "kept = open('/dev/null')": "is open: /dev/null",
    "os.close(2)": "descriptor 2 was closed: ",
    "os.chdir('/proc')": "the working directory is /proc",
    "os.umask(0o123)": "Umask in /proc/PID/status is 0123",
    "import signal; signal.signal(signal.SIGUSR1, signal.SIG_IGN)": "SigIgn in /proc/PID/status",
    "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (99, 100))": "Max open files 99 100",
    "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()": "1 threads still run",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_process_that_changed_is_noticed(process, change):
    tell(process, "pass")
    before = leak_check.take(process.pid)
    tell(process, change)
    found = leak_check.compare(before, leak_check.take(process.pid))
    assert any(CHANGES[change] in sentence for sentence in found.leftovers), found.leftovers
    assert not found.is_machine_changed


@pytest.mark.parametrize(
    "change",
    [
        "open('/dev/null').close(); os.umask(os.umask(0))",
        "import threading, time; one = threading.Thread(target=int); one.start(); one.join(); time.sleep(0.2)",
    ],
)
def test_a_process_that_did_not_change_is_not(process, change):
    tell(process, "pass")
    before = leak_check.take(process.pid)
    tell(process, change)
    assert leak_check.compare(before, leak_check.take(process.pid)) == leak_check.Leftovers()


QUICK = """
import os, signal, subprocess, sys
os.dup2({writer}, 2500)
os.close({writer})
sys.path.insert(0, {root!r})
from harness.guest import quick_check
check = quick_check.QuickCheck(os.getppid())
check.renew()
before = [check.is_as_before() for _ in range(3)]
exec({change!r})
os.write(2500, repr((before, check.is_as_before())).encode())
os._exit(0)
"""
# Beside those that `leak_check.compare` tells of.
MORE_CHANGES = [
    "kept = subprocess.Popen(['cat'], stdin=subprocess.PIPE)",
    "signal.setitimer(signal.ITIMER_VIRTUAL, 1000)",
    "os.dup2(os.open('/dev/zero', os.O_RDONLY), 1)",
    "number = os.open('/dev/zero', os.O_RDONLY); os.dup2(number, check._timers); os.close(number)",
    "os.closerange(3, 2400)",
    "gone = os.mkdir(f'/tmp/{os.getpid()}') or os.chdir(f'/tmp/{os.getpid()}') or os.rmdir(os.getcwd())",
    "kept = open('/dev/null'); os.dup2(kept.fileno(), 2000); kept.close(); os.close(0)",
]


def quickly_checked(change):
    """What the quick check says before a change to a process, and after it: as that process says."""
    reader, writer = os.pipe()
    program = QUICK.format(writer=writer, root=ROOT, change=change)
    with subprocess.Popen([sys.executable, "-c", program], pass_fds=(writer,)):
        os.close(writer)
        with os.fdopen(reader) as file:
            return file.read()


@pytest.mark.parametrize("change", [*CHANGES, *MORE_CHANGES])
def test_the_quick_check_notices_what_a_close_look_does(change):
    assert quickly_checked(change) == "([True, True, True], False)"


@pytest.mark.parametrize("change", ["open('/dev/null').close(); os.umask(os.umask(0))", "subprocess.run(['true'])"])
def test_the_quick_check_notices_nothing_where_nothing_is_left(change):
    assert quickly_checked(change) == "([True, True, True], True)"


@pytest.mark.parametrize("name", ["ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF"])
def test_an_armed_timer_is_noticed_and_stopped(process, name):
    """Asked in the process itself; the one that is armed does not end it any more."""
    tell(process, f"import signal, sys; sys.path.insert(0, {ROOT!r}); from harness.guest import leak_check")
    tell(process, "assert leak_check.stop_timers() == []")
    tell(process, f"signal.setitimer(signal.{name}, 100, 3)")
    tell(
        process,
        f"(said,) = leak_check.stop_timers(); assert said == '{name} is armed, for 100 s, then every 3 s', said",
    )
    tell(process, f"assert signal.getitimer(signal.{name}) == (0, 0); assert leak_check.stop_timers() == []")


MACHINE = {
    "mounts": (frozenset({"29 23 0:26 / /tmp rw - tmpfs tmpfs rw"}), frozenset(), "no longer mounted: /tmp"),
    "settings": ({"panic_on_oops": "1"}, {"panic_on_oops": "0"}, "kernel.panic_on_oops is 0, was 1"),
    "available_kib": (100 << 10, 10 << 10, "90 MiB of memory are not available any more"),
}


@pytest.mark.parametrize("field", MACHINE)
def test_a_machine_that_changed_is_noticed(field):
    before, after, sentence = MACHINE[field]
    state = leak_check.take(os.getpid())
    found = leak_check.compare(
        dataclasses.replace(state, **{field: before}), dataclasses.replace(state, **{field: after})
    )
    assert found.is_machine_changed
    assert sentence in found.leftovers[0]


def test_a_taint_is_told_apart_from_what_is_left():
    state = leak_check.take(os.getpid())
    found = leak_check.compare(dataclasses.replace(state, tainted="0"), dataclasses.replace(state, tainted="512"))
    assert (found.taint, found.leftovers) == ("kernel.tainted is 512, was 0", ())


def test_a_machine_that_is_no_guest_is_let_alone():
    """The agent also runs on this machine, in tests: nothing of its is watched, mended or written to."""
    state = leak_check.take(os.getpid())
    assert (state.mounts, state.scratch, state.settings, state.tainted) == (frozenset(), frozenset(), {}, "")
    log = kmsg.KernelLog(is_guest=False)
    assert log.descriptor < 0
    assert (log.begin("x"), log.end("x")) == ([], [])


def test_what_a_test_started_is_ended_and_reaped(process):
    tell(process, "import subprocess; kept = [subprocess.Popen(['sleep', '1000']) for _ in range(3)]")
    # A program that has just been started has no command line yet.
    tell(process, "while not all(open(f'/proc/{one.pid}/cmdline').read() for one in kept): pass")
    found, is_empty = leak_check.end_processes((process.pid,), (process.pid,))
    # They are dead, but only their parent can take them off the list; in a guest that is the agent, later.
    assert (3, False) == (len(found), is_empty)
    assert all("(sleep 1000) still ran" in sentence for sentence in found)
    tell(process, "assert all(one.wait() == -9 for one in kept)")


def test_where_a_process_waits():
    with subprocess.Popen(["sleep", "1000"]) as sleeper:
        time.sleep(0.1)
        (first, *_) = leak_check.stacks(sleeper.pid)
        sleeper.send_signal(signal.SIGKILL)
    assert first.startswith(f"thread {sleeper.pid} (sleep): state S, waits in ")


def test_the_wire_carries_messages_of_any_size():
    one, other = Wire.pair()
    one.send({"type": "small"})
    assert other.receive() == {"type": "small"}
    child = os.fork()
    if child == 0:
        one.send({"type": "large", "text": "ä" * 3_000_000})
        os._exit(0)
    assert len(other.receive()["text"]) == 3_000_000
    os.waitpid(child, 0)
    one.close()
    assert other.receive() is None
    other.close()


@pytest.mark.parametrize("noise", [b"@00000000 00000002", b"00000002[]", b"ffffffff{}", b"00000003{x}"])
def test_noise_on_the_wire_is_told(noise):
    one, other = Wire.pair()
    os.write(one.descriptor, noise)
    with pytest.raises(WireError):
        other.receive()
    one.close()
    other.close()


@pytest.mark.parametrize("is_read", [False, True])
def test_a_message_that_nobody_read_is_known(is_read):
    one, other = Wire.pair()
    one.send({"type": "run"})
    if is_read:
        assert other.receive() == {"type": "run"}
    other.close()
    assert one.receive() is None
    assert one.is_ignored is not is_read
    one.close()


def test_a_message_to_nobody_is_known():
    one, other = Wire.pair()
    other.close()
    with pytest.raises(BrokenPipeError):
        one.send({"type": "run"})
    assert one.is_ignored
    one.close()


def test_the_wire_lies_out_of_a_tests_reach():
    one, other = Wire.pair()
    assert min(one.descriptor, other.descriptor) >= 900
    one.close()
    other.close()


def test_records_show_who_wrote_them():
    """Source: Documentation/ABI/testing/dev-kmsg."""
    assert kmsg._format("4,339,5140900,-;WARNING: x\n SUBSYSTEM=net\n") == "<4>[    5.140900] WARNING: x"
    assert kmsg._format("12,340,5140901,-;WARNING: x\n") == "<12>[    5.140901] WARNING: x"


class Log(kmsg.KernelLog):
    """A log that is a socket, one record a datagram, which also returns what is written to it, as the kernel does."""

    def __init__(self):
        super().__init__(is_guest=False)
        self.kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.setblocking(False)
        self.descriptor = ours.detach()

    def say(self, text):
        self.kernel.send(f"4,1,1000000,-;{text}\n".encode())


@pytest.fixture
def log(monkeypatch):
    made = Log()
    write = os.write

    def echo(descriptor, data):
        if descriptor != made.descriptor:
            return write(descriptor, data)
        made.kernel.send(b"12,1,1000000,-;" + data.partition(b">")[2])
        return len(data)

    monkeypatch.setattr(os, "write", echo)
    yield made
    made.close()
    made.kernel.close()


def test_each_message_belongs_to_the_test_during_which_it_came(log):
    log.say("before")
    assert log.begin("test_a") == ["<4>[    1.000000] before"]
    log.say("during")
    log.collect()
    log.say("later")
    assert [line[-6:] for line in log.end("test_a")] == ["during", " later"]
    assert log.begin("test_b") == []
    assert log.end("test_b") == []


def test_a_flood_is_cut_and_says_so(log):
    log.begin("test_a")
    for number in range(1200):
        log.say(str(number))
        log.collect()
    lines = log.end("test_a")
    assert len(lines) == 1001
    assert "200 more lines" in lines[-1]


def test_long_texts_keep_both_ends():
    text = "a" * 100_000 + "z" * 100_000
    clipped = _clip(text)
    assert (clipped[:9], clipped[-9:]) == ("a" * 9, "z" * 9)
    assert len(clipped) < 70_000
    assert "134464 characters left out" in clipped
    report = {"sections": [("Captured stdout call", text)], "longrepr": {"reprcrash": {"message": "x"}, "y": text * 4}}
    assert _clipped(report) == {"sections": [("Captured stdout call", clipped)], "longrepr": "x"}
