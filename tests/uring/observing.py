"""Capabilities observed on a scripted kernel: what is asked, and what is made of each answer."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import resource
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from scripted_kernel import CLOCKS, FLOOR, ScriptedKernel

from uring import syscalls
from uring.observe import bare, entries, runner, waiting
from uring.observe.finding import Finding, Request
from uring.observe.world import World

# Results that are told from each other, and one that no kernel has.
_NUMBERS = ("0", "1", "2", "3", "4", "5", "8", "9", "15", "16", "17", "42", "43")
_ERRORS = (
    *("EPERM", "ENOENT", "EBADF", "ECHILD", "EAGAIN", "ENOMEM", "EACCES", "EFAULT"),
    *("EBUSY", "EEXIST", "ENODEV", "EINVAL", "EMFILE", "ENXIO", "ENOTNAM", "EDESTADDRREQ"),
    *("EOVERFLOW", "ENOSYS", "ENODATA", "ETIME", "EOPNOTSUPP", "ENOBUFS", "ECANCELED", "EALREADY"),
)


def _others(answer: str, *, is_of_script: bool) -> dict[str, str]:
    """What could be answered instead, by what it is called: another result, no completion, or something less."""
    if not is_of_script:
        return {name: name for name in ("EINVAL", "EPERM", "ENOMEM", "EOPNOTSUPP", "ENOTNAM")}
    words = answer.split()
    at = int(words[0] == "later")
    found = {
        result: " ".join([*words[:at], result, *words[at + 1 :]])
        for result in (*_NUMBERS, *_ERRORS)
        if result != words[at]
    }
    for place in range(at + 1, len(words)):
        if words[place] != "&" and words[place - 1] != "&":
            found[f"without {words[place]}"] = " ".join(words[:place] + words[place + 1 :])
    if any(map(_is_flags, words)):
        found["other flags"] = " ".join([*(word for word in words if not _is_flags(word)), "flags=0xffc0"])
    return found | {"nothing": "never"}


def _is_flags(word: str) -> bool:
    return word.startswith(("IORING_CQE_F_", "flags="))


def _together(names: list[str]) -> str:
    """Names of answers, all numbers and all errors being one word."""
    for word, every in (("any number", _NUMBERS), ("any error", _ERRORS)):
        # All but the one that was given.
        if sum(name in names for name in every) >= len(every) - 1:
            names = [word, *(name for name in names if name not in every)]
    return ", ".join(names)


class Observing:
    """A world of that kernel."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kernel = kernel = ScriptedKernel()
        kernel.real_mmap, kernel.real_munmap, kernel.real_close = syscalls.mmap, syscalls.munmap, syscalls.close
        for name in ("setup", "enter", "register"):
            monkeypatch.setattr(syscalls, f"io_uring_{name}_errno", getattr(kernel, name))
        for name in ("mmap", "munmap", "close"):
            monkeypatch.setattr(syscalls, name, getattr(kernel, name))
        # Nobody has to be waited for: time goes on whenever somebody looks.
        seconds = itertools.count()
        replaced: dict[str, Any] = {
            "clock_gettime_ns": lambda clock: CLOCKS[clock] * 10**9 + 1,
            "monotonic": lambda: float(next(seconds)),
        }
        clocks = SimpleNamespace(**(vars(time) | replaced))
        for module in (bare, entries, waiting):
            monkeypatch.setattr(module, "time", clocks)
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(os, "seteuid", lambda number: kernel.note(f"seteuid {number}"))
        monkeypatch.setattr(resource, "getrlimit", lambda kind: kernel.limits[kind])
        monkeypatch.setattr(resource, "setrlimit", kernel.setrlimit)
        kernel.is_reaping = False
        real_reap = bare.Ring.reap

        def reap(ring: bare.Ring, count: int = 0) -> list[bare.Cqe]:
            kernel.is_reaping = True
            try:
                return real_reap(ring, count)
            finally:
                kernel.is_reaping = False

        monkeypatch.setattr(bare.Ring, "reap", reap)
        self.taken: list[int] = []
        while (fd := os.open("/dev/null", os.O_RDONLY)) < FLOOR:
            self.taken.append(fd)
        os.close(fd)
        self._record(monkeypatch)
        self.world = kernel.world = World()
        self.world.patience_s = 0
        self.shared = self.world.ring, self.world.fixed
        self.world.clean()

    def _record(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sizes = self.kernel.sizes

        def recorded(real: Callable[..., int], size_of: Callable[[Any], int]) -> Callable[..., int]:
            def method(world: World, argument: Any) -> int:
                address = real(world, argument)
                sizes[address] = size_of(argument)
                return address

            return method

        monkeypatch.setattr(World, "room", recorded(World.room, lambda size: size))
        monkeypatch.setattr(World, "put", recorded(World.put, len))
        monkeypatch.setattr(World, "at", recorded(World.at, ctypes.sizeof))
        monkeypatch.setattr(World, "pages", recorded(World.pages, lambda size: size))

    def ask(self, one: Request, script: list[str], overridden: dict[int, str] | None = None) -> Finding:
        """What a request makes of answers."""
        kernel, world = self.kernel, self.world
        kernel.begin(script, overridden)
        kernel.sizes.clear()
        world._memory[:8192] = bytes(8192)
        for ring in self.shared:
            ring._serial = 0
            ring.take()
            kernel.rings[ring.fd].later.clear()
        kernel.is_ready = True
        found = runner.found_by(one, world)
        kernel.is_ready = False
        if length := os.lseek(kernel.log, 0, os.SEEK_CUR):
            said = [json.loads(line) for line in os.pread(kernel.log, length, 0).splitlines()]
            kernel.asked += [f"child: {line}" for line, _ in said]
            kernel.is_step_of_script += [of_script for _, of_script in said]
            os.lseek(kernel.log, 0, os.SEEK_SET)
        world._ring, world._fixed = self.shared
        for fd in [fd for fd, ring in kernel.rings.items() if ring.name.startswith("ring")]:
            kernel.close(fd)
        return found

    def described(self, one: Request, script: list[str]) -> dict[str, Any]:
        """What is asked, what is found, and what would be found if a single answer were another one."""
        found = self.ask(one, script)
        asked, of_script = self.kernel.asked, self.kernel.is_step_of_script
        value = "" if found.value is None else f" {found.value}"
        given = iter([answer for answer in script if not answer.startswith("rings ")])
        judged = []
        for step, is_of_script in enumerate(of_script):
            here = next(given, "ENOTNAM") if is_of_script else "0"
            if asked[step].startswith(("seteuid", "setrlimit")):
                judged.append("")
                continue
            by_state: dict[str, list[str]] = {}
            for name, other in _others(here, is_of_script=is_of_script).items():
                different = self.ask(one, script, {step: other})
                # What cannot be told from an answer is not what cannot be made of it.
                assert "the observation itself failed" not in different.evidence, (asked[step], name, different)
                by_state.setdefault(different.state, []).append(name)
            states = (state for state in ("has", "lacks", "off") if state in by_state)
            judged.append("; ".join(f"{state}: {_together(by_state[state])}" for state in states))
        return {"answers": script, "asked": asked, "found": f"{found.state}{value}: {found.evidence}", "judged": judged}

    def end(self) -> None:
        """Close everything."""
        for ring in self.shared:
            ring.close()
        os.close(self.world.file)
        os.close(self.kernel.log)
        for fd in self.taken:
            os.close(fd)
