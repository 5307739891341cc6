"""The kernels of a session: those that are there, and those that a process fetches while the session goes on."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from vm.cache import Cache
from vm.errors import VmError
from vm.fetch import Kernels, hold
from vm.kernel import Kernel, KernelRef
from vm.lock import Pin, checked
from vm.prefetch import Prefetch, PrefetchRequest, is_there, take
from vm.progress import Progress
from vm.settings import Settings


class PendingKernels:
    """Kernels, in the order they are wanted.

    Args:
        refs: which.
        pins: their pins, if there is a lock file.
        kernels: where they come from.
        cache: where they are kept.
        settings: for the process that fetches.
        progress: told what that process says, while somebody waits for it.
        beside: ends that process.

    Attributes:
        outcomes: what became of each kernel, as far as it is known.
        late: where the outcome of each other one will be.
    """

    def __init__(
        self,
        refs: Sequence[KernelRef],
        pins: Sequence[Pin],
        kernels: Kernels,
        cache: Cache,
        settings: Settings,
        progress: Progress,
        beside: contextlib.ExitStack,
    ) -> None:
        self._cache, self._progress = cache, progress
        self._pins = {pin.ref: pin for pin in pins}
        self.outcomes: dict[KernelRef, Kernel | VmError] = {}
        self.late: dict[KernelRef, Path] = {}
        self._prefetch: Prefetch | None = None
        missing: list[KernelRef] = []
        for ref in refs:
            try:
                kernel = kernels.at_hand(ref, exact=bool(pins))
            except VmError as error:
                self._keep(ref, error)
            else:
                if kernel is None:
                    missing.append(ref)
                else:
                    self._keep(ref, kernel)
        if not missing:
            return
        if settings.offline:  # nobody fetches anything; here it is said what would have to be fetched
            for ref, outcome in zip(missing, kernels.fetch_all(missing, exact=bool(pins)), strict=True):
                self._keep(ref, outcome)
            return
        try:
            directory = beside.enter_context(cache.temporary())
        except VmError as error:
            for ref in missing:
                self._keep(ref, error)
            return
        wanted = tuple(self._pins[ref] for ref in missing) if pins else ()
        order = PrefetchRequest(settings, kernels.arch, () if pins else tuple(missing), wanted)
        self._prefetch = Prefetch(order, directory, progress)
        beside.callback(self._prefetch.end)
        self.late = dict(zip(missing, self._prefetch.outcomes, strict=True))

    @property
    def is_any_to_come(self) -> bool:
        """Whether there is a kernel, or may be one."""
        return bool(self.late) or any(isinstance(outcome, Kernel) for outcome in self.outcomes.values())

    def await_one(self) -> None:
        """Wait until one of the archive's kernels is there to begin with, or it is known that none will be."""
        if self._prefetch is None:
            return
        ordered = list(self.late)
        # One of the archive's: whether KVM works is tried with a kernel that is known to boot.
        while self.late and not any(_is_of_archive(outcome) for outcome in self.outcomes.values()):
            number = self._prefetch.wait()
            if number is None:
                break  # it has ended: what is not there now never is
            self._take(ordered[number])
        for ref in ordered:
            if ref in self.late and is_there(self.late[ref]):
                self._take(ref)
        self._prefetch.leave()
        if self.late:
            self._progress.note(
                f"still being fetched while others are tested: {', '.join(ref.id for ref in self.late)}"
            )

    def _take(self, ref: KernelRef) -> None:
        try:
            kernel = take(self.late.pop(ref))
            if kernel is None:
                raise VmError(f"{ref.id}: there is no kernel in its outcome: a mistake of ours")
            hold(kernel, self._cache)
            self.outcomes[ref] = kernel
        except VmError as error:
            self.outcomes[ref] = error

    def _keep(self, ref: KernelRef, outcome: Kernel | VmError) -> None:
        pin = self._pins.get(ref)
        self.outcomes[ref] = outcome if pin is None else checked(pin, outcome)


def _is_of_archive(outcome: Kernel | VmError) -> bool:
    return isinstance(outcome, Kernel) and outcome.ref.source != "path"
