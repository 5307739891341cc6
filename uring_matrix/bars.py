"""The bars themselves, drawn with rich; apart from `uring_matrix.progress`, so that only a terminal loads rich."""

from typing import TextIO

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.progress_bar import ProgressBar
from rich.text import Text

from uring_matrix.output import console


class _Bar(BarColumn):
    """A bar for stages whose size is known; a pulsing one would need somebody to redraw it all the time."""

    def render(self, task: Task) -> ProgressBar:
        """Draw it; for an unknown size, draw nothing."""
        bar = super().render(task)
        if task.total is None:
            bar.width = 0
        return bar


class _Amount(ProgressColumn):
    """How much is done, of how much, and how fast."""

    def render(self, task: Task) -> Text:
        """Write it in megabytes, as far as it is known."""
        parts = []
        if task.total is not None:
            parts.append(f"{task.completed / 1e6:.1f} of {task.total / 1e6:.1f} MB")
        elif task.completed:
            parts.append(f"{task.completed / 1e6:.1f} MB")
        speed = task.speed
        if speed:
            parts.append(f"{speed / 1e6:.1f} MB/s")
        return Text("  ".join(parts), style="progress.download")


def make_bars(stream: TextIO) -> Progress:
    """Make bars that are drawn only when told to, and that leave nothing behind."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        _Bar(bar_width=24),
        _Amount(),
        console=console(stream),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
