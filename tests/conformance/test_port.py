"""Each of Zig's 41 tests is ported exactly once, under its name, and says so in its marker and its docstring."""

import re
from collections import Counter
from pathlib import Path

import pytest

import uring
from conformance import zig_index

TITLES = Path(__file__).with_name("zig_titles.txt").read_text(encoding="utf-8").splitlines()
ROOT = Path(__file__).parents[2]
#: The page the project was made from; only where the project is worked on.
SEED = Path(__file__).parents[3] / "shared" / "seed"


def test_there_are_41_different_titles() -> None:
    """The list of titles is the seed's: 41, each with a function name of its own."""
    assert 41 == len(set(TITLES)) == len(TITLES)
    assert 41 == len({zig_index.function_name(title) for title in TITLES})


def test_the_titles_are_the_seeds() -> None:
    """The checked-in list has the titles of the seed's text, in its order."""
    pages = sorted(SEED.glob("*.txt"))
    if not pages:
        pytest.skip(f"the seed is not at {SEED}")
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    # A test is `test "title" {`; the doctest names a declaration instead.
    found = re.findall(r'\btest (?:"([^"]+)"|([A-Z]\w+)) \{', text)
    assert [quoted or declaration for quoted, declaration in found] == TITLES


@pytest.mark.parametrize(
    ("title", "function"),
    [
        ("nop", "test_nop"),
        ("accept multishot", "test_accept_multishot"),
        ("accept/connect/send/recv", "test_accept_connect_send_recv"),
        ("timeout (after a relative time)", "test_timeout_after_a_relative_time"),
        ("provide_buffers: read", "test_provide_buffers_read"),
        ("BufferGroup", "test_buffergroup"),
    ],
)
def test_a_title_gives_a_function_name(title: str, function: str) -> None:
    """Lower case, every other run of characters one underscore, none at the ends."""
    assert function == zig_index.function_name(title)


def test_every_title_is_ported_exactly_once() -> None:
    """No test is missing, none is there twice, and none claims a title that the seed does not have."""
    assert sorted(TITLES) == sorted(test.title for test in zig_index.ported_tests())


def test_every_function_has_its_titles_name() -> None:
    """A test's function name follows from its title, so that either leads to the other."""
    tests = zig_index.ported_tests()
    assert [zig_index.function_name(test.title) for test in tests] == [test.function for test in tests]


def test_every_docstring_names_the_title() -> None:
    """The docstring's `Zig: "title"` line and the marker say the same, and the first line says something else."""
    tests = zig_index.ported_tests()
    assert [test.title for test in tests] == [test.docstring_title for test in tests]
    assert [] == [test.function for test in tests if not test.summary.endswith(".") or test.title == test.summary]


def test_every_minimum_kernel_is_a_version() -> None:
    """`since` reads like a kernel series."""
    assert [] == [test for test in zig_index.ported_tests() if not re.fullmatch(r"\d+\.\d+", test.since)]


def test_every_test_has_words_of_its_own() -> None:
    """A row's title is what a reader looks for: no two are alike."""
    words = [test.words for test in zig_index.ported_tests()]
    assert [] == [one for one, count in Counter(words).items() if count > 1]


@pytest.mark.parametrize("test", zig_index.ported_tests(), ids=lambda test: test.function)
def test_every_symbol_exists(test: zig_index.PortedTest) -> None:
    """The names that a test exercises are names of `uring`, in full, and the first one says what the test is about."""
    assert test.symbols
    assert len(set(test.symbols)) == len(test.symbols)
    assert [] == [symbol for symbol in test.symbols if not _is_known(symbol)]


def _is_known(symbol: str) -> bool:
    for prefix, names in (
        ("IORING_OP_", uring.IORING_OP),
        ("IORING_", uring.IORING_REGISTER),
        ("SOCKET_URING_OP_", uring.IO_URING_SOCKET_OP),
    ):
        if symbol.startswith(prefix) and symbol.removeprefix(prefix) in names.__members__:
            return True
    return isinstance(getattr(uring, symbol, None), int)


HEAD = """
import pytest
pytestmark = [pytest.mark.group("A group")]
"""
TEST = '''
@pytest.mark.zig("nop")
@pytest.mark.title("no-op")
@pytest.mark.symbols("IORING_OP_NOP", "IOSQE_IO_DRAIN")
@pytest.mark.since("5.4")
def test_nop():
    """Something goes well.

    Zig: "nop"
    """
'''


def test_the_index_reads_what_a_suite_says(tmp_path: Path) -> None:
    """Markers, docstring, file and line of a small suite come back; a test without a `zig` marker is not Zig's."""
    (tmp_path / "test_small.py").write_text(HEAD + TEST + "\ndef test_of_our_own():\n    pass\n")
    expected = zig_index.PortedTest(
        title="nop",
        words="no-op",
        symbols=("IORING_OP_NOP", "IOSQE_IO_DRAIN"),
        function="test_nop",
        file="test_small.py",
        line=9,
        group="A group",
        since="5.4",
        summary="Something goes well.",
        docstring_title="nop",
    )
    assert [expected] == zig_index.ported_tests(tmp_path)


@pytest.mark.parametrize(
    ("text", "lack"),
    [
        (TEST, "a group marker"),
        (HEAD + TEST.replace('@pytest.mark.since("5.4")', ""), "a since marker"),
        (HEAD + TEST.replace('@pytest.mark.title("no-op")', ""), "a title marker"),
        (HEAD + TEST.replace('@pytest.mark.symbols("IORING_OP_NOP", "IOSQE_IO_DRAIN")', ""), "a symbols marker"),
        (HEAD + TEST.replace('Zig: "nop"', ""), "a docstring with a line Zig"),
    ],
    ids=["no group", "no minimum kernel", "no title", "no symbols", "no title in the docstring"],
)
def test_an_incomplete_test_is_refused(tmp_path: Path, text: str, lack: str) -> None:
    """A ported test that lacks one of its parts is named, with what it lacks."""
    (tmp_path / "test_small.py").write_text(text)
    with pytest.raises(ValueError, match=rf"test_nop lacks {lack}"):
        zig_index.ported_tests(tmp_path)


def test_readers_are_told_of_no_seed() -> None:
    """The texts of tests are on pages: what they were ported from has a name that a reader knows."""
    rooms = [path for room in ("conformance", "harness", "reports") for path in (ROOT / room).rglob("*.py")]
    # That one speaks of a random generator's.
    docs = [path for path in (ROOT / "docs").glob("*.md") if path.name != "uring.md"]
    texts = [*rooms, *docs, ROOT / "README.md", *(ROOT / "reports/templates").iterdir()]
    assert len(texts) > 50
    word = re.compile(r"\bseeds?\b", re.IGNORECASE)
    assert [path.name for path in texts if word.search(path.read_text(encoding="utf-8"))] == []
