"""What an observation comes to, and the table of requests that make one.

A request is a small function that asks the kernel for one thing and hands back a `Finding`. Modules of this package
fill `REQUESTS` when they are imported; `uring.observe` imports them in the order in which requests are made.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from enum import StrEnum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import TypeAlias

    from .world import World

    # A result, or all results of a range.
    Results: TypeAlias = Collection["int | range"]

INVALID = (-errno.EINVAL,)
# Every result that is no error.
ANY = range(1 << 31)


class State(StrEnum):
    """Whether a kernel has a capability."""

    HAS = "has"
    LACKS = "lacks"
    # The kernel knows it and does not offer it here: configuration, sysctl, seccomp. The evidence names which.
    OFF = "off"
    # No request could tell; the evidence says why.
    NOT_DETERMINABLE = "not-determinable"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a request's result says, and the result itself in words."""

    state: State
    evidence: str
    # A limit's value.
    value: int | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """What was found about one capability; true where the kernel has it."""

    id: str
    state: State
    evidence: str
    value: int | None = None
    # The kernel's own word: its feature bits, its probe, its answer to a query. None where it says nothing about it.
    claimed: bool | None = None
    # `died` or `hung`, if the process that observed it did not live to tell.
    ended: str | None = None

    def __bool__(self) -> bool:
        return self.state is State.HAS


@dataclass(frozen=True, slots=True)
class Request:
    """How one capability is observed."""

    # Stable: `op-ftruncate`
    id: str
    # The kernel's names for it, the one it is about first.
    symbols: tuple[str, ...]
    ask: Callable[[World], Finding]
    # Asked after all others, because it involves what has crashed or hung kernels before.
    is_risky: bool = False


REQUESTS: dict[str, Request] = {}

_OWN = {
    "IORING_OP_": "op-",
    "IORING_SETUP_": "setup-",
    "IORING_FEAT_": "feat-",
    "IORING_ENTER_": "enter-",
    "IORING_CQE_F_": "cqe-",
    "IOSQE_": "sqe-",
    "IORING_REGISTER_": "register-",
    "IORING_UNREGISTER_": "unregister-",
}


def own_id(symbol: str) -> str | None:
    """The id of the capability that a symbol itself is, if it is one.

    Args:
        symbol: `IORING_OP_OPENAT` is `op-openat`; `openat-direct` is about more than that.
    """
    for prefix, put_before in _OWN.items():
        if symbol.startswith(prefix):
            return put_before + symbol.removeprefix(prefix).lower().replace("_", "-")
    return None


class RefusedError(Exception):
    """A ring, a registration or a submission that the request needs was refused.

    Attributes:
        number: the errno.
    """

    def __init__(self, what: str, number: int) -> None:
        super().__init__(what, number)
        self.what = what
        self.number = number

    def finding(self) -> Finding:
        """What follows: without its requirement the kernel cannot have it; other errors say nothing about it."""
        state = State.LACKS if self.number == errno.EINVAL else State.NOT_DETERMINABLE
        return Finding(state, f"needs {self.what}, which is refused with {name_of(-self.number)}")


class NoAnswerError(Exception):
    """A request that has to complete did not."""


def add(
    identifier: str, symbols: str, ask: Callable[[World], Finding], *, is_risky: bool = False
) -> Callable[[World], Finding]:
    """Put a request into the table.

    Args:
        identifier: what it observes.
        symbols: the kernel's names, apart by spaces.
        ask: makes the request.
        is_risky: ask after all others.
    """
    if identifier in REQUESTS:
        raise ValueError(f"{identifier} is observed in two ways")
    REQUESTS[identifier] = Request(identifier, tuple(symbols.split()), ask, is_risky)
    return ask


def request(
    identifier: str, symbols: str, *, is_risky: bool = False
) -> Callable[[Callable[[World], Finding]], Callable[[World], Finding]]:
    """Decorate a function that makes a request, as `add` takes one."""

    def decorate(ask: Callable[[World], Finding]) -> Callable[[World], Finding]:
        return add(identifier, symbols, ask, is_risky=is_risky)

    return decorate


def name_of(result: int) -> str:
    """A result in words: `EINVAL`, or the number."""
    if -4096 < result < 0:
        # Of two names for one number the kernel's, not the C library's.
        return "EOPNOTSUPP" if result == -errno.EOPNOTSUPP else errno.errorcode.get(-result, str(result))
    return str(result)


def judge(
    what: str, result: int, has: Results, lacks: Results = INVALID, off: Mapping[int, str] | None = None
) -> Finding:
    """What a result says.

    Args:
        what: the request, in a few words.
        result: a CQE's `res`, or what a system call returned, an errno being negative.
        has: what only a kernel answers that knows what was asked.
        lacks: what only one answers that does not.
        off: what only one answers that was told not to offer it, and by what.
    """
    evidence = f"{what}: {name_of(result)}"
    if off and result in off:
        return Finding(State.OFF, f"{evidence} ({off[result]})")
    if _is_among(result, has):
        return Finding(State.HAS, evidence)
    if _is_among(result, lacks):
        return Finding(State.LACKS, evidence)
    words = f" ({os.strerror(-result)})" if result < 0 else ""
    return Finding(State.NOT_DETERMINABLE, f"{evidence}{words} tells neither")


def _is_among(result: int, results: Results) -> bool:
    return any(result in one if isinstance(one, range) else result == one for one in results)


def yes(evidence: str, value: int | None = None) -> Finding:
    """The kernel has it."""
    return Finding(State.HAS, evidence, value)


def no(evidence: str) -> Finding:
    """The kernel lacks it."""
    return Finding(State.LACKS, evidence)


def unknown(reason: str) -> Finding:
    """No request could tell."""
    return Finding(State.NOT_DETERMINABLE, reason)


def seen(is_there: bool, evidence: str) -> Finding:
    """Either of both: the kernel behaves as if it had it, or as if not."""
    return Finding(State.HAS if is_there else State.LACKS, evidence)
