"""What guests are given beside a kernel: processors, memory, kernel parameters, a debugger."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import psutil
import pytest

from vm.errors import BootError, SpecError
from vm.machine import listen

# Parameters that a guest cannot do without, as we set them: what its console, its first process and its end depend on.
_OURS = frozenset({"console", "init", "initrd", "panic", "rdinit", "reboot", "root", "rootfstype"})


@dataclass(frozen=True, slots=True)
class GuestShape:
    """What was asked for."""

    cpus: int = 1
    # None: what the guest image needs
    memory_mib: int | None = None
    parameters: tuple[str, ...] = ()
    # Where a debugger is awaited, 0 for any free port; None for guests that run by themselves.
    gdb_port: int | None = None

    @classmethod
    def of_session(cls, config: pytest.Config) -> Self:
        """Read a session's options. Raises as `of`."""
        option = config.getoption
        return cls.of(option("guest_cpus"), option("guest_memory"), option("guest_append"), option("guest_gdb"))

    @classmethod
    def of(cls, cpus: int | None, memory_mib: int | None, appended: Sequence[str], gdb_port: int | None = None) -> Self:
        """Take what was asked for.

        Args:
            cpus: processors of each guest; None for one.
            memory_mib: its memory; None for what its image needs.
            appended: kernel parameters, any number in each text, quoted as a shell's words are.
            gdb_port: as the attribute.

        Raises:
            SpecError: something cannot be meant, or guests cannot do with it.
        """
        parameters: list[str] = []
        for text in appended:
            try:
                parameters += shlex.split(text)
            except ValueError as error:
                raise SpecError(f"the kernel parameters {text!r} cannot be taken apart: {error}") from error
        for word in parameters:
            name = word.partition("=")[0]
            if name in _OURS or word.startswith("-"):
                raise SpecError(f"the kernel parameter {word} is not for you to set: guests are run by it")
            if not word.isprintable() or '"' in word:
                raise SpecError(f"the kernel parameter {word!r} has characters that no kernel reads")
        if gdb_port:
            try:
                listen(gdb_port).close()
            except BootError as error:
                raise SpecError(str(error)) from error
        return cls(cpus or 1, memory_mib, tuple(parameters), gdb_port)

    def memory_for(self, needed_mib: int) -> int:
        """How much memory a guest gets.

        Args:
            needed_mib: what its image and what is sent along need.

        Raises:
            SpecError: it could not boot with what was asked for, or this machine has less.
        """
        if self.memory_mib is None:
            return needed_mib
        if self.memory_mib < needed_mib:
            raise SpecError(f"guests of {self.memory_mib} MiB cannot boot: they need {needed_mib} MiB")
        there_mib = psutil.virtual_memory().total >> 20
        if self.memory_mib > there_mib:
            raise SpecError(f"guests of {self.memory_mib} MiB are larger than this machine, which has {there_mib} MiB")
        return self.memory_mib
