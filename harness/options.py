"""Options that could have no effect where they are given: refused with a sentence, before anything is prepared.

What an option is good for depends on where tests run: in guests, in this process (`--kernel host`), or in a session
that names no kernel and is pytest's alone.
"""

from collections.abc import Iterable, Mapping

import pytest

from harness.cells import HOST, native_architecture

# Options by the name pytest keeps them under. These are about guests …
_GUESTS_ONLY = {
    "isolate": "--isolate",
    "no_snapshots": "--no-snapshots",
    "accel": "--accel",
    "matrix_test_timeout": "--matrix-test-timeout",
    "guest_package": "--guest-package",
    "guest_env": "--guest-env",
    "guest_cpus": "--guest-cpus",
    "guest_memory": "--guest-memory",
    "guest_append": "--guest-append",
    "guest_gdb": "--guest-gdb",
}
# … these about runs in kernels, this machine's or another …
_KERNELS_ONLY = {
    "arch": "--arch",
    "matrix_resume": "--matrix-resume",
    "matrix_deadline": "--matrix-deadline",
    "matrix_repeat": "--matrix-repeat",
    "allow_flaky": "--allow-flaky",
    "until_failure": "--until-failure",
    "known_issues": "--known-issues",
}
# Deadlines, none of which holds for a guest that a debugger may stop.
_DEADLINES = {"matrix_test_timeout": "--matrix-test-timeout", "matrix_deadline": "--matrix-deadline"}
# … and these, which are pytest's, about this process: no guest sees them.
_PROCESS_ONLY = {
    "usepdb": ("--pdb", "a debugger does not reach into a guest"),
    "trace": ("--trace", "a debugger does not reach into a guest"),
    "setuponly": ("--setup-only", "fixtures of guests are set up there"),
    "setupshow": ("--setup-show", "fixtures of guests are set up there"),
}
# How often a test is repeated that nobody gave a number for.
UNTIL_FAILURE_MAX = 1_000
# What has pytest print something about itself or about tests, and end.
_NO_SESSION = ("help", "version", "showfixtures", "show_fixtures_per_test", "markers", "cacheshow")


def wants_no_session(config: pytest.Config) -> bool:
    """Whether pytest is asked to print something that no kernel is needed for, and to run nothing."""
    return any(config.getoption(name, None) for name in _NO_SESSION)


def runs_nothing(config: pytest.Config) -> bool:
    """Whether pytest is asked to show what there is, or what it would do: there will be no verdict."""
    return wants_no_session(config) or any(
        config.getoption(name, False) for name in ("collectonly", "setupplan", "setuponly")
    )


def repeats(config: pytest.Config) -> int:
    """How often each test is to run, at most."""
    count: int = config.getoption("matrix_repeat")
    return UNTIL_FAILURE_MAX if count == 1 and config.getoption("until_failure") else count


def names_kernels(config: pytest.Config) -> bool:
    """Whether this session is one of ours."""
    return any(config.getoption(name) for name in ("kernel", "matrix_lock", "matrix_out"))


def check(config: pytest.Config) -> list[str]:
    """Refuse what cannot have an effect.

    Returns:
        Sentences about options that are good for some of the kernels only.

    Raises:
        pytest.UsageError: an option would have no effect at all.
    """
    if wants_no_session(config):
        return []
    if not names_kernels(config):
        if given := _given(config, _GUESTS_ONLY):
            raise pytest.UsageError(f"{given[0]} is about guests: name kernels with --kernel")
        if given := _given(config, _KERNELS_ONLY):
            raise pytest.UsageError(
                f"{given[0]} is about tests in kernels: name some with --kernel ({HOST} is this machine's)"
            )
        return []
    is_plan = bool(config.getoption("setupplan", False))
    is_host = [spec.strip() == HOST for given in config.getoption("kernel") for spec in given.split(",")]
    if config.getoption("matrix_lock") is not None:
        is_host.append(False)
    if not is_host or all(is_host):
        if given := _given(config, _GUESTS_ONLY):
            raise pytest.UsageError(
                f"{given[0]} is about guests, and tests of {HOST} run in this process; leave it out, or name other "
                "kernels with --kernel"
            )
        _refuse_foreign(config.getoption("arch"))
        return []
    for name, (option, why) in _PROCESS_ONLY.items():
        if config.getoption(name, False) and not is_plan:
            raise pytest.UsageError(f"{option}: {why}; use it with --kernel {HOST}")
    if config.getoption("guest_gdb") is not None:
        _check_debugged(config)
    given = _given(config, _GUESTS_ONLY) if any(is_host) else []
    return [f"{option} is for guests; {HOST} is tested without it" for option in given]


def _given(config: pytest.Config, options: Mapping[str, str]) -> list[str]:
    """Those that were given, by the names they are given by. To run each test once is what is done anyway."""
    values = {option: config.getoption(name) for name, option in options.items()}
    return [
        option
        for option, value in values.items()
        # A number is given also where it is 0.
        if value is not None and value is not False and value != [] and (option, value) != ("--matrix-repeat", 1)
    ]


def _check_debugged(config: pytest.Config) -> None:
    """Refuse what cannot be together with a debugger, but for several kernels: who knows yet what a spec names."""
    if given := _given(config, _DEADLINES):
        raise pytest.UsageError(
            f"{given[0]} sets a deadline, and for a guest under a debugger there are none (--guest-gdb); leave one out"
        )
    # pytest-xdist's, once it has read its options.
    places = config.getoption("tx", []) if config.getoption("dist", "no") != "no" else []
    count = sum(int(place.partition("*")[0]) if "*" in place else 1 for place in places)
    if count > 1:
        raise pytest.UsageError(
            f"a debugger is attached to one guest at a time (--guest-gdb), and {count} workers have one each; say -n 0"
        )


def _refuse_foreign(architectures: Iterable[str]) -> None:
    from vm.catalogue import Catalogue  # noqa: PLC0415 - only sessions that name an architecture need it

    known = Catalogue.load().flavours if architectures else ()
    for name in architectures:
        if name in known and name != native_architecture():
            raise pytest.UsageError(f"--arch {name} is about guests, and {HOST} is an {native_architecture()} machine")
