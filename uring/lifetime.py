"""How long memory must live: which requests are in flight, and what each of them points to.

The rule is that memory is never let go too early; when two requests cannot be told apart, it is held longer.

A completion names its request only by `user_data`, which the caller chooses, may change after a `prep_*`, and may use
for several requests at once. So everything is read from the entry at the moment it is made visible to the kernel, and
requests are counted per `user_data`: the memory of all of them is let go when as many final completions (those without
IORING_CQE_F_MORE, which covers multishot requests and zero-copy notifications) have been reaped as requests were made.
A request whose success is silent (IOSQE_CQE_SKIP_SUCCESS) is counted like any other and its completion may never come,
so its memory is held until the ring closes or the caller says `forget`.

Plain no-ops cost nothing here. They are only counted in bulk, as *unnoticed*, while nothing else is in flight. A plain
no-op completes inside the system call that submits it, so the next `unnoticed` completions of the ring are theirs,
before any completion of a request made visible later, and must not be taken for another request's.
"""

from __future__ import annotations

from struct import Struct

from .flags import IORING_CQE_F_MORE, IORING_POLL_UPDATE_USER_DATA, IOSQE_BUFFER_SELECT
from .memory import keep_forever
from .opcodes import BIG, OP
from .sqe_fields import SQE_LAYOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .sqe import io_uring_sqe

# opcode, flags, off, addr, len, user_data, buf_index, addr3
_READ = Struct("=BB6xQQI4xQH6xQ8x").unpack_from
_POLL_REMOVE = OP.POLL_REMOVE
_PROVIDE_BUFFERS = OP.PROVIDE_BUFFERS

# Objects given up for good because a ring was closed with requests in flight.
abandoned_count = 0

# Buffer rings by ring descriptor and group ID. A ring shares its part, so that requests can hold on to their group.
buffer_rings: dict[int, dict[int, object]] = {}


class InFlight:
    """The requests of one ring that the kernel has and whose end was not seen yet."""

    __slots__ = ("counts", "groups", "pins", "plain_tail", "provided", "unnoticed")

    def __init__(self, groups: dict[int, object]) -> None:
        # Requests per user_data whose final completion is still to come.
        self.counts: dict[int, int] = {}
        # Their memory: user_data -> what the entry says -> pin. The key keeps a loop over one buffer from piling up.
        self.pins: dict[int, dict[tuple[int, ...], object]] = {}
        # Memory handed over with PROVIDE_BUFFERS: group -> (address, length) -> pin. The kernel owns it until then end.
        self.provided: dict[int, dict[tuple[int, int], object]] = {}
        self.groups = groups
        # Plain no-ops whose completions are still to come, and the queue position behind the last of them.
        self.unnoticed = 0
        self.plain_tail = 0

    def note(self, sqes: Sequence[io_uring_sqe], first: int, end: int) -> None:
        """Count the entries of a queue that become visible to the kernel and take over their pins.

        Args:
            sqes: the entries by slot.
            first: position of the first one.
            end: position behind the last one.
        """
        counts = self.counts
        mask = len(sqes) - 1
        second_half = -1
        for position in range(first, end):
            if position == second_half:
                continue
            sqe = sqes[position & mask]
            opcode, flags, off, addr, size, user_data, buf_index, addr3 = _READ(sqe._view, sqe._offset)
            if opcode in BIG and sqe._owner.layout is SQE_LAYOUT:
                second_half = position + 1
            counts[user_data] = counts.get(user_data, 0) + 1
            pin = sqe._pins
            if pin is not None:
                sqe._pins = None
                if opcode == _PROVIDE_BUFFERS:
                    self.provided.setdefault(buf_index, {})[addr, size * sqe.fd] = pin
                self._hold(user_data, (off, addr, size, addr3), pin)
            if flags & IOSQE_BUFFER_SELECT:
                # The kernel may write into a buffer of the group even when the group is freed meanwhile.
                for group in (self.groups.get(buf_index), self.provided.get(buf_index)):
                    if group is not None:
                        self._hold(user_data, (id(group),), group)
            if opcode == _POLL_REMOVE and size & IORING_POLL_UPDATE_USER_DATA:
                # A poll in flight gets this name: one more completion to expect under it.
                counts[off] = counts.get(off, 0) + 1

    def _hold(self, user_data: int, key: tuple[int, ...], pin: object) -> None:
        held = self.pins.get(user_data)
        if held is None:
            self.pins[user_data] = {key: pin}
        else:
            held[key] = pin

    def completed(self, rows: Iterable[tuple[int, ...]]) -> None:
        """Take notice of reaped completions, given as (user_data, res, flags, …)."""
        counts = self.counts
        for row in rows:
            if self.unnoticed:
                self.unnoticed -= 1
                continue
            if row[2] & IORING_CQE_F_MORE:
                continue
            user_data = row[0]
            count = counts.get(user_data)
            if count is None:
                continue
            if count > 1:
                counts[user_data] = count - 1
                continue
            del counts[user_data]
            self.pins.pop(user_data, None)

    def plain_completed(self, count: int) -> None:
        """Take notice of reaped completions while only plain no-ops are in flight."""
        # Others may be among them (IORING_OP_MSG_RING). Not max(), which costs as much as all of the rest.
        self.unnoticed = self.unnoticed - count if self.unnoticed > count else 0

    def forget(self, user_data: int) -> None:
        """The caller knows that every request of that name is over."""
        self.counts.pop(user_data, None)
        self.pins.pop(user_data, None)

    def abandon(self) -> None:
        """The ring closes with requests in flight: never let their memory go, the kernel may still write to it."""
        global abandoned_count  # noqa: PLW0603 - a process-wide tally
        for held in self.pins.values():
            abandoned_count += 1
            keep_forever(held)
        if self.pins:
            # Requests that chose a provided buffer are among them.
            keep_forever(self.provided)
            keep_forever(self.groups)
        self.clear()

    def clear(self) -> None:
        """Let everything go: nothing of this ring is in flight in this process."""
        self.counts = {}
        self.pins = {}
        self.provided = {}
        self.unnoticed = 0
