"""One cell in words: which it is, what it rests on, its console; hostile text made visible."""

from pathlib import Path

import pytest
import sample
from msgspec.structs import replace

from reports.cell_text import CellText, Found, as_builtins, cells, text_of
from reports.matrix import Outcome
from reports.results import Attempt, Expectation, Mode, Qualifier, Results, ResultsError, Status

NODE = "conformance/zig/test_sockets.py::test_accept_multishot"


def results(modes: tuple[Mode, ...] = (sample.DEFAULT,)) -> Results:
    """A whole run whose kernels list ftruncate from 6.9 on, and in which one test says where it is."""
    run = sample.listing_ftruncate(sample.whole(modes))
    tests = tuple(replace(test, node=NODE) if test.id == "test_accept_multishot" else test for test in run.tests)
    return replace(run, tests=tests)


def with_console(run: Results, directory: Path, content: bytes, name: str = "consoles/5.10/console.txt") -> Results:
    """Give 5.10 a console."""
    file = directory / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    kernels = tuple(replace(kernel, console=name) if kernel.id == "5.10" else kernel for kernel in run.kernels)
    return replace(run, kernels=kernels)


def names(found: tuple[Found, ...]) -> list[tuple[str, str, str]]:
    return [(one.entry.id, one.column.kernel.id, one.column.mode.id) for one in found]


def whole(shown: CellText) -> str:
    return "\n".join(
        [
            shown.title,
            shown.verdict,
            *shown.sentences,
            *(line for one in shown.passages for line in (one.head, *one.lines)),
        ]
    )


def passage(shown: CellText, head: str) -> list[str]:
    return [line for one in shown.passages if one.head.startswith(head) for line in one.lines]


@pytest.mark.parametrize("kernel", ["5.10", "debian11", "5.10.249", "5.10.249-1", "5.10.0-38-cloud-amd64"])
@pytest.mark.parametrize(
    "test", ["accept-multishot", "accept multishot", "test_accept_multishot", NODE, f"{NODE}[5.10-default]"]
)
def test_a_cell_is_found_by_whatever_its_kernel_and_test_are_called(kernel: str, test: str) -> None:
    assert names(cells(results(), kernel, test)) == [("accept-multishot", "5.10", "default")]


def test_several_cells_are_each_of_them() -> None:
    run = results((sample.DEFAULT, sample.DEFER_TASKRUN))
    assert len(cells(run, "6.*", "nop")) == 6 * 2
    assert names(cells(run, "6.12", "nop", mode="defer-taskrun")) == [("nop", "6.12", "defer-taskrun")]
    assert len({one.entry.id for one in cells(run, "6.12", "timeout", mode="default")}) > 2


def test_what_a_kernel_lists_is_the_same_in_every_mode() -> None:
    run = results((sample.DEFAULT, sample.DEFER_TASKRUN))
    assert [one.column.kernel.id for one in cells(run, "6.*", "ftruncate")] == [
        *("6.1", "6.12", "6.16", "6.17", "6.18", "6.19"),
    ]
    assert len(cells(run, "6.1", "ftruncate", mode="defer-taskrun")) == 1


@pytest.mark.parametrize(
    ("kernel", "test", "mode", "words"),
    [
        ("6.6", "nop", None, r"6\.6 was not tested; nearest: 6\.1, 6\.12"),
        ("el9", "nop", None, r"RHEL 9 has Linux 5\.14, which was not tested; nearest: 5\.10, 6\.1"),
        ("xyzzy", "nop", None, "no kernel is called 'xyzzy'"),
        ("6.1", "nopp", None, "nothing is called 'nopp' in these results; nearest: nop"),
        ("6.1", "xyzzy", None, "`uring-matrix tests` lists all"),
        ("6.1", "nop", "turbo", "6.1 was not tested in the mode 'turbo'; there is default"),
    ],
)
def test_a_cell_that_is_not_there_is_an_error_that_names_the_nearest(
    kernel: str, test: str, mode: str | None, words: str
) -> None:
    with pytest.raises(ResultsError, match=words):
        cells(results(), kernel, test, mode=mode)


