"""How long to wait for a guest: on an ordinary machine, on a slow one, with somebody at a debugger."""

from dataclasses import dataclass, replace
from typing import Self

# What is not to end by itself; no more, because waits are given to the system in milliseconds.
_FOREVER_S = 7 * 86_400.0
# A hanging test holds a worker for that long: less patience than with a boot, which the factor is measured by.
_TEST_FACTOR_MAX = 3.0


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds to wait on an ordinary machine; generous: a deadline that strikes a slow one is a wrong verdict."""

    boot_s: float = 120.0
    collect_s: float = 120.0
    # Until a guest says that it began with a test.
    start_s: float = 30.0
    # By this machine's clock.
    test_s: float = 90.0
    # By the guest's clock, which an emulated guest turns forward when it is idle.
    soft_s: float = 45.0
    # Somebody asked for `test_s`: it is not stretched.
    is_exact: bool = False

    @classmethod
    def of_test(cls, test_s: float | None) -> Self:
        """The usual ones, or those for tests that may take so many seconds."""
        return cls() if test_s is None else cls(test_s=test_s, soft_s=test_s / 2, is_exact=True)

    @classmethod
    def suspended(cls) -> Self:
        """As good as none: somebody with a debugger decides how long things take."""
        return cls(_FOREVER_S, _FOREVER_S, _FOREVER_S, _FOREVER_S, _FOREVER_S, is_exact=True)

    def scaled(self, factor: float) -> "Deadlines":
        """The same for a machine that is so much slower. The guest's own clock knows nothing of that."""
        return replace(
            self,
            boot_s=self.boot_s * factor,
            collect_s=self.collect_s * factor,
            start_s=self.start_s * factor,
            test_s=self.test_s if self.is_exact else self.test_s * min(factor, _TEST_FACTOR_MAX),
        )


class Pace:
    """How slow this machine is under this accelerator, measured by its boots."""

    # What a boot takes on an ordinary machine, emulated.
    _BOOT_S = 2.5
    _FACTOR_MAX = 10.0

    def __init__(self) -> None:
        self.factor = 1.0

    def learn(self, boot_seconds: float) -> None:
        """Take a boot into account. Only the slowest counts: a deadline has to hold in a bad minute, too."""
        self.factor = min(max(self.factor, boot_seconds / self._BOOT_S), self._FACTOR_MAX)
