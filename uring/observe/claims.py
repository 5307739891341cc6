"""What the kernel says of itself: feature bits, the probe, since 6.18 the query. Claims, beside what is observed."""

from __future__ import annotations

from .. import flags as f
from ..opcodes import IORING_OP, IORING_REGISTER
from ..structs import io_uring_probe
from .finding import REQUESTS
from .query import Known, known
from .world import World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PROBED = 256


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
        for prefix, is_claimed in about:
            # What requests of an operation can do beside is named after its flag first.
            name = one.symbols[0].removeprefix(prefix)
            if name != one.symbols[0] and one.id == _PREFIX[prefix] + name.lower().replace("_", "-"):
                found[one.id] = is_claimed(name)
    w.clean()
    return found


# Only ids that are about the symbol itself: `openat-direct` is about more than IORING_OP_OPENAT.
_PREFIX = {
    "IORING_FEAT_": "feat-",
    "IORING_OP_": "op-",
    "IORING_SETUP_": "setup-",
    "IORING_ENTER_": "enter-",
    "IOSQE_": "sqe-",
    "IORING_REGISTER_": "register-",
    "IORING_UNREGISTER_": "unregister-",
}


def _of_query(answer: Known) -> list[tuple[str, Callable[[str], bool]]]:
    return [
        ("IORING_SETUP_", lambda name: bool(answer.setup & f.IORING_SETUP[name])),
        ("IORING_ENTER_", lambda name: bool(answer.enter & f.IORING_ENTER[name])),
        ("IOSQE_", lambda name: bool(answer.sqe & f.IOSQE[name])),
        ("IORING_REGISTER_", lambda name: _is_registration(f"REGISTER_{name}", answer)),
        ("IORING_UNREGISTER_", lambda name: _is_registration(f"UNREGISTER_{name}", answer)),
    ]


def _is_registration(name: str, answer: Known) -> bool:
    # USE_REGISTERED_RING is a flag, which the answer says nothing about.
    return name in IORING_REGISTER.__members__ and IORING_REGISTER[name] < answer.registrations
