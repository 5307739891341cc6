"""The journal: what a run leaves behind however it ends, and what it folds into."""

import errno
import json
import os
import signal
import subprocess
import sys

import msgspec
import pytest
import sample
from msgspec.structs import replace

from reports import journal as journal_module
from reports.results import Journal, ResultsError, Status, exit_code, fold, read, remaining

HEAD = {"generator": sample.GENERATOR, "command": ("uring-matrix", "run"), "host": sample.HOST}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.jsonl"


def counts(results):
    """Count verdicts."""
    found = {}
    for row in results.results:
        found[row.status.value] = found.get(row.status.value, 0) + 1
    return found


def test_a_whole_run_folds_into_its_results(path):
    whole = sample.whole()
    with sample.journal(path, whole):
        pass
    assert whole == fold(path)


def test_the_order_of_arrival_does_not_matter(path):
    """Guests side by side end in any order; two runs must still give the same file."""
    whole = sample.whole()
    shuffled = replace(whole, results=whole.results[::-1], kernels=whole.kernels[::-1])
    with sample.journal(path, shuffled):
        pass
    assert whole == fold(path)


def test_cells_without_a_row_are_notrun_and_the_run_is_incomplete(path):
    """Even when the end marker came: it does not replace a verdict."""
    whole = sample.whole()
    with Journal.create(path, **HEAD, started=whole.started) as journal:
        journal.plan(
            kernels=whole.kernels, tests=whole.tests, modes=whole.modes, cells=[row.key for row in whole.results]
        )
        for row in whole.results[:400]:
            journal.result(row)
        journal.end()
    results = fold(path)
    assert counts(results)["notrun"] == 51
    assert [row.key for row in whole.results] == [row.key for row in results.results]
    assert not results.complete
    assert results.finished is not None
    assert exit_code(results) == 3
    assert [row.key for row in whole.results[400:]] == remaining(results)


def test_every_cell_without_the_end_marker_is_incomplete(path):
    """False green: a run that died half way must never look finished."""
    sample.journal(path, sample.whole(), is_ended=False).close()
    results = fold(path)
    assert "notrun" not in counts(results)
    assert not results.complete
    assert results.finished is None


def test_an_interrupted_run_is_incomplete(path):
    journal = sample.journal(path, sample.whole(), is_ended=False)
    journal.end(is_done=False)
    journal.close()
    assert not fold(path).complete


def test_a_run_without_cells_is_incomplete(path):
    with Journal.create(path, **HEAD) as journal:
        journal.end()
    assert not fold(path).complete
    assert fold(path).results == ()


@pytest.mark.parametrize("tail", ["cut", "nul", "garbage"])
def test_a_last_line_that_was_cut_off_costs_its_cell_only(path, tail):
    sample.journal(path, sample.whole(), is_ended=False).close()
    content = path.read_bytes()
    last = content.rindex(b"\n", 0, -1) + 1
    ends = {"cut": content[last:-10], "nul": b"\0" * 4096, "garbage": b"{\xff\n"}
    path.write_bytes(content[:last] + ends[tail])
    assert counts(fold(path)) == {"pass": 430 - 14 - 1 + 18, "unsupported": 17, "notrun": 1}


def test_damage_in_the_middle_is_an_error(path):
    sample.journal(path, sample.whole()).close()
    lines = path.read_bytes().splitlines(keepends=True)
    lines[10] = lines[10][:40] + b"\n"
    path.write_bytes(b"".join(lines))
    with pytest.raises(ResultsError, match=r"results\.jsonl is damaged: line 11: "):
        fold(path)


def test_events_of_later_versions_are_ignored(path):
    sample.journal(path, sample.whole()).close()
    lines = path.read_bytes().splitlines(keepends=True)
    lines.insert(5, b'{"event": "weather", "rain": true}\n')
    path.write_bytes(b"".join(lines))
    assert sample.whole() == fold(path)


@pytest.mark.parametrize("content", [b"", b'{"event":"end","finished":"2026-01-01T00:00:00Z","is_done":true}\n'])
def test_what_is_no_journal_gets_a_sentence(path, content):
    path.write_bytes(content)
    with pytest.raises(ResultsError, match="does not begin with a start event"):
        fold(path)


