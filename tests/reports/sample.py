"""Results to test with: a whole run of 11 kernels and 41 tests, and runs in which every verdict occurs."""

import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import product
from pathlib import Path

from msgspec.structs import replace

from reports.results import (
    Attempt,
    Capability,
    Generator,
    Host,
    Journal,
    Kernel,
    Mode,
    Result,
    Results,
    Status,
    Test,
    annotate,
)

STARTED = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
GENERATOR = Generator(name="uring-matrix", version="0.1.0", commit="0123456789abcdef0123456789abcdef01234567")
HOST = Host(
    kernel="6.18.44-cloud-amd64",
    machine="x86_64",
    cpus=2,
    python="3.11.2",
    qemu="QEMU 10.0.11",
    accel="tcg",
    accel_reason="KVM did not boot a kernel within 5 s",
    qemu_version="10.0.11",
)
DEFAULT = Mode(id="default")
DEFER_TASKRUN = Mode(
    id="defer-taskrun", flags=("IORING_SETUP_SINGLE_ISSUER", "IORING_SETUP_DEFER_TASKRUN"), since="6.1"
)

# series, package version, release, suite
KERNELS = (
    ("5.10", "5.10.249-1", "5.10.0-38-cloud-amd64", "bullseye"),
    ("6.1", "6.1.170-3", "6.1.0-47-cloud-amd64", "bookworm"),
    ("6.12", "6.12.94-1", "6.12.94+deb13-cloud-amd64", "trixie"),
    ("6.16", "6.16.12-2", "6.16.12+deb14-cloud-amd64", "forky"),
    ("6.17", "6.17.13-1", "6.17.13+deb14-cloud-amd64", "forky"),
    ("6.18", "6.18.44-1", "6.18.44+deb14-cloud-amd64", "forky"),
    ("6.19", "6.19.14-1", "6.19.14+deb14-cloud-amd64", "sid"),
    ("7.0", "7.0.12-1~bpo13+1", "7.0.12+deb13-cloud-amd64", "trixie-backports"),
    ("7.1", "7.1.9-1", "7.1.9+deb14-cloud-amd64", "sid"),
    ("7.2", "7.2.3-1", "7.2.3+deb14-cloud-amd64", "sid"),
    ("7.3", "7.3~rc5-1~exp1", "7.3-rc5-cloud-amd64", "experimental"),
)

# What kernels list of themselves: name, documented first kernel
OPERATIONS = (("NOP", "5.1"), ("ACCEPT", "5.5"), ("SOCKET", "5.19"), ("WAITID", "6.7"), ("FTRUNCATE", "6.9"))
OPERATIONS += (("PIPE", "6.16"), ("NOP128", "6.19"))

# title, group, documented minimum
TESTS = (
    ("structs/offsets/entries", "Rings and queues", "5.1"),
    ("nop", "Rings and queues", "5.1"),
    ("copy_cqes with wrapping sq.cqes buffer", "Rings and queues", "5.4"),
    ("readv", "Reading and writing", "5.1"),
    ("writev/fsync/readv", "Reading and writing", "5.1"),
    ("write/read", "Reading and writing", "5.6"),
    ("splice/read", "Reading and writing", "5.7"),
    ("write_fixed/read_fixed", "Reading and writing", "5.1"),
    ("register_files_update", "Reading and writing", "5.5"),
    ("openat", "Files", "5.6"),
    ("close", "Files", "5.6"),
    ("fallocate", "Files", "5.6"),
    ("statx", "Files", "5.6"),
    ("openat_direct/close_direct", "Files", "5.19"),
    ("renameat", "Paths", "5.11"),
    ("unlinkat", "Paths", "5.11"),
    ("mkdirat", "Paths", "5.15"),
    ("symlinkat", "Paths", "5.15"),
    ("linkat", "Paths", "5.15"),
    ("timeout (after a relative time)", "Timeouts", "5.4"),
    ("timeout (after a number of completions)", "Timeouts", "5.4"),
    ("timeout_remove", "Timeouts", "5.5"),
    ("accept/connect/recv/link_timeout", "Timeouts", "5.5"),
    ("accept/connect/recv/cancel", "Timeouts", "5.5"),
    ("accept/connect/send/recv", "Sockets", "5.6"),
    ("sendmsg/recvmsg", "Sockets", "5.3"),
    ("shutdown", "Sockets", "5.10"),
    ("accept multishot", "Sockets", "5.19"),
    ("accept/connect/send_zc/recv", "Sockets", "6.0"),
    ("accept_direct", "Sockets", "5.19"),
    ("accept_multishot_direct", "Sockets", "5.19"),
    ("socket", "Sockets", "5.10"),
    ("socket_direct/socket_direct_alloc/close_direct", "Sockets", "5.19"),
    ("bind/listen/connect", "Sockets", "6.11"),
    ("provide_buffers: read", "Buffers", "5.7"),
    ("remove_buffers", "Buffers", "5.7"),
    ("provide_buffers: accept/connect/send/recv", "Buffers", "5.7"),
    ("BufferGroup", "Buffers", "5.7"),
    ("ring mapped buffers recv", "Buffers", "5.19"),
    ("ring mapped buffers multishot recv", "Buffers", "6.0"),
    ("waitid", "Processes", "6.7"),
)

