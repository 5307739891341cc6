"""Progress: bars on a terminal, plain lines elsewhere."""

import dataclasses
import io
import os
import pty
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace
from rich.console import Console

from harness.guest_shape import GuestShape
from reports.results import Kernel, Status
from uring_matrix import cli, guests
from uring_matrix import progress as module
from uring_matrix.arguments import Wishes
from uring_matrix.progress import TerminalProgress, progress
from uring_matrix.show import Line, Show
from vm.architectures import AMD64
from vm.errors import BootError
from vm.kernel import KernelRef
from vm.machine import Emulator, MachineConfig
from vm.progress import SILENT, PlainProgress
from vm.vmlinux import Vmlinux


class Terminal:
    """A terminal that remembers what it was shown."""

    def __init__(self) -> None:
        self._controller, follower = pty.openpty()
        self.stream = os.fdopen(follower, "w", buffering=1)
        self._seen = bytearray()

    def seen(self) -> str:
        """Everything that was written so far."""
        os.set_blocking(self._controller, False)
        try:
            while True:
                self._seen += os.read(self._controller, 65536)
        except BlockingIOError:
            return self._seen.decode()

    def left(self) -> list[str]:
        """The lines that can be read now: a terminal with the few controls that are used."""
        lines, row = [""], 0
        for control, text in re.findall(r"(\r|\n|\x1b\[\??[0-9;]*[a-zA-Z])|([^\r\n\x1b]+)", self.seen()):
            if control == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            elif control == "\x1b[1A":
                row -= 1
            elif control == "\x1b[2K":
                lines[row] = ""
            else:
                lines[row] += text
        return [line.strip() for line in lines if line.strip()]

    def close(self) -> None:
        self.stream.close()
        os.close(self._controller)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    made = Terminal()
    yield made
    made.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a test sets."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_terminal_gets_bars_and_a_file_gets_lines(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(progress(terminal.stream), TerminalProgress)
    assert isinstance(progress(io.StringIO()), PlainProgress)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress(terminal.stream), PlainProgress)


def test_a_download_shows_how_much_of_how_much(terminal: Terminal, clock: list[float]) -> None:
    shown = TerminalProgress(terminal.stream)
    with shown.stage("downloading a kernel", 20_000_000) as stage:
        clock[0] += 2
        stage.advance(5_000_000)
        assert "5.0 of 20.0 MB" in terminal.seen()
        clock[0] += 1
        stage.advance(15_000_000)
        assert "20.0 of 20.0 MB" in terminal.seen()
    assert terminal.left() == ["✓ downloading a kernel, 20.0 MB in 3.0 s"]


def test_a_stage_without_a_size_shows_its_name(terminal: Terminal, clock: list[float]) -> None:
    with TerminalProgress(terminal.stream).stage("trying KVM with a short boot"):
        assert "trying KVM with a short boot" in terminal.seen()
        assert "MB" not in terminal.seen()


def test_bars_are_redrawn_a_few_times_a_second_only(terminal: Terminal, clock: list[float]) -> None:
    with TerminalProgress(terminal.stream).stage("downloading", 1_000_000) as stage:
        clock[0] += 1
        stage.advance(1000)
        before = len(terminal.seen())
        for _ in range(900):
            stage.advance(1000)
        assert len(terminal.seen()) == before


def test_what_was_quick_leaves_no_line(terminal: Terminal, clock: list[float]) -> None:
    with TerminalProgress(terminal.stream).stage("a moment"):
        clock[0] += 0.2
    assert "a moment" in terminal.seen()
    assert terminal.left() == []


def test_what_failed_leaves_a_line_and_the_error(terminal: Terminal, clock: list[float]) -> None:
    with pytest.raises(RuntimeError, match="no"), TerminalProgress(terminal.stream).stage("unpacking"):
        raise RuntimeError("no")
    assert terminal.left() == ["✗ unpacking in 0.0 s"]


def test_notes_stand_above_the_bars(terminal: Terminal, clock: list[float]) -> None:
    shown = TerminalProgress(terminal.stream)
    shown.note("[before] the [red]archive[/red]")
    with shown.stage("downloading"):
        shown.note("5.10: taking the next newest")
    assert terminal.left() == ["[before] the [red]archive[/red]", "5.10: taking the next newest"]


def test_the_cursor_is_given_back(terminal: Terminal, clock: list[float]) -> None:
    with TerminalProgress(terminal.stream).stage("one"):
        pass
    seen = terminal.seen()
    assert seen.count("\x1b[?25l") == seen.count("\x1b[?25h")


def test_stages_inside_of_stages_and_in_threads(terminal: Terminal) -> None:
    shown = TerminalProgress(terminal.stream)

    def work(number: int) -> None:
        for _ in range(20):
            with shown.stage(f"thread {number}", 100) as stage:
                stage.advance(100)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    with shown.stage("all"):
        for thread in threads:
            thread.start()
        # What they write has to be read, or the terminal fills up.
        while any(thread.is_alive() for thread in threads):
            terminal.seen()
    assert shown._bars is None


def test_no_thread_of_ours_runs_while_a_guest_is_forked(terminal: Terminal) -> None:
    before = threading.active_count()
    with TerminalProgress(terminal.stream).stage("booting"):
        assert threading.active_count() == before


# -- in 60 columns ----------------------------------------------------------------------------------------------------


