"""Flags of rings, entries, completions and io_uring_enter(2), and what feature bits promise."""

import uring
from conformance.capabilities.record import TRY_IT, Capability, Row, build

_SETUP = "io_uring_setup(2)"
_ENTER = "io_uring_enter(2)"
_HISTORY = "kernel history"

_SETUP_FLAGS: tuple[Row, ...] = (
    (
        "setup-iopoll",
        "polled completions",
        f"5.1 {_HISTORY}",
        "Completions of O_DIRECT I/O are polled for, without interrupts.",
    ),
    (
        "setup-sqpoll",
        "submission by a kernel thread",
        f"5.1 {_HISTORY}",
        "A kernel thread fetches entries: submitting needs no system call.",
    ),
    ("setup-sq-aff", "the submission thread's CPU", f"5.1 {_HISTORY}", "Binds the submission thread to a CPU."),
    (
        "setup-cqsize",
        "size of the completion queue",
        f"5.5 {_HISTORY}",
        "The completion queue may be larger than twice the submission queue.",
    ),
    (
        "setup-clamp",
        "clamped queue sizes",
        f"5.6 {_HISTORY}",
        "Sizes beyond the limits are reduced to them instead of being refused.",
    ),
    (
        "setup-attach-wq",
        "shared worker threads",
        f"5.6 {_HISTORY}",
        "Rings share the workers, or the submission thread, of another ring.",
    ),
    (
        "setup-r-disabled",
        "rings that start disabled",
        f"5.10 {_SETUP}",
        "Restrictions can be registered before anything can be submitted.",
    ),
    (
        "setup-submit-all",
        "submission goes on behind errors",
        f"5.18 {_SETUP}",
        "An invalid entry does not hold up those behind it.",
    ),
    (
        "setup-coop-taskrun",
        "no interrupts for completions",
        f"5.19 {_SETUP}",
        "Completions wait for the task's next system call instead of interrupting it.",
    ),
    (
        "setup-taskrun-flag",
        "a flag for waiting completions",
        f"5.19 {_SETUP}",
        "The queue's flags say that completions wait for a system call.",
    ),
    ("setup-sqe128", "entries of 128 bytes", f"5.19 {_SETUP}", "Commands of NVMe and others fit into an entry."),
    ("setup-cqe32", "completions of 32 bytes", f"5.19 {_SETUP}", "Completions have 16 bytes more for results."),
    (
        "setup-single-issuer",
        "one submitting task",
        f"6.0 {_SETUP}",
        "A promise that one task submits, which lets the kernel do less.",
    ),
    (
        "setup-defer-taskrun",
        "completions when asked for",
        f"6.1 {_SETUP}",
        "Completions are made when the program waits for them: the fastest way for most.",
    ),
    (
        "setup-no-mmap",
        "rings in the program's memory",
        f"6.5 {_SETUP}",
        "The program allocates the rings, in huge pages perhaps.",
    ),
    (
        "setup-registered-fd-only",
        "rings without a descriptor",
        f"6.5 {_SETUP}",
        "The ring is an index of registered rings, and nothing else.",
    ),
    (
        "setup-no-sqarray",
        "no array of indices",
        f"6.6 {_SETUP}",
        "Entries are taken in order, without a level between.",
    ),
    (
        "setup-hybrid-iopoll",
        "polling that sleeps first",
        f"6.13 {_HISTORY}",
        "Polled I/O sleeps for a part of the expected time.",
    ),
    (
        "setup-cqe-mixed",
        "completions of two sizes",
        f"6.18 {_SETUP}",
        "Completions of 16 and of 32 bytes in one queue.",
    ),
    ("setup-sqe-mixed", "entries of two sizes", f"6.19 {_HISTORY}", "Entries of 64 and of 128 bytes in one queue."),
    (
        "setup-sq-rewind",
        "submission from the queue's start",
        f"7.0 {_SETUP}",
        "Each submission begins at the queue's first entry: small batches stay in the cache.",
    ),
)

