"""apt with a root of its own: what it lists, what it refuses, and what is left when it is interrupted.

Everything here talks to a signed archive on this machine; nothing needs the network.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Recorder
from fake_archive import FakeArchive, make_key

from vm import apt, apt_process
from vm.apt import Archive
from vm.apt_process import Output
from vm.apt_text import Package, failures
from vm.cache import Cache
from vm.errors import CacheError, FetchError, PackageGoneError, SignatureError
from vm.settings import Settings
from vm.sources import Archive as Source
from vm.sources import Sources

Connect = Callable[..., Archive]
KERNEL = "linux-image-6.1.0-1-cloud-amd64"


@pytest.fixture
def stocked(fake: FakeArchive) -> FakeArchive:
    """An archive of two suites with a few kernels and a little closure."""
    fake.add("old", "linux-image-5.10.0-1-cloud-amd64", "5.10.1-1", {"boot/vmlinuz-5.10": os.urandom(50_000)})
    fake.add("new", KERNEL, "6.1.1-1", {"boot/vmlinuz-6.1": os.urandom(50_000)})
    fake.add("new", "tool", "1:2.0-1", {"usr/bin/tool": b"t"}, depends="library (>= 1.0), data")
    fake.add("new", "library", "1.5", {"usr/lib/library.so": b"l"})
    fake.add("new", "data", "3", {"usr/share/data": b"d"}, architecture="all")
    fake.add("new", "broken", "1", depends="nowhere")
    fake.publish()
    return fake


def make_stale(cache: Cache) -> None:
    """Let a day and more go by."""
    for path in cache.directory.glob("apt/*/suites.json"):
        state = json.loads(path.read_bytes())
        for known in state.values():
            known["updated"] -= apt.STALE_AFTER_S + 60
        path.write_text(json.dumps(state))


def nowhere() -> Sources:
    """An archive at an address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        source = Source(f"http://127.0.0.1:{free.getsockname()[1]}", None)
    return Sources(source, source)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries cost seconds, and here they cannot help."""
    original = apt.configuration
    monkeypatch.setattr(apt, "configuration", lambda *arguments: original(*arguments) + 'Acquire::Retries "0";\n')


# -- the index --------------------------------------------------------------------------------------------------------


def test_packages_of_all_suites_are_listed_with_what_is_needed_to_fetch_them(
    stocked: FakeArchive, connect: Connect
) -> None:
    found = connect("old", "new").kernel_packages()
    assert [(package.name, package.version, package.suite) for package in found] == [
        ("linux-image-5.10.0-1-cloud-amd64", "5.10.1-1", "old"),
        (KERNEL, "6.1.1-1", "new"),
    ]
    file = stocked.root / found[1].filename
    assert found[1].size_bytes == file.stat().st_size
    assert found[1].installed_bytes == 20_000 * 1024


def test_sources_are_listed_apart_from_what_can_be_booted(stocked: FakeArchive, connect: Connect) -> None:
    stocked.add("new", "linux-source-6.1", "6.1.1-1")
    stocked.publish("new")
    archive = connect("new")
    for _ in range(2):  # the second time as it is remembered
        assert [package.name for package in archive.kernel_packages(apt.SOURCES)] == ["linux-source-6.1"]
        assert [package.name for package in archive.kernel_packages()] == [KERNEL]


def test_an_archive_on_the_disk_will_do(stocked: FakeArchive, connect: Connect, tmp_path: Path) -> None:
    source = Source(f"file:{stocked.root}", str(stocked.key))
    archive = connect("old", "new", sources=Sources(source, source))
    packages = archive.kernel_packages()
    assert [package.suite for package in packages] == ["old", "new"]
    assert [file.stat().st_size for file in archive.download(packages)] == [package.size_bytes for package in packages]
    assert stocked.requests == []


def test_a_fresh_index_is_not_asked_for_again(stocked: FakeArchive, connect: Connect) -> None:
    first = connect("old", "new").kernel_packages()
    stocked.requests.clear()
    archive = connect("old", "new")
    assert archive.kernel_packages() == first
    assert stocked.requests == []
    archive.update(force=True)
    assert stocked.requests != []


def test_an_index_of_yesterday_is_read_again_and_its_news_is_seen(
    stocked: FakeArchive, connect: Connect, cache: Cache
) -> None:
    connect("new").kernel_packages()
    stocked.add("new", "linux-image-6.1.0-2-cloud-amd64", "6.1.2-1")
    stocked.publish("new")
    make_stale(cache)
    assert "6.1.2-1" in {package.version for package in connect("new").kernel_packages()}
    assert len(cache.keys("index")) == 1


def test_a_suite_the_mirror_lacks_is_left_out_with_a_note(
    stocked: FakeArchive, connect: Connect, recorder: Recorder
) -> None:
    archive = connect("old", "absent", "to-come", "new", optional=["to-come"])
    assert len(archive.kernel_packages()) == 2
    assert recorder.notes == ["not on this mirror, left out: absent"]
    stocked.requests.clear()
    assert len(connect("old", "absent", "to-come", "new").kernel_packages()) == 2
    assert stocked.requests == []


@pytest.mark.usefixtures("stocked")
def test_a_mirror_that_has_none_of_the_suites_is_an_error(connect: Connect) -> None:
    with pytest.raises(
        FetchError, match=r"has none of the suites absent, other; is it the address of a Debian archive"
    ):
        connect("absent", "other").update()


@pytest.mark.usefixtures("impatient")
def test_without_network_and_without_lists_the_error_names_the_suite_and_the_ways_out(connect: Connect) -> None:
    with pytest.raises(FetchError, match=r"could not read the suite new of http://127.*--mirror") as caught:
        connect("new", sources=nowhere()).update()
    assert not isinstance(caught.value, SignatureError)


@pytest.mark.usefixtures("impatient")
def test_without_network_the_lists_of_yesterday_are_used_with_a_note_until_it_is_back(
    stocked: FakeArchive, connect: Connect, cache: Cache, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = connect("new").kernel_packages()
    make_stale(cache)
    original = apt.configuration
    # To apt, a proxy that is not there is a network that is down.
    proxy = f'Acquire::http::Proxy "{nowhere().main.uri}";\n'
    monkeypatch.setattr(apt, "configuration", lambda *arguments: original(*arguments) + proxy)
    assert connect("new").kernel_packages() == first
    assert len(recorder.notes) == 1
    assert "new could not be read" in recorder.notes[0]
    assert "its list of 24 hours ago is used" in recorder.notes[0]
    monkeypatch.setattr(apt, "configuration", original)
    stocked.requests.clear()
    assert connect("new").kernel_packages() == first
    assert stocked.requests != []


def test_an_update_that_hangs_is_ended_and_the_lists_of_yesterday_are_used(
    stocked: FakeArchive, connect: Connect, cache: Cache, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = connect("new").kernel_packages()
    make_stale(cache)
    stocked.stalled["dists/new/InRelease"] = 100
    monkeypatch.setattr(apt_process, "SILENCE_MAX_S", 1.0)
    assert connect("new").kernel_packages() == first
    assert recorder.notes[0].startswith("package lists are not brought up to date: apt made no progress for 1 s")
    with pytest.raises(FetchError, match="apt made no progress"):
        connect("new", "old").update()


def test_offline_asks_nobody(stocked: FakeArchive, connect: Connect, settings: Settings, cache: Cache) -> None:
    first = connect("new").kernel_packages()
    make_stale(cache)
    stocked.requests.clear()
    assert connect("new", settings=dataclasses.replace(settings, offline=True)).kernel_packages() == first
    assert stocked.requests == []


@pytest.mark.usefixtures("stocked")
def test_offline_with_nothing_in_the_cache_says_so(connect: Connect, settings: Settings) -> None:
    with pytest.raises(FetchError, match=r"^offline was asked for: run `uring.* lacks package lists \(new\)"):
        connect("new", settings=dataclasses.replace(settings, offline=True)).update()


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:100]), id="truncated"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-9] + b"x" * 9), id="changed"),
        pytest.param(lambda path: path.unlink(), id="removed"),
    ],
)
def test_a_damaged_list_is_fetched_again(
    harm: Callable[[Path], object], stocked: FakeArchive, connect: Connect, cache: Cache
) -> None:
    first = connect("new").kernel_packages()
    (path,) = cache.directory.glob("apt/*/lists/*_Packages*")
    harm(path)
    for key in cache.keys("index"):
        cache.remove("index", key)
    stocked.requests.clear()
    assert connect("new").kernel_packages() == first
    assert any("Packages" in request for request in stocked.requests)


@pytest.mark.parametrize("question", ["kernels", "closure"])
def test_a_list_whose_damage_does_not_show_outside_is_fetched_again(
    question: str, stocked: FakeArchive, connect: Connect, cache: Cache, settings: Settings
) -> None:
    def ask(archive: Archive) -> list[Package]:
        return archive.kernel_packages() if question == "kernels" else archive.resolve(["tool"])

    def harm() -> None:
        (path,) = cache.directory.glob("apt/*/lists/*_Packages*")
        times, content = path.stat(), bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        for kind in ("index", "closure"):
            for key in cache.keys(kind):
                cache.remove(kind, key)

    first = ask(connect("new"))
    harm()
    assert ask(connect("new")) == first
    harm()
    with pytest.raises(FetchError, match="the package list of new was damaged"):
        ask(connect("new", settings=dataclasses.replace(settings, offline=True)))


def test_a_cache_that_was_copied_serves_where_there_is_no_apt(
    stocked: FakeArchive,
    connect: Connect,
    cache: Cache,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    archive = connect("new")
    packages, closure = archive.kernel_packages(), archive.resolve(["tool"])
    files = archive.download(closure)
    copy = Cache(tmp_path / "copy", recorder)
    shutil.copytree(cache.directory, copy.directory, copy_function=shutil.copyfile)
    monkeypatch.setenv("PATH", str(tmp_path))
    elsewhere = Archive(["new"], "amd64", copy, Settings(cache=copy.directory), recorder)
    assert elsewhere.kernel_packages() == packages
    assert elsewhere.resolve(["tool"]) == closure
    assert [file.name for file in elsewhere.download(closure)] == [file.name for file in files]
    (note,) = recorder.notes
    assert note.startswith("only what is in the cache can be used: apt is not to be had on this machine")
    with pytest.raises(FetchError, match="apt"):
        elsewhere.download(packages)
    with pytest.raises(FetchError, match="apt is not to be had"):
        Archive(["new"], "amd64", Cache(tmp_path / "empty"), Settings(cache=tmp_path / "empty")).update()


def test_a_broken_record_of_suites_is_as_good_as_none(stocked: FakeArchive, connect: Connect, cache: Cache) -> None:
    connect("new").update()
    (path,) = cache.directory.glob("apt/*/suites.json")
    path.write_text("[1, 2")
    assert len(connect("new").kernel_packages()) == 1


# -- signatures -------------------------------------------------------------------------------------------------------


def tamper(archive: FakeArchive) -> None:
    path = archive.root / "dists/new/InRelease"
    path.write_text(path.read_text().replace("Origin: Debian", "Origin: Devian"))


def sign_by_another(archive: FakeArchive) -> None:
    archive.sign(archive.root / "dists/new", make_key())


def sign_by_an_expired_key(archive: FakeArchive) -> None:
    """The key is a minute old when it is made, to allow for clocks that differ: it can have expired by now."""
    secret = make_key()
    expired = secret.extract_certificate().set_expiration(datetime.now(UTC) - timedelta(seconds=5), secret.certifier())
    archive.key.write_bytes(archive.key.read_bytes() + bytes(expired))
    archive.sign(archive.root / "dists/new", secret)


def leave_unsigned(archive: FakeArchive) -> None:
    (archive.root / "dists/new/InRelease").unlink()


def put_login_page(archive: FakeArchive) -> None:
    (archive.root / "dists/new/InRelease").write_text("<html>Please log in</html>")


@pytest.mark.parametrize("harm", [tamper, sign_by_another, sign_by_an_expired_key, leave_unsigned, put_login_page])
@pytest.mark.parametrize("has_lists", [False, True], ids=["first time", "with older lists"])
def test_what_is_not_rightly_signed_is_an_error_and_not_a_warning(
    harm: Callable[[FakeArchive], None], has_lists: bool, stocked: FakeArchive, connect: Connect, cache: Cache
) -> None:
    """apt itself goes on with its old lists and a warning."""
    if has_lists:
        connect("old", "new").update()
        make_stale(cache)
    stocked.add("new", "linux-image-9.9-cloud-amd64", "9.9-1")
    stocked.publish("new")
    harm(stocked)
    with pytest.raises(SignatureError, match=r"the suite new of .* is not signed by a key this machine trusts"):
        connect("old", "new").kernel_packages()


def test_an_index_that_is_not_the_signed_one_is_refused(stocked: FakeArchive, connect: Connect) -> None:
    for path in (stocked.root / "dists/new/main/binary-amd64").iterdir():
        path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(FetchError, match="could not read the suite new"):
        connect("new").kernel_packages()


# -- packages ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("stocked")
def test_a_closure_has_everything_and_nothing_of_this_machine(connect: Connect) -> None:
    closure = connect("new").resolve(["tool"])
    assert {package.exact for package in closure} == {"tool=1:2.0-1", "library=1.5", "data=3"}
    assert {package.arch for package in closure} == {"amd64", "all"}


def test_a_closure_is_remembered_until_the_lists_change(stocked: FakeArchive, connect: Connect, cache: Cache) -> None:
    first = connect("new").resolve(["tool"])
    shelf = cache.keys("closure")
    assert connect("new").resolve(["tool"]) == first
    stocked.add("new", "library", "1.6")
    stocked.publish("new")
    connect("new").update(force=True)
    assert "library=1.6" in {package.exact for package in connect("new").resolve(["tool"])}
    assert len(cache.keys("closure")) == len(shelf) == 1


@pytest.mark.usefixtures("stocked")
@pytest.mark.parametrize("name", ["broken", "no-such-package"])
def test_what_cannot_be_installed_is_an_error_with_apts_reason(name: str, connect: Connect) -> None:
    with pytest.raises(FetchError, match=rf"apt cannot install {name} for amd64 from new: E: "):
        connect("new").resolve([name])


@pytest.mark.usefixtures("stocked")
def test_packages_are_downloaded_with_progress(connect: Connect, recorder: Recorder, tmp_path: Path) -> None:
    archive = connect("old", "new")
    packages = archive.kernel_packages() + archive.resolve(["tool"])
    arrived: list[Package] = []
    folder = tmp_path / "downloads"
    folder.mkdir()
    files = archive.download(packages, folder, on_file=lambda package, _path: arrived.append(package), what="getting")
    assert [file.stat().st_size for file in files] == [package.size_bytes for package in packages]
    assert set(arrived) == set(packages)
    total_bytes = sum(package.size_bytes for package in packages)
    assert ("getting", total_bytes) in recorder.stages
    assert recorder.done_bytes >= total_bytes


def test_downloads_can_be_kept_and_are_verified_each_time(stocked: FakeArchive, connect: Connect) -> None:
    archive = connect("new")
    packages = archive.resolve(["tool"])
    files = archive.download(packages)
    stocked.requests.clear()
    assert archive.download(packages) == files
    assert stocked.requests == []
    content = files[0].read_bytes()
    files[0].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert archive.download(packages) == files
    assert files[0].read_bytes() == content
    assert stocked.requests == [packages[0].filename]


@pytest.mark.usefixtures("impatient")
def test_a_package_the_pool_lacks_is_named_and_the_others_come(
    stocked: FakeArchive, connect: Connect, tmp_path: Path
) -> None:
    # A sign that addresses may spell in two ways.
    stocked.add("new", "linux-image-6.12.1+deb13-cloud-amd64", "6.12.1-1~bpo12+1", {"boot/vmlinuz-6.12": b"k"})
    stocked.publish("new")
    archive = connect("old", "new")
    packages = archive.kernel_packages()
    del packages[1]
    stocked.gone.add(packages[1].filename)
    arrived: list[str] = []
    with pytest.raises(PackageGoneError, match=r"no longer has: .*6\.12\.1-1~bpo12\+1: 404") as caught:
        archive.download(packages, tmp_path, on_file=lambda package, _path: arrived.append(package.exact))
    assert caught.value.packages == (packages[1].exact,)
    assert arrived == [packages[0].exact]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["changed", "truncated"])
def test_a_package_that_is_not_the_signed_one_is_refused(
    kind: str, stocked: FakeArchive, connect: Connect, cache: Cache
) -> None:
    archive = connect("new")
    packages = archive.kernel_packages()
    path = stocked.root / packages[0].filename
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"?" if kind == "changed" else content[:-100])
    with pytest.raises(
        FetchError, match=r"could not download linux-image.*(Hash Sum mismatch|unexpected size)"
    ) as caught:
        archive.download(packages)
    assert not isinstance(caught.value, PackageGoneError)
    assert list((cache.directory / "packages").glob("*")) == []
    assert list((cache.directory / "temporary").iterdir()) == []


def test_offline_downloads_nothing_and_says_what_it_would_have(
    stocked: FakeArchive, connect: Connect, settings: Settings
) -> None:
    packages = connect("new").kernel_packages()
    stocked.requests.clear()
    with pytest.raises(FetchError, match=rf"{KERNEL}=6\.1\.1-1 would have to be downloaded, but offline was asked for"):
        connect("new", settings=dataclasses.replace(settings, offline=True)).download(packages)
    assert stocked.requests == []


# -- interruptions ----------------------------------------------------------------------------------------------------


def processes_that_mention(text: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in command and str(os.getpid()) != path.parent.name:
            found.append(command)
    return found


def wait_until(condition: Callable[[], object], deadline_s: float = 20.0) -> None:
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.02)


def test_a_password_is_in_no_command(
    stocked: FakeArchive, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every user of the machine can read the commands of the others."""
    commands: list[str] = []
    original = apt.run

    def watched(command: Sequence[str], *arguments: Any, **options: Any) -> Output:
        commands.append(" ".join(command))
        return original(command, *arguments, **options)

    monkeypatch.setattr(apt, "run", watched)
    source = Source(stocked.address.replace("//", "//user:s3cret@"), str(stocked.key))
    archive = connect("new", sources=Sources(source, source))
    (file,) = archive.download(archive.kernel_packages(), tmp_path)
    assert file.is_file()
    assert len(commands) == 2
    assert not [command for command in commands if "s3cret" in command]


