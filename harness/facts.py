"""What one phase of a test says of itself, written into pytest's report where the test runs: in a guest or in process.

Only facts are taken down here; `harness.verdict` judges them, in one place, on the host.
"""

from collections.abc import Mapping
from typing import Any

import pytest

from harness import diagnosis
from harness.comparisons import Comparison, raised_by
from harness.unsupported import Unsupported

ATTRIBUTE = "matrix_facts"
# What came of an item that is observed, as `harness.suites.Observation` has it.
OBSERVED = pytest.StashKey[Mapping[str, Any]]()
# What there is to say of a phase in which nothing was raised.
NOTHING: Mapping[str, Any] = {"kind": "none"}
_TEXT_SIZE_MAX = 2_000
_ASYNC_WITHOUT_PLUGIN = ("async def functions are not natively supported", "async def function and no async plugin")
_COMPARED = pytest.StashKey[Comparison]()


class FactsPlugin:
    """Hooks that take the facts down. One instance per session."""

    def __init__(self) -> None:
        self._item: pytest.Item | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Note who is running: comparisons do not say whose they are."""
        self._item = item

    @pytest.hookimpl(tryfirst=True)
    def pytest_assertrepr_compare(self, op: str, left: object, right: object) -> None:
        """Note the two sides of a comparison that failed."""
        if self._item is not None:
            self._item.stash[_COMPARED] = Comparison(op, _text(left), _text(right))

    @staticmethod
    def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
        """Let suites say what they know of an exception."""
        pluginmanager.add_hookspecs(diagnosis.HookSpecs)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Any:
        """Let a test in which a kernel turned out to have nothing of it end as one that says so."""
        try:
            return (yield)
        except Exception as error:
            found = _diagnosed(item, error)
            if found is not None and found.kind == "unsupported":
                raise Unsupported(found.reason, (str(error), *found.evidence)) from error
            raise

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        """Attach the facts to the report of this phase."""
        report = yield
        setattr(report, ATTRIBUTE, _facts(item, call, report))
        return report


def phase_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """All that a report says of its phase: what pytest knows, and the facts attached to it."""
    return {
        "when": report.get("when"),
        "outcome": report.get("outcome"),
        "started_s": report.get("start"),
        "duration_s": report.get("duration", 0.0),
        **report.get(ATTRIBUTE, NOTHING),
    }


def phases_of_observation(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What `phase_of` would say of an item that was observed.

    Args:
        found: as `harness.suites.Observation` has it, and the ``duration_s``.
    """
    call = {"when": "call", "kind": "observed", "duration_s": 0.0, **found}
    return [call, {"when": "teardown", "outcome": "passed", **NOTHING}]


def _facts(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> dict[str, Any]:
    facts = dict(NOTHING)
    if call.when == "call" and (observed := item.stash.get(OBSERVED, None)) is not None:
        return {"kind": "observed", **observed}
    if call.excinfo is None:
        if report.outcome == "failed":  # a strict xfail that passed
            facts |= {"kind": "assertion", "message": str(report.longrepr)}
        return facts
    error = call.excinfo.value
    facts["message"] = _words(error) or type(error).__name__
    facts["exception"] = type(error).__qualname__
    facts["kind"] = kind_of(error)
    if facts["kind"] in {"kernel", "other"} and (found := _diagnosed(item, error)) is not None:
        said = facts["message"]
        facts |= {"kind": found.kind, "message": _clip(found.reason)}
        facts["evidence"] = [_clip(line) for line in (f"{facts['exception']}: {said}", *found.evidence)]
    if facts["message"].startswith(_ASYNC_WITHOUT_PLUGIN):
        # pytest calls it a failure, and before 8.4 a skip; nobody has run it, and no kernel has a part in that.
        facts |= {"kind": "not-run", "message": f"{_ASYNC_WITHOUT_PLUGIN[0]}."}
    if isinstance(error, Unsupported):
        facts |= {"message": error.reason, "evidence": [_clip(line) for line in error.evidence]}
    elif facts["kind"] == "assertion" and (compared := item.stash.get(_COMPARED, None)) is not None:
        facts |= _sides(item, error, compared)
    return facts


def _diagnosed(item: pytest.Item, error: BaseException) -> diagnosis.Diagnosis | None:
    found = diagnosis.of_program(error)
    return found if found is not None else item.ihook.pytest_matrix_diagnose(error=error)


def _words(error: BaseException) -> str:
    """What an exception says of itself."""
    if isinstance(error, pytest.FixtureLookupError):  # its text is the request and the stack
        return _clip(error.msg or f"fixture {error.argname!r} not found")
    try:
        return _clip(str(error))
    except Exception as second:
        return f"<{type(error).__name__} whose str() raised {type(second).__name__}>"


def kind_of(error: BaseException) -> str:
    """Sort an exception: `unsupported`, `skip`, `assertion`, `kernel` (a call that failed) or `other`."""
    if isinstance(error, Unsupported):
        return "unsupported"
    if isinstance(error, pytest.skip.Exception):
        return "skip"
    if isinstance(error, (AssertionError, pytest.fail.Exception)):
        return "assertion"
    if isinstance(error, OSError):
        return "kernel"
    return "other"


def _sides(item: pytest.Item, error: BaseException, compared: Comparison) -> Mapping[str, Any]:
    """What was expected and what came, as far as it is known; else what stood on either side."""
    assertion = raised_by(error.__traceback__)
    if assertion is None:
        return {}
    side = assertion.constant_side(compared.operator)
    if compared.operator == "==":
        side = item.ihook.pytest_matrix_expected_side(module=assertion.module) or side
    return compared.as_expected(side) if side is not None else {"evidence": compared.in_neutral_words()}


def _text(value: object) -> str:
    try:
        return _clip(repr(value))
    except Exception as error:
        return f"<{type(value).__name__} whose repr() raised {type(error).__name__}>"


def _clip(text: str) -> str:
    return text if len(text) <= _TEXT_SIZE_MAX else f"{text[:_TEXT_SIZE_MAX]}… ({len(text)} characters)"
