"""A guest that is lost while it tells of several things at once: whoever did it is found, and no crash passes."""

from collections.abc import Sequence
from typing import Any

from test_guests import CELL, STARTED, Make, guests  # noqa: F401 - a fixture

from harness.guests import Attempt
from harness.verdict import judge
from reports.results import Status
from vm.channel import ChannelClosedError

GONE = ChannelClosedError("gone")


def told(*names: str) -> dict[str, Any]:
    return {"type": "done", "observed": [{"item": one, "state": "has", "evidence": f"{one}: 0"} for one in names]}


def run(make: Make, scripts: Sequence[Sequence[Any]], names: Sequence[str]) -> tuple[list[Attempt], list[Any]]:
    some, booted = make(*scripts)
    ran = []
    for place, name in enumerate(names):
        rest = [*names[place + 1 :], None]
        ran.append(some.run(CELL, name, rest[0], lambda rest=rest: rest, observer="a:b"))
    return ran, [guest.channel.sent[-1] for guest in booted]


def test_what_was_told_stands_and_the_rest_is_asked_for_singly(guests: Make) -> None:  # noqa: F811
    scripts = [[STARTED, told("one"), GONE], [STARTED, told("two"), GONE]]
    ran, sent = run(guests, scripts, ["one", "two", "three"])
    assert [judge(one.facts).status for one in ran] == [Status.PASS, Status.PASS, Status.CRASH]
    assert [(one["items"], one["singly"]) for one in sent] == [
        (["one", "two", "three"], False),
        (["two", "three"], True),
    ]
    assert ran[1].kernel is not None
    assert "a guest was lost at two or behind it" in " ".join(ran[1].kernel["notes"])


def test_a_loss_that_does_not_come_again_is_no_pass(guests: Make) -> None:  # noqa: F811
    """It was a note beside nothing but green."""
    scripts = [[STARTED, GONE], [STARTED, told("one"), told("two")]]
    ran, _ = run(guests, scripts, ["one", "two"])
    verdicts = [judge(one.facts) for one in ran]
    assert [one.status for one in verdicts] == [Status.PASS, Status.CRASH]
    assert verdicts[1].reason == "a guest was lost at one or behind it: gone"
