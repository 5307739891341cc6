"""Zig's ways to say that a kernel is too old for a test."""

from __future__ import annotations

import os
import re

import uring
from conformance.fixtures import RingFactory
from harness.unsupported import unsupported


def unsupported_if(cqe: uring.io_uring_cqe, operation: str, *refusals: uring.E) -> None:
    """End the test as unsupported if the kernel refused an operation in one of the ways that Zig's test allows.

    Args:
        cqe: the operation's completion.
        operation: the operation and what was special about it, as the evidence shall name it.
        refusals: the errors that mean "not known here"; any other is the test's business.
    """
    __tracebackhide__ = True
    if cqe.err() in refusals:
        unsupported(f"{operation} is not supported", f"res {cqe.res} (E{cqe.err().name}) from {operation}")


def require_kernel(minimum: str, ring: RingFactory, operation: uring.IORING_OP, needs: str = "") -> None:
    """End the test as unsupported on a kernel whose version is below the one that Zig's test asks for.

    Zig's test compares versions here, and its outcome is the one to agree with. Distributions backport: what the
    kernel itself says of the operation stands beside the version in the evidence.

    Args:
        minimum: the version in Zig's test.
        ring: to ask the kernel with.
        operation: the operation that is needed, or one that came in the same release.
        needs: what is needed, if `operation` only came in the same release.
    """
    __tracebackhide__ = True
    release = os.uname().release
    if _version(release) >= _version(minimum):
        return
    wanted = needs or f"IORING_OP_{operation.name}"
    evidence = [f"uname release {release} is below {minimum}, the documented minimum", _probe(ring, operation)]
    if needs:
        evidence[1] += f" (of the same release as {needs})"
    unsupported(f"{wanted} needs Linux {minimum}", evidence)


def _version(release: str) -> tuple[int, int, int]:
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", release)
    if not found:
        raise ValueError(f"expected a kernel release like 6.12.48-amd64, got {release!r}")
    major, minor, patch = found.groups(default="0")
    return int(major), int(minor), int(patch)


def _probe(ring: RingFactory, operation: uring.IORING_OP) -> str:
    try:
        probe = ring(1).get_probe()
    except uring.UringError as error:
        return f"IORING_REGISTER_PROBE: {error}"
    has = "has" if probe.is_supported(operation) else "lacks"
    return f"IORING_REGISTER_PROBE: {has} IORING_OP_{operation.name}, last_op is {probe.last_op}"
