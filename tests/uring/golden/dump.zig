//! Prints what Zig's own standard library makes of every `prep_*`, as one JSON object: constants, struct layouts, and
//! for each case the arguments and the 64 bytes of the entry. Run by regenerate.py; read by the tests of `uring`.
const std = @import("std");
const linux = std.os.linux;
const posix = std.posix;
const print = std.debug.print;

const Sqe = linux.io_uring_sqe;
const max_u16 = std.math.maxInt(u16);
const max_u32 = std.math.maxInt(u32);
const max_u64 = std.math.maxInt(u64);
const max_i32 = std.math.maxInt(i32);
const min_i32 = std.math.minInt(i32);
const ALLOC = linux.IORING_FILE_INDEX_ALLOC;

/// Addresses that nothing lies at: entries are compared, never submitted. All of their bytes differ.
const here: usize = 0x7f1e_2d3c_4b5a_6970;
const there: usize = 0x0a1b_2c3d_4e5f_6078;
const top: usize = 0xffff_ffff_ffff_f000;

var is_first = true;

fn comma() void {
    if (!is_first) print(",\n", .{});
    is_first = false;
}

fn printArgument(value: anytype) void {
    const T = @TypeOf(value);
    switch (@typeInfo(T)) {
        .int, .comptime_int => print("{d}", .{value}),
        .null => print("null", .{}),
        .optional => if (value) |some| printArgument(some) else print("null", .{}),
        .@"enum" => print("{d}", .{@intFromEnum(value)}),
        .@"struct" => print("{d}", .{@as(u32, @bitCast(value))}),
        .pointer => |pointer| switch (pointer.size) {
            .slice => print("{{\"slice\": [{d}, {d}]}}", .{ @intFromPtr(value.ptr), value.len }),
            else => if (T == *posix.iovec)
                print("{{\"iovec\": [{d}, {d}]}}", .{ @intFromPtr(value.base), value.len })
            else
                print("{{\"pointer\": {d}}}", .{@intFromPtr(value)}),
        },
        else => @compileError("no JSON for " ++ @typeName(T)),
    }
}

/// Start from garbage, so that a field a `prep_*` leaves alone shows.
fn case(comptime name: []const u8, arguments: anytype) void {
    var sqe: Sqe = undefined;
    @memset(std.mem.asBytes(&sqe), 0xa5);
    @call(.auto, @field(Sqe, name), .{&sqe} ++ arguments);
    comma();
    print("{{\"name\": \"{s}\", \"arguments\": [", .{name});
    inline for (arguments, 0..) |argument, index| {
        if (index > 0) print(", ", .{});
        printArgument(argument);
    }
    print("], \"sqe\": \"{x}\"}}", .{std.mem.asBytes(&sqe)});
}

fn bytes(address: usize, len: usize) []u8 {
    const pointer: [*]u8 = @ptrFromInt(address);
    return pointer[0..len];
}

fn items(comptime T: type, address: usize, len: usize) []T {
    const pointer: [*]T = @ptrFromInt(address);
    return pointer[0..len];
}

fn text(address: usize) [*:0]const u8 {
    return @ptrFromInt(address);
}

fn at(comptime T: type, address: usize) T {
    return @ptrFromInt(address);
}