def test_a_missing_journal_gets_a_sentence(path):
    with pytest.raises(ResultsError, match="cannot be read: No such file"):
        fold(path)
    with pytest.raises(ResultsError, match=r"to resume; start the run without --resume"):
        Journal.reopen(path, generator=sample.GENERATOR, command=())
    assert not path.exists()


def small(path, *statuses, resumed=False):
    """Write rows for one and the same cell."""
    whole = sample.whole()
    row = whole.results[0]
    journal = Journal.create(path, **HEAD)
    journal.plan(kernels=whole.kernels[:1], tests=whole.tests[:1], modes=whole.modes, cells=[row.key])
    for index, status in enumerate(statuses):
        if index and resumed:
            journal.close()
            journal = Journal.reopen(path, generator=sample.GENERATOR, command=())
        journal.result(replace(row, status=Status(status), reason=f"reason {index}"))
    journal.end()
    journal.close()
    return fold(path)


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        (("pass", "fail"), "fail"),
        (("crash", "pass"), "crash"),
        (("pass", "infra"), "infra"),
        (("infra", "pass"), "infra"),
    ],
)
def test_two_rows_that_contradict_each_other_mean_the_worse_one(path, statuses, verdict):
    """With both attempts kept, and the run no success."""
    results = small(path, *statuses)
    (row,) = results.results
    assert verdict == row.status
    assert list(statuses) == [attempt.status for attempt in row.attempts]
    assert [attempt.reason for attempt in row.attempts] == ["reason 0", "reason 1"]
    assert "flaky" in row.qualifiers
    assert exit_code(results) == 1


def test_two_rows_that_agree_keep_the_newer(path):
    (row,) = small(path, "pass", "pass").results
    assert (row.status, row.reason, row.attempts) == ("pass", "reason 1", ())


def test_a_resumed_run_may_settle_what_infrastructure_left_open(path):
    results = small(path, "infra", "pass", resumed=True)
    (row,) = results.results
    assert row.status == Status.PASS
    assert [attempt.status for attempt in row.attempts] == ["infra", "pass"]
    assert row.qualifiers == ()
    assert exit_code(results) == 0


def test_a_resumed_run_does_not_wash_a_failure_clean(path):
    (row,) = small(path, "fail", "pass", resumed=True).results
    assert row.status == Status.FAIL
    assert row.qualifiers == ("flaky",)


@pytest.mark.parametrize("cut_bytes", [0, 7])
def test_resuming_gives_what_an_undisturbed_run_gives(path, cut_bytes):
    """Killed in the middle of a line or between two lines."""
    whole = sample.whole()
    with Journal.create(path, **HEAD, started=whole.started) as journal:
        journal.plan(
            kernels=whole.kernels,
            tests=whole.tests,
            modes=whole.modes,
            cells=[row.key for row in whole.results],
            capabilities=whole.capabilities,
        )
        for row in whole.results[:100]:
            journal.result(row)
    os.truncate(path, path.stat().st_size - cut_bytes)
    left = set(remaining(fold(path)))
    assert 351 + bool(cut_bytes) == len(left)
    with Journal.reopen(path, generator=sample.GENERATOR, command=("uring-matrix", "run", "--resume")) as journal:
        for row in whole.results:
            if row.key in left:
                journal.result(row)
        journal.end(finished=whole.finished)
    assert replace(whole, command=HEAD["command"]) == fold(path)


def test_a_resumed_run_that_dies_again_is_incomplete(path):
    """The first process's end marker is void once a second one goes on."""
    sample.journal(path, sample.whole()).close()
    Journal.reopen(path, generator=sample.GENERATOR, command=()).close()
    assert not fold(path).complete


def test_a_kernel_record_is_replaced(path):
    whole = sample.whole()
    planned = [replace(kernel, booted=False, release=None) for kernel in whole.kernels]
    with Journal.create(path, **HEAD) as journal:
        journal.plan(kernels=planned, tests=whole.tests, modes=whole.modes)
        journal.kernel(whole.kernels[3])
        journal.host(replace(sample.HOST, accel="kvm"))
        journal.note("6.17: the newest package is gone from the archive; took the one before")
        journal.note("6.17: the newest package is gone from the archive; took the one before")
    results = fold(path)
    assert [kernel.id == "6.16" for kernel in whole.kernels] == [kernel.booted for kernel in results.kernels]
    assert results.host.accel == "kvm"
    assert len(results.notes) == 1


