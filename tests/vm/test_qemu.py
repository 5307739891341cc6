"""Which QEMU runs, where it comes from without root, and KVM only after it has proved itself."""

import dataclasses
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import Recorder
from fake_archive import FakeArchive
from fake_guest import LIBRARIES, add_qemu, program

from vm import apt, qemu
from vm.apt import Archive
from vm.cache import Cache, hash_file
from vm.errors import BootError, CacheError, FetchError, QemuError, SignatureError
from vm.qemu import Accel, Qemu, choose_accel, find_qemu, host_arch, kvm_obstacle
from vm.settings import Settings

Connect = Callable[..., Archive]


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Path]:
    """Puts a QEMU before all others; without a call there is none, wherever the tests run."""
    folder = tmp_path / "bin"
    folder.mkdir()
    original = shutil.which

    def which(name: str) -> str | None:
        return original(name, path=str(folder)) if name.startswith("qemu-") else original(name)

    monkeypatch.setattr(shutil, "which", which)

    def put(content: bytes) -> Path:
        path = folder / "qemu-system-x86_64"
        path.write_bytes(content)
        path.chmod(0o755)
        return path

    return put


@pytest.fixture
def stocked(fake: FakeArchive) -> FakeArchive:
    """An archive with a QEMU, its libraries and its firmware."""
    add_qemu(fake)
    fake.publish()
    return fake


@pytest.fixture
def find(
    connect: Connect, cache: Cache, settings: Settings, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Qemu]:
    original = apt.configuration
    monkeypatch.setattr(apt, "configuration", lambda *arguments: original(*arguments) + 'Acquire::Retries "0";\n')
    monkeypatch.setattr(qemu, "host_arch", lambda: "amd64")

    def run(*suites: str, **changes: Any) -> Qemu:
        chosen = dataclasses.replace(settings, **changes)
        archives = [connect(suite, settings=chosen) for suite in suites or ("new",)]
        return find_qemu("amd64", cache, chosen, recorder, archives=archives)

    return run


Find = Callable[..., Qemu]


# -- the system's -----------------------------------------------------------------------------------------------------


def test_a_good_system_qemu_is_used(
    system: Callable[[bytes], Path], find: Find, stocked: FakeArchive, recorder: Recorder
) -> None:
    path = system(program("8.2.1"))
    assert find() == Qemu((str(path),), (8, 2, 1), "system", hash_file(path), {}, str(path))
    assert (stocked.requests, recorder.notes) == ([], [])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (program("5.2.0"), r"it is version 5\.2\.0, and 6\.0 or newer is needed"),
        (program(machine="isapc"), "it has no machine type 'pc'"),
        (program(accel="kvm"), "built without emulation"),
        (program(status=127), "ended with status 127"),
        (b"#!/bin/sh\necho hello\n", r"--version says 'hello'"),
        (b"not a program", "does not run"),
    ],
)
@pytest.mark.usefixtures("stocked")
def test_a_bad_system_qemu_is_replaced_with_a_note(
    content: bytes, why: str, system: Callable[[bytes], Path], find: Find, recorder: Recorder
) -> None:
    system(content)
    assert find().source == "fetched"
    (note,) = recorder.notes
    assert re.fullmatch(rf"the system's QEMU is not used: .*{why}.*", note)


# -- our own ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("system", "stocked")
def test_a_fetched_qemu_starts_through_its_own_loader_and_has_what_it_needs(find: Find, cache: Cache) -> None:
    found = find()
    (key,) = cache.keys("qemu")
    root = cache.directory / "qemu" / key
    assert (found.version, found.source, found.origin) == ((10, 0, 2), "fetched", "qemu-system-x86=1:10.0.2-1")
    assert str(found) == "QEMU 10.0.2 (fetched: qemu-system-x86=1:10.0.2-1)"
    assert found.command == (
        f"{root}/{LIBRARIES}/ld-linux-x86-64.so.2",
        "--inhibit-cache",
        "--library-path",
        f"{root}/{LIBRARIES}",
        f"{root}/usr/bin/qemu-system-x86_64",
        "-L",
        f"{root}/usr/share/qemu",
        "-L",
        f"{root}/usr/share/seabios",
    )
    assert found.environment["QEMU_MODULE_DIR"] == f"{root}/{LIBRARIES}/qemu"
    assert found.sha256 == hash_file(root / "usr/bin/qemu-system-x86_64")
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())
    assert names == [
        "manifest.json",
        "usr/bin/qemu-system-x86_64",
        f"{LIBRARIES}/ld-linux-x86-64.so.2",
        f"{LIBRARIES}/libgcc_s.so.1",
        f"{LIBRARIES}/libneeded.so.1",
        f"{LIBRARIES}/libneeded.so.1.2",
        f"{LIBRARIES}/qemu/accel-tcg-x86_64.so",
        "usr/share/qemu/linuxboot_dma.bin",
        "usr/share/seabios/bios-256k.bin",
    ]