SYMBOLS = {
    "nop": ("IORING_OP_NOP",),
    "accept multishot": ("IORING_OP_ACCEPT", "IORING_ACCEPT_MULTISHOT", "IORING_CQE_F_MORE"),
    "socket": ("IORING_OP_SOCKET",),
    "waitid": ("IORING_OP_WAITID",),
}


def capability_records() -> tuple[Capability, ...]:
    """Describe what kernels list of themselves."""
    return tuple(
        Capability(
            id=f"op-{name.lower()}",
            title=name.lower(),
            kind="operation",
            symbols=(f"IORING_OP_{name}",),
            since=since,
            fact="operations",
            value=name,
            detect=f"`IORING_REGISTER_PROBE` lists `IORING_OP_{name}`",
        )
        for name, since in OPERATIONS
    )


# One of them by itself, where a test is about what kernels list.
FTRUNCATE = Capability(
    id="op-ftruncate",
    title="ftruncate",
    kind="operation",
    symbols=("IORING_OP_FTRUNCATE",),
    since="6.9",
    fact="operations",
    value="FTRUNCATE",
)


def listing_ftruncate(run: Results) -> Results:
    """Have kernels list ftruncate from 6.9 on, and nothing else."""
    kernels = tuple(
        replace(kernel, features={"operations": ["FTRUNCATE"] if is_there("6.9", kernel.series) else []})
        for kernel in run.kernels
    )
    return replace(run, kernels=kernels, capabilities=(FTRUNCATE,))


def test_id(title: str) -> str:
    """Name a test's function as the suite does."""
    return "test_" + re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")


test_id.__test__ = False  # type: ignore[attr-defined]


def test_records() -> tuple[Test, ...]:
    """Describe the 41 tests."""
    return tuple(
        Test(
            id=test_id(title),
            title=title,
            zig=title,
            group=group,
            doc=f"Zig's test `{title}`.\n\nEach step is checked as the original does.",
            since=since,
            symbols=SYMBOLS.get(title, ()),
            source=f"conformance/test_{group.split()[0].lower()}.py:{20 + 30 * index}",
            code=f"def {test_id(title)}(ring):\n    with ring(8) as r:\n        assert 0 == r.submit()  # {title}\n",
        )
        for index, (title, group, since) in enumerate(TESTS)
    )


test_records.__test__ = False  # type: ignore[attr-defined]


