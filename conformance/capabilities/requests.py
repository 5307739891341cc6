"""What requests can be told beside their operation: flags of theirs, multishot, direct descriptors, commands."""

from conformance.capabilities.record import TRY_IT, Capability, Row, build

_ENTER = "io_uring_enter(2)"
_HISTORY = "kernel history"
_RECV, _SEND, _ZC = "io_uring_prep_recv(3)", "io_uring_prep_send(3)", "io_uring_prep_send_zc(3)"
_ACCEPT, _SOCK = "io_uring_prep_accept(3)", "io_uring_prep_cmd_sock(3)"
_TIMEOUT, _CANCEL = "io_uring_prep_timeout(3)", "io_uring_prep_cancel(3)"
_NEW = "liburing header"

_FLAGS: tuple[Row, ...] = (
    ("recv-poll-first", "recv that polls first", f"5.19 {_RECV}", "Saves an attempt where the socket is empty."),
    ("send-poll-first", "send that polls first", f"5.19 {_HISTORY}", "Saves an attempt where the socket is full."),
    (
        "recvmsg-poll-first",
        "recvmsg that polls first",
        "5.19 io_uring_prep_recvmsg(3)",
        "Saves an attempt where the socket is empty.",
    ),
    (
        "sendmsg-poll-first",
        "sendmsg that polls first",
        f"5.19 {_HISTORY}",
        "Saves an attempt where the socket is full.",
    ),
    (
        "send-vectorized",
        "send of several pieces",
        "",
        "send(2) with an array of buffers, and without a message header.",
    ),
    ("send-zc-fixed-buf", "zero-copy send of a registered buffer", f"6.0 {_HISTORY}", "The memory is pinned already."),
    (
        "sendmsg-zc-fixed-buf",
        "zero-copy sendmsg of a registered buffer",
        f"6.15 {_HISTORY}",
        "The memory is pinned already.",
    ),
    (
        "send-zc-report-usage",
        "whether a zero-copy send copied",
        f"6.2 {_HISTORY}",
        "The second completion says whether the data was copied after all.",
    ),
    ("recv-multishot", "multishot recv", f"6.0 {_RECV}", "One request receives until it is cancelled."),
    (
        "recv-multishot-length",
        "multishot recv, a limit for each completion",
        f"6.17 {_HISTORY}",
        "No completion brings more than that many bytes.",
    ),
    (
        "recv-multishot-total",
        "multishot recv, a limit for all completions",
        f"6.17 {_HISTORY}",
        "The request ends when that many bytes were received, so that other sockets have their turn.",
    ),
    (
        "recvmsg-multishot",
        "multishot recvmsg",
        "6.0 io_uring_prep_recvmsg(3)",
        "One request receives messages until it is cancelled.",
    ),
    (
        "recv-bundle",
        "recv into several buffers",
        f"6.10 {_RECV}",
        "One completion for data in several provided buffers.",
    ),
    ("send-bundle", "send of several buffers", f"6.10 {_SEND}", "One request sends all buffers that are provided."),
    (
        "accept-multishot",
        "multishot accept",
        f"5.19 {_ACCEPT}",
        "One request accepts connections until it is cancelled.",
    ),
    ("accept-dontwait", "accept without waiting", f"6.10 {_NEW}", "Ends at once where nobody connects."),
    ("accept-poll-first", "accept that polls first", f"6.10 {_NEW}", "Saves an attempt where nobody connects yet."),
    ("timeout-abs", "timeouts at a time of day", f"5.5 {_HISTORY}", "The time is one of a clock, and no length."),
    ("timeout-boottime", "timeouts by the boot clock", f"5.15 {_ENTER}", "The time that the machine sleeps counts."),
    ("timeout-realtime", "timeouts by the wall clock", f"5.15 {_ENTER}", "Changes of the wall clock count."),
    ("timeout-update", "timeouts can be changed", f"5.11 {_ENTER}", "A timeout in flight gets another time."),
    (
        "link-timeout-update",
        "linked timeouts can be changed",
        f"5.15 {_HISTORY}",
        "A linked timeout in flight gets another time.",
    ),
    (
        "timeout-etime-success",
        "the end of a timeout is a success",
        f"5.16 {_ENTER}",
        "What is linked behind the timeout goes on.",
    ),
    ("timeout-multishot", "timeouts that repeat", f"6.4 {_TIMEOUT}", "One request is a periodic timer."),
    (
        "timeout-immediate-arg",
        "the time in the entry",
        f"7.1 {_TIMEOUT}",
        "No structure has to live until the request is submitted.",
    ),
    ("poll-multishot", "multishot poll", f"5.13 {_ENTER}", "One request tells every event."),
    ("poll-level", "level-triggered poll", "", "The uapi header has the flag; POLL_ADD refuses it."),
    ("poll-update-events", "polls can be changed", f"5.13 {_ENTER}", "A poll in flight waits for other events."),
    ("poll-update-user-data", "polls can be renamed", f"5.13 {_ENTER}", "A poll in flight gets another `user_data`."),
    ("cancel-all", "cancel all that match", f"5.19 {_CANCEL}", "Instead of the first one alone."),
    ("cancel-fd", "cancel by file", f"5.19 {_CANCEL}", "All requests of a descriptor."),
    ("cancel-any", "cancel everything", f"5.19 {_CANCEL}", "Every request of the ring."),
    ("cancel-fd-fixed", "cancel by registered file", f"6.0 {_CANCEL}", "All requests of a registered file."),
    ("cancel-userdata", "cancel by user_data", f"6.6 {_CANCEL}", "To be combined with other keys."),
    ("cancel-op", "cancel by operation", f"6.6 {_CANCEL}", "All requests of an operation."),
    (
        "nop-inject-result",
        "no-ops with a result",
        f"6.10 {_HISTORY}",
        "For tests: the completion's result can be chosen.",
    ),
    ("nop-file", "no-ops with a file", f"6.13 {_HISTORY}", "For measuring what a file's lookup costs."),
    (
        "nop-fixed-file",
        "no-ops with a registered file",
        f"6.13 {_HISTORY}",
        "For measuring what a registered file costs.",
    ),
    (
        "nop-fixed-buffer",
        "no-ops with a registered buffer",
        f"6.13 {_HISTORY}",
        "For measuring what a registered buffer costs.",
    ),
    ("nop-tw", "no-ops by task work", "", "For measuring what late completions cost."),
    ("fsync-datasync", "fsync of data alone", f"5.1 {_HISTORY}", "As fdatasync(2)."),
    (
        "fixed-fd-no-cloexec",
        "descriptors that programs inherit",
        f"6.8 {_ENTER}",
        "A descriptor made of a registered file survives exec.",
    ),
    (
        "splice-fd-in-fixed",
        "splice from a registered file",
        f"5.7 {_HISTORY}",
        "The descriptor to read from is an index.",
    ),
    ("uring-cmd-fixed", "commands with registered buffers", f"6.1 {_HISTORY}", "Passthrough I/O into pinned memory."),
    (
        "uring-cmd-multishot",
        "multishot commands",
        "",
        "A command completes again and again, into buffers that the kernel picks.",
    ),
)