fn cases() void {
    const fds = [_]i32{ 0, 3, -1, -100, max_i32, min_i32 };
    const flags = [_]u32{ 0, 1, 0x12345678, max_u32 };
    const slots = [_]u32{ 0, 1, 0x12345678, 0xfffffffe, ALLOC };
    const offsets = [_]u64{ 0, 1, 0x123456789abcdef0, max_u64 };
    const lens = [_]usize{ 0, 1, 4096, max_u32 };

    case("prep_nop", .{});
    for (fds, 0..) |fd, index| {
        const offset = offsets[index % 4];
        const len = lens[index % 4];
        const flag = flags[index % 4];
        const slot = slots[index % 5];
        var iov = posix.iovec{ .base = @ptrFromInt(here), .len = len };
        const open_flags: linux.O = @bitCast(flag);
        const mode: linux.mode_t = flags[3 - index % 4];
        const address: ?*linux.sockaddr = if (index % 2 == 0) at(*linux.sockaddr, here) else null;
        const address_len: ?*linux.socklen_t = if (index % 2 == 0) at(*linux.socklen_t, there) else null;

        case("prep_rw", .{ linux.IORING_OP.READ, fd, @as(u64, here), len, offset });
        case("prep_rw", .{ linux.IORING_OP.RECV_ZC, fd, @as(u64, max_u64), len, offset });
        case("prep_fsync", .{ fd, flag });
        case("prep_read", .{ fd, bytes(here, len), offset });
        case("prep_write", .{ fd, @as([]const u8, bytes(here, len)), offset });
        case("prep_readv", .{ fd, @as([]const posix.iovec, items(posix.iovec, here, index)), offset });
        case("prep_writev", .{ fd, @as([]const posix.iovec_const, items(posix.iovec_const, here, index)), offset });
        case("prep_read_fixed", .{ fd, &iov, offset, @as(u16, @truncate(flag)) });
        case("prep_write_fixed", .{ fd, &iov, offset, @as(u16, @truncate(flag)) });
        case("prep_splice", .{ fd, offset, fds[5 - index], offsets[3 - index % 4], len });
        case("prep_openat", .{ fd, text(here), open_flags, mode });
        case("prep_openat_direct", .{ fd, text(here), open_flags, mode, slot });
        case("prep_close", .{fd});
        case("prep_fallocate", .{ fd, @as(i32, @intCast(flag & max_i32)), offset, offsets[3 - index % 4] });
        case("prep_statx", .{ fd, text(here), flag, flags[3 - index % 4], at(*linux.Statx, there) });
        case("prep_renameat", .{ fd, text(here), fds[5 - index], text(there), flag });
        case("prep_linkat", .{ fd, text(here), fds[5 - index], text(there), flag });
        case("prep_unlinkat", .{ fd, text(here), flag });
        case("prep_mkdirat", .{ fd, text(here), mode });
        case("prep_symlinkat", .{ text(here), fd, text(there) });
        case("prep_accept", .{ fd, address, address_len, flag });
        case("prep_accept_direct", .{ fd, address, address_len, flag, slot });
        case("prep_multishot_accept", .{ fd, address, address_len, flag });
        case("prep_multishot_accept_direct", .{ fd, address, address_len, flag });
        case("prep_connect", .{ fd, at(*const linux.sockaddr, here), flag });
        case("prep_bind", .{ fd, at(*const linux.sockaddr, here), flag, flags[3 - index % 4] });
        case("prep_listen", .{ fd, len, flag });
        case("prep_shutdown", .{ fd, flag });
        case("prep_recv", .{ fd, bytes(here, len), flag });
        case("prep_recv_multishot", .{ fd, bytes(here, len), flag });
        case("prep_send", .{ fd, @as([]const u8, bytes(here, len)), flag });
        case("prep_send_zc", .{ fd, @as([]const u8, bytes(here, len)), flag, @as(u16, @truncate(flag)) });
        case("prep_send_zc_fixed", .{
            fd, @as([]const u8, bytes(here, len)), flag, @as(u16, @truncate(flag)), @as(u16, max_u16 - 7),
        });
        case("prep_recvmsg", .{ fd, at(*linux.msghdr, here), flag });
        case("prep_recvmsg_multishot", .{ fd, at(*linux.msghdr, here), flag });
        case("prep_sendmsg", .{ fd, at(*const linux.msghdr_const, here), flag });
        case("prep_sendmsg_zc", .{ fd, at(*const linux.msghdr_const, here), flag });
        case("prep_poll_add", .{ fd, flag });
        case("prep_cancel_fd", .{ fd, flag });
        case("prep_waitid", .{ linux.P.PID, fd, at(*linux.siginfo_t, here), flag, flags[3 - index % 4] });
    }
    for (slots) |slot| {
        case("prep_close_direct", .{slot});
        case("prep_socket_direct", .{ @as(u32, 2), @as(u32, 0x80001), @as(u32, 6), max_u32, slot });
    }
    for (flags, 0..) |flag, index| {
        const domain: u32 = flag & max_i32;
        const user_data = offsets[index];
        case("prep_socket", .{ domain, flag, flags[3 - index], flag });
        case("prep_socket_direct_alloc", .{ domain, flag, flags[3 - index], flag });
        case("prep_epoll_ctl", .{ 7 - @as(i32, @intCast(index)) * 4, max_i32, flag, @as(?*linux.epoll_event, null) });
        case("prep_epoll_ctl", .{ @as(i32, 7), @as(i32, 9), flag, @as(?*linux.epoll_event, at(*linux.epoll_event, here)) });
        case("prep_timeout", .{ at(*const linux.kernel_timespec, here), flag, flags[3 - index] });
        case("prep_timeout_remove", .{ user_data, flag });
        case("prep_link_timeout", .{ at(*const linux.kernel_timespec, here), flag });
        case("prep_poll_remove", .{user_data});
        case("prep_poll_update", .{ user_data, offsets[3 - index], flag, flags[3 - index] });
        case("prep_cancel", .{ user_data, flag });
        case("prep_files_update", .{ @as([]const i32, items(i32, here, index * 3)), flag });
        case("prep_files_update_alloc", .{items(i32, here, index * 5)});
        case("prep_remove_buffers", .{ @as(usize, index * 9), @as(usize, flag & max_u16) });
        case("prep_cmd_sock", .{
            @as(linux.IO_URING_SOCKET_OP, @enumFromInt(index)), fds[index], flag, flags[3 - index], @as(u64, here), flag,
        });
    }
    for ([_]linux.P{ .ALL, .PID, .PGID, .PIDFD }) |kind| {
        case("prep_waitid", .{ kind, max_i32, at(*linux.siginfo_t, top), @as(u32, 4), @as(u32, 0) });
    }
    case("prep_provide_buffers", .{ at([*]u8, here), @as(usize, 1), @as(usize, 1), @as(usize, 0), @as(usize, 0) });
    case("prep_provide_buffers", .{
        at([*]u8, here), @as(usize, 0x12345678), @as(usize, 0x7fff), @as(usize, max_u16), @as(usize, 0xfffe),
    });
}

