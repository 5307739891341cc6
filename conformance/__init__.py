"""The conformance suite of io_uring: Zig's 41 IoUring tests, ring modes, what a kernel says of itself."""
