"""What kernels list of themselves, such as their operations, and what is not the same on two of them. Pure functions.

Only facts that are lists on both sides say something: a kernel that could not be asked has none.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reports.records import Capability, Kernel


@dataclass(frozen=True, slots=True)
class Listed:
    """What became of one list from a kernel to another."""

    old_kernel: str
    new_kernel: str
    # The fact's name: `operations`
    fact: str
    gained: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    # There is no list any more: nothing is known of what it had
    is_gone: bool = False


def lists(kernel: Kernel) -> Mapping[str, tuple[str, ...]]:
    """What a kernel lists, by the fact's name."""
    return {name: tuple(map(str, value)) for name, value in kernel.features.items() if isinstance(value, list | tuple)}


def compared(old: Kernel, new: Kernel) -> list[Listed]:
    """Compare what two kernels list: only what is not the same, in the order of the newer one's facts."""
    then, now = lists(old), lists(new)
    found = []
    for fact in dict.fromkeys((*now, *then)):
        if fact not in now:
            found.append(Listed(old.id, new.id, fact, is_gone=True))
        elif fact in then:
            # Sets, since a list may have hundreds of names.
            before, after = set(then[fact]), set(now[fact])
            gained = tuple(one for one in now[fact] if one not in before)
            lost = tuple(one for one in then[fact] if one not in after)
            if gained or lost:
                found.append(Listed(old.id, new.id, fact, gained, lost))
    return found


def symbols(capabilities: Iterable[Capability]) -> Mapping[tuple[str, str], str]:
    """What to call what is listed, by fact and name: the symbol that one finds in a header."""
    return {(one.fact, one.value): one.symbols[0] if one.symbols else one.title for one in capabilities}