def test_rows_about_unannounced_things_are_refused(path):
    row = sample.whole().results[0]
    with Journal.create(path, **HEAD) as journal, pytest.raises(ValueError, match=r"kernel '5\.10' was not announced"):
        journal.result(row)


def test_two_writers_do_not_share_a_journal(path):
    with sample.journal(path, sample.whole()):
        before = path.read_bytes()
        with pytest.raises(ResultsError, match="being written by another run"):
            Journal.create(path, **HEAD)
        with pytest.raises(ResultsError, match="being written by another run"):
            Journal.reopen(path, generator=sample.GENERATOR, command=())
        assert before == path.read_bytes()
    Journal.create(path, **HEAD).close()


def test_a_new_run_drops_the_old_journal(path):
    sample.journal(path, sample.whole()).close()
    Journal.create(path, **HEAD).close()
    assert fold(path).results == ()


def test_publish_writes_the_truth_so_far(path):
    """An old results.json must not stand beside a new run that died."""
    whole = sample.whole()
    journal = Journal.create(path, **HEAD)
    journal.plan(kernels=whole.kernels, tests=whole.tests, modes=whole.modes, cells=[row.key for row in whole.results])
    journal.publish()
    assert counts(read(path.parent)) == {"notrun": 451}
    for row in whole.results:
        journal.result(row)
    journal.end()
    assert journal.publish() == read(path.parent)
    assert read(path.parent).complete
    journal.close()


def test_a_full_disk_keeps_what_is_there(path, monkeypatch):
    """Half a line must not stay in the file: the next one would be glued to it."""
    whole = sample.whole()
    journal = sample.journal(path, whole, is_ended=False)
    real_write = os.write

    def half(descriptor, data):
        monkeypatch.setattr(journal_module.os, "write", full)
        return real_write(descriptor, bytes(data)[:20])

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journal_module.os, "write", half)
    with pytest.raises(ResultsError, match=r"could not be written: No space left on device.*--resume"):
        journal.end()
    monkeypatch.undo()
    journal.end(finished=whole.finished)
    journal.close()
    assert whole == fold(path)


def test_a_closed_journal_says_so(path):
    journal = Journal.create(path, **HEAD)
    journal.close()
    journal.close()
    with pytest.raises(ValueError, match="is closed"):
        journal.end()


def test_sigkill_loses_nothing_that_was_written(path):
    """Not even without closing: each line has left the process when the call returns."""
    code = (
        "import os, signal, sys, pathlib, sample\n"
        "sample.journal(pathlib.Path(sys.argv[1]), sample.whole(), is_ended=False)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False, env=environment)
    assert done.returncode == -signal.SIGKILL
    assert counts(fold(path)) == {"pass": 434, "unsupported": 17}
    Journal.reopen(path, generator=sample.GENERATOR, command=()).close()


def test_lines_are_plain_json(path):
    """Other programs follow a run by reading lines."""
    sample.journal(path, sample.every_verdict()).close()
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [event["event"] for event in events[:2]] == ["start", "plan"]
    assert {"result", "end"} == {event["event"] for event in events[2:]}
    assert msgspec.json.decode(path.read_bytes().splitlines()[0])["schema_version"] == 1


def test_what_a_test_is_waits_for_the_disk_as_verdicts_do(path, monkeypatch):
    """A run describes each of its tests when the first of its cells is judged: thousands of waits for a disk."""
    synced = []
    whole = sample.whole()
    with Journal.create(path, **HEAD) as journal:
        monkeypatch.setattr(journal_module.os, "fdatasync", synced.append)
        monkeypatch.setattr(journal_module, "SYNC_SECONDS_MAX", float("inf"))
        journal.plan(kernels=whole.kernels, tests=whole.tests, modes=whole.modes, cells=[whole.results[0].key])
        assert len(synced) == 1
        for test in whole.tests:
            journal.plan(tests=[replace(test, title="described")])
        assert len(synced) == 1
    assert {"described"} == {test.title for test in fold(path).tests}
