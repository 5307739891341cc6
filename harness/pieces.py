"""How a session's items are cut into pieces, each of which one worker runs from its first item to its last.

The process that shares out the work and those that do it cut alike: a guest may be told of all that is left of a piece,
and of nothing behind it.
"""

from collections.abc import Hashable, Iterable

# So many tests are worth another list for a guest; and to wait for more than these at the end is long.
_LENGTH_MIN = 48


def numbered(places: Iterable[tuple[Hashable, Hashable]]) -> list[int]:
    """Number the pieces of a session.

    A piece ends where the cell changes, since what tests share is made anew there anyhow; and, when it is long enough,
    where the module changes: nothing that belongs to a module is torn.

    Args:
        places: of each item, in the order in which they run, its cell and its module.

    Returns:
        For each item its piece's number.
    """
    numbers: list[int] = []
    number, length, before = 0, 0, None
    for place in places:
        if before is not None and (place[0] != before[0] or (place[1] != before[1] and length >= _LENGTH_MIN)):
            number, length = number + 1, 0
        numbers.append(number)
        length, before = length + 1, place
    return numbers