def test_a_cell_that_was_never_planned_is_an_error() -> None:
    run = results()
    run = replace(run, results=tuple(row for row in run.results if (row.test, row.kernel) != ("test_nop", "6.1")))
    with pytest.raises(ResultsError, match=r"nop was not run on 6\.1"):
        cells(run, "6.1", "nop")


def test_a_verdict_stands_with_all_that_it_rests_on(tmp_path: Path) -> None:
    run = sample.with_cell(
        results(),
        "test_accept_multishot",
        "6.1",
        status=Status.FAIL,
        reason="assert 1 == res",
        expected="1",
        actual="-22",
        evidence=("a line of evidence",),
        dmesg=("[ 1.0] a warning",),
        output="printed",
        reproduce="uring-matrix run --kernel X",
        qualifiers=(Qualifier.FLAKY,),
        attempts=(Attempt(status=Status.PASS), Attempt(status=Status.FAIL, reason="assert 1 == res")),
    )
    (found,) = cells(run, "6.1", "accept-multishot")
    shown = text_of(found, tmp_path)
    assert shown.title == "accept multishot on 6.1.170 (Debian 12, amd64, mode default)"
    assert (shown.symbol, shown.verdict, shown.tone) == ("✘", "fail, flaky: 1 of 2 pass", "bad")
    assert shown.sentences[0] == "assert 1 == res"
    assert "Documented since Linux 5.19; this kernel is 6.1.170. Nobody expected this verdict here." in shown.sentences
    for head, line in (
        ("Expected", "1"),
        ("Found", "-22"),
        ("Evidence", "a line of evidence"),
        ("Kernel messages", "[ 1.0] a warning"),
        ("What the test printed", "printed"),
        ("2 attempts", "1: pass"),
        ("Repeat it", "uring-matrix run --kernel X"),
    ):
        assert line in passage(shown, head)
    assert found.expectation is Expectation.UNEXPECTED


def test_a_kernel_that_did_not_boot_says_why(tmp_path: Path) -> None:
    run = sample.with_cell(results(), "test_nop", "6.1", status=Status.INFRA, reason="no boot")
    kernels = tuple(
        replace(kernel, booted=False, error="it hung", console_tail=("the last line",))
        if kernel.id == "6.1"
        else kernel
        for kernel in run.kernels
    )
    (found,) = cells(replace(run, kernels=kernels), "6.1", "nop")
    shown = text_of(found, tmp_path)
    assert passage(shown, "Why there is no verdict") == ["it hung"]
    assert passage(shown, "The end of the console") == ["the last line"]
    assert found.expectation is Expectation.OPEN


def test_the_kernels_own_word_is_shown_as_such(tmp_path: Path) -> None:
    run = results()
    said = {
        series: text_of(cells(run, series, "IORING_OP_FTRUNCATE")[0], tmp_path).sentences[0]
        for series in ("6.1", "6.12")
    }
    assert said["6.1"] == "By the kernel's own word: FTRUNCATE is not among the 0 operations that it lists."
    assert said["6.12"] == "By the kernel's own word: FTRUNCATE is among the 1 operations that it lists."
    kernels = tuple(replace(kernel, features={}) if kernel.id == "6.1" else kernel for kernel in run.kernels)
    (found,) = cells(replace(run, kernels=kernels), "6.1", "ftruncate")
    assert (found.outcome, found.expectation) == (Outcome.OPEN, Expectation.OPEN)
    assert "could not be asked for its operations" in text_of(found, tmp_path).sentences[0]


def test_the_kernels_own_word_can_be_asked_for_again(tmp_path: Path) -> None:
    run = results()
    kernels = tuple(replace(one, package="linux-image-x", package_version="6.1.192-2") for one in run.kernels)
    shown = text_of(cells(replace(run, kernels=kernels), "6.1", "ftruncate")[0], tmp_path)
    assert passage(shown, "Ask it again") == ["uring-matrix probe linux-image-x=6.1.192-2"]