_FEATURE_SENTENCES = {
    "SINGLE_MMAP": "One mapping has both queues.",
    "NODROP": "Completions that find no place are kept, and not dropped.",
    "SUBMIT_STABLE": "What a request points to need only live until it is submitted, but for buffers.",
    "RW_CUR_POS": "Offset -1 means the file's position.",
    "CUR_PERSONALITY": "Requests run with the credentials of who submits, not of who made the ring.",
    "FAST_POLL": "Requests on sockets and pipes that must wait hold no thread.",
    "POLL_32BITS": "Polls take all of epoll's flags, EPOLLEXCLUSIVE among them.",
    "SQPOLL_NONFIXED": "A kernel thread may submit requests on files that are not registered.",
    "EXT_ARG": "Waiting takes a time limit and a signal mask.",
    "NATIVE_WORKERS": "Workers are threads of the process, and count as such.",
    "RSRC_TAGS": "Registered files and buffers can be replaced, and say when the old ones are free.",
    "CQE_SKIP": "Requests can succeed silently.",
    "LINKED_FILE": "A linked request may use the file that the one before it opens.",
    "REG_REG_RING": "Registrations work through the index of a registered ring.",
    "RECVSEND_BUNDLE": "One send or receive can use several provided buffers.",
    "MIN_TIMEOUT": "Waiting has a second, shorter limit after which fewer completions are enough.",
    "RW_ATTR": "Reads and writes can carry protection information.",
    "NO_IOWAIT": "Waiting need not be accounted as waiting for I/O.",
}
# Where `uring.FEATURE_SINCE` says nothing, or somebody else says it.
_FEATURE_SOURCES = {
    "RECVSEND_BUNDLE": "io_uring_prep_send(3)",
    "MIN_TIMEOUT": "io_uring_wait_cqes_min_timeout(3)",
    "NO_IOWAIT": "io_uring_set_iowait(3)",
}
_UNDOCUMENTED = {"RW_ATTR": f"6.14 {_HISTORY}"}


def _feature(bit: uring.IORING_FEAT) -> Row:
    name = str(bit.name)
    words = name.lower().replace("_", " ")
    since = uring.FEATURE_SINCE[name]
    sources = f"{since} {_FEATURE_SOURCES.get(name, _SETUP)}" if since else _UNDOCUMENTED[name]
    return (f"feat-{words.replace(' ', '-')}", words, sources, _FEATURE_SENTENCES[name])


_SQE_FLAGS: tuple[Row, ...] = (
    ("sqe-fixed-file", "registered files", f"5.1 {_ENTER}", "The descriptor is an index of registered files."),
    (
        "sqe-io-drain",
        "drained requests",
        f"5.2 {_ENTER}",
        "A request waits for all before it, and those behind it wait for it.",
    ),
    ("sqe-io-link", "linked requests", f"5.3 {_ENTER}", "The next request begins when this one has succeeded."),
    (
        "sqe-io-hardlink",
        "hard-linked requests",
        f"5.5 {_ENTER}",
        "The next request begins when this one is over, whatever came of it.",
    ),
    ("sqe-async", "requests for workers", f"5.6 {_ENTER}", "A request goes to a worker without being tried first."),
    (
        "sqe-buffer-select",
        "buffers that the kernel picks",
        f"5.7 {_ENTER}",
        "A buffer is chosen when there is data for it.",
    ),
    ("sqe-cqe-skip-success", "silent success", f"5.17 {_ENTER}", "No completion unless the request fails."),
)

