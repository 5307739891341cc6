"""Cells of earlier runs beside a newer run's: what stays, under whose name, and what a column may not mix."""

import os
import signal
import subprocess
import sys
from datetime import timedelta

import pytest
import sample
from msgspec.structs import replace

from reports.results import (
    Earlier,
    Journal,
    Kernel,
    Mode,
    Provenance,
    Qualifier,
    ResultsError,
    Status,
    exit_code,
    fold,
    kept,
    kept_sentence,
    merge,
    part,
    read,
    write,
)

COMMAND = ("uring-matrix", "run", "--kernel", "6.1")
LATER = sample.STARTED + timedelta(days=1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.jsonl"


def run(path, results, kernels=("6.1",), tests=None, *, earlier=None, continued=(), is_ended=True, **changes):
    """Write the journal of a run that covers some cells, a day later; return it and the cells."""
    chosen = [replace(kernel, **changes) for kernel in results.kernels if kernel.id in kernels]
    rows = [row for row in results.results if row.kernel in kernels and (tests is None or row.test in tests)]
    own = {row.key for row in rows}
    left = kept(earlier, own, own if continued else ()) if earlier is not None else None
    journal = Journal.claim(path)
    journal.begin(generator=sample.GENERATOR, command=COMMAND, host=sample.HOST, started=LATER, kept=left)
    used = {row.test for row in rows}
    journal.plan(kernels=chosen, tests=[test for test in results.tests if test.id in used], modes=results.modes)
    journal.plan(cells=[row.key for row in rows])
    for row in rows:
        journal.result(row)
    if is_ended:
        journal.end()
    journal.close()
    return fold(path), own


def test_other_columns_stay_with_their_provenance(path):
    whole = sample.whole()
    results, own = run(path, whole, earlier=whole)
    assert [row.key for row in results.results] == [row.key for row in whole.results]
    assert results.complete
    assert (results.started, results.command) == (LATER, COMMAND)
    for kernel in results.kernels:
        made = (kernel.started, kernel.finished, kernel.command, kernel.generator)
        expected = (
            (None,) * 4 if kernel.id == "6.1" else (whole.started, whole.finished, whole.command, whole.generator)
        )
        assert made == expected
    assert results.runs == ()
    assert kept_sentence(results, own) == "410 cells of an earlier run are kept: 10 kernels"


def test_rows_in_a_column_of_a_newer_run_name_theirs(path):
    whole = sample.whole()
    old = replace(whole.kernels[1], console="consoles/old/console.txt", boot_seconds=9.0)
    whole = replace(whole, kernels=(whole.kernels[0], old, *whole.kernels[2:]))
    results, own = run(path, whole, tests={"test_nop"}, earlier=whole, console="consoles/new/console.txt")
    rows = {row.key: row for row in results.results}
    provenance = Provenance(results)
    [earlier] = results.runs
    for key, row in rows.items():
        if key.kernel == "6.1":
            kernel = provenance.kernel_of(row)
            assert (row.run is None) == (key in own)
            assert kernel.console == f"consoles/{'new' if key in own else 'old'}/console.txt"
            assert (kernel.started or results.started) == (LATER if key in own else whole.started)
    assert earlier.kernels[0].boot_seconds == 9.0
    assert kept_sentence(results, own) == "450 cells of an earlier run are kept: 11 kernels"


def test_the_order_of_tests_stays(path):
    whole = sample.whole()
    results, _ = run(path, whole, tests={"test_waitid", "test_openat"}, earlier=whole)
    assert [test.id for test in results.tests] == [test.id for test in whole.tests]
    small, _ = run(path.with_name("small.jsonl"), whole, tests={"test_waitid", "test_openat"})
    results, _ = run(path, whole, kernels=("6.12",), earlier=small)
    assert [test.id for test in results.tests] == [test.id for test in whole.tests]


@pytest.mark.parametrize(
    "changes",
    [{"sha256": "f" * 64}, {"package_version": "6.1.171-1"}, {"release": "6.1.0-48-cloud-amd64"}, {"arch": "arm64"}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_column_is_one_image(path, changes):
    whole = sample.whole()
    results, _ = run(path, whole, tests={"test_nop"}, earlier=whole, **changes)
    assert [row.test for row in results.results if row.kernel == "6.1"] == ["test_nop"]
    assert len(results.results) == 410 + 1
    [note] = results.notes
    assert note.startswith("6.1 is another kernel than in an earlier run (6.1.170-3, image ")
    assert note.endswith("40 verdicts of that run are dropped") or changes.keys() == {"arch"}


def test_a_running_kernel_is_known_by_its_build(path):
    """It has no image that one could hash."""
    whole = sample.on_this_machine()
    kernel = replace(whole.kernels[0], sha256=None, version="#1 SMP")
    whole = replace(whole, kernels=(kernel,))
    same, _ = run(path, whole, ("host",), {"test_nop"}, earlier=whole)
    assert (len(same.results), same.notes) == (41, ())
    other, _ = run(path, whole, ("host",), {"test_nop"}, earlier=whole, version="#2 SMP")
    assert (len(other.results), len(other.notes)) == (1, 1)


def test_an_image_that_becomes_known_later_decides_then(path):
    """A kernel may still be fetched when the run begins."""
    whole = sample.whole()
    results, _ = run(path, whole, tests={"test_nop"}, earlier=whole, sha256=None, is_ended=False)
    assert len(results.results) == 451
    journal = Journal.reopen(path, generator=sample.GENERATOR, command=COMMAND)
    journal.kernel(replace(whole.kernels[1], sha256="f" * 64))
    journal.close()
    assert len(fold(path).results) == 411


def test_a_mode_that_means_something_else_is_not_mixed(path):
    whole = sample.whole()
    other = replace(whole, modes=(Mode(id="default", flags=("IORING_SETUP_CLAMP",)),))
    results, _ = run(path, whole, earlier=other)
    assert {row.kernel for row in results.results} == {"6.1"}
    assert results.notes == (
        "the mode default sets other flags than in an earlier run: 410 verdicts of that run are dropped",
    )


@pytest.mark.parametrize("status", [Status.NOTRUN, Status.INFRA])
def test_a_hole_in_what_is_kept_leaves_the_file_incomplete(path, status):
    """And the exit code is about the run's own cells."""
    whole = replace(sample.with_cell(sample.whole(), "test_nop", "6.12", status=status), complete=False)
    results, own = run(path, whole, earlier=whole)
    assert not results.complete
    assert exit_code(part(results, own, is_done=True)) == 0
    assert exit_code(part(results, own, is_done=False)) == 3
    assert exit_code(results) == 3


def test_a_failure_that_is_kept_is_not_this_runs(path):
    whole = sample.with_cell(sample.whole(), "test_nop", "6.12", status=Status.FAIL)
    results, own = run(path, whole, earlier=whole)
    assert (exit_code(part(results, own, is_done=True)), exit_code(results)) == (0, 1)


def test_no_cells_at_all_are_never_green(path):
    results, _ = run(path, sample.whole())
    assert exit_code(part(results, set(), is_done=True)) == 3


def test_what_infrastructure_prevented_stays_an_attempt_of_a_resumed_run(path):
    prevented = replace(sample.with_cell(sample.whole(), "test_nop", "6.1", status=Status.INFRA), complete=False)
    whole = sample.whole()
    results, _ = run(path, whole, tests={"test_nop"}, earlier=prevented, continued=True)
    [row] = [row for row in results.results if (row.test, row.kernel) == ("test_nop", "6.1")]
    assert (row.status, [one.status for one in row.attempts]) == (Status.PASS, [Status.INFRA, Status.PASS])
    assert (row.run, Qualifier.FLAKY in row.qualifiers) == (None, False)
    results, _ = run(path, whole, tests={"test_nop"}, earlier=prevented)
    [row] = [row for row in results.results if (row.test, row.kernel) == ("test_nop", "6.1")]
    assert row.attempts == ()  # a run that is no resumed one replaces it


def test_merging_keeps_whose_rows_are_whose(path):
    """Two files, each with rows of several runs in one column."""
    whole = sample.whole()
    mixed, _ = run(path, whole, tests={"test_nop"}, earlier=whole)
    other, _ = run(path.with_name("other.jsonl"), whole, tests={"test_nop", "test_waitid"})
    merged = merge([mixed, replace(other, started=LATER + timedelta(days=1))])
    provenance = Provenance(merged)
    started = {row.test: provenance.kernel_of(row).started for row in merged.results if row.kernel == "6.1"}
    assert started["test_nop"] == started["test_waitid"] == LATER + timedelta(days=1)
    assert started["test_readv"] == whole.started
    assert len(merged.results) == 451


# -- the directory ----------------------------------------------------------------------------------------------------


def test_a_journal_is_replaced_in_one_step(path, monkeypatch):
    """One that cannot be written leaves the old one, and whoever writes it keeps its lock."""
    sample.journal(path, sample.whole()).close()
    before = path.read_bytes()
    journal = Journal.claim(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(ResultsError, match="What was there before is unchanged"):
            journal.begin(generator=sample.GENERATOR, command=COMMAND, host=sample.HOST)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["results.jsonl"]
    journal.begin(generator=sample.GENERATOR, command=COMMAND, host=sample.HOST)
    with pytest.raises(ResultsError, match="being written by another run"):
        Journal.claim(path)
    journal.close()


@pytest.mark.parametrize("step", range(6))
def test_a_kill_at_any_step_of_the_beginning_loses_nothing(path, step):
    """At each rename, link or removal; then the next run puts together what is there."""
    whole = sample.whole()
    sample.journal(path, whole).close()
    write(path.with_name("results.json"), whole)
    code = (
        "import os, pathlib, signal, sys, sample\n"
        "from reports.results import Earlier, Journal, kept\n"
        "path, left = pathlib.Path(sys.argv[1]), int(sys.argv[2])\n"
        "def audit(event, arguments):\n"
        "    global left\n"
        "    if event in {'os.rename', 'os.link', 'os.remove'}:\n"
        "        left -= 1\n"
        "        if left < 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "journal = Journal.claim(path)\n"
        "earlier = Earlier(path)\n"
        "own = {row.key for row in sample.whole().results if row.kernel == '6.1'}\n"
        "left_over = kept(earlier.read(), own)\n"
        "sys.addaudithook(audit)\n"
        "earlier.set_aside()\n"
        "journal.begin(generator=sample.GENERATOR, command=(), host=sample.HOST, kept=left_over)\n"
        "earlier.give_up(())\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code, str(path), str(step)], check=False, env=environment)
    assert done.returncode == -signal.SIGKILL
    journal = Journal.claim(path)
    found = Earlier(path)
    if found.recover():
        journal.close()
        journal = Journal.claim(path)
        found = Earlier(path)
    results = found.read()
    journal.close()
    assert results is not None
    rows = {row.key: row.status for row in results.results}
    assert {key: rows[key] for key in rows if key.kernel != "6.1"} == {
        row.key: row.status for row in whole.results if row.kernel != "6.1"
    }
    assert len(rows) in {410, 451}
    assert list(path.parent.glob(".results*")) == []


def test_what_was_set_aside_is_put_back(path):
    whole = sample.whole()
    sample.journal(path, whole).close()
    write(path.with_name("results.json"), whole)
    (path.parent / "consoles/old").mkdir(parents=True)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}
    journal, earlier = Journal.claim(path), Earlier(path)
    earlier.set_aside()
    journal.begin(generator=sample.GENERATOR, command=(), host=sample.HOST)
    assert not path.with_name("results.json").exists()
    (path.parent / "consoles/new").mkdir()
    earlier.put_back()
    journal.close()
    assert {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()} == before
    assert [file.name for file in (path.parent / "consoles").iterdir()] == ["old"]
    assert read(path.parent) == whole


def test_records_of_a_kernel_have_room_for_its_guest():
    kernel = Kernel(id="6.1", series="6.1", arch="amd64", source="debian")
    assert (kernel.guest, kernel.inputs) == (None, {})
