"""`uring-matrix doctor`: what it says of machines that lack something, each lack made on purpose."""

import errno
import json
import os
import resource
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from own_archive import FakeArchive, add_what_guests_need

from uring_matrix import doctor
from uring_matrix.doctor import Check, Machine, explain_refusal, look
from vm.cache import Cache
from vm.errors import CacheError, QemuError, SettingsError
from vm.qemu import Qemu
from vm.settings import Settings
from vm.sources import Archive, Sources

from .conftest import Ended

Call = Callable[..., Ended]
QEMU = Qemu(("/usr/bin/qemu-system-x86_64",), (10, 0), "system", "0" * 64, origin="/usr/bin/qemu-system-x86_64")
IDS = [
    *("python", "apt", "sources", "mirror", "qemu", "kvm", "cache", "disk", "memory", "cpus"),
    *("io_uring", "memlock"),
]


@pytest.fixture
def machine(tmp_path: Path, archive: FakeArchive) -> Machine:
    """A machine that lacks nothing but a QEMU, which it would fetch."""
    source = Archive(archive.address, str(archive.key))
    settings = Settings(cache=tmp_path / "cache")
    return replace(look(), settings=settings, cache=Cache(settings.cache), sources=Sources(source, source), qemu=None)


@pytest.fixture
def stocked(machine: Machine) -> Machine:
    """The same machine after its first run."""
    return replace(machine, qemu=QEMU, has_image=True, has_kernels=True)


def test_every_check_is_made_once_and_in_order(cli: Call, archive: FakeArchive) -> None:
    document = json.loads(cli("doctor", "--json").out)
    assert document["schema_version"] == 1
    assert [check["id"] for check in document["checks"]] == IDS
    assert {frozenset(check) for check in document["checks"]} == {frozenset(Check.__dataclass_fields__)}
    assert {check["status"] for check in document["checks"]} <= {"ok", "warn", "fail"}