def kernel_records() -> tuple[Kernel, ...]:
    """Describe the 11 kernels, all of which booted."""
    return tuple(
        Kernel(
            id=series,
            series=series,
            arch="amd64",
            source="debian",
            release=release,
            version=f"#1 SMP PREEMPT_DYNAMIC Debian {package_version}",
            package=f"linux-image-{release}",
            package_version=package_version,
            sha256=sha256(release.encode()).hexdigest(),
            cmdline="console=ttyS0 quiet panic=-1 rdinit=/init",
            config={"CONFIG_IO_URING": "y", "CONFIG_HZ": "250", "CONFIG_PREEMPT_DYNAMIC": "y", "CONFIG_TMPFS": "y"},
            features={
                "flags": ["IORING_FEAT_SINGLE_MMAP", "IORING_FEAT_NODROP", "IORING_FEAT_EXT_ARG"],
                "last_op": 36 + 2 * index,
                "operations": [name for name, since in OPERATIONS if is_there(since, series)],
            },
            console=f"consoles/{series}-amd64-1/console.txt",
            booted=True,
            boot_seconds=2.1 + index / 10,
            suite=suite,
            phases={"boot": 2.1 + index / 10, "agent": 1.3, "tests": 1.1},
        )
        for index, (series, package_version, release, suite) in enumerate(KERNELS)
    )


def is_there(since: str, series: str) -> bool:
    """Say whether the documented minimum is met."""
    return [int(part) for part in series.split(".")] >= [int(part) for part in since.split(".")]


def whole(modes: tuple[Mode, ...] = (DEFAULT,)) -> Results:
    """Return a complete run in which every verdict is the documented one."""
    rows = []
    tests = test_records()
    kernels = kernel_records()
    for kernel, mode, test in product(kernels, modes, tests):
        key = {"test": test.id, "kernel": kernel.id, "arch": kernel.arch, "mode": mode.id}
        minimum = test.since or "5.1"
        if mode.since and not is_there(mode.since, kernel.series):
            minimum = mode.since
        if is_there(minimum, kernel.series):
            rows.append(Result(**key, status=Status.PASS, duration_s=0.012))
        else:
            rows.append(
                Result(
                    **key,
                    status=Status.UNSUPPORTED,
                    reason="the kernel does not know this operation",
                    expected="res = 0",
                    actual="res = -22 (EINVAL)",
                    duration_s=0.004,
                    evidence=("io_uring_enter: 1 completion, user_data 0x63, res -22 (EINVAL)", "probe: not supported"),
                )
            )
    return annotate(
        Results(
            generator=GENERATOR,
            started=STARTED,
            finished=STARTED + timedelta(seconds=71),
            complete=True,
            command=("uring-matrix", "run", "--out", "matrix"),
            host=HOST,
            kernels=kernels,
            tests=tests,
            modes=modes,
            results=tuple(rows),
            capabilities=capability_records(),
        )
    )


def with_cell(results: Results, test: str, kernel: str, **changes: object) -> Results:
    """Change one cell (of the first mode)."""
    rows = list(results.results)
    index = next(index for index, row in enumerate(rows) if (row.test, row.kernel) == (test, kernel))
    rows[index] = replace(rows[index], **changes)
    return annotate(replace(results, results=tuple(rows)))


PANIC = (
    "[   12.301] BUG: kernel NULL pointer dereference, address: 0000000000000018",
    "[   12.302] RIP: 0010:io_poll_remove_entries+0x4a/0x120",
    "[   12.303] Call Trace:",
    "[   12.303]  io_arm_poll_handler+0x1c1/0x2b0",
    "[   12.304] Kernel panic - not syncing: Fatal exception",
)


