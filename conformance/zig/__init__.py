"""The ports of the 41 tests of Zig's std.os.linux.IoUring."""