_SUB_FEATURES: tuple[Row, ...] = (
    (
        "read-multishot",
        "multishot read",
        "6.7 io_uring_prep_read_multishot(3)",
        "One request reads until it is cancelled.",
    ),
    (
        "send-buffer-select",
        "send of provided buffers",
        f"6.10 {_SEND}",
        "The kernel takes the next provided buffer, which keeps the order.",
    ),
    ("send-to-address", "send to an address", f"6.0 {_HISTORY}", "sendto(2) without a message header."),
    ("send-zc-to-address", "zero-copy send to an address", f"6.0 {_ENTER}", "sendto(2) without copying."),
    (
        "timeout-count",
        "timeouts that count completions",
        f"5.4 {_ENTER}",
        "A timeout ends after a number of completions.",
    ),
    ("fadvise-64", "fadvise of 4 GiB and more", f"6.11 {_HISTORY}", "The length has 64 bits."),
    ("madvise-64", "madvise of 4 GiB and more", f"6.11 {_HISTORY}", "The length has 64 bits."),
    ("openat-direct", "openat into a slot", f"5.15 {_ENTER}", "The file is registered, and no descriptor is used."),
    ("openat-direct-alloc", "openat into a free slot", f"5.19 {_HISTORY}", "The kernel chooses the slot."),
    ("openat2-direct", "openat2 into a slot", f"5.15 {_ENTER}", "The file is registered, and no descriptor is used."),
    ("openat2-direct-alloc", "openat2 into a free slot", f"5.19 {_HISTORY}", "The kernel chooses the slot."),
    (
        "accept-direct",
        "accept into a slot",
        f"5.15 {_HISTORY}; 5.5 {_ENTER}",
        "The connection is registered, and no descriptor is used.",
    ),
    ("accept-direct-alloc", "accept into a free slot", f"5.19 {_HISTORY}", "The kernel chooses the slot."),
    (
        "accept-multishot-direct",
        "multishot accept into free slots",
        f"5.19 {_ACCEPT}",
        "Every connection is registered.",
    ),
    ("socket-direct", "socket into a slot", f"5.19 {_ENTER}", "The socket is registered, and no descriptor is used."),
    ("socket-direct-alloc", "socket into a free slot", f"5.19 {_HISTORY}", "The kernel chooses the slot."),
    ("pipe-direct", "pipe into slots", f"6.16 {_ENTER}", "Both ends are registered, and no descriptor is used."),
    ("pipe-direct-alloc", "pipe into free slots", f"6.16 {_ENTER}", "The kernel chooses the slots."),
    ("close-direct", "close of a slot", f"5.15 {_ENTER}", "Frees a slot of the registered files."),
    ("socket-siocinq", "bytes to be received", f"6.7 {_SOCK}", "As ioctl(2) with SIOCINQ."),
    ("socket-siocoutq", "bytes not sent yet", f"6.7 {_SOCK}", "As ioctl(2) with SIOCOUTQ."),
    ("socket-getsockopt", "getsockopt", f"6.7 {_SOCK}", "As getsockopt(2), for options of the socket itself."),
    ("socket-setsockopt", "setsockopt", f"6.7 {_SOCK}", "As setsockopt(2)."),
    ("socket-tx-timestamp", "timestamps of sent packets", f"6.17 {_SOCK}", "Completions tell when packets were sent."),
    ("socket-getsockname", "getsockname", f"6.19 {_SOCK}", "As getsockname(2), and getpeername(2)."),
)

REQUESTS: tuple[Capability, ...] = (
    *build("request-flag", _FLAGS, TRY_IT),
    *build("sub-feature", _SUB_FEATURES, TRY_IT),
)
