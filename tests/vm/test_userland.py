"""What makes a guest a small Debian, entry by entry."""

import stat

import pytest

from vm import cpio, userland

_LISTED = ["bin/sh", "usr/bin/[", "sbin/mke2fs", "usr/sbin/chroot", "linuxrc", "sbin/init", "sbin/modprobe"]


@pytest.fixture
def entries() -> dict[str, cpio.Entry]:
    return {entry.path: entry for entry in userland.entries(_LISTED, lambda name: name == "usr/sbin/mke2fs")}


def test_programs_lie_where_merged_usr_has_them(entries: dict[str, cpio.Entry]) -> None:
    links = {name: entry.data for name, entry in entries.items() if entry.data == b"/usr/bin/busybox"}
    assert set(links) == {"usr/bin/sh", "usr/bin/[", "usr/sbin/chroot"}


def test_a_packages_own_program_wins(entries: dict[str, cpio.Entry]) -> None:
    assert "usr/sbin/mke2fs" not in entries


@pytest.mark.parametrize("program", ["init", "modprobe", "linuxrc"])
def test_nothing_takes_the_kernels_or_pid_1s_place(entries: dict[str, cpio.Entry], program: str) -> None:
    """A kernel that finds modprobe starts it, again and again."""
    assert not any(name.endswith(program) for name in entries)


def test_parents_come_before_children(entries: dict[str, cpio.Entry]) -> None:
    made = set()
    for name, entry in entries.items():
        parent = name.rpartition("/")[0]
        assert parent in made or parent.startswith("usr") or not parent
        if stat.S_ISDIR(entry.mode):
            made.add(name)


@pytest.mark.parametrize(("name", "fields"), [("etc/passwd", 7), ("etc/group", 4)])
def test_every_line_has_its_fields(entries: dict[str, cpio.Entry], name: str, fields: int) -> None:
    lines = entries[name].data.decode().splitlines()
    assert {len(line.split(":")) for line in lines} == {fields}
    assert len({line.split(":")[0] for line in lines}) == len(lines)


def test_every_user_has_a_group(entries: dict[str, cpio.Entry]) -> None:
    groups = {line.split(":")[2] for line in entries["etc/group"].data.decode().splitlines()}
    assert {line.split(":")[3] for line in entries["etc/passwd"].data.decode().splitlines()} <= groups