def test_a_full_disk_is_not_taken_for_a_bad_signature(connect: Connect) -> None:
    """What could not be written whole cannot be verified either: that is not the mirror's fault."""
    said = (
        "Err:3 http://mirror.invalid new/main amd64 Packages\n"
        "  Error writing to file - write (28: No space left on device)\n"
        "W: GPG error: http://mirror.invalid new InRelease: Splitting up new_InRelease into data and signature failed\n"
        "E: The repository 'http://mirror.invalid new InRelease' is not signed.\n"
    )
    failed = failures(said, ["new"])
    with pytest.raises(CacheError, match="no space left for package lists"):
        connect("new")._judge(Output(100, said.encode()), failed, {})
    with pytest.raises(SignatureError, match="is not signed by a key this machine trusts"):
        connect("new")._judge(Output(100, said.replace("(28: No space left on device)", "").encode()), failed, {})


def test_an_archive_on_this_machines_own_disk(
    stocked: FakeArchive, connect: Connect, cache: Cache, tmp_path: Path
) -> None:
    """What was fetched from there is ours: the archive may be taken away."""
    source = Source(f"file:{stocked.root}", str(stocked.key))
    archive = connect("new", sources=Sources(source, source))
    packages = archive.resolve(["tool"])
    kept = archive.download(packages)
    (tmp_path / "empty").mkdir()
    arrived = archive.download(packages, tmp_path / "empty")
    shutil.rmtree(stocked.root)
    for files in (kept, arrived):
        assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in files] == [one.sha256 for one in packages]


