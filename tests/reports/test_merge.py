"""Several results files become one, and what is not the same thing stays apart."""

from datetime import timedelta

import pytest
import sample
from msgspec.structs import replace

from reports.results import Mode, Results, ResultsError, Run, Status, exit_code, inconsistencies, merge


def job(series: str, *, whole: Results | None = None, hours: int = 0) -> Results:
    """Return what the CI job of one kernel writes."""
    whole = whole or sample.whole()
    return replace(
        whole,
        started=whole.started + timedelta(hours=hours),
        finished=whole.finished and whole.finished + timedelta(hours=hours),
        command=("uring-matrix", "run", "--kernel", series),
        kernels=tuple(kernel for kernel in whole.kernels if kernel.id == series),
        results=tuple(row for row in whole.results if row.kernel == series),
    )


SERIES = [series for series, *_ in sample.KERNELS]


def test_one_job_per_kernel_makes_the_whole_matrix():
    merged = merge([job(series, hours=index) for index, series in enumerate(reversed(SERIES))])
    whole = sample.whole()
    assert whole.results == merged.results
    assert whole.tests == merged.tests
    assert [kernel.id for kernel in merged.kernels] == SERIES
    assert merged.complete
    assert whole.started == merged.started
    assert whole.finished + timedelta(hours=10) == merged.finished
    assert list(inconsistencies(merged)) == []
    assert exit_code(merged) == 0


def test_each_kernel_keeps_its_provenance():
    other_host = replace(sample.HOST, kernel="6.6.0-elsewhere", accel="kvm")
    merged = merge([job("5.10"), replace(job("6.1", hours=5), host=other_host)])
    first, second = merged.kernels
    assert (first.host.accel, second.host.accel) == ("tcg", "kvm")
    assert second.command == ("uring-matrix", "run", "--kernel", "6.1")
    assert sample.STARTED + timedelta(hours=5) == second.started


def test_merging_one_file_changes_nothing():
    assert sample.whole() == merge([sample.whole()])


def test_merging_nothing_is_an_error():
    with pytest.raises(ResultsError, match="no results to merge"):
        merge([])


def test_one_incomplete_part_makes_the_whole_incomplete():
    merged = merge([job("5.10"), replace(job("6.1"), complete=False, finished=None)])
    assert not merged.complete
    assert merged.finished is None
    assert exit_code(merged) == 3


def test_merging_twice_is_merging_at_once():
    parts = [job(series, hours=index) for index, series in enumerate(SERIES[:3])]
    assert merge(parts) == merge([merge(parts[:2]), parts[2]])


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"sha256": "f" * 64}, "6.1-ffffffffffff"),
        ({"sha256": "f" * 64, "release": "6.1.0-48-cloud-amd64"}, "6.1.0-48-cloud-amd64"),
        ({"package_version": "6.1.171-1"}, "6.1-6.1.171-1"),
    ],
)
def test_different_kernels_of_one_id_stay_apart(changes, name):
    """The same series, but another package: two columns, not one."""
    changed = job("6.1", hours=1)
    changed = replace(changed, kernels=(replace(changed.kernels[0], **changes),))
    merged = merge([job("6.1"), changed])
    assert {"6.1", name} == {kernel.id for kernel in merged.kernels}
    assert len(merged.results) == 82
    assert list(inconsistencies(merged)) == []


def test_architectures_stay_apart():
    other = job("6.1")
    other = replace(
        other,
        kernels=(replace(other.kernels[0], arch="arm64", sha256="a" * 64),),
        results=tuple(replace(row, arch="arm64") for row in other.results),
    )
    assert [kernel.id for kernel in merge([job("6.1"), other]).kernels] == ["6.1", "6.1-arm64"]


def test_three_different_kernels_of_one_id_stay_apart():
    parts = []
    for index in range(3):
        part = job("6.1", hours=index)
        parts.append(replace(part, kernels=(replace(part.kernels[0], sha256=str(index) * 64),)))
    merged = merge(parts)
    assert len({kernel.id for kernel in merged.kernels}) == 3
    assert len(merged.results) == 3 * 41


def test_indistinguishable_different_kernels_are_an_error():
    """Silently merging them would be worse."""
    kernel = replace(job("6.1").kernels[0], release=None, package_version=None, sha256="a" * 64)
    parts = [
        replace(job("6.1"), kernels=(replace(kernel, sha256="a" * 64),)),
        replace(job("6.1"), kernels=(replace(kernel, id="6.1-" + "c" * 12, sha256="d" * 64),), results=()),
        replace(job("6.1"), kernels=(replace(kernel, sha256="c" * 64),)),
    ]
    with pytest.raises(ResultsError, match="stands for different kernels"):
        merge(parts)


