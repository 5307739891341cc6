"""Observing in a process of its own: what crashes, hangs or changes it costs one observation and nothing else."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import select
import signal
import time
import warnings
from pathlib import Path

from .. import syscalls
from ..opcodes import IORING_REGISTER
from ..structs import io_uring_params
from .bare import sqe
from .claims import claims
from .finding import (
    REQUESTS,
    Finding,
    NoAnswerError,
    Observation,
    RefusedError,
    Request,
    State,
    name_of,
    unknown,
)
from .world import World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# How long one observation may take; each of its requests may take 2 seconds.
DEADLINE_S = 10.0
_PATIENCE_S, _PAUSE_S = 0.5, 0.02
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_OUTSIDE = "allow io_uring_setup, io_uring_enter and io_uring_register in the process's seccomp filter"
# What filters answer, and no kernel does to what is asked below.
_FILTERED = frozenset({errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})


def one_by_one(requests: Sequence[Request], deadline_s: float = DEADLINE_S) -> Iterator[Observation]:
    """Make requests in child processes, in order, and yield each result as soon as it is there.

    A child that dies or hangs costs the request that it was at; the next one begins with the one behind it.

    Args:
        requests: what to ask.
        deadline_s: for each.
    """
    at = 0
    while at < len(requests):
        child = _Child(requests[at:])
        try:
            for state, evidence, value, claimed in child.answers(deadline_s):
                yield Observation(requests[at].id, State(state), evidence, value, claimed)
                at += 1
        finally:
            evidence = child.end()
        if at < len(requests):
            ended = "hung" if child.is_late else "died"
            yield Observation(requests[at].id, State.NOT_DETERMINABLE, evidence, ended=ended)
            at += 1


class _Child:
    """A process that observes, and writes a line for each result.

    Attributes:
        is_late: whether it did not answer in time.
    """

    def __init__(self, requests: Sequence[Request]) -> None:
        self._count = len(requests)
        self.is_late = False
        # There is more to say, whether or not anybody listens.
        self._is_left = True
        self._reading, writing = os.pipe()
        with warnings.catch_warnings():
            # Of threads of ours it needs none, and of locks only the interpreter's.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if self._pid == 0:
            _observe(requests, writing)
        os.close(writing)

    def answers(self, deadline_s: float) -> Iterator[tuple[str, str, int | None, bool | None]]:
        """State, evidence, value and claim, one after another, until it ends or is late."""
        rest = b""
        left = self._count
        poll = select.poll()
        poll.register(self._reading, select.POLLIN)
        while left:
            end = time.monotonic() + deadline_s
            while b"\n" not in rest:
                if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
                    self.is_late = True
                    return
                chunk = os.read(self._reading, 1 << 16)
                if not chunk:
                    self._is_left = False
                    return
                rest += chunk
            line, _, rest = rest.partition(b"\n")
            left -= 1
            yield tuple(json.loads(line))
        self._is_left = False

    def end(self) -> str:
        """End it, if it did not end, and say how."""
        os.close(self._reading)
        if self.is_late or self._is_left:
            os.kill(self._pid, signal.SIGKILL)
        status = _waited(self._pid, kill=True)
        if self.is_late:
            hung = "and could not be ended" if status is None else "and was ended"
            return f"the process that observed it did not answer in time, {hung}"
        if status is not None and os.WIFSIGNALED(status):
            return f"the process that observed it died of {signal.Signals(os.WTERMSIG(status)).name}"
        return "the process that observed it ended without a result"


def _waited(pid: int, *, kill: bool) -> int | None:
    """A child's status; None if it does not end, being stuck in the kernel: whoever reaps orphans gets it."""
    end = time.monotonic() + 2
    pause_s = 0.0005
    while time.monotonic() < end:
        try:
            found, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            # The program lets the system reap its children.
            return 0
        if found:
            return status
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, 0.05)
    if kill:
        os.kill(pid, signal.SIGKILL)
        return _waited(pid, kill=False)
    return None


# ---- in the child


