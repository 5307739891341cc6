"""Runs an item as pytest does, but makes no report of a phase that passed and has nothing to tell.

Making, serializing and sending three reports is most of what a test costs that does little itself. Everything that runs
around a test is pytest's own and its plugins', in the same order; only where nobody looks at reports but we, and there
is nothing in them, they are left out. A phase in which anything was raised, printed, logged or recorded is reported by
pytest itself, from the very exception.
"""

from collections.abc import Callable
from types import CellType, CodeType, FunctionType
from typing import Any, cast

import pytest
from _pytest import runner
from _pytest.skipping import xfailed_key
from _pytest.tmpdir import tmppath_result_key

from harness.guest.progress import Progress

# Hooks that are not called for what is left out.
_LEFT_OUT = ("pytest_runtest_makereport", "pytest_runtest_logreport", "pytest_report_to_serializable")
# Whose implementations have nothing to do with a phase that passed, or nothing that is not done here.
_KNOWN = ("_pytest.", "harness.")


# What pytest calls a phase by: a function without arguments, which is a frame of tracebacks that are shown whole.
_CALLED = next(
    (
        one
        for one in runner.call_and_report.__code__.co_consts
        if isinstance(one, CodeType) and sorted(one.co_freevars) == ["item", "kwds", "runtest_hook"]
    ),
    None,
)


def _phase(hook: Any, item: pytest.Item, **kwds: Any) -> Callable[[], None]:
    """Make that function, so that nobody can tell from a traceback who called it."""
    values = {"item": item, "kwds": kwds, "runtest_hook": hook}
    code = cast(CodeType, _CALLED)
    cells = tuple(CellType(values[name]) for name in code.co_freevars)
    made = FunctionType(code, vars(runner), code.co_name, None, cells)
    made.__qualname__ = f"{runner.call_and_report.__qualname__}.<locals>.{code.co_name}"
    return made


class BriefProtocol:
    """A plugin that takes pytest's place in running a plain test function.

    Args:
        session: collected.
        progress: where it is noted which phases have passed.
    """

    def __init__(self, session: pytest.Session, progress: Progress) -> None:
        self._hooks = [getattr(session.config.hook, name) for name in _LEFT_OUT]
        self._progress = progress
        self._is_shown = bool(session.config.getoption("setupshow", False))
        self._reraised: tuple[type[BaseException], ...] = (pytest.exit.Exception,)
        if not session.config.getoption("usepdb", False):
            self._reraised += (KeyboardInterrupt,)
        self._implementations: list[Any] = []
        self._is_watched = False
        # Of the item that runs and all that it is in; and how many there were.
        self._keywords: list[Any] = []
        self._keyword_count = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run an item; None leaves it to pytest."""
        if _CALLED is None or type(item) is not pytest.Function or self._is_shown or self._somebody_looks():
            return None
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        self._run(item, nextitem, hook)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _somebody_looks(self) -> bool:
        """Whether a plugin wants to see reports, or to change them. Tests may bring their own at any time."""
        implementations = [hook.get_hookimpls() for hook in self._hooks]
        if implementations != self._implementations:
            self._implementations = implementations
            self._is_watched = any(
                not one.function.__module__.startswith(_KNOWN) for some in implementations for one in some
            )
        return self._is_watched

    def _run(self, item: pytest.Function, nextitem: pytest.Item | None, hook: Any) -> None:
        """As `_pytest.runner.runtestprotocol`."""
        if not item._request:
            item._initrequest()
        self._keywords = [node.keywords._markers for node in item.listchain()]  # type: ignore[attr-defined]
        self._keyword_count = sum(map(len, self._keywords))
        try:
            if self._has_passed(item, "setup", _phase(hook.pytest_runtest_setup, item)):
                self._has_passed(item, "call", _phase(hook.pytest_runtest_call, item))
            if item.session.shouldfail or item.session.shouldstop:
                nextitem = None
            teardown = _phase(hook.pytest_runtest_teardown, item, nextitem=nextitem)
            self._has_passed(item, "teardown", teardown)
        finally:
            item._request = False  # type: ignore[assignment]
            item.funcargs = None  # type: ignore[assignment]

    def _has_passed(self, item: pytest.Function, when: Any, phase: Callable[[], None]) -> bool:
        """As `_pytest.runner.call_and_report`."""
        call = runner.CallInfo.from_call(phase, when, reraise=self._reraised)
        if (
            call.excinfo is None
            and not item._report_sections
            and not item.user_properties
            and not item.stash.get(xfailed_key, None)
            and sum(map(len, self._keywords)) == self._keyword_count
            and self._progress.note_passed(call.start, call.duration)
        ):
            item.stash.setdefault(tmppath_result_key, {})[when] = True
            return True
        report: pytest.TestReport = item.ihook.pytest_runtest_makereport(item=item, call=call)
        item.ihook.pytest_runtest_logreport(report=report)
        if runner.check_interactive_exception(call, report):
            item.ihook.pytest_exception_interact(node=item, call=call, report=report)
        return report.passed
