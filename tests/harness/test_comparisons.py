"""What results say was expected and what came: by the side of a comparison that the source has as a constant."""

import subprocess
import sys
from pathlib import Path

import pytest

from conformance.plugin import pytest_matrix_expected_side
from reports.results import Result, read

# What is beneath `kernel = 5`, what was expected and what came; None where the source does not say.
ASSERTIONS: dict[str, tuple[str, tuple[str | None, str | None]]] = {
    "a constant on the right": ("assert kernel == 6", ("6", "5")),
    "a constant on the left": ("assert 6 == kernel", ("6", "5")),
    "a negative number": ("assert kernel == -22", ("-22", "5")),
    "a name in capitals": ("assert kernel == RES", ("6", "5")),
    "the same of a module": ("assert -errno.EINVAL == kernel", ("-22", "5")),
    "a display of constants": ("assert [kernel] == [1, -RES]", ("[1, -6]", "[5]")),
    "what is computed of constants": ("assert kernel == 2 * RES", ("12", "5")),
    "a limit": ("assert kernel > 6", ("> 6", "5")),
    "a limit from the other side": ("assert 6 < kernel", ("> 6", "5")),
    "one of a few": ("assert kernel in (1, RES)", ("in (1, 6)", "5")),
    "a part": ("assert 6 in [kernel]", ("contains 6", "[5]")),
    "nothing": ("assert kernel is None", ("is None", "5")),
    "both of two": ("assert kernel == 5 and 6 == kernel + 0", (None, None)),
    "both of two, written alike": ("assert kernel == 5 and kernel + 2 == 6", ("6", "7")),
    "a chain": ("assert 0 < kernel <= 4", ("<= 4", "5")),
    "over several lines": ("assert (\n        kernel\n        == 6\n    )", ("6", "5")),
    "with a message": ("assert kernel == 6, 'so it is'", ("6", "5")),
    "two names": ("assert kernel == other", (None, None)),
    "two constants": ("assert 5 == 6", (None, None)),
    "not a comparison": ("assert not kernel == 5", (None, None)),
    "either of two": ("assert kernel == 6 or kernel == 7", (None, None)),
    "another one before it": ("with pytest.raises(AssertionError): assert kernel == 6\n    assert not 5", (None, None)),
    "two statements on a line": ("assert 5 == kernel; assert kernel == 6", (None, None)),
    "in words": ("pytest.fail('no')", (None, None)),
}  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    project = tmp_path_factory.mktemp("project")
    tests = (
        f"def test_{number}(kernel=5, other=6):\n    {text}\n" for number, (text, _) in enumerate(ASSERTIONS.values())
    )
    (project / "test_mine.py").write_text("import errno\nimport pytest\nRES = 6\n" + "".join(tests))
    return _rows(project)


def _rows(project: Path) -> dict[str, Result]:
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--kernel", "host", "--matrix-out", "out"]
    subprocess.run(words, cwd=project, capture_output=True, check=False)
    return {row.test: row for row in read(project / "out/results.json").results}


@pytest.mark.parametrize("name", ASSERTIONS)
def test_the_constant_is_what_was_expected(rows: dict[str, Result], name: str) -> None:
    row = rows[f"test_{list(ASSERTIONS).index(name)}"]
    assert row.status == "fail"
    assert (row.expected, row.actual) == ASSERTIONS[name][1]


def test_both_sides_are_told_where_nobody_knows_which_was_expected(rows: dict[str, Result]) -> None:
    row = rows[f"test_{list(ASSERTIONS).index('two names')}"]
    assert row.evidence[1:] == ("left of ==: 5", "right of ==: 6")


def test_a_suite_has_an_order_of_its_own(tmp_path: Path) -> None:
    """The ports write as Zig does: what was expected first, in whatever words."""
    (tmp_path / "conftest.py").write_text(
        "def pytest_matrix_expected_side(module):\n    return 'left' if module == 'test_suite' else None\n"
    )
    for name in ("suite", "mine"):
        (tmp_path / f"test_{name}.py").write_text(f"def test_{name}(wrote=6, read=5):\n    assert wrote == read\n")
    rows = _rows(tmp_path)
    assert [(row.expected, row.actual) for row in rows.values()] == [(None, None), ("6", "5")]


def test_the_order_of_this_suite_holds_for_its_own_tests_alone() -> None:
    from conformance.zig import test_basics

    assert pytest_matrix_expected_side(test_basics.__name__) == "left"
    assert pytest_matrix_expected_side("test_of_the_users") is None
