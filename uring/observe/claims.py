"""What the kernel says of itself: feature bits, the probe, since 6.18 the query. Claims, beside what is observed."""

from __future__ import annotations

from .. import flags as f
from ..opcodes import IORING_OP, IORING_REGISTER
from ..structs import io_uring_probe
from .finding import REQUESTS, own_id
from .query import Known, known
from .world import World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PROBED = 256
# A flag among the numbers of registrations.
_NOT_SAID = {"register-use-registered-ring"}


def claims(w: World) -> dict[str, bool]:
    """Ask the kernel.

    Returns:
        For each capability that it says something about, by id, whether it says that it has it.
    """
    about: list[tuple[str, Callable[[str], bool]]] = [
        ("IORING_FEAT_", lambda name: bool(w.ring.params.features & f.IORING_FEAT[name])),
    ]
    probe = io_uring_probe()
    if w.ring.register(IORING_REGISTER.REGISTER_PROBE, w.at(probe), _PROBED) == 0:
        about.append(("IORING_OP_", lambda name: probe.is_supported(IORING_OP[name])))
    if (answer := known(w)) is not None:
        about += _of_query(answer)
    found = {}
    for one in REQUESTS.values():
        symbol = one.symbols[0]
        for prefix, is_claimed in about:
            if symbol.startswith(prefix) and one.id == own_id(symbol) and one.id not in _NOT_SAID:
                found[one.id] = is_claimed(symbol.removeprefix(prefix))
    w.clean()
    return found


def _of_query(answer: Known) -> list[tuple[str, Callable[[str], bool]]]:
    return [
        ("IORING_SETUP_", lambda name: bool(answer.setup & f.IORING_SETUP[name])),
        ("IORING_ENTER_", lambda name: bool(answer.enter & f.IORING_ENTER[name])),
        ("IOSQE_", lambda name: bool(answer.sqe & f.IOSQE[name])),
        ("IORING_REGISTER_", lambda name: _is_registration(f"REGISTER_{name}", answer)),
        ("IORING_UNREGISTER_", lambda name: _is_registration(f"UNREGISTER_{name}", answer)),
    ]


def _is_registration(name: str, answer: Known) -> bool:
    return IORING_REGISTER[name] < answer.registrations
