"""Results as a submission to KCIDB, the Linux kernel CI's database: schema 5.3.

A kernel image is a build of a checkout, a cell is a test of that build. What the format has no place for is in `misc`.
"""

import json
import re
from hashlib import sha256
from typing import Any

from reports.errors import ResultsError
from reports.export.outcomes import Cell, Outcome, cells, holes
from reports.export.texts import clean, evidence, facts, kernel_messages, message, named, observed, seconds, stamp
from reports.provenance import with_provenance
from reports.records import Attempt, Kernel, Results

VERSION = {"major": 5, "minor": 3}
# Who submits: KernelCI gives each CI system a name, and ids begin with it.
ORIGIN = "uring_matrix"
# A build is to blame for FAIL alone. ERROR is the test's own, MISS the environment's; both say that nothing is known.
STATUSES = {
    Outcome.PASSED: "PASS",
    Outcome.FAILED: "FAIL",
    Outcome.UNDECIDED: "ERROR",
    Outcome.LACKING: "SKIP",
    Outcome.DECLINED: "SKIP",
    Outcome.MISSING: "MISS",
}
LOG_CHARACTERS_MAX = 16_384
_SEGMENT_CHARACTERS_MAX = 80
# Debian's names to the kernel's
_ARCHITECTURES = {"amd64": "x86_64", "armhf": "arm", "ppc64el": "powerpc", "riscv64": "riscv", "s390x": "s390"}


def export(results: Results, *, origin: str = ORIGIN) -> bytes:
    """Write results as a submission.

    Args:
        results: what to submit.
        origin: the name of the CI system, as KernelCI knows it.

    Raises:
        ResultsError: the origin is none.
    """
    check_origin(origin)
    builds = _Builds(origin)
    tests = [_test(cell, builds.id_of(cell.kernel), origin) for cell in cells(results)]
    missing = holes(results)
    for kernel in results.kernels:
        build = builds.id_of(with_provenance(kernel, results))
        if missing:
            # Readers look at one build at a time: each has to say so.
            tests.append(_run(missing, build, results, kernel, origin))
    document = {"version": VERSION, "checkouts": builds.checkouts, "builds": builds.builds, "tests": tests}
    return json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False).encode("utf-8") + b"\n"


def check_origin(origin: str) -> None:
    """Refuse what KCIDB would refuse.

    Raises:
        ResultsError: it is not made of small letters, digits and underscores.
    """
    if not re.fullmatch(r"[a-z0-9_]+", origin):
        raise ResultsError(f"The origin {origin!a} is none for KCIDB: use small letters, digits and underscores.")


class _Builds:
    """The builds and checkouts that tests name, each once."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._known: set[str] = set()
        self.checkouts: list[dict[str, Any]] = []
        self.builds: list[dict[str, Any]] = []

    def id_of(self, kernel: Kernel) -> str:
        """The id of the kernel's build, which is taken in if it is new."""
        build = _id(self._origin, "build", *_identity(kernel))
        if build not in self._known:
            self._known.add(build)
            # Of one source package there are many images; what somebody built has sources that nobody knows.
            is_packaged = kernel.source == "debian" and kernel.package_version is not None
            sources = ["debian", kernel.package_version] if is_packaged else _identity(kernel)
            checkout = _id(self._origin, "checkout", *sources)
            self._add_checkout(checkout, kernel)
            self.builds.append(_build(build, checkout, kernel, self._origin))
        return build

    def _add_checkout(self, checkout: str, kernel: Kernel) -> None:
        if checkout in self._known:
            return
        self._known.add(checkout)
        document: dict[str, Any] = {"id": checkout, "origin": self._origin, "comment": _name(kernel)}
        if kernel.sha256 is not None or kernel.booted:
            document["valid"] = True
        known = facts(kernel)
        names = ("series", "release", "source", "distribution", "suite", "package", "package_version")
        document["misc"] = {name: known[name] for name in names if name in known}
        self.checkouts.append(document)


def _identity(kernel: Kernel) -> list[object]:
    """What makes it this kernel, wherever it is run: the image; of a running kernel, the build that it says it is."""
    if kernel.sha256 is not None:
        return [kernel.arch, kernel.sha256]
    if kernel.release is not None and kernel.version is not None:
        return [kernel.arch, kernel.source, kernel.release, kernel.version]
    # It was not to be had: nobody knows more than the run that wanted it.
    return [kernel.arch, kernel.source, kernel.id, *_run_facts(kernel)]


def _name(kernel: Kernel) -> str:
    version = kernel.package_version or kernel.release or kernel.series
    return clean(f"Linux {version} ({kernel.package or kernel.source})", 2_000)


