"""The guest's pytest is the host's pytest: what a project's tests do there is what they do at home.

Every case is a small project. pytest runs in it twice, plain and with a kernel, and all that can be seen of the two
runs is compared: outcomes, messages, sections, properties, warnings, junit, the screen. `differences.py` has what may
differ. Both runs of a case, as they were, are kept in its folder `project`'s neighbours, `plain` and `kernel`.
"""

import fnmatch
import tomllib
from pathlib import Path

import pytest
from case_model import Case, Environments
from case_runner import KERNEL, Observation, run_case
from cases import CASES
from comparison import Difference, compare, ending, strangers, view
from differences import OUTCOMES, TEXTS, reason_for

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
USAGE = 4
# How the plain runs of each case end: a case that has stopped to mean anything is noticed.
ENDINGS = tomllib.loads(Path(__file__).with_name("endings.toml").read_text(encoding="utf-8"))


def differences(
    case: Case, plain: list[Observation], other: list[Observation], root: Path, *, has_kernel: bool
) -> list[Difference]:
    """All that the two differ in and no reason is known for."""
    found = []
    for number, (one, two) in enumerate(zip(plain, other, strict=True), 1):
        views = [
            view(run, str(root), has_kernel=is_kernels, has_order=case.has_order)
            for run, is_kernels in ((one, False), (two, has_kernel))
        ]
        aspects = [*compare(*views), *(strangers(views[1]) if has_kernel else ())]
        prefix = f"run {number}: " if len(plain) > 1 else ""
        found += [
            Difference(f"{prefix}{difference.aspect}", difference.where, difference.text)
            for difference in aspects
            if reason_for(case.id, difference.aspect, difference.where) is None
        ]
    return found


def told(found: list[Difference], room: Path) -> str:
    """What differs, for a person."""
    text = "\n".join([f"{len(found)} differences; both runs lie in {room}", *map(str, found)])
    return text.encode("utf-8", "backslashreplace").decode()  # lone surrogates


@pytest.mark.slow
@pytest.mark.vm
@each_case
def test_a_guest_answers_as_this_machine(case: Case, environments: Environments, tmp_path: Path) -> None:
    python = environments(case.packages)
    plain = run_case(case, python, tmp_path, kernel=None)
    kernel = run_case(case, python, tmp_path, kernel=KERNEL)
    if case.refusal and kernel[0].code == USAGE:
        assert case.refusal in kernel[0].errors
        assert not any(record["kind"] == "here" for record in kernel[0].records)
        return
    found = differences(case, plain, kernel, tmp_path / "project", has_kernel=True)
    if found:
        pytest.fail(told(found, tmp_path), pytrace=False)


@pytest.mark.slow
@each_case
def test_two_plain_runs_do_not_differ(case: Case, environments: Environments, tmp_path: Path) -> None:
    """The check of the check: what comes out differently here is the case's own doing."""
    python = environments(case.packages)
    one, two = (run_case(case, python, tmp_path, kernel=None) for _ in range(2))
    assert [] == [str(one) for one in differences(case, one, two, tmp_path / "project", has_kernel=False)]
    assert ENDINGS[case.id] == [ending(run) for run in one]


def test_the_cases_are_what_was_promised() -> None:
    """About 150 small tests and option sets."""
    assert len(CASES) == len({case.id for case in CASES})
    assert set(ENDINGS) == {case.id for case in CASES}
    assert sum(len(case.runs) for case in CASES) >= 40
    assert sum(str(entry).count("def test_") for case in CASES for entry in case.files.values()) >= 150


def test_every_difference_that_is_meant_has_a_reason_and_a_case() -> None:
    assert [] == [one for one in (*TEXTS, *OUTCOMES) if not one.reason]
    ids = [case.id for case in CASES]
    assert [] == [one.case for one in OUTCOMES if not fnmatch.filter(ids, one.case)]