# -- consoles ----------------------------------------------------------------------------------------------------------

CONSOLE = f"""\
[    0.1] booting
uring-matrix: begins conformance/zig/test_basics.py::test_nop, mode default
[    1.0] of another test
uring-matrix: begins {NODE}, mode default
[    2.0] of this test
uring-matrix: begins {NODE}, mode defer-taskrun
[    3.0] of another mode
uring-matrix: begins {NODE}_direct, mode default
[    4.0] of a test whose name begins like it
""".encode()


def test_the_part_of_the_console_is_the_tests_own(tmp_path: Path) -> None:
    run = with_console(results(), tmp_path, CONSOLE)
    (found,) = cells(run, "5.10", "accept-multishot")
    lines = passage(text_of(found, tmp_path), "Console while the test ran")
    assert lines == [f"uring-matrix: begins {NODE}, mode default", "[    2.0] of this test"]
    everything = passage(text_of(found, tmp_path, has_whole_console=True), "Console, ")
    assert everything == CONSOLE.decode().splitlines()
    (cell,) = as_builtins([found], tmp_path)["cells"]
    assert cell["console_lines"] == lines
    assert cell["console"] == str(tmp_path / "consoles/5.10/console.txt")


@pytest.mark.parametrize("name", ["../secret.txt", "link"])
def test_no_file_outside_of_the_results_is_shown(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "matrix"
    directory.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (directory / "link").symlink_to(tmp_path / "secret.txt")
    run = results()
    kernels = tuple(replace(kernel, console=name) if kernel.id == "5.10" else kernel for kernel in run.kernels)
    (found,) = cells(replace(run, kernels=kernels), "5.10", "accept-multishot")
    shown = whole(text_of(found, directory, has_whole_console=True))
    assert f"{name} is not there" in shown
    assert "secret\n" not in f"{shown}\n"
    assert as_builtins([found], directory, has_whole_console=True)["cells"][0]["console_lines"] == []


def test_hostile_text_is_made_visible(tmp_path: Path) -> None:
    hostile = "\x1b]0;title\x07\x1b[2J\u202e"
    run = sample.with_cell(
        results(),
        "test_accept_multishot",
        "5.10",
        status=Status.FAIL,
        reason=hostile,
        expected=hostile,
        actual=hostile + "2",
        evidence=(hostile,),
        dmesg=(hostile,),
        output=hostile,
        reproduce=hostile,
    )
    run = with_console(run, tmp_path, CONSOLE.replace(b"of this test", b"\x1b[31m\xff\x00" + b"x" * 1_000_000))
    (found,) = cells(run, "5.10", "accept-multishot")
    for has_whole_console in (False, True):
        shown = whole(text_of(found, tmp_path, has_whole_console=has_whole_console))
        assert not [character for character in shown if ord(character) < 32 and character != "\n"]
        assert "\u202e" not in shown
        assert "\\x1b[31m\\udcff\\x00xxx" in shown
        shown.encode()
        assert (len(shown) > 1_000_000) == has_whole_console


def test_of_a_panic_the_panic_is_shown(tmp_path: Path) -> None:
    """The next guest of the same console boots with hundreds of lines, and what was left out was the panic."""
    begins = f"uring-matrix: begins {NODE}, mode default"
    boot = [f"[    0.{number:03}] a line of the next boot" for number in range(555)]
    content = "\n".join(["[    1.000] up", begins, *sample.PANIC, *boot])
    run = with_console(results(), tmp_path, content.encode())
    run = sample.with_cell(
        *(run, "test_accept_multishot", "5.10"), status=Status.CRASH, reason="it died", console_tail=sample.PANIC
    )
    shown = text_of(cells(run, "5.10", "accept-multishot")[0], tmp_path)
    assert passage(shown, "The end of the console") == list(sample.PANIC)
    assert not any("left out" in line for one in shown.passages for line in one.lines)
    assert "consoles/5.10/console.txt" in " ".join(one.head for one in shown.passages)
