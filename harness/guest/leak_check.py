"""What a test leaves behind: the state of its process and of the machine, seen from outside, before and after it.

It looks after every test, in guests that are emulated: hence plain system calls, and no paths as objects.
"""

import errno
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_GUEST = "/etc/guest.json"
_SCRATCH = ("/tmp", "/dev/shm")  # noqa: S108 - the guest's own
# pytest keeps the directories of `tmp_path` there for the session; they are meant to stay.
_KEPT_PREFIX = "pytest-of-"
_STATUS = re.compile(r"^(Threads|Umask|SigBlk|SigIgn|SigCgt):\s*(\S+)", re.MULTILINE)
_AVAILABLE = re.compile(r"^MemAvailable:\s*(\d+)", re.MULTILINE)
_CHUNK_SIZE = 1 << 16
# Of the kernel's settings those that decide what the next test sees, or whether its failures show.
SETTINGS = ("io_uring_disabled", "panic_on_oops", "printk", "hung_task_timeout_secs")
_INTERNAL_SIGNALS = 1 << 31 | 1 << 32  # 32 and 33
_CLOCK_ERROR_MAX_S = 1.0
_MEMORY_LOST_MAX_KIB = 32 << 10
_KILL_ROUNDS = 20
_DISK = "/dev/nvme0n1"
_DISK_RELEASE_S = 2.0
_LISTED_MAX = 20
_INTERVAL_TIMERS = {
    "ITIMER_REAL": signal.ITIMER_REAL,
    "ITIMER_VIRTUAL": signal.ITIMER_VIRTUAL,
    "ITIMER_PROF": signal.ITIMER_PROF,
}


@dataclass(frozen=True, slots=True)
class State:
    """What is compared."""

    # Descriptor to what it stands for.
    descriptors: dict[int, str]
    directory: str
    # Fields of /proc/PID/status.
    status: dict[str, str]
    limits: str
    # Threads that the program started; the kernel's own workers (iou-…) come and go.
    thread_count: int
    mounts: frozenset[str]
    scratch: frozenset[str]
    settings: dict[str, str]
    tainted: str
    # Whether a file system that is not seen any more still holds the empty disk.
    is_disk_held: bool
    # Wall clock minus the time since boot.
    clock_offset_s: float
    available_kib: int


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What differs after a test."""

    # One sentence each.
    leftovers: tuple[str, ...] = ()
    # Whether a new process for the next test is enough; if not, the guest itself has changed.
    is_machine_changed: bool = False
    # What the kernel says of itself: a sentence when it became tainted.
    taint: str = ""


def is_guest() -> bool:
    """Whether this machine is ours to watch and to mend: PID 1's settings lie there."""
    return os.path.isfile(_GUEST)  # noqa: PTH113


def take(process: int) -> State:
    """Look at the process that runs the tests, and at the machine if that is a guest.

    Raises:
        OSError: the process is gone.
    """
    home = f"/proc/{process}"
    status = dict(_STATUS.findall(_read(f"{home}/status")))
    count = int(status.pop("Threads"))
    is_ours = is_guest()
    return State(
        descriptors=_descriptors(f"{home}/fd"),
        directory=_link(f"{home}/cwd"),
        status={name: _without_internal(name, value) for name, value in status.items()},
        limits=_read(f"{home}/limits"),
        thread_count=thread_count(process) if count > 1 else 1,
        mounts=frozenset(_read("/proc/self/mountinfo").splitlines() if is_ours else ()),
        scratch=scratch() if is_ours else frozenset(),
        settings={name: _setting(name) for name in (SETTINGS if is_ours else ())},
        tainted=_setting("tainted") if is_ours else "",
        is_disk_held=is_ours and _is_disk_held(),
        clock_offset_s=time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) if is_ours else 0.0,
        available_kib=_available_kib() if is_ours else 0,
    )


def scratch() -> frozenset[str]:
    """What lies where tests may put files."""
    return frozenset(
        f"{folder}/{name}" for folder in _SCRATCH for name in _listed(folder) if not name.startswith(_KEPT_PREFIX)
    )


def descriptors() -> list[int]:
    """Those that this process has open."""
    numbers = [int(name) for name in _listed("/proc/self/fd")]
    return [number for number in numbers if _is_open(number)]  # one was for the list itself


