"""Pictures made from results: how many capabilities each kernel has, and a badge. Plain SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

WIDTH, HEIGHT = 640, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 8, 8, 24, 24


@dataclass(frozen=True, slots=True)
class Bar:
    """Neighbouring kernels with the same number of capabilities."""

    x: float
    y: float
    width: float
    height: float
    label: str
    # Of the kernels, `6.1`, or the first and the last
    name: str
    is_known: bool
    # The text below it has room
    is_named: bool


@dataclass(frozen=True, slots=True)
class Plot:
    """A small plot, in its own units."""

    width: int
    height: int
    bars: tuple[Bar, ...]
    # The same in words, for who does not see it
    description: str


def plot(points: Sequence[tuple[str, int | None]], total: int) -> Plot | None:
    """Lay out how many capabilities each kernel has.

    Args:
        points: name and number of each kernel, the oldest first; None where nothing is known.
        total: the most that a kernel can have.

    Returns:
        None where there is nothing to compare.
    """
    if len(points) < 2 or not total:
        return None
    runs = [(count, [name for name, _ in own]) for count, own in groupby(points, key=lambda point: point[1])]
    known = [count for count, _ in runs if count is not None]
    if not known:
        return None
    # What all of them have would hide what they differ in.
    low = min(known) - max(1, (total - min(known)) // 3)
    floor = max(0, low) if len(set(known)) > 1 else 0
    unit = (WIDTH - _LEFT - _RIGHT) / len(points)
    room = HEIGHT - _TOP - _BOTTOM
    bars = []
    place = 0
    for count, names in runs:
        share = (count - floor) / max(1, total - floor) if count is not None else 0.0
        width = unit * len(names)
        name = names[0] if len(names) == 1 else f"{names[0]}\N{EN DASH}{names[-1]}"
        bars.append(
            Bar(
                x=round(_LEFT + unit * place, 1),
                y=round(_TOP + room * (1 - share), 1),
                width=round(width - 2, 1),
                height=round(room * share, 1),
                label="?" if count is None else str(count),
                name=name,
                is_known=count is not None,
                is_named=width >= 7 * len(name),
            )
        )
        place += len(names)
    words = ", ".join(f"{bar.name}: {bar.label if bar.is_known else 'not known'}" for bar in bars)
    return Plot(WIDTH, HEIGHT, tuple(bars), f"Of {total} capabilities: {words}")


def badge(label: str, message: str, tone: str) -> str:
    """Draw a badge of two halves.

    Args:
        label: on the left.
        message: on the right.
        tone: good, bad or open.
    """
    colours = {"good": "#1a7f3c", "bad": "#b3261e", "open": "#5c6670"}
    left, right = (round(6.4 * len(text) + 14) for text in (label, message))
    label, message = (text.replace("&", "&amp;").replace("<", "&lt;") for text in (label, message))
    width = left + right
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" '
        f'aria-label="{label}: {message}"><title>{label}: {message}</title>'
        f'<rect width="{width}" height="20" rx="3" fill="#30363d"/>'
        f'<path d="M{left} 0h{right - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{right - 3}z" fill="{colours[tone]}"/>'
        '<g fill="#fff" font-family="DejaVu Sans,Verdana,Geneva,sans-serif" font-size="11" text-anchor="middle">'
        f'<text x="{left / 2}" y="14">{label}</text><text x="{left + right / 2}" y="14">{message}</text></g></svg>\n'
    )