def cell(results, test="test_nop"):
    return next(row for row in results.results if row.test == test)


def test_the_same_cell_twice_with_one_verdict_keeps_the_newer_row():
    older = sample.with_cell(job("6.1"), "test_nop", "6.1", duration_s=1.0)
    newer = sample.with_cell(job("6.1", hours=2), "test_nop", "6.1", duration_s=2.0)
    for parts in ([older, newer], [newer, older]):
        assert cell(merge(parts)).duration_s == 2.0
        assert cell(merge(parts)).attempts == ()


def test_two_runs_that_contradict_each_other_are_no_flaky_test():
    """Yesterday it passed and today it fails: that is a regression, and the other way round a fix."""
    failed = sample.with_cell(job("6.1", hours=1), "test_nop", "6.1", status=Status.FAIL, reason="res -5")
    for parts in ([job("6.1"), failed], [failed, job("6.1")]):
        merged = merge(parts)
        row = cell(merged)
        assert (row.status, row.qualifiers, row.reason, row.attempts) == (Status.FAIL, (), "res -5", ())
        assert exit_code(merged) == 1
        (note,) = merged.notes
        assert note.startswith("1 verdict of 6.1 is another one in an earlier of the merged runs")
    mended = merge([failed, job("6.1", hours=2)])
    assert (cell(mended).status, cell(mended).qualifiers, exit_code(mended)) == (Status.PASS, (), 0)
    assert len(mended.notes) == 1


def test_a_flaky_cell_of_an_earlier_run_does_not_make_the_newer_run_flaky():
    wavered = sample.with_cell(job("6.1"), "test_nop", "6.1", qualifiers=("flaky",))
    assert cell(merge([wavered, job("6.1", hours=1)])).qualifiers == ()
    assert cell(merge([job("6.1", hours=-1), wavered])).qualifiers == ("flaky",)


def test_infrastructure_of_a_later_run_takes_no_verdict_away():
    lost = sample.with_cell(job("6.1", hours=1), "test_nop", "6.1", status=Status.INFRA, reason="no boot")
    assert cell(merge([job("6.1"), lost])).status is Status.PASS


def test_the_newer_row_is_that_of_the_newer_run_and_not_of_the_newer_file():
    """A file may hold rows of runs that are older than itself."""
    results = sample.with_cell(job("6.1", hours=48), "test_nop", "6.1", status=Status.FAIL, run="then")
    then = Run(
        id="then",
        generator=results.generator,
        host=results.host,
        command=(),
        started=sample.STARTED,
        kernels=results.kernels,
    )
    results = replace(results, runs=(then,))
    yesterday = job("6.1", hours=24)
    for parts in ([results, yesterday], [yesterday, results]):
        assert cell(merge(parts)).status is Status.PASS


@pytest.mark.parametrize(
    ("inputs", "row_inputs", "is_same"),
    [
        ({"sources": "one"}, "a", True),
        ({}, None, True),
        ({"sources": "another"}, "a", False),
        ({"sources": "one"}, "b", False),
    ],
)
@pytest.mark.parametrize("status", [Status.INFRA, Status.NOTRUN])
def test_an_older_verdict_stands_in_for_none_only_if_it_is_about_the_same(inputs, row_inputs, is_same, status):
    """A pass of yesterday's sources says nothing of today's, which never ran."""

    def part(hours, words, row_word, **changes):
        results = sample.with_cell(job("6.1", hours=hours), "test_nop", "6.1", inputs=row_word, **changes)
        return replace(results, kernels=(replace(results.kernels[0], inputs=words),))

    merged = merge([part(0, {"sources": "one"}, "a"), part(24, inputs, row_inputs, status=status)])
    assert cell(merged).status is (Status.PASS if is_same else status)


def test_a_later_job_settles_what_infrastructure_left_open():
    """The first job did not even get the kernel, so it knows neither its hash nor its release."""
    lost = job("6.1")
    lost = replace(
        lost,
        kernels=(replace(lost.kernels[0], booted=False, sha256=None, release=None, error="404"),),
        results=tuple(replace(row, status=Status.INFRA) for row in lost.results),
    )
    merged = merge([lost, job("6.1", hours=1)])
    assert [kernel.id for kernel in merged.kernels] == ["6.1"]
    assert merged.kernels[0].booted
    assert sum(row.status is Status.PASS for row in merged.results) == 39
    assert exit_code(merged) == 0


def test_modes_that_mean_different_things_are_an_error():
    other = replace(job("6.1"), modes=(Mode(id="default", flags=("IORING_SETUP_SQPOLL",)),))
    with pytest.raises(
        ResultsError, match="Mode 'default' means no flags in one file and IORING_SETUP_SQPOLL in another"
    ):
        merge([job("6.1"), other])
