"""The oracle's reader takes a whole run of Zig's test binary for what it is, and nothing less for a run."""

import os
import platform
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # a script beside this file, not a package

import build

WHOLE = b"""1/4 IoUring.test.nop...OK
2/4 IoUring.test.timeout (after a relative time)...SKIP
3/4 IoUring.test.provide_buffers: read...expected 1, found 2
FAIL (TestExpectedEqual)
/lib/std/testing.zig:110:17: 0x10 in expectEqualInner (std.zig)
                return error.TestExpectedEqual;
4/4 IoUring.decltest.BufferGroup...
cqe_accept.res=-22
OK
2 passed; 1 skipped; 1 failed.
"""


def test_every_verdict_is_read_under_its_bare_title() -> None:
    """Pass, skip and fail are told apart, also where a test wrote lines of its own, and the doctest is one of them."""
    assert build.parse(WHOLE) == {
        "nop": "pass",
        "timeout (after a relative time)": "skip",
        "provide_buffers: read": "fail",
        "BufferGroup": "pass",
    }


def test_a_serial_line_changes_nothing() -> None:
    """A guest's terminal turns line feeds into carriage return and line feed."""
    assert build.parse(WHOLE.replace(b"\n", b"\r\n")) == build.parse(WHOLE)


def test_a_run_where_everything_passed_is_read() -> None:
    """Zig words its summary differently when nothing failed or was skipped."""
    output = b"1/1 IoUring.test.nop...OK\nAll 1 tests passed.\n"
    assert build.parse(output) == {"nop": "pass"}


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (b"", "no test started"),
        (b"1/2 IoUring.test.nop...OK\n2/2 IoUring.test.readv...thread 1 panic: unhandled errno\n", "'readv'"),
        (WHOLE.replace(b"2 passed; 1 skipped; 1 failed.", b""), "no summary line"),
        (WHOLE.replace(b"...SKIP", b"..."), "no verdict for 'timeout"),
        (WHOLE.replace(b"/4 ", b"/5 "), "announced 5 tests and reported 4"),
        (WHOLE.replace(b"2 passed", b"3 passed"), "summary says"),
    ],
    ids=["empty", "panic", "cut short", "test without a verdict", "test missing", "summary contradicts"],
)
def test_less_than_a_whole_run_is_refused(output: bytes, message: str) -> None:
    """A run that died half way is never taken for a short one."""
    with pytest.raises(build.OracleError, match=message):
        build.parse(output)


def test_the_recorded_patterns_name_every_title() -> None:
    """Each recorded kernel has a verdict for each of the 41 titles, in the seed's order."""
    titles = (Path(__file__).parents[1] / "conformance" / "zig_titles.txt").read_text(encoding="utf-8").splitlines()
    assert titles == list(build.expected("6.18"))


def test_a_missing_toolchain_is_a_sentence(tmp_path: Path) -> None:
    """An interpreter that is not there, or has no Zig, says so and leaves no binary."""
    with pytest.raises(build.OracleError, match="could not start"):
        build.build(tmp_path / "tests", python=str(tmp_path / "python"))
    with pytest.raises(build.OracleError, match="ended with 1"):
        build.build(tmp_path / "tests", python="/usr/bin/false")
    assert list(tmp_path.iterdir()) == []


def test_zig_says_on_this_kernel_what_was_recorded() -> None:
    """The binary, built beforehand and named by URING_MATRIX_ZIG_TESTS, run here against the recorded pattern."""
    binary = os.environ.get("URING_MATRIX_ZIG_TESTS")
    if not binary:
        pytest.skip("URING_MATRIX_ZIG_TESTS names no binary; make one with tests/oracle/build.py")
    series = ".".join(platform.release().split(".")[:2])
    assert build.expected(series) == build.run(Path(binary))