def test_the_exit_code_is_3_exactly_if_a_check_failed(cli: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = [Check("a", "A", "ok", "fine"), Check("b", "B", "warn", "so so", "do this")]
    monkeypatch.setattr(doctor, "examine", lambda _kernels: iter(checks))
    ended = cli("doctor")
    assert ended.code == 0
    assert [line.split() for line in ended.out.splitlines()[:3]] == [
        ["ok", "A", "fine"],
        ["warn", "B", "so", "so"],
        ["→", "do", "this"],
    ]
    checks.append(Check("c", "C", "fail", "no"))
    ended = cli("doctor")
    assert ended.code == 3
    assert "cannot run the matrix" in ended.out
    assert json.loads(cli("doctor", "--json").out)["is_ready"] is False


def test_a_setting_that_cannot_be_meant_is_found(cli: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("URING_MATRIX_ACCEL", "xen")
    ended = cli("doctor")
    assert ended.code == 3
    assert "URING_MATRIX_ACCEL is 'xen'" in ended.out


def test_nothing_is_written_by_looking(cli: Call, archive: FakeArchive, tmp_path: Path) -> None:
    cli("--offline", "doctor")
    assert not (tmp_path / "cache").exists()


# -- programs and packages --------------------------------------------------------------------------------------------


def test_without_apt_nothing_can_be_fetched(
    machine: Machine, stocked: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert doctor.check_apt(machine).status == "ok"
    monkeypatch.setenv("PATH", "")
    missing = doctor.check_apt(replace(machine, qemu=None))
    assert (missing.status, missing.mend is not None) == ("fail", True)
    assert "apt-get" in missing.message
    # What the cache has can be run all the same.
    assert doctor.check_apt(stocked).status == "warn"


def test_a_machine_whose_apt_names_no_debian(cli: Call, archive: FakeArchive, tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("")
    found = {check["id"]: check for check in json.loads(cli("doctor", "--json").out)["checks"]}
    assert found["sources"]["status"] == "fail"
    assert "names no Debian archive" in found["sources"]["message"]
    assert "debian-archive-keyring" in found["sources"]["mend"]
    assert found["mirror"]["status"] == "fail"
    assert found["qemu"]["status"] in {"ok", "fail"}  # a system's own QEMU needs no archive


def test_a_keyring_that_is_not_there(machine: Machine) -> None:
    assert doctor.check_sources(machine).status == "ok"
    source = Archive("file:/srv", "/no/such/keyring.gpg")
    found = doctor.check_sources(replace(machine, sources=Sources(source, source)))
    assert (found.status, found.mend) == ("fail", "sudo apt-get install debian-archive-keyring")
    assert found.message == "the keyring /no/such/keyring.gpg is not there or cannot be read"


def test_the_mirror_is_asked_through_apt(machine: Machine, archive: FakeArchive) -> None:
    assert doctor.check_mirror(machine).status == "ok"
    assert archive.requests == ["dists/trixie/InRelease"]


def test_a_mirror_that_does_not_answer(machine: Machine, stocked: Machine) -> None:
    nobody = Archive("http://127.0.0.1:9", None)
    found = doctor.check_mirror(replace(machine, sources=Sources(nobody, nobody)))
    assert found.status == "fail"
    assert "127.0.0.1:9/dists/trixie/InRelease could not be read" in found.message
    assert "Connection refused" in found.message
    found = doctor.check_mirror(replace(stocked, sources=Sources(nobody, nobody)))
    assert (found.status, "what the cache has can still be run" in found.message) == ("warn", True)


def test_a_password_in_the_address_is_not_shown(machine: Machine) -> None:
    nobody = Archive("http://user:secret@127.0.0.1:9", None)
    checked = replace(machine, sources=Sources(nobody, nobody))
    assert "secret" not in doctor.check_sources(checked).message
    assert "secret" not in doctor.check_mirror(checked).message


def test_offline_asks_nobody(machine: Machine, archive: FakeArchive) -> None:
    settings = replace(machine.settings, offline=True)
    assert doctor.check_mirror(replace(machine, settings=settings)).status == "ok"
    assert archive.requests == []


# -- guests -----------------------------------------------------------------------------------------------------------


def test_a_missing_qemu_is_fetched_if_it_can_be(machine: Machine) -> None:
    assert doctor.check_qemu(machine).status == "ok"
    offline = replace(machine, settings=replace(machine.settings, offline=True), qemu_problem="there is none")
    assert doctor.check_qemu(offline) == Check(
        *("qemu", "QEMU", "fail", "there is none"),
        "URING_MATRIX_OFFLINE=0 uring-matrix kernels fetch all (or sudo apt-get install qemu-system-x86)",
    )
    assert "QEMU 10.0 (system" in doctor.check_qemu(replace(machine, qemu=QEMU)).message


@pytest.mark.parametrize(("accel", "status"), [("auto", "warn"), ("kvm", "fail"), ("tcg", "ok")])
def test_a_machine_without_kvm(machine: Machine, monkeypatch: pytest.MonkeyPatch, accel: str, status: str) -> None:
    monkeypatch.setattr(doctor, "kvm_obstacle", lambda _arch: "there is no /dev/kvm")
    found = doctor.check_kvm(replace(machine, settings=replace(machine.settings, accel=accel)))  # type: ignore[arg-type]
    assert found.status == status


def test_kvm_that_nobody_has_tried_is_not_called_proven(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "kvm_obstacle", lambda _arch: None)
    monkeypatch.setattr("vm.qemu.kvm_obstacle", lambda _arch: None)
    found = doctor.check_kvm(replace(machine, qemu=QEMU))
    assert (found.status, "the next run proves it" in found.message) == ("ok", True)
    # And having looked is not remembered as a verdict.
    assert machine.cache.keys("accel") == []


@pytest.mark.parametrize(("name", "status"), [("kvm", "ok"), ("tcg", "warn")])
def test_what_a_run_found_out_about_kvm_is_repeated(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, name: str, status: str
) -> None:
    monkeypatch.setattr(doctor, "kvm_obstacle", lambda _arch: None)
    monkeypatch.setattr(doctor, "choose_accel", lambda *_: SimpleNamespace(name=name, reason="a run tried it"))
    found = doctor.check_kvm(replace(machine, qemu=QEMU))
    assert (found.status, found.message.startswith("a run tried it")) == (status, True)


# -- offline ----------------------------------------------------------------------------------------------------------


def missing(ended: Ended) -> dict[str, str]:
    """What an offline run lacks, and what mends it."""
    checks = json.loads(ended.out)["checks"]
    return {check["id"]: check["mend"] for check in checks if check["status"] == "fail"}


@pytest.fixture
def no_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the system's, wherever the tests run."""
    original = doctor.shutil.which
    monkeypatch.setattr(
        doctor.shutil, "which", lambda name, **how: None if name.startswith("qemu-") else original(name, **how)
    )


@pytest.mark.usefixtures("no_qemu")
def test_offline_each_missing_part_is_named_with_what_fetches_it(
    cli: Call, archive: FakeArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It said "ready" as soon as the cache had any kernel and any guest image."""
    add_what_guests_need(archive)
    fetch = "URING_MATRIX_OFFLINE=0 uring-matrix kernels fetch"
    ended = cli("--offline", "doctor", "--json")
    assert ended.code == 3
    assert missing(ended).items() >= {"image": f"{fetch} all", "kernel-all": f"{fetch} all"}.items()
    assert missing(ended)["qemu"].startswith(f"{fetch} all")
    monkeypatch.setenv("URING_MATRIX_OFFLINE", "0")  # the option has exported it
    cli("kernels", "list")
    ended = cli("--offline", "doctor", "--json")
    assert missing(ended).items() >= {f"kernel-{name}": f"{fetch} {name}" for name in ("6.1", "6.12")}.items()
    assert archive.requests[-1].startswith("dists/")


@pytest.mark.usefixtures("no_qemu")
def test_offline_what_a_fetch_has_brought_is_not_missing(cli: Call, archive: FakeArchive) -> None:
    add_what_guests_need(archive)
    assert cli("kernels", "fetch", "6.1").code == 0
    ended = cli("doctor", "--offline", "--json")
    assert (ended.code, missing(ended)) == (
        3,
        {"kernel-6.12": "URING_MATRIX_OFFLINE=0 uring-matrix kernels fetch 6.12"},
    ), ended
    assert "An offline run has all it needs." in cli("doctor", "--offline", "6.1").out
    # Whoever names no kernel is told that there may be others.
    shutil.rmtree("../cache/apt")
    checks = {one["id"]: one["status"] for one in json.loads(cli("doctor", "--offline", "--json").out)["checks"]}
    assert (checks["image"], checks["qemu"], checks["kernel-6.1"], checks["kernels"]) == ("ok", "ok", "ok", "warn")
    assert list(missing(cli("doctor", "--offline", "--json", "6.1", "6.12"))) == ["kernel-6.12"]
    for folder in ("runtime", "packages", "qemu"):
        shutil.rmtree(f"../cache/{folder}")
    ended = cli("doctor", "--offline", "--json", "6.1")
    assert (ended.code, sorted(missing(ended))) == (3, ["image", "qemu"]), ended


def test_a_damaged_kernel_is_missing(cli: Call, archive: FakeArchive) -> None:
    add_what_guests_need(archive)
    assert cli("kernels", "fetch", "6.1").code == 0
    for image in Path("../cache/kernels").glob("*/vmlinuz"):
        image.write_bytes(b"something else")
    assert list(missing(cli("doctor", "--offline", "--json", "6.1"))) == ["kernel-6.1"]


def test_a_kernel_that_is_named_is_looked_for_and_a_wrong_word_refused(cli: Call, archive: FakeArchive) -> None:
    cli("kernels", "list")
    checks = {one["id"]: one["status"] for one in json.loads(cli("doctor", "--json", "6.1").out)["checks"]}
    assert checks["kernel-6.1"] == "warn"
    for name in ("6.l", "./nothing"):
        ended = cli("doctor", "--offline", name)
        assert (ended.code, name in ended.err) == (2, True), ended


# -- room -------------------------------------------------------------------------------------------------------------


def test_a_cache_that_cannot_be_written(machine: Machine, stocked: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_cache(machine).status == "ok"

    def refuse(dir: Path) -> None:  # noqa: A002 -- the name of tempfile's argument
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(dir))

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
    found = doctor.check_cache(machine)
    assert (found.status, "Read-only file system" in found.message) == ("fail", True)
    assert "URING_MATRIX_CACHE" in (found.mend or "")
    assert doctor.check_cache(stocked).status == "warn"


def test_a_cache_that_only_serves_is_said_at_the_end(cli: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was "can run the matrix", although no kernel could be fetched."""
    checks = [Check("cache", "Cache", "warn", "it cannot be written", "choose another")]
    monkeypatch.setattr(doctor, "examine", lambda _kernels: iter(checks))
    ended = cli("doctor")
    assert ended.code == 0
    assert ended.out.splitlines()[-1] == "This machine can run what its cache holds, and fetch nothing more."


@pytest.mark.parametrize(
    ("error", "name"),
    [(SettingsError("x"), "settings"), (QemuError("x"), "qemu"), (CacheError("x"), "cache")],
)
def test_what_ends_the_look_is_the_check_that_it_is_about(
    monkeypatch: pytest.MonkeyPatch, error: Exception, name: str
) -> None:
    def refuse() -> Machine:
        raise error

    monkeypatch.setattr(doctor, "look", refuse)
    found = list(doctor.examine())[-1]
    assert (found.id, found.status, found.message) == (name, "fail", "x")


@pytest.mark.parametrize(("free_mb", "status"), [(50_000, "ok"), (700, "warn"), (20, "fail")])
def test_free_disk(machine: Machine, monkeypatch: pytest.MonkeyPatch, free_mb: int, status: str) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _path: SimpleNamespace(free=free_mb * 1_000_000))
    assert doctor.check_disk(machine).status == status


@pytest.mark.parametrize(
    ("available_mb", "status", "mend"), [(9_000, "ok", None), (500, "warn", "-n 1"), (50, "fail", "")]
)
def test_memory(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, available_mb: int, status: str, mend: str | None
) -> None:
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda _pid: {0, 1})
    memory = SimpleNamespace(available=available_mb * 1_000_000)
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: memory)
    found = doctor.check_memory(machine)
    assert found.status == status
    assert found.mend is None if mend is None else mend in str(found.mend)


# -- io_uring on the host ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "disabled", "is_filtered", "why", "mend"),
    [
        (errno.EPERM, 2, False, "forbids it to everybody", "sysctl kernel.io_uring_disabled=0"),
        (errno.EPERM, 1, True, "io_uring_group", "sysctl kernel.io_uring_disabled=0"),
        (errno.EPERM, 0, True, "seccomp", "seccomp=unconfined"),
        (errno.EPERM, None, False, "security module", "dmesg"),
        (errno.ENOSYS, None, True, "hides it", "seccomp=unconfined"),
        (errno.ENOSYS, None, False, "lacks it", None),
        (errno.ENOMEM, None, False, "memory could be locked", "ulimit -l unlimited"),
        (errno.EMFILE, None, False, "could not be set up", None),
    ],
)
def test_why_this_machine_gives_no_ring(
    number: int, disabled: int | None, is_filtered: bool, why: str, mend: str | None
) -> None:
    reason, command = explain_refusal(number, disabled, is_filtered)
    assert why in reason
    assert command is None if mend is None else mend in str(command)


def test_a_host_without_io_uring_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_entries: int, _flags: int) -> None:
        raise doctor.uring.SystemOutdated(errno.ENOSYS, "io_uring_setup")

    monkeypatch.setattr(doctor.uring.IoUring, "init", refuse)
    found = doctor.check_io_uring()
    assert (found.status, "guests are not affected" in found.message) == ("warn", True)


@pytest.mark.parametrize(
    ("limit", "user", "status"),
    [(resource.RLIM_INFINITY, 1000, "ok"), (8 << 20, 1000, "ok"), (64 << 10, 1000, "warn"), (64 << 10, 0, "ok")],
)
def test_locked_memory(monkeypatch: pytest.MonkeyPatch, limit: int, user: int, status: str) -> None:
    monkeypatch.setattr(doctor.resource, "getrlimit", lambda _what: (limit, limit))
    monkeypatch.setattr(doctor.os, "geteuid", lambda: user)
    assert doctor.check_memlock().status == status
