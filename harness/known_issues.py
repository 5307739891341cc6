"""What a session knows not to pass: the suites' files, the project's setting, and `--known-issues`."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from harness.payload import load_settings
from harness.suites import Suite
from reports.results import KnownIssue, ResultsError, read_known_issues
from vm.errors import SettingsError


def known_issues_of(config: pytest.Config, suites: Iterable[Suite]) -> tuple[KnownIssue, ...]:
    """Read all of them; what a user says comes before what a suite does.

    Raises:
        pytest.UsageError: a file cannot be read or meant.
    """
    try:
        own = load_settings(config).known_issues
        return read_known_issues(dict.fromkeys([*own, *(Path(s.known_issues) for s in suites if s.known_issues)]))
    except (ResultsError, SettingsError) as error:
        raise pytest.UsageError(str(error)) from error
