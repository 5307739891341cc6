"""A results.json that lost rows after it was written is a hole, wherever it is read."""

import json
from pathlib import Path

import pytest
import sample
from msgspec.structs import replace

from reports import wording
from reports.matrix import derive
from reports.results import Results, Status, decode, encode, exit_code, read, write


def read_back(results: Results) -> Results:
    """What a reader gets of a file that lists everything and has some of the rows."""
    return decode(encode(results), "results.json")


@pytest.mark.parametrize(("kind", "name"), [("kernel", "6.16"), ("test", "test_nop"), ("mode", "defer-taskrun")])
def test_what_is_listed_and_has_no_row_has_no_verdict(kind: str, name: str) -> None:
    """The column was left out, and all passed "on every later kernel"."""
    whole = sample.whole((sample.DEFAULT, sample.DEFER_TASKRUN))
    cut = replace(whole, results=tuple(row for row in whole.results if getattr(row, kind) != name))
    assert exit_code(read_back(whole)) == 0
    found = read_back(cut)
    assert (exit_code(found), found.complete) == (3, False)
    lost = {row.key for row in whole.results if getattr(row, kind) == name}
    assert {row.key for row in found.results if row.status is Status.NOTRUN} == lost
    assert found.notes == (*whole.notes, f"the file lists {kind} {name}, and has no row of it")


def test_a_column_without_rows_is_named_where_the_kernels_without_a_verdict_are() -> None:
    whole = sample.whole()
    cut = replace(whole, results=tuple(row for row in whole.results if row.kernel != "6.16"))
    assert "6.16" in (wording.missing_kernels(derive(read_back(cut)).columns) or "")


def test_a_column_that_lacks_some_rows_is_not_complete(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write(path, sample.whole())
    assert read(path) == sample.whole()
    document = json.loads(path.read_text())
    del document["results"][7:9]
    path.write_text(json.dumps(document))
    found = read(path)
    assert exit_code(found) == 3
    assert "the file was written with 451 cells, and 2 cells are gone" in found.notes
    # It stays a hole in what is written of it.
    write(path, found)
    assert exit_code(read(path)) == 3


def test_part_of_the_tests_in_one_kernel_is_no_hole() -> None:
    """A run of one kernel with -k beside a whole one: each has what it planned."""
    whole = sample.whole()
    rows = tuple(row for row in whole.results if row.kernel != "6.16" or row.test == "test_nop")
    found = read_back(replace(whole, results=rows))
    assert found.complete
    assert exit_code(found) == 0
