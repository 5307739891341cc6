"""What kernels list of themselves that a program can ask for: operations (the probe) and feature bits."""

from collections.abc import Iterator
from typing import Any

import uring


def stated() -> Iterator[dict[str, Any]]:
    """Everything `uring` knows to look for in what `conformance.features` asks a kernel.

    Yields:
        The arguments of `reports.results.Capability`.
    """
    for operation in uring.IORING_OP:
        yield _capability("operation", "op", operation.name, f"IORING_OP_{operation.name}", "operations") | {
            "value": operation.name,
            "since": uring.OPERATION_SINCE.get(operation),
            "detect": f"`io_uring_register(2)` with `IORING_REGISTER_PROBE`: `ops[{operation.value}].flags` has "
            "`IO_URING_OP_SUPPORTED`; a kernel older than 5.6 has no probe, and one whose `last_op` is below "
            f"{operation.value} does not know the operation",
        }
    for name, since in uring.FEATURE_SINCE.items():
        symbol = f"IORING_FEAT_{name}"
        yield _capability("feature", "feat", name, symbol, "features") | {
            "value": symbol,
            "since": since,
            "detect": f"`io_uring_setup(2)`: the field `features` of `struct io_uring_params` has `{symbol}`",
        }


def _capability(kind: str, prefix: str, name: str, symbol: str, fact: str) -> dict[str, Any]:
    words = name.lower().replace("_", " ")
    return {
        "id": f"{prefix}-{words.replace(' ', '-')}",
        "title": words,
        "kind": kind,
        "symbols": (symbol,),
        "fact": fact,
    }
