"""What the results say of a kernel before it boots."""

import os
from collections.abc import Iterable
from typing import Any

from harness.suites import Suite, facts_of_kernel, kernel_facts_of
from reports.results import Kernel
from vm.errors import VmError
from vm.kernel import Kernel as FetchedKernel
from vm.kernel import KernelRef

# The kernel options that say something about a verdict; the whole configuration has ten thousand lines.
_CONFIG_NAMES = (
    "CONFIG_IO_URING", "CONFIG_HZ", "CONFIG_PREEMPT", "CONFIG_PREEMPT_DYNAMIC", "CONFIG_PREEMPT_VOLUNTARY",
    "CONFIG_PREEMPT_LAZY", "CONFIG_NET", "CONFIG_INET", "CONFIG_EPOLL", "CONFIG_FUTEX", "CONFIG_NET_RX_BUSY_POLL",
    "CONFIG_NUMA", "CONFIG_SMP", "CONFIG_KASAN", "CONFIG_PROVE_LOCKING", "CONFIG_CC_VERSION_TEXT",
)  # fmt: skip


def record(ref: KernelRef, outcome: FetchedKernel | VmError | None = None) -> Kernel:
    """Of a kernel that was named and, perhaps, fetched."""
    known = facts(outcome) if outcome is not None else {}
    return Kernel(id=ref.id, arch=ref.arch, **{**_of_reference(ref), **known})


def facts(outcome: FetchedKernel | VmError) -> dict[str, Any]:
    """What becomes known of a kernel when it has been fetched, or cannot be."""
    if isinstance(outcome, VmError):
        return {"error": str(outcome)}
    notes = (outcome.note,) if outcome.note else ()
    config = {name: outcome.config[name] for name in _CONFIG_NAMES if name in outcome.config}
    return {**_of_reference(outcome.ref), "sha256": outcome.sha256, "config": config, "notes": notes}


def _of_reference(ref: KernelRef) -> dict[str, Any]:
    return {
        "series": ref.series,
        "source": ref.source,
        "release": ref.release,
        "package": ref.package,
        "package_version": ref.package_version,
        "suite": ref.suite,
        "location": ref.location,
    }


def host_record(ref: KernelRef, suites: Iterable[Suite]) -> Kernel:
    """Of this machine's kernel: nothing to boot."""
    name = os.uname()
    return Kernel(
        id=ref.id,
        series=ref.series,
        arch=ref.arch,
        source=ref.source,
        release=name.release,
        version=name.version,
        features=facts_of_kernel(kernel_facts_of(suites)),
        booted=True,
    )
