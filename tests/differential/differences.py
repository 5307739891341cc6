"""The differences between a plain run and one with `--kernel` that are meant: all of them, each with its reason.

`TEXTS` are things that read differently wherever they come up; `OUTCOMES` are tests that cannot end alike.
"""

import dataclasses
import fnmatch
import re
from pathlib import Path


@dataclasses.dataclass(frozen=True, slots=True)
class Text:
    """Something that reads differently. Both runs' texts are compared with the replacement in its place."""

    reason: str
    pattern: str
    replacement: str
    # Whether it is for the run with a kernel alone.
    is_kernels: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """A difference that one case may have, in these aspects (`*`: in all of them)."""

    reason: str
    case: str
    aspect: str = "*"
    where: str = "*"

    def covers(self, case: str, aspect: str, where: str) -> bool:
        """Whether this is the reason for a difference."""
        return (
            fnmatch.fnmatchcase(case, self.case)
            and fnmatch.fnmatchcase(aspect, self.aspect)
            and fnmatch.fnmatchcase(where, self.where)
        )


_CHECKOUT = str(Path(__file__).parents[2])

# In this order. Where the project lies on this machine is `<root>` already.
TEXTS = (
    Text(
        "this machine may have the checkout in a folder that is called like a guest's", re.escape(_CHECKOUT), "<here>"
    ),
    Text("an item is named after its cell: the only parameter", r"\[6\.1-default\]", "", is_kernels=True),
    Text("an item is named after its cell: before other parameters", r"\[6\.1-default-", "[", is_kernels=True),
    Text("the cell is among an item's keywords", r"\A6\.1-default(?:-|\Z)", "", is_kernels=True),
    Text("a guest has the packages of the host elsewhere", r"[^\s\"'(]*/(?:site|dist)-packages(?=/)", "<packages>"),
    Text("a guest has the standard library elsewhere", r"[^\s\"'(]*/lib/python3\.\d+(?=/)", "<library>"),
    Text(
        "a guest has another version of Python: its standard library has other lines",
        r"(<library>/[\w./]+(?:\", line |:))\d+",
        r"\1N",
    ),
    Text("a guest has another version of Python, which underlines otherwise", r"(?m)^[ E|>]*[~^]+ *\n", ""),
    Text(
        "a guest has another version of Python, which shows all lines of a statement",
        r"(?m)^([ E|]*)(  File \"[^\"\n]+\", line [^\n]+\n)(\1    [^\n]*\n)(?:\1    [^\n]*\n)+",
        r"\1\2\3",
    ),
    Text("a test is called from deeper down", r"\bstack frames out of \d+\.", "stack frames out of N."),
    Text(
        "packages of the host that were not sent along have fixtures, too",
        r", (?:platformdirs_isolated|testrun_uid|worker_id)\b",
        "",
    ),
    Text("which of pytest-xdist's workers took a test is chance", r"\[gw\d+\]", "[gwN]"),
    Text(
        "runs with kernels share a cache, and say when they wait for each other",
        r"(?m)^waiting for another run that holds [^\n]*\n",
        "",
        is_kernels=True,
    ),
    Text(
        "directories for tests are numbered, and somebody's", r"[\w./-]*/pytest-of-\w+/pytest-(?:\d+|current)", "<tmp>"
    ),
    Text("the root directory is /work in a guest", r"(?<![\w./>-])/work(?![\w.-])", "<root>", is_kernels=True),
    Text("a guest has another version of Python, which does not indent doctests", r"(?m)^(\d{3}) +", r"\1 "),
    Text("a guest has another version of Python", r"\bPython 3\.\d+\.\d+", "Python N"),
    Text("packages of the host that were not sent along are plugins, too", r"(?m)^plugins: [^\n]*\n", ""),
    Text("packages that were sent along lie at /site", r"(?<![\w./>-])/site(?=/)", "<packages>", is_kernels=True),
    Text(
        "what is made for the first time is said",
        r"(?m)^[^\n]*(?: …|: done(?:, [^\n]*)? in [^\n]*)\n",
        "",
        is_kernels=True,
    ),
    Text("how long it took", r"\b\d+\.\d+s(?: \(\d+:\d\d:\d\d\))?(?=\W|$)", "<time>"),
    Text("addresses of objects", r"\b0x[0-9a-f]{6,}\b", "0x<address>"),
    Text("a line is drawn as long as what stands in it lets it be", r"([=_-])\1{2,}|(?:_ ){3,}_?", "---"),
    Text("progress stands at the line's end", r" +(?=\[ *\d+%\])", " "),
)

OUTCOMES = (
    Outcome(
        "a test that ends its process takes pytest along; in a guest it costs one item, and the others run",
        "ends-its-process",
    ),
    Outcome("what would end the session costs one item in a guest, and the others run", "interrupted-by-a-test"),
    Outcome("what would end the session costs one item in a guest, and the others run", "ended-by-a-test"),
    Outcome("a file that is not there is said before anything is prepared", "select-no-such-file", "junit"),
    Outcome("what a test prints past pytest's capturing goes to the guest's console", "fixtures-of-pytest", "screen"),
    Outcome("what a test prints past pytest's capturing goes to the guest's console", "hooks-around-tests", "screen"),
    Outcome("a guest's log comes with the report, not line by line", "output-of-logging-live", "screen"),
    Outcome(
        "the XML is the host's: attributes for it do not travel", "fixtures-that-record", "junit", "*test_attribute"
    ),
    *(
        Outcome("at home pytest draws its progress into what is captured", case, "sections", "*test_subtests")
        for case in ("unittest", "unittest-of-asyncio")
    ),
    Outcome("a guest has another version of Python, with other tracebacks", "doctests*", "junit"),
    Outcome("pytest takes what follows a bracket of a name for parameters", "own-collector", "junit"),
    Outcome("what is recorded of a failure has no colours", "show-coloured", "longrepr"),
    Outcome("options that choose tests have their defaults in guests", "own-options-that-a-hook-changes"),
    Outcome("a test is called by others", "show-full-trace", "longrepr"),
    Outcome("a name with its cell is longer, so less fits on the line", "exceptions", "screen"),
    *(
        Outcome(
            "pytest shortens a long message, and the names of fixtures of the host make it longer", case, "junit", where
        )
        for case, where in (
            ("fixtures-that-fail", "*test_recursive"),
            *((f"show-{how}", "*test_error") for how in ("verbose", "quiet", "short", "long-with-locals", "native")),
        )
    ),
)


def normalised(text: str, root: str, *, has_kernel: bool) -> str:
    """A run's text with all that may differ replaced."""
    text = text.replace(root, "<root>")
    for rule in TEXTS:
        if has_kernel or not rule.is_kernels:
            text = re.sub(rule.pattern, rule.replacement, text)
    return text


def reason_for(case: str, aspect: str, where: str) -> str | None:
    """Why a difference is meant; None if it is not."""
    return next((one.reason for one in OUTCOMES if one.covers(case, aspect, where)), None)
