"""`uring-matrix report --format`: results as files for other tools."""

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import sample
from msgspec.structs import replace

from reports.export import FILES
from reports.results import Results, Status, read, write

from .conftest import Ended

Call = Callable[..., Ended]


def files(directory: str) -> set[str]:
    return {path.name for path in Path(directory).iterdir()}


def of_kernel(kernel: str) -> Results:
    whole = sample.whole()
    return replace(
        whole,
        kernels=tuple(one for one in whole.kernels if one.id == kernel),
        results=tuple(row for row in whole.results if row.kernel == kernel),
    )


@pytest.fixture
def results(tmp_path: Path) -> str:
    write(tmp_path / "results" / "results.json", sample.every_verdict())
    return str(tmp_path / "results")


@pytest.mark.parametrize("form", FILES)
def test_a_format_is_one_file_whose_path_is_said(cli: Call, results: str, form: str) -> None:
    ended = cli("report", results, "--out", "out", "--format", form)
    assert (0, f"out/{FILES[form]}\n") == (ended.code, ended.out)
    assert {FILES[form]} == files("out")
    assert "NOT complete" in ended.err


def test_several_formats_are_written_at_once_in_the_order_given(cli: Call, results: str) -> None:
    ended = cli("report", results, "--out", "out", *(f"--format={one}" for one in ("csv", "html", "junit", "csv")))
    assert (0, ["out/results.csv", "out/index.html", "out/junit.xml"]) == (ended.code, ended.out.splitlines())
    assert {"results.csv", "index.html", "results.json", "junit.xml"} <= files("out")


def test_without_a_format_it_is_the_site(cli: Call, results: str) -> None:
    assert "out/index.html\n" == cli("report", results, "--out", "out").out
    assert set(FILES.values()).isdisjoint(files("out"))


def test_several_results_are_merged_first(cli: Call, tmp_path: Path) -> None:
    for kernel in ("6.1", "7.3"):
        write(tmp_path / kernel / "results.json", of_kernel(kernel))
    ended = cli("report", str(tmp_path / "6.1"), str(tmp_path / "7.3"), "--out", "out", "--format", "junit")
    assert 0 == ended.code, ended.err
    root = ElementTree.parse("out/junit.xml").getroot()
    assert ["6.1-default", "7.3-default"] == [suite.get("name") for suite in root]


def test_results_alone_take_an_older_site_away(cli: Call, results: str, tmp_path: Path) -> None:
    write(tmp_path / "6.1" / "results.json", of_kernel("6.1"))
    assert 0 == cli("report", str(tmp_path / "6.1"), "--out", "out").code
    ended = cli("report", results, "--out", "out", "--format", "json")
    assert (0, "out/results.json\n") == (ended.code, ended.out)
    assert not {"index.html", "evidence"} & files("out")
    assert sample.every_verdict().results == read("out").results


@pytest.mark.parametrize("form", ["json", *FILES])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not a results.json"),
        (b'{"schema_version": 1, "gen', "Was the file cut off"),
        (b'{"schema_version": 2, "results": []}', "has schema_version 2"),
    ],
    ids=["empty", "cut off", "of a later version"],
)
def test_what_is_no_results_file_ends_with_a_sentence_and_writes_nothing(
    cli: Call, tmp_path: Path, form: str, content: bytes, words: str
) -> None:
    (tmp_path / "results.json").write_bytes(content)
    ended = cli("report", str(tmp_path / "results.json"), "--out", "out", "--format", form)
    assert (2, "") == (ended.code, ended.out)
    assert words in ended.err
    assert not Path("out").exists()


@pytest.mark.parametrize("form", FILES)
def test_a_file_that_cannot_be_replaced_is_said_and_stays(cli: Call, results: str, form: str) -> None:
    Path("out", FILES[form], "in the way").mkdir(parents=True)
    ended = cli("report", results, "--out", "out", "--format", form)
    assert (2, "") == (ended.code, ended.out)
    assert f"out/{FILES[form]} is in the way" in ended.err
    assert {FILES[form]} == files("out")


def test_the_origin_is_for_kcidb(cli: Call, results: str) -> None:
    assert 0 == cli("report", results, "--out", "out", "--format", "kcidb", "--origin", "my_ci").code
    document = json.loads(Path("out/kcidb.json").read_text())
    assert {"my_ci"} == {test["origin"] for test in document["tests"]}
    ended = cli("report", results, "--out", "out", "--format", "junit", "--origin", "my_ci")
    assert (2, "") == (ended.code, ended.out)
    assert "--origin is for --format kcidb" in ended.err


def test_an_origin_that_is_none_leaves_all_files_as_they_were(cli: Call, results: str) -> None:
    ended = cli("report", results, "--out", "out", "--format", "junit", "--format", "kcidb", "--origin", "My CI")
    assert (2, "") == (ended.code, ended.out)
    assert "small letters, digits and underscores" in ended.err
    assert not Path("out").exists()


def test_an_unknown_format_is_a_usage_error_that_names_the_known(cli: Call, results: str) -> None:
    ended = cli("report", results, "--out", "out", "--format", "xml")
    assert (2, "") == (ended.code, ended.out)
    assert all(form in ended.err for form in ("html", "json", *FILES))


def test_a_run_without_a_verdict_is_red_in_a_ci_system(cli: Call, tmp_path: Path) -> None:
    lost = sample.with_cell(of_kernel("6.1"), "test_nop", "6.1", status=Status.INFRA, reason="no such package")
    write(tmp_path / "results.json", lost)
    assert 0 == cli("report", str(tmp_path), "--out", "out", "--format", "junit").code
    root = ElementTree.parse("out/junit.xml").getroot()
    assert ("0", "1") == (root.get("failures"), root.get("errors"))