def thread_count(process: int) -> int:
    """Threads that the program started; the kernel's own workers (iou-…) come and go."""
    return sum(not _text(f"{task}/comm").startswith("iou-") for task in _tasks(process))


def stop_timers() -> list[str]:
    """Stop the timers that would interrupt or end this very process later. Only a process itself can ask for them.

    Returns:
        A sentence for each interval timer that was armed, and for each POSIX timer, armed or not: the latter stay, as
        the C library alone knows what is to be called to stop them.
    """
    leftovers = []
    for name, which in _INTERVAL_TIMERS.items():
        after_s, interval_s = signal.setitimer(which, 0)
        if after_s > 0:
            leftovers.append(
                f"{name} is armed, for {after_s:.3g} s" + (f", then every {interval_s:.3g} s" if interval_s else "")
            )
    # Not there without CONFIG_CHECKPOINT_RESTORE, which stock kernels have.
    leftovers += [
        f"a POSIX timer is there ({' '.join(one.split())})" for one in _text("/proc/self/timers").split("ID:")[1:]
    ]
    return leftovers


def compare(before: State, after: State) -> Leftovers:
    """Say what a test changed and did not change back, but for its processes: see `end_processes`."""
    leftovers = [
        f"descriptor {number} is open: {what}"
        for number, what in after.descriptors.items()
        if before.descriptors.get(number) != what
    ]
    leftovers += [
        f"descriptor {number} was closed: {what}"
        for number, what in before.descriptors.items()
        if number not in after.descriptors
    ]
    if before.directory != after.directory:
        leftovers.append(f"the working directory is {after.directory}")
    leftovers += [
        f"{name} in /proc/PID/status is {value}, was {before.status[name]}"
        for name, value in after.status.items()
        if before.status[name] != value
    ]
    leftovers += [f"a resource limit is {' '.join(line.split())}" for line in _new_lines(before.limits, after.limits)]
    if after.thread_count > before.thread_count:
        leftovers.append(f"{after.thread_count - before.thread_count} threads still run")
    leftovers += [f"{name} is there" for name in sorted(after.scratch - before.scratch)]
    if abs(after.clock_offset_s - before.clock_offset_s) > _CLOCK_ERROR_MAX_S:
        leftovers.append(f"the clock was moved by {after.clock_offset_s - before.clock_offset_s:+.0f} s")
    machine = compare_machine(before, after)
    taint = ""
    if before.tainted != after.tainted:
        taint = f"kernel.tainted is {after.tainted}, was {before.tainted}"
    if len(leftovers) > _LISTED_MAX:
        leftovers[_LISTED_MAX:] = [f"and {len(leftovers) - _LISTED_MAX} more"]
    return Leftovers((*leftovers, *machine), bool(machine), taint)


def compare_machine(before: State, after: State) -> list[str]:
    """Say what a test changed of the guest that no new process mends."""
    machine = [f"mounted: {_mount(line)}" for line in sorted(after.mounts - before.mounts)]
    machine += [f"no longer mounted: {_mount(line)}" for line in sorted(before.mounts - after.mounts)]
    machine += [
        f"kernel.{name} is {value}, was {before.settings[name]}"
        for name, value in after.settings.items()
        if before.settings[name] != value
    ]
    if after.is_disk_held and not before.is_disk_held:
        machine.append(f"{_DISK} is still in use: a request or a file of the test keeps its file system")
    lost_kib = before.available_kib - after.available_kib
    if lost_kib > _MEMORY_LOST_MAX_KIB:
        machine.append(f"{lost_kib >> 10} MiB of memory are not available any more")
    return machine