_CQE_FLAGS: tuple[Row, ...] = (
    (
        "cqe-buffer",
        "which buffer was picked",
        f"5.7 {_ENTER}",
        "The upper bits of a completion's flags are a buffer's number.",
    ),
    ("cqe-more", "more completions follow", f"5.13 {_ENTER}", "A multishot request goes on."),
    (
        "cqe-sock-nonempty",
        "more to be received",
        "5.19 io_uring_prep_recv(3)",
        "The socket has more data: receiving again will not wait.",
    ),
    ("cqe-notif", "memory is free again", "6.0 io_uring_enter(2)", "The second completion of a zero-copy send."),
    (
        "cqe-buf-more",
        "the buffer is not used up",
        "6.12 io_uring_register_buf_ring(3)",
        "More of the same buffer will be used.",
    ),
    (
        "cqe-skip",
        "a completion to be passed over",
        "6.18 io_uring_setup(2)",
        "Fills the end of a queue of completions of two sizes.",
    ),
    (
        "cqe-32",
        "a completion of 32 bytes",
        "6.18 io_uring_setup(2)",
        "Says which completions of a mixed queue are big.",
    ),
    (
        "cqe-tstamp-hw",
        "a network card's timestamp",
        "6.17 io_uring_prep_cmd_sock(3)",
        "A timestamp of a sent packet was taken by hardware.",
    ),
)

_ENTER_FLAGS: tuple[Row, ...] = (
    ("enter-getevents", "waiting for completions", f"5.1 {_HISTORY}", "io_uring_enter(2) waits."),
    ("enter-sq-wakeup", "waking the submission thread", f"5.1 {_HISTORY}", "Wakes a submission thread that sleeps."),
    ("enter-sq-wait", "waiting for room", f"5.10 {_HISTORY}", "Waits until the submission thread has made room."),
    (
        "enter-ext-arg",
        "a time limit for waiting",
        f"5.11 {_ENTER}",
        "io_uring_enter(2) takes a time limit beside the signal mask.",
    ),
    (
        "enter-registered-ring",
        "a registered ring's index",
        "5.18 io_uring_register_ring_fd(3)",
        "Saves looking up the ring's descriptor.",
    ),
    (
        "enter-abs-timer",
        "an absolute time limit",
        f"6.12 {_ENTER}",
        "The time limit is a time of day of a clock, not a length.",
    ),
    (
        "enter-ext-arg-reg",
        "wait arguments in registered memory",
        f"6.13 {_ENTER}",
        "The arguments of waiting are not copied each time.",
    ),
    (
        "enter-no-iowait",
        "waiting that is not I/O",
        f"6.15 {_ENTER}",
        "Waiting is not accounted as iowait, and lets CPUs sleep deeper.",
    ),
)

_RING_FLAGS: tuple[Row, ...] = (
    ("sq-need-wakeup", "the submission thread sleeps", f"5.1 {_HISTORY}", "Whoever submits has to wake it."),
    (
        "sq-cq-overflow",
        "completions found no place",
        f"5.8 {_HISTORY}",
        "The kernel keeps completions that io_uring_enter(2) brings.",
    ),
    (
        "sq-taskrun",
        "completions wait for a system call",
        f"5.19 {_SETUP}",
        "A program that peeks knows when to enter the kernel.",
    ),
    (
        "cq-eventfd-disabled",
        "eventfd switched off",
        "5.8 io_uring_register(2)",
        "A program that is awake anyway saves the signals.",
    ),
)

FLAGS: tuple[Capability, ...] = (
    *build(
        "setup-flag",
        _SETUP_FLAGS,
        "`io_uring_setup(2)` with `{symbol}` fails with EINVAL where it is not known; since 6.18 also "
        "`IORING_REGISTER_QUERY`, `ring_setup_flags`",
    ),
    *build(
        "feature",
        tuple(_feature(bit) for bit in uring.IORING_FEAT),
        "`io_uring_setup(2)`: the field `features` of `struct io_uring_params` has `{symbol}`",
    ),
    *build(
        "sqe-flag",
        _SQE_FLAGS,
        "a no-op with `{symbol}` completes with EINVAL where it is not known; since 6.18 also `IORING_REGISTER_QUERY`, "
        "`sqe_flags`",
    ),
    *build("cqe-flag", _CQE_FLAGS, TRY_IT),
    *build(
        "enter-flag",
        _ENTER_FLAGS,
        "`io_uring_enter(2)` with `{symbol}` fails with EINVAL where it is not known; since 6.18 also "
        "`IORING_REGISTER_QUERY`, `enter_flags`",
    ),
    *build("ring-flag", _RING_FLAGS, TRY_IT),
)