@pytest.mark.usefixtures("system")
def test_it_is_fetched_once_and_needs_no_network_afterwards(find: Find, stocked: FakeArchive) -> None:
    first = find()
    stocked.requests.clear()
    assert find(offline=True) == first
    assert stocked.requests == []


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize(
    "name", ["usr/bin/qemu-system-x86_64", f"{LIBRARIES}/libneeded.so.1.2", "usr/share/seabios/bios-256k.bin"]
)
def test_a_damaged_one_is_fetched_again(
    name: str, find: Find, stocked: FakeArchive, cache: Cache, recorder: Recorder
) -> None:
    first = find()
    path = cache.directory / "qemu" / cache.keys("qemu")[0] / name
    path.write_bytes(path.read_bytes()[:-1])
    stocked.requests.clear()
    assert find() == first
    assert any("qemu-system-x86_" in request for request in stocked.requests)
    assert "was damaged" in recorder.notes[0]


@pytest.mark.usefixtures("system")
def test_the_next_archive_is_asked_when_the_first_has_none(find: Find, fake: FakeArchive) -> None:
    fake.add("empty", "something", "1")
    add_qemu(fake)
    fake.publish()
    assert find("empty", "new").source == "fetched"


@pytest.mark.usefixtures("system")
def test_one_that_does_not_answer_is_not_kept(find: Find, fake: FakeArchive, cache: Cache) -> None:
    add_qemu(fake, program(status=1))
    fake.publish()
    with pytest.raises(QemuError, match="ended with status 1"):
        find()
    assert cache.keys("qemu") == []


@pytest.mark.usefixtures("system")
def test_a_closure_without_a_library_is_not_kept(find: Find, fake: FakeArchive, cache: Cache) -> None:
    add_qemu(fake, more='echo "        libgone.so.3 => not found"')
    fake.publish()
    with pytest.raises(QemuError, match=r"lack a library: libgone\.so\.3"):
        find()
    assert cache.keys("qemu") == []


@pytest.mark.usefixtures("system")
def test_with_none_to_be_had_the_error_says_what_helps(find: Find, fake: FakeArchive) -> None:
    fake.add("new", "something", "1")
    fake.publish()
    with pytest.raises(
        QemuError, match=r"there is no qemu-system-x86_64 .*Installing the package qemu-system-x86"
    ) as caught:
        find()
    assert isinstance(caught.value.__cause__, FetchError)


@pytest.mark.usefixtures("system")
def test_a_bad_signature_ends_the_search(find: Find, stocked: FakeArchive) -> None:
    add_qemu(stocked, suite="other")
    stocked.publish()
    release = stocked.root / "dists/new/InRelease"
    release.write_text(release.read_text().replace("Origin: Debian", "Origin: Devian"))
    with pytest.raises(SignatureError):
        find("new", "other")


@pytest.mark.usefixtures("stocked")
def test_a_cache_that_programs_cannot_be_started_from_is_named(
    system: Callable[[bytes], Path], find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu, "_drop_unneeded", lambda directory, loader, _program: (directory / loader).chmod(0o644))
    with pytest.raises(QemuError, match="may be mounted noexec; choose another place with --cache"):
        find()


def test_an_architecture_without_a_program_is_an_error(cache: Cache, settings: Settings) -> None:
    with pytest.raises(QemuError, match="no QEMU program is known for vax guests"):
        find_qemu("vax", cache, settings)


# -- acceleration -----------------------------------------------------------------------------------------------------

FOUND = Qemu(("qemu",), (10, 0), "system", "sha")