def _is_disk_held() -> bool:
    """Ask for the empty disk alone. The kernel lets go of a dead process's requests in its own time."""
    deadline_s = time.monotonic() + _DISK_RELEASE_S
    while True:
        try:
            os.close(os.open(_DISK, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
        except OSError as error:
            if error.errno != errno.EBUSY or any(_DISK in line for line in _read("/proc/self/mountinfo").splitlines()):
                return False  # there is none, or it is mounted for all to see
        else:
            return False
        if time.monotonic() > deadline_s:
            return True
        time.sleep(0.01)


def mend(before: State, after: State) -> None:
    """Change back what can be: the clock, and files."""
    if abs(after.clock_offset_s - before.clock_offset_s) > _CLOCK_ERROR_MAX_S:
        now_s = time.clock_gettime(time.CLOCK_BOOTTIME) + before.clock_offset_s
        time.clock_settime(time.CLOCK_REALTIME, now_s)
    for name in after.scratch - before.scratch:
        path = Path(name)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def end_processes(parents: tuple[int, ...], spare: tuple[int, ...]) -> tuple[list[str], bool]:
    """End what a test started and did not wait for.

    Args:
        parents: whose children are meant: the agent, which gets the orphans, and the process that ran the test.
        spare: who lives on.

    Returns:
        A sentence for each process, and whether all of them are gone.
    """
    found: dict[int, str] = {}
    for _ in range(_KILL_ROUNDS):
        alive = [child for parent in parents for child in _children(parent) if child not in spare]
        if not alive:
            break
        for child in alive:
            found.setdefault(child, f"process {child} ({_command(child)}) still ran")
            _signal(child, signal.SIGKILL)
        time.sleep(0.01)
        reap(spare)
    else:
        return _listed_only(found), False
    return _listed_only(found), True


def reap(spare: tuple[int, ...]) -> None:
    """Take orphans off the kernel's list, but none of `spare`, whose end somebody else wants to know of."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in spare:
            return
        os.waitpid(ended.si_pid, 0)


def stacks(process: int) -> list[str]:
    """Where each thread of a process is in the kernel: what a debugger would ask first."""
    lines = []
    for task in _tasks(process):
        name, wait = _text(f"{task}/comm"), _text(f"{task}/wchan")
        state = _text(f"{task}/stat").rpartition(") ")[2][:1]
        lines.append(f"thread {task.rpartition('/')[2]} ({name}): state {state}, waits in {wait or '?'}")
        lines += [f"    {line}" for line in _text(f"{task}/stack").splitlines()]
    return lines


def _listed_only(found: dict[int, str]) -> list[str]:
    sentences = list(found.values())
    return sentences if len(sentences) <= _LISTED_MAX else [f"{len(sentences)} processes still ran", sentences[0]]


def _children(parent: int) -> Iterator[int]:
    for task in _tasks(parent):
        yield from map(int, _text(f"{task}/children").split())


def _tasks(process: int) -> list[str]:
    directory = f"/proc/{process}/task"
    return [f"{directory}/{name}" for name in sorted(_listed(directory), key=int)]


def _command(process: int) -> str:
    return _text(f"/proc/{process}/cmdline").replace("\0", " ").strip()[:80] or _text(f"/proc/{process}/comm")


def _without_internal(name: str, value: str) -> str:
    """A field without the two signals that the C library keeps for itself: it takes them with the first thread."""
    return f"{int(value, 16) & ~_INTERNAL_SIGNALS:016x}" if name.startswith("Sig") else value


def _descriptors(directory: str) -> dict[int, str]:
    return {int(name): _link(f"{directory}/{name}") for name in _listed(directory)}


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _new_lines(before: str, after: str) -> list[str]:
    return [new for old, new in zip(before.splitlines(), after.splitlines(), strict=False) if old != new]


def _mount(line: str) -> str:
    """`29 23 0:26 / /tmp rw,relatime - tmpfs tmpfs rw` in a reader's order."""
    head, _, tail = line.partition(" - ")
    place = head.split()
    return f"{place[4]} ({tail}, {place[5]})"


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(directory)  # noqa: PTH208
    except OSError:
        return []


def _link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115
    except OSError as error:
        return f"({error.strerror})"


def _setting(name: str) -> str:
    return _text(f"/proc/sys/kernel/{name}")


def _text(path: str) -> str:
    try:
        return _read(path).strip()
    except OSError:
        return ""


def _read(path: str) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = b""
        while part := os.read(descriptor, _CHUNK_SIZE):
            content += part
        return content.decode(errors="replace")
    finally:
        os.close(descriptor)


def _available_kib() -> int:
    found = _AVAILABLE.search(_text("/proc/meminfo"))
    return int(found[1]) if found is not None else 0


def _signal(process: int, number: int) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return
