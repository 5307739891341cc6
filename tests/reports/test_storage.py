"""results.json: round trip, messages for whatever is not one, and writes that leave nothing behind."""

import errno
import json
import os
from datetime import datetime

import pytest
import sample
from msgspec.structs import replace

from reports import storage
from reports.results import Result, ResultsError, Status, encode, read, utc_now, write


def listing(directory):
    """Name what is in a directory."""
    return sorted(path.name for path in directory.iterdir())


def test_what_is_written_is_read_again(tmp_path):
    """Both as a file and as the directory that holds it; and missing directories are made."""
    results = sample.every_verdict()
    write(tmp_path / "deep" / "results.json", results)
    assert results == read(tmp_path / "deep" / "results.json")
    assert results == read(str(tmp_path / "deep"))
    assert listing(tmp_path / "deep") == ["results.json"]


def test_the_file_honours_the_umask(tmp_path):
    """A published file must be readable by the web server."""
    mask = os.umask(0o022)
    try:
        write(tmp_path / "results.json", sample.whole())
    finally:
        os.umask(mask)
    assert (tmp_path / "results.json").stat().st_mode & 0o777 == 0o644


def test_times_are_rfc_3339_in_utc(tmp_path):
    write(tmp_path / "results.json", sample.whole())
    raw = json.loads((tmp_path / "results.json").read_bytes())
    assert raw["started"] == "2026-11-23T09:00:00Z"
    assert raw["finished"] == "2026-11-23T09:01:11Z"
    assert utc_now().utcoffset().total_seconds() == 0


def test_unknown_fields_are_ignored(tmp_path):
    raw = json.loads(encode(sample.whole()))
    raw["later"] = {"more": 1}
    raw["kernels"][0]["mood"] = "fine"
    raw["results"][0]["weather"] = ["rain"]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(raw))
    assert sample.whole() == read(path)


def test_text_that_is_not_unicode_is_escaped(tmp_path):
    """A console line with a broken byte must not cost the run its results."""
    results = sample.with_cell(sample.whole(), "test_nop", "6.1", dmesg=("bad \udcff byte",), output="\0")
    write(tmp_path / "results.json", results)
    row = next(row for row in read(tmp_path).results if row.dmesg)
    assert row.dmesg == ("bad \\udcff byte",)
    assert row.output == "\0"


def broken(change):
    """Return the bytes of a results.json after `change(raw)`."""
    raw = json.loads(encode(sample.whole()))
    change(raw)
    return json.dumps(raw).encode()


UNREADABLE = {
    "empty": (b"", "is not a results.json"),
    "cut off": (encode(sample.whole())[:5000], "is not a results.json"),
    "HTML": (b"<!doctype html>", "is not a results.json"),
    "a list": (b"[]", "is not a results.json"),
    "not text": (b"\xff\xfe\0", "is not a results.json"),
    "other JSON": (b"{}", "has no schema_version"),
    "a later version": (b'{"schema_version": 2}', "has schema_version 2; this version of uring-matrix reads 1"),
    "a row without status": (
        broken(lambda raw: raw["results"][3].pop("status")),
        r"missing required field `status` - at `\$.results\[3\]`",
    ),
    "an unknown verdict": (
        broken(lambda raw: raw["results"][0].update(status="passed")),
        r"Invalid enum value 'passed' - at `\$.results\[0\].status`",
    ),
    "a time without a zone": (
        broken(lambda raw: raw.update(started="2026-01-01T00:00:00")),
        "breaks the results schema",
    ),
    "no rows": (broken(lambda raw: raw.pop("results")), "missing required field `results`"),
    "two rows for one cell": (
        broken(lambda raw: raw["results"].append(raw["results"][0])),
        "2 rows for test_structs_offsets_entries/5.10/amd64/default",
    ),
    "a row about no listed kernel": (
        broken(lambda raw: raw["kernels"].pop()),
        "a row is about kernel '7.3', which is not listed",
    ),
    "an id twice": (broken(lambda raw: raw["tests"].append(raw["tests"][0])), "test id 'test_.*' is there 2 times"),
    "complete with open cells": (
        broken(lambda raw: raw["results"][0].update(status="notrun")),
        "it says complete, and yet has cells that were not run",
    ),
}


@pytest.mark.parametrize(("content", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_results_file_gets_a_sentence(tmp_path, content, message):
    path = tmp_path / "some.json"
    path.write_bytes(content)
    with pytest.raises(ResultsError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named():
    with pytest.raises(ResultsError, match=r"There is no no/such\.json"):
        read("no/such.json")


def test_an_unreadable_file_is_named(tmp_path):
    (tmp_path / "results.json").mkdir()
    with pytest.raises(ResultsError, match=r"results\.json cannot be read: Is a directory"):
        read(tmp_path)


def test_contradictions_are_not_written(tmp_path):
    results = sample.whole()
    twice = replace(results, results=(*results.results, results.results[0]))
    with pytest.raises(ResultsError, match="Refusing to write"):
        write(tmp_path / "results.json", twice)
    assert listing(tmp_path) == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch, call):
    path = tmp_path / "results.json"
    write(path, sample.whole())
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storage.os if call == "fsync" else storage.Path, call, full)
    with pytest.raises(ResultsError, match=r"results\.json could not be written: No space left on device"):
        write(path, sample.every_verdict())
    assert before == path.read_bytes()
    assert listing(tmp_path) == ["results.json"]


def test_an_interrupt_while_writing_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(storage.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "results.json", sample.whole())
    assert listing(tmp_path) == []


def test_a_path_below_a_file_is_an_error_of_results(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ResultsError, match="could not be written"):
        write(tmp_path / "file" / "results.json", sample.whole())


def test_the_schema_field_order_is_the_interfaces():
    """Rows are read by people too: what identifies a cell comes first."""
    raw = json.loads(encode(Result(test="t", kernel="k", arch="a", mode="m", status=Status.PASS)))
    assert list(raw)[:6] == ["test", "kernel", "arch", "mode", "status", "reason"]


def test_utc_now_has_whole_milliseconds():
    assert isinstance(utc_now(), datetime)
    assert utc_now().microsecond % 1000 == 0
