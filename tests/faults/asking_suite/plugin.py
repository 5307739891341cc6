"""How it registers itself, and what it observes."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.suites import Observation, Suite

HERE = Path(__file__).parent
NAMES = (
    *("has", "lacks", "off", "untold", "died", "hung", "warns", "after-the-warning", "panics", "after-the-panic"),
    *("kills-the-observer", "after-the-kill", "quits", "after-the-quit", "raises", "after-the-error", "leaves"),
)


def observe(names: Sequence[str]) -> Iterator[dict[str, Any]]:
    for name in names:
        yield _observe(name)


def _observe(name: str) -> dict[str, Any]:
    if name == "panics":
        Path("/proc/sysrq-trigger").write_text("c", encoding="ascii")
        time.sleep(60)
    if name == "kills-the-observer":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "quits":
        os._exit(3)
    if name == "raises":
        raise RuntimeError("this observer is broken")
    if name == "warns":
        Path("/proc/sys/kernel/tainted").write_text("512", encoding="ascii")
        # A line of the kernel's own.
        Path("/proc/sysrq-trigger").write_text("h", encoding="ascii")
    if name == "leaves":
        os.umask(0o111)
    return {
        "off": {"state": "off", "evidence": "a switch is off"},
        "lacks": {"state": "lacks", "evidence": "asked: EINVAL", "claimed": True},
        "untold": {"state": "not-determinable", "evidence": "nothing tells"},
        "died": {"state": "not-determinable", "evidence": "it died of SIGSEGV", "ended": "died"},
        "hung": {"state": "not-determinable", "evidence": "it does not come back", "ended": "hung"},
    }.get(name, {"state": "has", "evidence": f"{name} was asked", "claimed": True, "value": len(name)})


def describe() -> Iterator[dict[str, Any]]:
    for name in NAMES:
        yield {
            "id": name,
            "function": _observe,
            "kind": "capability",
            "title": f"what is called {name}",
            "symbols": [name.upper()],
            "group": "Asked",
            "doc": "A sentence.",
            "since": None,
            "detect": "ask",
            "number": 7,
            "documented": [{"since": "5.1", "where": "a page"}],
        }


@pytest.hookimpl(optionalhook=True)
def pytest_matrix_suite() -> Suite:
    observation = Observation(HERE / "asked.py", f"{__name__}:describe", f"{__name__}:observe")
    return Suite(__name__, ("asking_suite",), observation=observation)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "capability: something that is observed")
