"""Cells as HTML: a sign and a word in each; colour only reinforces them.

Made here and not by a template: a site may have a million of them.
"""

from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from markupsafe import Markup, escape

from reports import wording
from reports.capabilities import Entry
from reports.expectation import Expectation
from reports.matrix import Cell, Outcome
from reports.records import Kernel
from reports.untrusted import visible

# What kernels list of themselves: no verdict of ours, and so with words of its own.
STATED = {
    Outcome.PASSES: ("✓", "listed", "good"),
    Outcome.LACKS: ("\N{EN DASH}", "not listed", "plain"),
    Outcome.OPEN: ("?", "not asked", "open"),
}


class Face(NamedTuple):
    """What a cell shows. There are few, each shown many thousand times: what is made of one is kept by it."""

    symbol: str
    word: str
    # Which of the few colours reinforces it
    tone: str
    qualifiers: tuple[str, ...] = ()
    # Something has to be known beside the verdict, other than how often it was found
    is_qualified: bool = False
    is_unexpected: bool = False
    # The word is a figure: to be read, however clear the sign is
    is_valued: bool = False


def joined(parts: Iterable[Markup]) -> Markup:
    """Put markup together without looking at each piece again: they are markup, as their type says."""
    return Markup("".join(parts))  # noqa: S704


NONE = Face("", "not planned", "none")


def face(cell: Cell | None, kernel: Kernel | None = None, *, is_lost: bool = False) -> Face:
    """Say what a cell shows.

    Args:
        cell: None where there is none.
        kernel: its kernel as its run knew it; needed where the cell has qualifiers or attempts.
        is_lost: an older kernel has it: what is lost never looks like what was never there.
    """
    if cell is None:
        return NONE
    row = cell.row
    if cell.is_clean_pass and not row.attempts:
        if row.state is None:
            return CLEAN
        return _observed(row.state, wording.found_of(row), is_valued=row.value is not None)
    is_qualified = bool(row.qualifiers) or row.is_contradicted
    words = tuple(wording.qualifier_words(row, kernel)) if is_qualified or row.attempts else ()
    if is_lost:
        words = (*words, "lost")
    verdict = wording.verdict_of(row)
    return Face(
        verdict.symbol,
        wording.found_of(row),
        "bad" if is_lost else verdict.tone,
        words,
        is_qualified=is_qualified,
        is_unexpected=cell.expectation is Expectation.UNEXPECTED or is_lost,
        is_valued=row.value is not None,
    )


@cache
def _observed(state: str, word: str, *, is_valued: bool) -> Face:
    """What a cell shows of something that a kernel has, with nothing to add."""
    verdict = wording.OBSERVED[state]
    return Face(verdict.symbol, word, verdict.tone, is_valued=is_valued)


_PASS = wording.VERDICTS[next(iter(wording.VERDICTS))]
CLEAN = Face(_PASS.symbol, _PASS.word, _PASS.tone)


def stated_face(entry: Entry, index: int) -> Face:
    """Say what a column shows of something that kernels list of themselves."""
    return Face(*STATED[entry.outcomes[index]])


@cache
def inner(shown: Face) -> Markup:
    """The sign, the word, and what stands beside them."""
    sign = Markup('<span class="symbol" aria-hidden="true">{}</span> ').format(shown.symbol) if shown.symbol else ""
    word = Markup('<span class="word">{}</span>').format(shown.word)
    rest = (Markup(' <span class="qualifier">{}</span>').format(visible(one)) for one in shown.qualifiers)
    return Markup("").join((sign, word, *rest))


@cache
def chip(shown: Face) -> Markup:
    """The same in a line of text."""
    sign = Markup('<span aria-hidden="true">{}</span> ').format(shown.symbol) if shown.symbol else ""
    qualified = " qualified" if shown.is_qualified else ""
    body = Markup('<span class="chip {}{}">{}{}</span>').format(shown.tone, qualified, sign, shown.word)
    rest = (Markup(' <span class="chip tag">{}</span>').format(visible(one)) for one in shown.qualifiers)
    return Markup("").join((body, *rest))


@cache
def classes(shown: Face) -> str:
    """The classes of its element."""
    flags = (("qualified", shown.is_qualified), ("unexpected", shown.is_unexpected), ("valued", shown.is_valued))
    return " ".join(["cell", shown.tone, *(name for name, is_set in flags if is_set)])


def td(shown: Face, href: Markup | None = None, purpose: Iterable[Markup] = (), label: str | None = None) -> Markup:
    """One cell of a table.

    Args:
        shown: what is in it.
        href: where it leads, if it does.
        purpose: what to read out beside the word, where it leads somewhere, in pieces.
        label: the head of its column, which narrow screens show beside it.
    """
    if href is None:
        return _plain_td(shown, label)
    begin, middle = _linked_td(shown, label)
    return joined((begin, href, middle, *purpose, _END))


# Joined, since formatting takes several times as long.
_END = Markup("</span></a></td>")


@cache
def _linked_td(shown: Face, label: str | None) -> tuple[Markup, Markup]:
    """What stands before and after the address."""
    begin = Markup('<td class="{}"{}><a href="').format(classes(shown), _data(label))
    return begin, Markup('">{}<span class="unseen">').format(inner(shown))


@cache
def _plain_td(shown: Face, label: str | None) -> Markup:
    return Markup('<td class="{}"{}>{}</td>').format(classes(shown), _data(label), inner(shown))


@cache
def minimum_td(shown: wording.MinimumText) -> Markup:
    """A minimum kernel as a cell of a table, and what one has to know beside it."""
    notes = (Markup(" <small>{}</small>").format(visible(note)) for note in shown.notes)
    worrying = " worrying" if shown.is_worrying else ""
    figure = visible(shown.figure)
    return Markup('<td class="minimum{}"><b>{}</b>{}</td>').format(worrying, figure, joined(notes))


def _data(label: str | None) -> Markup:
    return Markup("") if label is None else Markup(' data-on="{}"').format(escape(visible(label)))
