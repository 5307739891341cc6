"""Progress: bars on a terminal, plain lines elsewhere."""

import io
import os
import pty
import re
import threading
from collections.abc import Iterator

import pytest

from uring_matrix import progress as module
from uring_matrix.progress import TerminalProgress, progress
from vm.progress import PlainProgress


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
