"""Which kernels are waited for before a session begins, and which are not."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from harness import kernel_records, pending_kernels
from harness.pending_kernels import PendingKernels
from vm.cache import Cache
from vm.errors import FetchError, VmError
from vm.fetch import Kernels
from vm.kernel import Kernel, KernelRef
from vm.lock import Pin, pin
from vm.prefetch import PrefetchRequest
from vm.progress import SILENT
from vm.settings import Settings

Outcome = Kernel | VmError


def kernel(name: str, source: Any = "debian") -> Kernel:
    return Kernel(KernelRef(name, name, "amd64", source, package=name, package_version="1"), Path(name), "5a", name)


class Archive:
    """Instead of `Kernels`: some are at hand, and others would have to be fetched."""

    arch = "amd64"

    def __init__(self, at_hand: Mapping[str, Outcome]) -> None:
        self._at_hand = at_hand
        self.fetched: list[str] = []

    def at_hand(self, ref: KernelRef, *, exact: bool) -> Kernel | None:
        found = self._at_hand.get(ref.id)
        if isinstance(found, VmError):
            raise found
        return found

    def fetch_all(self, refs: Sequence[KernelRef], *, exact: bool) -> list[Outcome]:
        self.fetched += [ref.id for ref in refs]
        return [FetchError("offline was asked for") for _ in refs]


class Process:
    """Instead of `Prefetch`: outcomes come in an order of their own, as far as anybody waits for them."""

    come: Sequence[tuple[str, Outcome]] = ()
    order: PrefetchRequest | None = None

    def __init__(self, order: PrefetchRequest, directory: Path, progress: object) -> None:
        Process.order = order
        self.names = [ref.id for ref in order.kernels or [pin.ref for pin in order.pins]]
        self.outcomes = [directory / name for name in self.names]
        self._coming: Iterator[tuple[str, Outcome]] = iter(self.come)
        self.waited: list[str] = []
        self.has_left = self.has_ended = False

    def wait(self) -> int | None:
        found = next(self._coming, None)
        if found is None:
            return None
        self.waited.append(found[0])
        return self.names.index(found[0])

    def leave(self) -> None:
        self.has_left = True

    def end(self) -> None:
        self.has_ended = True


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a pending of kernels of which some are at hand, while others come from the process one by one."""

    def make(
        wanted: Sequence[Kernel],
        at_hand: Mapping[str, Outcome],
        come: Sequence[tuple[str, Outcome]] = (),
        pins: Sequence[Pin] = (),
        **settings: Any,
    ) -> tuple[PendingKernels, Archive]:
        known = dict(come)

        def take(path: Path) -> Kernel:
            found = known.get(path.name, FetchError("it ended"))
            if isinstance(found, VmError):
                raise found
            return found

        monkeypatch.setattr(Process, "come", come)
        monkeypatch.setattr(Process, "order", None)
        monkeypatch.setattr(pending_kernels, "Prefetch", Process)
        monkeypatch.setattr(pending_kernels, "take", take)
        monkeypatch.setattr(pending_kernels, "hold", lambda kernel, cache: None)
        monkeypatch.setattr(pending_kernels, "is_there", lambda path: False)
        chosen = Settings(cache=tmp_path / "cache", **settings)
        archive = Archive(at_hand)
        made = PendingKernels(
            [one.ref for one in wanted],
            pins,
            cast(Kernels, archive),
            Cache(chosen.cache),
            chosen,
            SILENT,
            contextlib.ExitStack(),
        )
        return made, archive

    return make


OLD, NEW, NEXT, OWN = kernel("6.1"), kernel("6.12"), kernel("7.3"), kernel("mine", "path")


def names(outcomes: Mapping[KernelRef, object]) -> list[str]:
    return [ref.id for ref in outcomes]


def test_what_is_there_needs_no_process(offer: Any) -> None:
    made, _ = offer([OLD, NEW], {"6.1": OLD, "6.12": NEW})
    made.await_one()
    assert (list(made.outcomes.values()), made.late, Process.order) == ([OLD, NEW], {}, None)


def test_a_session_begins_with_what_is_there(offer: Any) -> None:
    made, _ = offer([OLD, NEW, NEXT], {"6.12": NEW})
    made.await_one()
    assert (names(made.outcomes), names(made.late)) == (["6.12"], ["6.1", "7.3"])
    assert made._prefetch.waited == []
    assert made._prefetch.has_left


def test_whichever_comes_first_is_begun_with(offer: Any) -> None:
    """One that is gone is known to be so only when all others have come: nobody waits for that."""
    made, _ = offer([OLD, NEW, NEXT], {}, [("6.12", NEW), ("7.3", NEXT), ("6.1", FetchError("gone"))])
    made.await_one()
    assert (names(made.outcomes), names(made.late)) == (["6.12"], ["6.1", "7.3"])


def test_kvm_is_not_tried_with_a_kernel_of_ones_own_if_another_comes(offer: Any) -> None:
    made, _ = offer([OWN, OLD, NEW], {"mine": OWN}, [("6.1", FetchError("gone")), ("6.12", NEW)])
    made.await_one()
    assert (names(made.outcomes), made.late) == (["mine", "6.1", "6.12"], {})


def test_a_process_that_ends_brings_nothing_more(offer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = offer([OLD, NEW], {}, [("6.1", FetchError("gone"))])
    monkeypatch.setattr(pending_kernels, "is_there", lambda path: True)
    made.await_one()
    assert [str(error) for error in made.outcomes.values()] == ["gone", "it ended"]
    assert made.late == {}


def test_nothing_to_come_is_known_at_once(offer: Any) -> None:
    made, _ = offer([OWN], {"mine": FetchError("configured without CONFIG_IO_URING")})
    assert not made.is_any_to_come
    made, _ = offer([OLD], {})
    assert made.is_any_to_come


def test_offline_nobody_fetches(offer: Any) -> None:
    made, archive = offer([OLD, NEW], {"6.12": NEW}, offline=True)
    assert (archive.fetched, Process.order, made.late) == (["6.1"], None, {})
    assert str(made.outcomes[OLD.ref]) == "offline was asked for"


def test_a_cache_that_cannot_be_written(offer: Any, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    made, _ = offer([OLD], {})
    assert "cache" in str(made.outcomes[OLD.ref])
    assert (made.late, made.is_any_to_come) == ({}, False)


def test_a_pin_holds_for_what_is_at_hand(offer: Any) -> None:
    pins = [pin(OLD), pin(NEW)]
    another = Kernel(pins[0].ref, OLD.image, "another", OLD.release)
    wanted = [Kernel(one.ref, Path(), "", "") for one in pins]
    made, _ = offer(wanted, {"6.1": another}, [("6.12", NEW)], pins)
    assert "is pinned to an image with sha256 5a" in str(made.outcomes[pins[0].ref])
    assert Process.order is not None
    assert (Process.order.kernels, Process.order.pins) == ((), (pins[1],))


def test_what_was_taken_instead_is_said_in_the_results() -> None:
    another = Kernel(OLD.ref, OLD.image, "5a", "6.1", note="6.1-2 could not be fetched, 1 is used instead")
    assert kernel_records.record(OLD.ref, another).notes == ("6.1-2 could not be fetched, 1 is used instead",)
    assert kernel_records.record(OLD.ref, OLD).notes == ()
    assert kernel_records.record(OLD.ref, FetchError("no")).error == "no"
