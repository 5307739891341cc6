"""`uring-matrix run` beside a baseline, and for `git bisect run`: nothing is good that was not judged."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from reports.results import Mode, Results, read, write
from uring_matrix.run import _are_several

from .conftest import Ended

Call = Callable[..., Ended]
ROOT = Path(__file__).parents[2]
# Has a test end in the way that the environment says; `waver` fails the first of several tries.
FAULTY = """
import os
tries = []
def pytest_runtest_call(item):
    fault = os.environ.get("FAULT") if "nop" in item.name else None
    tries.append(fault)
    if fault == "fail" or (fault == "waver" and tries.count(fault) == 1):
        assert 1 == 2
    if fault == "error":
        raise RuntimeError("of the test's own making")
"""
HOST = ("--kernel", "host", "-n", "0", "--no-report")
CHOICE = ("-k", "zig and (nop or fsync)")


@pytest.fixture
def run(command: Call) -> Call:
    """Runs tests in this machine's kernel, one of which may be made to fail."""
    Path("faulty.py").write_text(FAULTY)
    path = os.pathsep.join((str(ROOT), str(Path.cwd())))

    def call(*arguments: str, behind: tuple[str, ...] = CHOICE, fault: str = "") -> Ended:
        words = ("run", *HOST, *arguments, "--", "-p", "faulty", *behind)
        return command(*words, PYTHONPATH=path, FAULT=fault)

    return call


@pytest.fixture
def good(run: Call) -> Results:
    """A baseline, in `good`."""
    ended = run("--out", "good")
    assert ended.code == 0, ended
    return read("good")


def with_a_test_that_is_gone(results: Results) -> Results:
    gone = replace(results.tests[0], id="test_gone", node="conformance/zig/test_gone.py::test_gone")
    row = replace(results.results[0], test="test_gone")
    return replace(results, tests=(*results.tests, gone), results=(*results.results, row))


# -- a baseline -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("behind", [(), ("--tb=short",), ("-v", "-p", "no:randomly")])
def test_options_that_choose_no_tests_let_none_be_lost(run: Call, behind: tuple[str, ...]) -> None:
    """A suite may lose a test, and the run that shows more of it must not look less closely."""
    assert run("--out", "good", behind=()).code == 0
    write("good/results.json", with_a_test_that_is_gone(read("good")))
    ended = run("--baseline", "good", "--out", "now", behind=behind)
    # On a busy machine a test about time may decline to judge as well.
    assert (ended.code, "1 cell missing" in ended.out) == (3, True), ended


@pytest.mark.parametrize("behind", [("-k", "nop"), ("--deselect", "conformance/zig/test_basics.py::test_nop")])
def test_what_was_not_chosen_is_not_missing(run: Call, good: Results, behind: tuple[str, ...]) -> None:
    write("good/results.json", with_a_test_that_is_gone(good))
    behind = (*behind, "conformance.zig.test_basics", "--pyargs")
    ended = run("--baseline", "good", "--out", "now", behind=behind)
    assert "1 cell missing" not in ended.out, ended


@pytest.mark.parametrize(
    ("specs", "expected"),
    [(["all"], True), (["6.*"], True), (["6.1", "5.10"], False), (["5.10,6.1"], False), ([], False)],
)
def test_kernels_that_are_named_by_what_they_share_are_all_expected(specs: list[str], expected: bool) -> None:
    """A series that the archive lost is missing in a run of all; one that nobody named is not."""
    assert _are_several(specs) is expected


def test_a_test_that_may_waver_may_do_so_beside_a_baseline(run: Call, good: Results) -> None:
    arguments = ("--repeat", "2", "--baseline", "good", "--out", "now")
    assert run(*arguments, fault="waver").code == 1
    assert run(*arguments, "--allow-flaky", fault="waver").code == 0


@pytest.mark.parametrize("option", [("--baseline", "good"), ("--bisect",)])
@pytest.mark.parametrize("behind", [("--collect-only",), ("--version",)])
def test_what_runs_nothing_is_not_good(
    run: Call, good: Results, option: tuple[str, ...], behind: tuple[str, ...]
) -> None:
    ended = run(*option, "--out", "now", behind=behind)
    assert ended.code == (125 if option == ("--bisect",) else 2), ended


def test_holes_of_no_comparison_are_refused(run: Call) -> None:
    ended = run("--fail-on", "lost")
    assert (ended.code, "--baseline FILE" in ended.err) == (2, True), ended