class Proof:
    """A proof that counts how often it was asked for."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.count = error, 0

    def __call__(self) -> None:
        self.count += 1
        if self.error is not None:
            raise self.error


@pytest.fixture
def obstacle(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    return lambda text: monkeypatch.setattr(qemu, "kvm_obstacle", lambda _arch: text)


@pytest.fixture
def choose(cache: Cache, settings: Settings, recorder: Recorder) -> Callable[..., Accel]:
    def run(prove: Proof, accel: Any = "auto", found: Qemu = FOUND, own_kernel: str = "") -> Accel:
        chosen = dataclasses.replace(settings, accel=accel)
        return choose_accel(found, "amd64", cache, chosen, prove, recorder, own_kernel)

    return run


Choose = Callable[..., Accel]


def test_kvm_that_boots_a_kernel_is_used_and_proves_itself_once(
    choose: Choose, obstacle: Callable[[str | None], None], recorder: Recorder
) -> None:
    obstacle(None)
    prove = Proof()
    first = choose(prove)
    assert first.name == "kvm"
    assert first.reason.startswith("a kernel booted with KVM in ")
    assert choose(prove) == first
    assert prove.count == 1
    assert ("trying KVM with a short boot", None) in recorder.stages


def test_what_a_kernel_of_the_users_own_says_of_kvm_holds_for_it_alone(
    choose: Choose, obstacle: Callable[[str | None], None]
) -> None:
    """It may be what is broken: others are emulated for that only when a kernel that is known to boot did not."""
    obstacle(None)
    assert choose(Proof(BootError("nothing came within 15 s")), own_kernel="a" * 64).name == "tcg"
    assert choose(Proof()).name == "kvm"
    assert choose(Proof(), own_kernel="a" * 64).name == "tcg"


def test_kvm_that_does_not_boot_is_not_used_and_that_is_remembered(
    choose: Choose, obstacle: Callable[[str | None], None], recorder: Recorder
) -> None:
    obstacle(None)
    prove = Proof(BootError("nothing came within 15 s\nthe console's end: SeaBIOS"))
    for _attempt in range(2):
        found = choose(prove)
        assert found == Accel("tcg", "/dev/kvm is there, but a kernel did not boot with it: nothing came within 15 s")
    assert prove.count == 1
    assert recorder.notes == ["KVM does not work here, guests are emulated: nothing came within 15 s"]


@pytest.mark.parametrize("change", ["another QEMU", "another boot of the machine"])
def test_the_verdict_is_for_this_boot_and_this_qemu(
    change: str, choose: Choose, obstacle: Callable[[str | None], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    obstacle(None)
    prove = Proof()
    choose(prove)
    if change == "another QEMU":
        choose(prove, found=dataclasses.replace(FOUND, sha256="other"))
    else:
        original = qemu._read
        monkeypatch.setattr(qemu, "_read", lambda path: "other" if "boot_id" in str(path) else original(path))
        choose(prove)
    assert prove.count == 2


def test_a_mistake_of_ours_is_no_verdict(choose: Choose, obstacle: Callable[[str | None], None]) -> None:
    obstacle(None)
    with pytest.raises(ZeroDivisionError):
        choose(Proof(ZeroDivisionError()))
    assert choose(Proof()).name == "kvm"


def test_where_nothing_can_be_written_kvm_proves_itself_each_time(
    choose: Choose, obstacle: Callable[[str | None], None], cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> Mapping[str, Any]:
        raise CacheError("the cache cannot be written")

    obstacle(None)
    monkeypatch.setattr(cache, "get_or_build", refuse)
    prove = Proof()
    assert [choose(prove).name, choose(prove).name] == ["kvm", "kvm"]
    assert prove.count == 2


def test_the_users_word_outweighs_everything(choose: Choose, obstacle: Callable[[str | None], None]) -> None:
    obstacle(None)
    never = Proof(AssertionError("asked for a proof"))
    assert choose(never, "kvm") == Accel("kvm", "KVM was asked for")
    assert choose(never, "tcg") == Accel("tcg", "emulation was asked for")
    obstacle("there is no /dev/kvm")
    assert choose(never) == Accel("tcg", "there is no /dev/kvm")
    assert choose(never, "tcg").name == "tcg"
    with pytest.raises(QemuError, match="KVM was asked for, but there is no /dev/kvm; use --accel auto or tcg"):
        choose(never, "kvm")


def test_what_stands_in_kvms_way_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu, "_HOSTS", {os.uname().machine: "amd64"})
    assert "runs no vax guests" in str(kvm_obstacle("vax"))
    monkeypatch.setattr(qemu, "_KVM", tmp_path / "kvm")
    assert "there is no " in str(kvm_obstacle("amd64"))
    (tmp_path / "kvm").write_bytes(b"no device")
    assert "does not answer" in str(kvm_obstacle("amd64"))
    monkeypatch.setattr(qemu, "_KVM", tmp_path)
    assert "cannot be opened (Is a directory); membership in the group kvm" in str(kvm_obstacle("amd64"))


def test_a_machine_without_packages_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu, "_HOSTS", {})
    with pytest.raises(QemuError, match="no QEMU packages are known for"):
        host_arch()
