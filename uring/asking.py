"""Whether a program can use something here, found by trying it instead of by comparing versions."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .observe import Observation


def capabilities(*names: str) -> dict[str, Observation]:
    """Ask the running kernel for capabilities.

        can = uring.capabilities("recv-multishot", "IORING_OP_SEND_ZC")
        if can["recv-multishot"] and can["IORING_OP_SEND_ZC"]: ...

    Each is asked for with a real request, in a child process that this one forks: none of the caller's rings, files and
    threads are touched. It takes a few milliseconds and some more for each; keep the answers.

    Args:
        names: ids (`op-ftruncate`, `setup-defer-taskrun`, `recv-multishot`), or the kernel's names
            (`IORING_OP_FTRUNCATE`); none of them stand for all that there are, by id.

    Returns:
        By name an `Observation`, which is true where the kernel has it; its `state` says else whether the kernel
        `lacks` it, it is switched `off`, or cannot be determined, and its `evidence` why.

    Raises:
        KeyError: a capability that nobody knows how to ask for.

    Since 5.4, as rings are.
    """
    from .observe import find, observe  # noqa: PLC0415 - programs that do not ask do not load it

    requests = {name: find(name).id for name in names}
    found = {one.id: one for one in observe(requests.values() if names else None)}
    return {name: found[identifier] for name, identifier in requests.items()} if names else found