def _observe(requests: Sequence[Request], writing: int) -> None:
    """Never comes back."""
    status = 1
    try:
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        # Filters of one's own need it, and it is this process's alone.
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        world = World()
        try:
            same = _same_for_all(world)
            claimed = {} if same else claims(world)
        except Exception as error:  # said once for all, instead of dying once for each
            same, claimed = unknown(f"observing cannot begin: {type(error).__name__}: {error}"), {}
        for one in requests:
            finding = same or found_by(one, world)
            answer = [finding.state, finding.evidence, finding.value, claimed.get(one.id)]
            os.write(writing, json.dumps(answer).encode() + b"\n")
        status = 0
    finally:
        os._exit(status)


def found_by(one: Request, world: World) -> Finding:
    """Make one request, and clean up.

    Memory that rings had locked is given back a little after they are closed. Who may lock little waits for that, for
    one observation no longer than `_PATIENCE_S`, and for all together no longer than `World.patience_s`.
    """
    left_s = min(_PATIENCE_S, world.patience_s)
    while True:
        finding = _attempt(one, world)
        if finding.state is not State.NOT_DETERMINABLE or "ENOMEM" not in finding.evidence or left_s <= 0:
            return finding
        time.sleep(_PAUSE_S)
        world.patience_s -= _PAUSE_S
        left_s -= _PAUSE_S


def _attempt(one: Request, world: World) -> Finding:
    try:
        return one.ask(world)
    except RefusedError as error:
        return error.finding()
    except NoAnswerError as error:
        world.renew()
        return unknown(f"a request does not complete: {error}")
    except OSError as error:
        return unknown(f"what the request needs cannot be made here: {error}")
    except Exception as error:
        world.renew()
        return unknown(f"the observation itself failed: {type(error).__name__}: {error}")
    finally:
        world.clean()


def _same_for_all(world: World) -> Finding | None:
    """A finding that holds for every capability: there is no io_uring here, or it answers anything to anything."""
    params = io_uring_params()
    result = syscalls.io_uring_setup_errno(1, params)
    if result < 0:
        return _without(-result)
    syscalls.close(result)
    ring = world.ring
    if _is_filtered():
        for call, answer in (("io_uring_enter", ring.enter(0, 0)), ("io_uring_register", _probe(world))):
            if -answer in _FILTERED:
                return Finding(State.OFF, f"seccomp: {call} is refused with {name_of(answer)}; {_OUTSIDE}")
    # What nobody knows must be refused, or nothing that is not refused would say anything.
    unknown_answers = {
        "operation 255": ring.ask(sqe(255)).res,
        "setup flag 31": world.closed(world.setup(1 << 31)[0]),
        "registration 250": ring.register(250),
        "flag 31 of io_uring_enter": ring.enter(0, 1 << 31),
    }
    odd = [f"{what}: {name_of(answer)}" for what, answer in unknown_answers.items() if answer != -errno.EINVAL]
    world.clean()
    return unknown(f"this kernel does not refuse what nobody knows ({', '.join(odd)})") if odd else None


def _probe(world: World) -> int:
    return world.ring.register(IORING_REGISTER.REGISTER_PROBE, world.room(16 + 8), 1)


def _without(number: int) -> Finding:
    """Why there are no rings."""
    plain = f"a plain ring of one entry is refused with {name_of(-number)}"
    disabled = _text("/proc/sys/kernel/io_uring_disabled").strip()
    if disabled in {"1", "2"} and number in (errno.EPERM, errno.EACCES):
        return Finding(State.OFF, f"sysctl kernel.io_uring_disabled is {disabled}; {plain}")
    if _is_filtered() and number in _FILTERED:
        return Finding(State.OFF, f"seccomp: {plain}; {_OUTSIDE}")
    if number == errno.ENOSYS:
        return Finding(State.LACKS, f"no io_uring in this kernel; {plain}")
    return unknown(plain)


def _is_filtered() -> bool:
    return bool(re.search(r"^Seccomp:\s*[12]$", _text("/proc/self/status"), re.MULTILINE))


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except OSError:
        return ""


def ordered() -> list[Request]:
    """Every request in the order in which they are made: those last that have crashed or hung kernels before."""
    return sorted(REQUESTS.values(), key=lambda one: (one.is_risky, one.id))