def drawn(width: int, lines: dict[str, Line]) -> list[str]:
    """What a run shows on a terminal of some width."""
    console = Console(file=io.StringIO(), width=width, force_terminal=False, highlight=False)
    show = Show(console, SILENT, cast(Wishes, None), is_quiet=False)
    show._lines = lines
    show._state = lambda name, line: "booting"  # type: ignore[method-assign]
    console.print(show._table())
    return cast(io.StringIO, console.file).getvalue().splitlines()


def line_of(series: str, done: int = 0, **changes: object) -> Line:
    line = Line(41, Kernel(id=series, arch="amd64", source="debian", series=series))
    line.counts[Status.PASS] = done
    for name, value in {"started_s": time.monotonic(), **changes}.items():
        setattr(line, name, value)
    return line


def test_lines_stand_in_the_order_of_the_table_whatever_runs_first() -> None:
    """They run as it is quickest, and what an image of the user's own is only its boot tells."""
    own = line_of("")
    own.kernel = replace(own.kernel, id="./bzImage", series=None, release="6.5.0")
    lines = {"6.12": line_of("6.12"), "./bzImage": own, "5.10": line_of("5.10"), "6.1": line_of("6.1")}
    assert [line.split()[0] for line in drawn(100, lines)] == ["5.10", "6.1", "./bzImage", "6.12"]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_bar_shrinks_for_what_is_said_beside_it(width: int) -> None:
    """The bar had been what was left over: each new verdict took from it."""
    full = line_of("6.1", 30, note="6.1.0-47-cloud-amd64 and what else there may be to say of it")
    full.counts.update(dict.fromkeys(Status, 2))
    lengths = set()
    for line in (line_of("6.1"), line_of("6.1", 41), full):
        (shown,) = drawn(width, {"6.1": line})
        assert len(shown) <= width
        lengths.add(shown.count("━"))
    assert lengths == {24 if width >= 80 else 10}


def test_at_60_columns_the_verdicts_are_to_be_read() -> None:
    line = line_of("6.1", 39, seconds=12.3, note="6.1.0-47-cloud-amd64")
    line.counts[Status.UNSUPPORTED] = 2
    name = "an-image-with-a-very-long-name-of-its-own"
    shown = drawn(60, {"6.1": line})
    assert shown == ["6.1  ━━━━━━━━━━  41/41    12.3 s  39 pass, 2 unsupported  6…"]
    (long,) = drawn(60, {name: line})
    assert long.startswith("an-image-with-a-ver…  ━━━━━━━━━━  41/41 ")


def test_more_verdicts_than_tests_fill_no_more_than_the_bar() -> None:
    (shown,) = drawn(60, {"6.1": line_of("6.1", 45)})
    assert (shown.count("━"), "41/41" in shown) == (10, True)


def test_a_download_at_60_columns_has_its_bar_and_its_amount(
    terminal: Terminal, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    name = "downloading linux-image-6.1.0-47-cloud-amd64-unsigned 6.1.170-3"
    with TerminalProgress(terminal.stream).stage(name, 20_000_000) as stage:
        for _ in range(4):
            clock[0] += 1
            stage.advance(5_000_000)
            (line,) = terminal.left()
            assert len(line) <= 60
            assert line.count("━") + line.count("╸") + line.count("╺") == 10
            assert line.startswith("downloading linux-image-")
            assert line.endswith(" MB")


# -- at once ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "6.1", "5.10"], "preparing tests in 6.1, 5.10 …\n"),
        (["run"], "preparing tests in all …\n"),
        (["probe", "6.1"], "asking 6.1 …\n"),
        (["shell", "6.1"], "preparing a guest of 6.1 …\n"),
        (["probe"], ""),
        (["run", "host"], ""),
    ],
)
def test_what_takes_a_while_says_so_before_anything_is_loaded(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Loading pytest alone takes most of a second, and a boot is silent for many."""
    seen = []
    monkeypatch.setattr(cli, "_call", lambda *_, **__: seen.append(capsys.readouterr()))
    assert cli.execute(words) == 0
    (before,) = seen
    assert (before.out, before.err) == ("", said)


_REF = KernelRef(id="6.1", series="6.1", arch="amd64", source="debian", release="6.1.0-47-cloud-amd64")
_MACHINE = MachineConfig(AMD64, Emulator(("qemu",)), Path("vmlinuz"), Path("initrd"))


def test_a_boot_says_what_is_booted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    told = []
    monkeypatch.setattr(guests, "machine_of", lambda *_: _MACHINE)
    monkeypatch.setattr(guests.Guest, "boot", lambda *_, **__: told.append(capsys.readouterr().err))
    guests.guest_of(_REF, None, GuestShape(), Path("here"))
    assert told == ["booting 6.1.0-47-cloud-amd64 …\n"]


@pytest.mark.parametrize("is_interactive", [False, True])
def test_a_kernel_that_does_not_start_unpacked_is_booted_from_its_image_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_interactive: bool
) -> None:
    """Nothing but that is said at a terminal that becomes the guest's."""
    machine = dataclasses.replace(_MACHINE, vmlinux=Vmlinux(Path("vmlinux"), ""), is_interactive=is_interactive)
    tried = []

    def boot(config: MachineConfig, *_: Any, **__: Any) -> None:
        tried.append(config.boot_protocol)
        raise BootError("silence\nthe console's end")

    monkeypatch.setattr(guests.Guest, "boot", boot)
    with pytest.raises(BootError):
        guests.boot(machine, _REF, Path("here"))
    assert tried == ["pvh", "linux"]
    said = capsys.readouterr().err.splitlines()
    assert said[-1].endswith("6.1: its image is booted, because the unpacked kernel did not: silence")
    assert len(said) == 2 - is_interactive