def with_kernel(results: Results, name: str) -> Results:
    """The first column once more, as another kernel's."""
    first = results.kernels[0]
    kernel = replace(first, id=name)
    rows = tuple(replace(row, kernel=name) for row in results.results if row.kernel == first.id)
    return replace(results, kernels=(*results.kernels, kernel), results=(*results.results, *rows))


def with_mode(results: Results, name: str) -> Results:
    """The same cells once more, in another mode."""
    rows = tuple(replace(row, mode=name) for row in results.results)
    return replace(results, modes=(*results.modes, Mode(id=name)), results=(*results.results, *rows))


def test_a_baseline_may_be_one_kernel_of_several(run: Call, good: Results) -> None:
    """As in `diff`, and under another name than the kernel that is run."""
    several = with_kernel(with_kernel(good, "6.1"), "6.12")
    rows = tuple(row for row in several.results if row.kernel != "host")
    write("good/results.json", replace(several, kernels=several.kernels[1:], results=rows))
    ended = run("--baseline", "good#6.1", "--out", "now")
    assert (ended.code, "no regression: 2 cells compared" in ended.out) == (0, True), ended
    assert "6.1 → host" in ended.out
    assert run("--baseline", "good#6.1", "--out", "now", fault="fail").code == 1
    # Without a name there is nothing that the kernel could be held against; and what would help is said.
    ended = run("--baseline", "good", "--out", "now")
    said = "the baseline has no host; good#KERNEL is one of its kernels: 6.1, 6.12"
    assert (ended.code, said in ended.out) == (3, True), ended


def test_tests_that_one_kernel_of_a_baseline_has_and_the_run_has_not_are_missing(run: Call, good: Results) -> None:
    assert run("--out", "good", behind=()).code == 0
    write("good/results.json", with_kernel(with_a_test_that_is_gone(read("good")), "6.1"))
    ended = run("--baseline", "good#6.1", "--out", "now", behind=())
    assert (ended.code, "not known to be good: 1 cell missing" in ended.out) == (3, True), ended


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--baseline", "good#7.9"), "7.9 was not tested; nearest: host"),
        (("--baseline", "good#host", "--kernel", "6.1"), "good#host is one kernel, and this run may be of several"),
        (("--baseline", "good#host", "--kernel", "all"), "good#host is one kernel, and this run may be of several"),
    ],
)
def test_a_column_that_cannot_be_a_baseline_is_refused_before_the_run(
    run: Call, good: Results, arguments: tuple[str, ...], words: str
) -> None:
    ended = run(*arguments, "--out", "now")
    assert (ended.code, words in ended.err) == (2, True), ended
    assert not Path("now").exists()


@pytest.mark.parametrize("name", ["good", "good#host"])
def test_modes_that_were_not_run_are_missing(run: Call, good: Results, name: str) -> None:
    write("good/results.json", with_mode(with_kernel(good, "6.1"), "coop-taskrun"))
    ended = run("--baseline", name, "--out", "now")
    assert (ended.code, "not known to be good: 2 cells missing" in ended.out) == (3, True), ended
    assert "mode coop-taskrun is not in the new run" in ended.out


@pytest.mark.parametrize("name", ["good", "good#host"])
def test_modes_that_were_not_asked_for_are_said(run: Call, good: Results, name: str) -> None:
    write("good/results.json", with_mode(with_kernel(good, "6.1"), "coop-taskrun"))
    ended = run("--baseline", name, "--mode", "default", "--out", "now")
    assert (ended.code, "no regression: 2 cells compared" in ended.out) == (0, True), ended
    assert "mode coop-taskrun of the baseline was not asked for, and is not compared" in ended.out
    said = json.loads(run("--baseline", name, "--mode", "default", "--out", "now", "--json").out)
    assert "mode coop-taskrun" in "".join(said["baseline"]["caveats"])


# -- bisecting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [(), ("--baseline", "good")], ids=["alone", "beside a baseline"])
@pytest.mark.parametrize(("fault", "code"), [("", 0), ("fail", 1), ("error", 125)])
def test_a_tests_own_error_blames_no_commit(
    run: Call, good: Results, fault: str, arguments: tuple[str, ...], code: int
) -> None:
    """An error is the test's fault, or the machine's; what is said in JSON is how the run ends."""
    ended = run("--json", "--bisect", *arguments, "--out", "now", fault=fault)
    assert (ended.code, json.loads(ended.out)["exit_code"]) == (code, code), ended
