"""What makes a guest a small Debian: users, hosts, a place for everything, a shell and the usual small programs."""

import stat
from collections.abc import Callable, Iterable, Iterator

from vm import cpio

# Debian packages, and what of them a guest needs.
PACKAGES = ("busybox", "libc-bin", "netbase")
MEMBERS = frozenset({"etc/protocols", "etc/services", "usr/bin/busybox"})
# The only locale but "C", whose name is the guest's LANG.
LOCALE = "usr/lib/locale/C.utf8"
BUSYBOX = "usr/bin/busybox"
# Programs that busybox could be, too, and should not: the guest has another PID 1, and no package manager that a test
# could find; and a kernel that finds modprobe starts it, again and again, for modules that no guest has.
_UNWANTED_APPLETS = frozenset({
    "depmod", "dpkg", "dpkg-deb", "init", "insmod", "linuxrc", "lsmod", "modinfo", "modprobe", "rmmod", "rpm",
    "rpm2cpio",
})  # fmt: skip
HOSTNAME = "guest"
_DIRECTORIES = {
    "etc": 0o755,
    "home": 0o755,
    "mnt": 0o755,
    "opt": 0o755,
    "root": 0o700,
    "run": 0o755,
    "tmp": 0o1777,
    "var": 0o755,
    "var/lib": 0o755,
    "var/log": 0o755,
    "var/tmp": 0o1777,
}
_LINKS = {"var/run": "/run", "etc/mtab": "/proc/mounts"}
# Name, number, group, home and shell. The numbers are Debian's.
_USERS = (
    ("root", 0, 0, "/root", "/bin/sh"),
    ("daemon", 1, 1, "/usr/sbin", "/usr/sbin/nologin"),
    ("bin", 2, 2, "/bin", "/usr/sbin/nologin"),
    ("sys", 3, 3, "/dev", "/usr/sbin/nologin"),
    ("games", 5, 60, "/usr/games", "/usr/sbin/nologin"),
    ("man", 6, 12, "/var/cache/man", "/usr/sbin/nologin"),
    ("mail", 8, 8, "/var/mail", "/usr/sbin/nologin"),
    ("www-data", 33, 33, "/var/www", "/usr/sbin/nologin"),
    ("backup", 34, 34, "/var/backups", "/usr/sbin/nologin"),
    ("nobody", 65534, 65534, "/nonexistent", "/usr/sbin/nologin"),
)
_GROUPS = {
    "root": 0, "daemon": 1, "bin": 2, "sys": 3, "adm": 4, "tty": 5, "disk": 6, "mail": 8, "man": 12, "kmem": 15,
    "dialout": 20, "cdrom": 24, "floppy": 25, "sudo": 27, "audio": 29, "www-data": 33, "backup": 34, "shadow": 42,
    "utmp": 43, "video": 44, "staff": 50, "games": 60, "users": 100, "nogroup": 65534,
}  # fmt: skip
_FILES = {
    "etc/group": "".join(f"{name}:x:{number}:\n" for name, number in _GROUPS.items()),
    "etc/host.conf": "multi on\n",  # all of a name's addresses
    "etc/hostname": f"{HOSTNAME}\n",
    "etc/hosts": f"127.0.0.1\tlocalhost\n127.0.1.1\t{HOSTNAME}\n::1\tlocalhost ip6-localhost ip6-loopback\n",
    # No `dns`: there is nobody to ask, and an unknown name is unknown at once.
    "etc/nsswitch.conf": "".join(
        f"{name}: files\n" for name in ("passwd", "group", "hosts", "networks", "protocols", "services")
    ),
    "etc/os-release": (
        'PRETTY_NAME="uring-matrix guest (Debian trixie)"\nNAME="Debian GNU/Linux"\nID=debian\n'
        'VERSION_ID="13"\nVERSION_CODENAME=trixie\n'
    ),
    "etc/passwd": "".join(
        f"{name}:x:{number}:{group}:{name}:{home}:{shell}\n" for name, number, group, home, shell in _USERS
    ),
    "etc/shells": "/bin/sh\n/bin/ash\n",
}


def entries(applets: Iterable[str], is_there: Callable[[str], bool]) -> Iterator[cpio.Entry]:
    """Everything that no package brings.

    Args:
        applets: what ``busybox --list-full`` says.
        is_there: whether a package brings a file of this name.
    """
    for name, permissions in _DIRECTORIES.items():
        yield cpio.directory(name, permissions)
    for name, target in _LINKS.items():
        yield cpio.symlink(name, target)
    for name, text in _FILES.items():
        yield cpio.Entry(name, stat.S_IFREG | 0o644, text.encode())
    for name in programs(applets):
        if not is_there(name):
            yield cpio.symlink(name, f"/{BUSYBOX}")


def programs(applets: Iterable[str]) -> list[str]:
    """Where busybox's applets lie on a system with merged /usr."""
    wanted = [name for name in applets if name.rpartition("/")[2] not in _UNWANTED_APPLETS]
    return sorted({name if name.startswith("usr/") else f"usr/{name}" for name in wanted})
