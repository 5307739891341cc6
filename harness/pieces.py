"""How a session's items are cut into pieces, each of which one worker runs from its first item to its last.

The process that shares out the work and those that do it cut alike: a guest may be told of all that is left of a piece,
and of nothing behind it.
"""

from collections import Counter
from collections.abc import Hashable, Sequence

# A cell with more tests is worth several guests.
_WHOLE_CELL_MAX = 512
_LENGTH_MIN = 128


def numbered(places: Sequence[tuple[Hashable, Hashable]]) -> list[int]:
    """Number the pieces of a session.

    A piece ends where the cell changes: what tests share is made anew there anyhow, and what it leaves behind is the
    same test's, whoever runs it. Only very large cells are cut further, where the module changes.

    Args:
        places: of each item, in the order in which they run, its cell and its module.

    Returns:
        For each item its piece's number.
    """
    sizes = Counter(cell for cell, _ in places)
    numbers: list[int] = []
    number, length, before = 0, 0, None
    for place in places:
        if before is not None:
            is_long = length >= _LENGTH_MIN and sizes[place[0]] > _WHOLE_CELL_MAX
            if place[0] != before[0] or (place[1] != before[1] and is_long):
                number, length = number + 1, 0
        numbers.append(number)
        length, before = length + 1, place
    return numbers
