"""The bars themselves, drawn with rich; apart from `uring_matrix.progress`, so that only a terminal loads rich."""

from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.progress_bar import ProgressBar
from rich.text import Text

from uring_matrix.output import console

# Where a line has less room than the first, bars are short, and what can be done without is left out.
_NARROW, _BAR_WIDTH, _NARROW_BAR_WIDTH = 80, 24, 10
_AMOUNT_WIDTH, _NARROW_AMOUNT_WIDTH = len("123.4 of 123.4 MB  12.3 MB/s"), len("123.4 of 123.4 MB")


def bar_width(width: int) -> int:
    """How long a bar is in a terminal of some width: whatever stands beside it, it has that length."""
    return _BAR_WIDTH if width >= _NARROW else _NARROW_BAR_WIDTH


class _Name(ProgressColumn):
    """What is done, as far as there is room for it: rich would take the room from the bar."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def render(self, task: Task) -> Text:
        """Write it."""
        width = self._console.width
        text = Text(task.description, no_wrap=True)
        taken = 1 if task.total is None else bar_width(width) + 2
        amount = _AMOUNT_WIDTH if width >= _NARROW else _NARROW_AMOUNT_WIDTH
        text.truncate(width - taken - amount, overflow="ellipsis")
        return text


class _Bar(BarColumn):
    """A bar for stages whose size is known; a pulsing one would need somebody to redraw it all the time."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def render(self, task: Task) -> ProgressBar:
        """Draw it; for an unknown size, draw nothing."""
        bar = super().render(task)
        bar.width = 0 if task.total is None else bar_width(self._console.width)
        return bar


class _Amount(ProgressColumn):
    """How much is done, of how much, and how fast."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def render(self, task: Task) -> Text:
        """Write it in megabytes, as far as it is known."""
        parts = []
        if task.total is not None:
            parts.append(f"{task.completed / 1e6:.1f} of {task.total / 1e6:.1f} MB")
        elif task.completed:
            parts.append(f"{task.completed / 1e6:.1f} MB")
        speed = task.speed
        if speed and self._console.width >= _NARROW:
            parts.append(f"{speed / 1e6:.1f} MB/s")
        return Text("  ".join(parts), style="progress.download")


def make_bars(stream: TextIO) -> Progress:
    """Make bars that are drawn only when told to, and that leave nothing behind."""
    terminal = console(stream)
    return Progress(
        _Name(terminal),
        _Bar(terminal),
        _Amount(terminal),
        console=terminal,
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
