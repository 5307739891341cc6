"""What is known about one capability."""

from dataclasses import dataclass

import uring
from uring.observe import REQUESTS
from uring.observe.numbers import number_of

# A row of a table: id, title, sources (`5.19 io_uring_setup(2); …`), a sentence for a reader.
Row = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Source:
    """Who says which kernel was the first."""

    # `6.12`
    version: str
    # A man page of liburing 2.15, or the kernel's history.
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """Something that a program can ask a kernel's io_uring for. How it is observed: `uring.observe`, by the same id."""

    id: str
    # In plain words.
    title: str
    # `operation`, `setup-flag`, `feature`, `sqe-flag`, `cqe-flag`, `enter-flag`, `ring-flag`, `registration`,
    # `request-flag`, `sub-feature`, `limit`
    kind: str
    # The kernel's names, what it is about first.
    symbols: tuple[str, ...]
    # Of the first symbol: an opcode, a bit's value; None for what is none of io_uring's numbers.
    number: int | None
    # All that is said; they may contradict each other. First comes what kernels are held to: their history, where a
    # page errs; the page stays beside it, because readers find it.
    sources: tuple[Source, ...]
    # For a reader who wonders whether to care.
    sentence: str
    # How a program finds out at run time.
    detect: str

    @property
    def since(self) -> str | None:
        """The documented first kernel; None where nobody says."""
        return self.sources[0].version if self.sources else None


def build(kind: str, rows: tuple[Row, ...], detect: str) -> tuple[Capability, ...]:
    """Records of a table.

    Args:
        kind: of all of them.
        rows: their words.
        detect: a sentence, in which `{symbol}`, `{number}` and `{id}` are replaced.
    """
    return tuple(_record(kind, row, detect) for row in rows)


def _record(kind: str, row: Row, detect: str) -> Capability:
    identifier, title, sources, sentence = row
    symbols = REQUESTS[identifier].symbols
    number = number_of(symbols[0])
    return Capability(
        id=identifier,
        title=title,
        kind=kind,
        symbols=symbols,
        number=number,
        sources=tuple(Source(*one.strip().split(" ", 1)) for one in sources.split(";") if one.strip()),
        sentence=sentence,
        detect=detect.format(symbol=symbols[0], number=number, id=identifier),
    )


def operation_since(name: str) -> str:
    """The first kernel of an operation, which `uring` knows."""
    return uring.OPERATION_SINCE[uring.IORING_OP[name]]


# For what no probe and no feature bit tells.
TRY_IT = 'try it and look at the result: `uring.capabilities("{id}")`; neither the probe nor a feature bit tells'