def test_a_link_that_apt_makes_while_somebody_looks_is_not_kept(
    stocked: FakeArchive, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache had a link into an archive on this machine's disk, one time in six."""
    real, seen = Path.is_symlink, set[Path]()

    def is_symlink(path: Path) -> bool:
        """As if each link came a moment after the first look."""
        if not real(path) or path in seen:
            return real(path)
        seen.add(path)
        return False

    source = Source(f"file:{stocked.root}", str(stocked.key))
    archive = connect("new", sources=Sources(source, source))
    packages = archive.resolve(["tool"])
    monkeypatch.setattr(Path, "is_symlink", is_symlink)
    kept = archive.download(packages)
    assert [real(path) for path in kept] == [False] * len(packages)


def test_a_network_that_falls_silent_is_given_up(
    stocked: FakeArchive, connect: Connect, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = connect("new")
    packages = archive.kernel_packages()
    stocked.stalled[packages[0].filename] = 1000
    monkeypatch.setattr(apt_process, "SILENCE_MAX_S", 1.0)
    with pytest.raises(FetchError, match="apt made no progress for 1 s and was ended"):
        archive.download(packages)
    assert processes_that_mention(str(cache.directory)) == []
    assert list((cache.directory / "temporary").iterdir()) == []


def test_an_interrupt_ends_apt_and_leaves_nothing(stocked: FakeArchive, connect: Connect, cache: Cache) -> None:
    archive = connect("new")
    packages = archive.kernel_packages()
    stocked.stalled[packages[0].filename] = 1000
    interrupt = threading.Timer(
        0.0, lambda: (wait_until(lambda: packages[0].filename in stocked.requests), os.kill(os.getpid(), signal.SIGINT))
    )
    stocked.requests.clear()
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        archive.download(packages)
    interrupt.join()
    assert processes_that_mention(str(cache.directory)) == []
    assert list((cache.directory / "temporary").iterdir()) == []


KILLED = """
import sys
from pathlib import Path
from vm.apt import Archive
from vm.cache import Cache
from vm.settings import Settings
from vm.sources import Archive as Source, Sources
source = Source(sys.argv[2], sys.argv[3])
cache = Cache(Path(sys.argv[1]))
archive = Archive(["new"], "amd64", cache, Settings(cache=cache.directory), sources=Sources(source, source))
archive.download(archive.kernel_packages())
"""


def test_killing_a_download_leaves_nothing_that_is_trusted_and_no_process(
    stocked: FakeArchive, connect: Connect, cache: Cache
) -> None:
    archive = connect("new")
    packages = archive.kernel_packages()
    stocked.stalled[packages[0].filename] = 40_000
    stocked.requests.clear()
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(cache.directory), stocked.address, str(stocked.key)],
        cwd=Path(__file__).parents[2],
    ) as process:
        wait_until(lambda: packages[0].filename in stocked.requests)
        process.kill()
    assert list((cache.directory / "packages").glob("*")) == []
    wait_until(lambda: not processes_that_mention(str(cache.directory)))
    stocked.stalled.clear()
    (file,) = archive.download(packages)
    assert file.read_bytes() == (stocked.root / packages[0].filename).read_bytes()
    assert list((cache.directory / "temporary").iterdir()) == []