def _build(build: str, checkout: str, kernel: Kernel, origin: str) -> dict[str, Any]:
    arch = _ARCHITECTURES.get(kernel.arch, kernel.arch)
    document: dict[str, Any] = {
        "id": build,
        "origin": origin,
        "checkout_id": checkout,
        "architecture": re.sub(r"[^a-z0-9_]", "_", arch.lower()),
        "comment": _name(kernel),
        "misc": {
            **{name: value for name, value in facts(kernel).items() if name in _OF_AN_IMAGE},
            "config": {named(option): named(value) for option, value in kernel.config.items()},
        },
    }
    return document


_OF_AN_IMAGE = frozenset({"arch", "source", "release", "version", "package", "package_version", "sha256"})


def _test(cell: Cell, build: str, origin: str) -> dict[str, Any]:
    row, kernel = cell.row, cell.kernel
    document: dict[str, Any] = {
        "id": _id(origin, "test", build, *_run_facts(kernel), *row.key),
        "origin": origin,
        "build_id": build,
        "path": ".".join(("uring-matrix", _segment(row.test), _segment(row.mode))),
        "comment": clean(f"{cell.name}: {message(cell)}", 4_000),
        "status": STATUSES[cell.outcome],
        "environment": _environment(kernel),
        "misc": _misc(cell),
    }
    if log := "\n".join(part for part in (evidence(cell), kernel_messages(cell), clean(row.output)) if part):
        document["log_excerpt"] = clean(log, LOG_CHARACTERS_MAX)
    if row.started is not None:
        document["start_time"] = stamp(row.started)
    if row.duration_s is not None:
        document["duration"] = seconds(row.duration_s)
    return document


def _misc(cell: Cell) -> dict[str, Any]:
    row, test = cell.row, cell.test
    texts = {
        "reason": row.reason,
        "expected": row.expected,
        "actual": row.actual,
        "title": test.title,
        "group": test.group,
        "since": test.since,
        "reproduce": row.reproduce,
    }
    lists = {
        "qualifiers": row.qualifiers,
        "symbols": test.symbols,
        "mode_flags": cell.mode.flags,
    }
    return {
        "status": str(row.status),
        "expectation": str(cell.expectation),
        "test": named(row.test),
        "kernel": named(row.kernel),
        "arch": named(row.arch),
        "mode": named(row.mode),
        "kind": named(test.kind),
        **{name: clean(text) for name, text in texts.items() if text},
        **{name: [named(one) for one in lines] for name, lines in lists.items() if lines},
        **observed(row),
        **({"evidence": evidence(cell)} if row.evidence else {}),
        **({"attempts": [_attempt(one) for one in row.attempts]} if row.attempts else {}),
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    reason = {"reason": clean(attempt.reason)} if attempt.reason else {}
    duration = {"duration": seconds(attempt.duration_s)} if attempt.duration_s is not None else {}
    return {"status": str(attempt.status), **reason, **duration}


def _environment(kernel: Kernel) -> dict[str, Any]:
    misc = {name: value for name, value in facts(kernel).items() if name not in _OF_AN_IMAGE}
    guest = ", ".join(misc[name] for name in ("qemu", "accel") if name in misc)
    return {"comment": guest or "without a guest", "misc": misc}


def _run(missing: list[str], build: str, results: Results, kernel: Kernel, origin: str) -> dict[str, Any]:
    """Make a test of what no cell says."""
    text = "\n".join(missing)
    return {
        "id": _id(origin, "run", build, *_run_facts(with_provenance(kernel, results)), kernel.id),
        "origin": origin,
        "build_id": build,
        "path": "uring-matrix.run",
        "comment": clean(text, 4_000),
        "status": STATUSES[Outcome.MISSING],
        "misc": {"status": "incomplete", "kernel": named(kernel.id)},
    }


def _run_facts(kernel: Kernel) -> list[object]:
    """What tells two runs apart: the same row of the same run has the same id, however often it is submitted."""
    host = kernel.host
    return [stamp(kernel.started), kernel.command, host.kernel if host else None, host.machine if host else None]


def _id(origin: str, *parts: object) -> str:
    """Make an id that is unique for what it is made of."""
    content = json.dumps(parts, ensure_ascii=True, default=str).encode("ascii")
    return f"{origin}:{sha256(content).hexdigest()[:32]}"


def _segment(text: str) -> str:
    """Make a part of a path of an id; two ids never give the same one."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", text)[:_SEGMENT_CHARACTERS_MAX]
    if plain == text and text:
        return text
    digest = sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:10]
    return f"{plain}-{digest}" if plain else digest