fn constants() void {
    @setEvalBranchQuota(1_000_000);
    inline for (@typeInfo(linux).@"struct".decls) |decl| {
        if (comptime (std.mem.startsWith(u8, decl.name, "IORING_") or std.mem.startsWith(u8, decl.name, "IOSQE_") or
            std.mem.startsWith(u8, decl.name, "IO_URING_")))
        {
            const value = @field(linux, decl.name);
            const T = @TypeOf(value);
            if (T == type) {
                if (@typeInfo(value) == .@"enum" and !std.mem.eql(u8, decl.name, "IOSQE_BIT")) {
                    inline for (@typeInfo(value).@"enum".fields) |field| {
                        comma();
                        print("\"{s}.{s}\": {d}", .{ decl.name, field.name, field.value });
                    }
                }
            } else if (@typeInfo(T) == .int or @typeInfo(T) == .comptime_int) {
                comma();
                print("\"{s}\": {d}", .{ decl.name, value });
            }
        }
    }
    inline for (.{ "io_uring_setup", "io_uring_enter", "io_uring_register" }) |name| {
        comma();
        print("\"SYS.{s}\": {d}", .{ name, @intFromEnum(@field(linux.SYS, name)) });
    }
}

fn layout(comptime name: []const u8, comptime T: type) void {
    comma();
    print("\"{s}\": {{\"size\": {d}, \"fields\": {{", .{ name, @sizeOf(T) });
    inline for (@typeInfo(T).@"struct".fields, 0..) |field, index| {
        if (index > 0) print(", ", .{});
        print("\"{s}\": [{d}, {d}]", .{ field.name, @offsetOf(T, field.name), @sizeOf(field.type) });
    }
    print("}}}}", .{});
}

fn layouts() void {
    layout("io_uring_sqe", linux.io_uring_sqe);
    layout("io_uring_cqe", linux.io_uring_cqe);
    layout("io_uring_params", linux.io_uring_params);
    layout("io_sqring_offsets", linux.io_sqring_offsets);
    layout("io_cqring_offsets", linux.io_cqring_offsets);
    layout("io_uring_files_update", linux.io_uring_files_update);
    layout("io_uring_rsrc_register", linux.io_uring_rsrc_register);
    layout("io_uring_file_index_range", linux.io_uring_file_index_range);
    layout("io_uring_probe", linux.io_uring_probe);
    layout("io_uring_probe_op", linux.io_uring_probe_op);
    layout("io_uring_buf", linux.io_uring_buf);
    layout("io_uring_buf_ring", linux.io_uring_buf_ring);
    layout("io_uring_buf_reg", linux.io_uring_buf_reg);
    layout("io_uring_napi", linux.io_uring_napi);
    layout("kernel_timespec", linux.kernel_timespec);
    layout("epoll_event", linux.epoll_event);
    layout("Statx", linux.Statx);
    layout("statx_timestamp", linux.statx_timestamp);
    layout("msghdr", linux.msghdr);
    layout("iovec", posix.iovec);
    layout("sockaddr_in", linux.sockaddr.in);
    layout("sockaddr_in6", linux.sockaddr.in6);
    layout("sockaddr_un", linux.sockaddr.un);
}

pub fn main() void {
    print("{{\"zig\": \"{s}\",\n\"constants\": {{\n", .{@import("builtin").zig_version_string});
    constants();
    print("\n}},\n\"layouts\": {{\n", .{});
    is_first = true;
    layouts();
    comma();
    print("\"siginfo_t\": {{\"size\": {d}, \"fields\": {{\"signo\": [{d}, 4], \"errno\": [{d}, 4], \"code\": [{d}, 4], \"pid\": [{d}, 4]}}}}", .{
        @sizeOf(linux.siginfo_t),
        @offsetOf(linux.siginfo_t, "signo"),
        @offsetOf(linux.siginfo_t, "errno"),
        @offsetOf(linux.siginfo_t, "code"),
        @offsetOf(linux.siginfo_t, "fields"),
    });
    print("\n}},\n\"cases\": [\n", .{});
    is_first = true;
    cases();
    print("\n]}}\n", .{});
}