# -- the machine ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("stocked")
def test_the_machines_hooks_are_not_run_and_its_preferences_do_not_matter(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trace = tmp_path / "hook-ran"
    hooks = "".join(
        f'{name} {{ "touch {trace}"; }};\n'
        for name in ("APT::Update::Pre-Invoke", "APT::Update::Post-Invoke", "APT::Update::Post-Invoke-Success")
    )
    configuration = tmp_path / "machine.conf"
    # A default release that our suites do not have would make apt give up.
    others = 'APT::Architectures { "i386"; };\nAPT::Default-Release "stable";\nAPT::Install-Recommends "true";\n'
    configuration.write_text(hooks + others)
    monkeypatch.setenv("APT_CONFIG", str(configuration))
    archive = connect("new")
    assert len(archive.kernel_packages()) == 1
    assert len(archive.resolve(["tool"])) == 3
    assert not trace.exists()


def test_a_weakening_configuration_of_the_machine_changes_nothing(
    stocked: FakeArchive, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    configuration = tmp_path / "machine.conf"
    configuration.write_text('Acquire::AllowInsecureRepositories "true";\nAPT::Get::AllowUnauthenticated "true";\n')
    monkeypatch.setenv("APT_CONFIG", str(configuration))
    leave_unsigned(stocked)
    with pytest.raises(SignatureError):
        connect("new").update()


def test_without_apt_the_error_says_what_can_be_done(
    stocked: FakeArchive, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    archive = connect("new")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match=r"apt-get is not to be had on this machine.*name kernels by path"):
        archive.update()


def test_a_cache_whose_name_apt_cannot_take_is_refused(stocked: FakeArchive, tmp_path: Path) -> None:
    source = Source(stocked.address, str(stocked.key))
    cache = Cache(tmp_path / 'a "quoted" name')
    archive = Archive(["new"], "amd64", cache, Settings(cache=cache.directory), sources=Sources(source, source))
    with pytest.raises(CacheError, match="because of the quote in it"):
        archive.update()


SMALL = """
from vm.apt import Archive
from vm.cache import Cache
from vm.errors import CacheError
from vm.settings import Settings
from vm.sources import Archive as Source, Sources
source = Source({address!r}, {key!r})
cache = Cache(place / "cache")
def connect():
    return Archive(["new"], "amd64", cache, Settings(cache=cache.directory), sources=Sources(source, source))
"""


def test_a_read_only_cache_still_answers_from_its_lists(
    stocked: FakeArchive, in_small_world: Callable[[str, str], Any]
) -> None:
    code = SMALL.format(address=stocked.address, key=str(stocked.key))
    code += """
import json, subprocess
packages = connect().kernel_packages()
path, = (place / "cache").glob("apt/*/suites.json")
state = json.loads(path.read_bytes())
state["new"]["updated"] = 0
path.write_text(json.dumps(state))
subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
result = [connect().kernel_packages() == packages]
try:
    connect().download(packages)
except CacheError as error:
    result.append(str(error))
"""
    same, message = in_small_world('mount -t tmpfs -o size=50m none "$1"', code)
    assert same
    assert "the cache cannot be written" in message


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("what", ["lists", "packages"])
def test_a_full_disk_is_told_from_a_broken_network(
    what: str, fake: FakeArchive, in_small_world: Callable[[str, str], Any]
) -> None:
    if what == "lists":
        for index in range(6000):
            fake.stanzas.setdefault("new", []).append(
                f"Package: filler-{index}-{os.urandom(100).hex()}\nVersion: 1\nArchitecture: amd64\nMaintainer: x\n"
                f"Filename: pool/x{index}\nSize: 1\nSHA256: {os.urandom(32).hex()}\nDescription: x\n"
            )
    fake.add("new", KERNEL, "6.1.1-1", {"boot/vmlinuz-6.1": os.urandom(6_000_000)})
    fake.publish()
    code = SMALL.format(address=fake.address, key=str(fake.key))
    code += """
try:
    archive = connect()
    archive.download(archive.kernel_packages())
    result = "worked"
except CacheError as error:
    result = str(error)
"""
    size = "1m" if what == "lists" else "5m"
    message = in_small_world(f'mount -t tmpfs -o size={size} none "$1"', code)
    assert "no space left" in message


def test_apts_temporary_files_go_with_it(connect: Connect, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it ends: one that is ended in the middle leaves its configuration and what it was verifying."""
    monkeypatch.setattr(apt_process, "SILENCE_MAX_S", 0.5)
    archive = connect("new")
    done = archive._run(["sh", "-c", 'touch "$TMPDIR/apt.conf.x"; echo "$TMPDIR"; ls "$TMPDIR"'])
    place, name = done.text.splitlines()
    assert (done.status, name) == (0, "apt.conf.x")
    assert Path(place).parent == cache.directory / "temporary"
    with pytest.raises(FetchError):
        archive._run(["sh", "-c", 'touch "$TMPDIR/apt.sig.x"; exec sleep 60'])
    assert list((cache.directory / "temporary").iterdir()) == []