def every_verdict() -> Results:
    """Return a run with every verdict and qualifier, a kernel that did not boot, and hostile text."""
    results = whole()
    change = with_cell
    results = change(
        results,
        "test_nop",
        "6.16",
        status=Status.FAIL,
        reason="assert cqe == expected",
        expected="io_uring_cqe(user_data=0xaaaaaaaa, res=0, flags=0)",
        actual="io_uring_cqe(user_data=0xaaaaaaaa, res=-5, flags=0)",
        evidence=(
            "E       assert cqe == expected\nE         res: -5 != 0\n\nconformance/test_basics.py:71: AssertionError",
        ),
        output="<script>alert('output')</script>\x1b[31mred\x1b[0m\0 end\n",
    )
    results = change(
        results,
        "test_readv",
        "6.17",
        status=Status.ERROR,
        reason="fixture 'scratch' could not make a directory",
        evidence=("OSError: [Errno 28] No space left on device",),
    )
    results = change(
        results,
        "test_timeout_after_a_relative_time",
        "6.18",
        status=Status.SKIP,
        reason="the margin of 10 ms was missed by 31 ms; the machine was busy",
        expected="100 ms ± 10 ms",
        actual="141 ms",
    )
    results = change(
        results,
        "test_accept_multishot",
        "6.19",
        status=Status.CRASH,
        reason="the kernel panicked while this test ran",
        dmesg=PANIC,
        console_tail=(*PANIC[-2:], "QEMU exited with status 0 after panic"),
        attempts=(
            Attempt(status=Status.CRASH, reason="kernel panic", duration_s=0.4, dmesg=PANIC),
            Attempt(status=Status.CRASH, reason="kernel panic", duration_s=0.5, dmesg=PANIC),
        ),
    )
    results = change(
        results,
        "test_splice_read",
        "7.0",
        status=Status.TIMEOUT,
        reason="no result within 30 s; the guest was ended",
        duration_s=30.0,
        attempts=(
            Attempt(status=Status.TIMEOUT, reason="no result within 30 s", duration_s=30.0),
            Attempt(status=Status.PASS, duration_s=0.01),
        ),
        qualifiers=("flaky",),
    )
    results = change(
        results,
        "test_statx",
        "7.1",
        dmesg=("WARNING: CPU: 0 PID: 1 at io_uring/rw.c:1",),
        qualifiers=("kernel-warning",),
    )
    results = change(
        results,
        "test_waitid",
        "6.1",
        status=Status.PASS,
        reason="",
        expected=None,
        actual=None,
        evidence=("backported?",),
    )
    results = change(
        results,
        "test_socket",
        "6.1",
        status=Status.UNSUPPORTED,
        reason="IORING_OP_SOCKET is not in the probe <b>bold</b>",
        evidence=("probe: last_op 44",),
    )
    kernels = tuple(
        replace(
            kernel,
            booted=False,
            boot_seconds=None,
            release=None,
            error="no answer on the serial port within 60 s of the start of the boot",
            console="consoles/7.2.log",
            console_tail=("Decompressing Linux...", "</pre><script>alert('console')</script>"),
            phases={},
        )
        if kernel.id == "7.2"
        else kernel
        for kernel in results.kernels
    )
    rows = []
    for row in results.results:
        if row.kernel == "7.2":
            rows.append(
                replace(
                    row,
                    status=Status.INFRA,
                    reason="the kernel did not boot",
                    expected=None,
                    actual=None,
                    evidence=(),
                    qualifiers=(),
                    duration_s=None,
                )
            )
        elif row.kernel == "7.3" and row.test == "test_waitid":
            rows.append(replace(row, status=Status.NOTRUN, reason="planned, but never run", duration_s=None))
        else:
            rows.append(row)
    return annotate(replace(results, kernels=kernels, results=tuple(rows), complete=False, finished=None))


def journal(path: Path, results: Results, *, is_ended: bool = True) -> Journal:
    """Write the journal that a run with these results would have written; the caller closes it."""
    writer = Journal.create(
        path, generator=results.generator, command=results.command, host=results.host, started=results.started
    )
    writer.plan(
        kernels=results.kernels,
        tests=results.tests,
        modes=results.modes,
        cells=[row.key for row in results.results],
        capabilities=results.capabilities,
    )
    for row in results.results:
        if row.status is not Status.NOTRUN:
            writer.result(row)
    if is_ended:
        writer.end(finished=results.finished)
    return writer


def on_this_machine() -> Results:
    """Return a run of a single kernel, this machine's own, without guests."""
    results = whole()
    kernel = replace(
        results.kernels[5],
        id="host",
        source="host",
        package=None,
        package_version=None,
        suite=None,
        booted=False,
        boot_seconds=None,
    )
    rows = tuple(replace(row, kernel="host") for row in results.results if row.kernel == "6.18")
    host = replace(HOST, qemu=None, accel=None, accel_reason=None, qemu_version=None)
    return replace(results, kernels=(kernel,), results=rows, host=host)
