"""Fetching kernels: both layouts, kept, verified, replaced when gone, refused when unfit; one failure costs one."""

import dataclasses
import gzip
import json
import lzma
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Recorder
from fake_archive import FakeArchive, deb
from kernel_samples import bzimage, config, module

from vm import apt
from vm.apt import Archive
from vm.cache import Cache, hash_file
from vm.catalogue import Catalogue
from vm.errors import CacheError, FetchError, PackageGoneError, SignatureError, SpecError, UnfitKernel, VmError
from vm.fetch import Kernels
from vm.kernel import Kernel
from vm.settings import Settings
from vm.unpack import unpack_files

Connect = Callable[..., Archive]
CATALOGUE = dataclasses.replace(Catalogue.load(), suites=("old", "new"), suites_to_come=("next",))


def add_older(archive: FakeArchive, release: str, version: str, suite: str = "old", **options: Any) -> str:
    """Add a kernel whose image, configuration and modules are in one package."""
    modules = f"lib/modules/{release}/kernel/drivers"
    files: dict[str, bytes | str] = {
        f"boot/vmlinuz-{release}": bzimage(release),
        f"boot/config-{release}": config().encode(),
        f"{modules}/block/loop.ko.xz": lzma.compress(module()),
        f"{modules}/net/other.ko": module(),
        f"usr/share/doc/linux-image-{release}/vmlinuz-notes": b"text",
    }
    return archive.add(suite, f"linux-image-{release}", version, options.pop("files", files), **options)


def add_newer(archive: FakeArchive, release: str, version: str, suite: str = "new", has_base: bool = True) -> None:
    """Add a kernel whose image and configuration are in packages of their own."""
    folder = f"usr/lib/modules/{release}"
    archive.add(suite, f"linux-binary-{release}", version, {f"{folder}/vmlinuz": bzimage(release)})
    if has_base:
        archive.add(suite, f"linux-base-{release}", version, {f"{folder}/config": config().encode()})
    archive.add(suite, f"linux-image-{release}", version, depends=f"linux-binary-{release} (= {version})")


@pytest.fixture
def stocked(fake: FakeArchive) -> FakeArchive:
    add_older(fake, "5.10.0-1-cloud-amd64", "5.10.1-1")
    add_older(fake, "5.10.0-2-cloud-amd64", "5.10.2-1")
    add_newer(fake, "7.0.1-cloud-amd64", "7.0.1-1", has_base=False)
    add_newer(fake, "7.3.4-cloud-amd64", "7.3.4-1")
    fake.publish()
    return fake


@pytest.fixture
def open_kernels(
    connect: Connect, cache: Cache, settings: Settings, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Kernels]:
    original = apt.configuration
    monkeypatch.setattr(apt, "configuration", lambda *arguments: original(*arguments) + 'Acquire::Retries "0";\n')

    def make(**changes: Any) -> Kernels:
        chosen = dataclasses.replace(settings, **changes)
        archive = connect("old", "new", "next", settings=chosen, optional=["next"])
        return Kernels(cache, chosen, recorder, catalogue=CATALOGUE, archive=archive)

    return make


Open = Callable[..., Kernels]


def fetched(outcomes: list[Kernel | VmError]) -> list[Kernel]:
    kernels = [outcome for outcome in outcomes if isinstance(outcome, Kernel)]
    assert len(kernels) == len(outcomes), outcomes
    return kernels


def leftovers(cache: Cache) -> list[Path]:
    return list((cache.directory / "temporary").iterdir())


# -- the ordinary way -------------------------------------------------------------------------------------------------


def test_kernels_of_both_layouts_come_in_one_go(
    stocked: FakeArchive, open_kernels: Open, cache: Cache, recorder: Recorder
) -> None:
    kernels = open_kernels()
    old, bare, new = fetched(kernels.fetch_all(kernels.resolve(["all"])))
    assert [kernel.ref.id for kernel in (old, bare, new)] == ["5.10", "7.0", "7.3"]
    assert [kernel.release for kernel in (old, bare, new)] == [
        "5.10.0-2-cloud-amd64",
        "7.0.1-cloud-amd64",
        "7.3.4-cloud-amd64",
    ]
    for kernel in (old, bare, new):
        assert kernel.image.read_bytes() == bzimage(kernel.release)
        assert kernel.sha256 == hash_file(kernel.image)
        assert kernel.ref.release == kernel.release
    assert (old.config["CONFIG_IO_URING"], new.config["CONFIG_LOCALVERSION"]) == ("y", "-own")
    assert bare.config == {}
    assert {name: path.read_bytes() for name, path in old.modules.items()} == {"loop": module()}
    assert (dict(bare.modules), dict(new.modules)) == ({}, {})
    downloads = [stage for stage in recorder.stages if stage[0].startswith("downloading")]
    assert [name for name, _total_bytes in downloads] == ["downloading 3 kernels"]
    assert leftovers(cache) == []
    assert recorder.notes == []


def test_what_is_there_needs_no_network(stocked: FakeArchive, open_kernels: Open) -> None:
    first = open_kernels()
    kernels = fetched(first.fetch_all(first.resolve(["all"])))
    stocked.requests.clear()
    again = open_kernels(offline=True)
    assert fetched(again.fetch_all(again.resolve(["all"]))) == kernels
    assert stocked.requests == []


def test_only_what_is_kept_takes_room(stocked: FakeArchive, open_kernels: Open, cache: Cache) -> None:
    kernels = open_kernels()
    kernel = kernels.fetch(kernels.resolve(["5.10"])[0])
    names = sorted(
        str(path.relative_to(kernel.image.parent)) for path in kernel.image.parent.rglob("*.*") if path.is_file()
    )
    assert names == ["manifest.json", "modules/loop.ko"]
    assert list((cache.directory / "packages").glob("*")) == []


@pytest.mark.parametrize("name", ["vmlinuz", "config", "modules/loop.ko"])
@pytest.mark.parametrize("kind", ["truncated", "one bit"])
def test_a_damaged_kernel_is_fetched_again(
    name: str, kind: str, stocked: FakeArchive, open_kernels: Open, recorder: Recorder
) -> None:
    kernels = open_kernels()
    (ref,) = kernels.resolve(["5.10"])
    first = kernels.fetch(ref)
    path = first.image.parent / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] if kind == "truncated" else bytes([content[0] ^ 1]) + content[1:])
    stocked.requests.clear()
    assert open_kernels().fetch(ref) == first
    assert path.read_bytes() == content
    assert len(stocked.requests) == 1
    assert [note for note in recorder.notes if "was damaged" in note]


def test_an_unsigned_build_and_one_with_a_colon_in_its_version_are_fetched(
    fake: FakeArchive, open_kernels: Open
) -> None:
    release = "6.1.0-9-cloud-amd64"
    files: dict[str, bytes | str] = {f"boot/vmlinuz-{release}": bzimage(release)}
    fake.add("old", f"linux-image-{release}-unsigned", "1:6.1.9-1", files)
    fake.publish()
    kernels = open_kernels()
    assert kernels.fetch(kernels.resolve(["6.1"])[0]).release == release


def test_an_archive_that_cannot_be_asked_is_asked_once(open_kernels: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each try may take minutes, and there may be a pin for every kernel."""
    asked: list[str] = []

    def refuse(archive: Archive) -> None:
        asked.append(archive.arch)
        raise FetchError("no network")

    monkeypatch.setattr(Archive, "kernel_packages", refuse)
    kernels = open_kernels()
    for _ in range(3):
        with pytest.raises(FetchError, match="no network"):
            kernels.resolve(["all"])
    assert asked == ["amd64"]


# -- what the archive lacks -------------------------------------------------------------------------------------------


def test_a_kernel_that_is_gone_is_replaced_by_the_next_newest(
    stocked: FakeArchive, open_kernels: Open, recorder: Recorder
) -> None:
    stocked.gone.add("pool/linux-image-5.10.0-2-cloud-amd64_5.10.2-1_amd64.deb")
    kernels = open_kernels()
    old, new = fetched(kernels.fetch_all(kernels.resolve(["5.10", "7.3"])))
    assert (old.ref.id, old.ref.package_version, old.release) == ("5.10", "5.10.1-1", "5.10.0-1-cloud-amd64")
    assert new.release == "7.3.4-cloud-amd64"
    why = (
        "the archive no longer has linux-image-5.10.0-2-cloud-amd64=5.10.2-1 (404); 5.10.1-1 is used instead. "
        "`uring-matrix kernels list --update` brings the lists up to date; another mirror may have it (--mirror)"
    )
    assert (recorder.notes, old.note, new.note) == ([f"5.10: {why}"], why, "")


def test_every_package_that_is_gone_is_named(fake: FakeArchive, open_kernels: Open, recorder: Recorder) -> None:
    """It named the last one only, and the package of the image for whichever it was."""
    for number in (1, 2, 3):
        add_newer(fake, f"7.3.{number}-cloud-amd64", f"7.3.{number}-1")
    fake.publish()
    gone = ["linux-binary-7.3.3-cloud-amd64", "linux-base-7.3.2-cloud-amd64"]
    fake.gone |= {f"pool/{name}_{name.split('-')[2]}-1_amd64.deb" for name in gone}
    kernels = open_kernels()
    (kernel,) = fetched(kernels.fetch_all(kernels.resolve(["7.3"])))
    assert kernel.ref.package_version == "7.3.1-1"
    assert kernel.note.startswith(
        "the archive no longer has linux-binary-7.3.3-cloud-amd64=7.3.3-1, linux-base-7.3.2-cloud-amd64=7.3.2-1 (404); "
        "7.3.1-1 is used instead. `uring-matrix kernels list --update`"
    )
    assert recorder.notes[-1] == f"7.3: {kernel.note}"


def test_a_series_that_is_gone_altogether_costs_only_itself(stocked: FakeArchive, open_kernels: Open) -> None:
    stocked.gone |= {f"pool/linux-image-5.10.0-{n}-cloud-amd64_5.10.{n}-1_amd64.deb" for n in (1, 2)}
    kernels = open_kernels()
    old, new = kernels.fetch_all(kernels.resolve(["5.10", "7.3"]))
    assert isinstance(old, PackageGoneError)
    assert old.packages == tuple(f"linux-image-5.10.0-{n}-cloud-amd64=5.10.{n}-1" for n in (2, 1))
    assert f"no longer has {', '.join(old.packages)} (404), and lists no other kernel of 5.10. `uring" in str(old)
    assert isinstance(new, Kernel)


def test_what_was_gone_is_named_as_well_where_the_next_fails_otherwise(
    stocked: FakeArchive, open_kernels: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    stocked.gone.add("pool/linux-image-5.10.0-2-cloud-amd64_5.10.2-1_amd64.deb")
    kernels = open_kernels()
    (ref,) = kernels.resolve(["5.10"])
    original = Archive.download

    def download(archive: Archive, packages: Any, *arguments: Any, **options: Any) -> Any:
        if any("5.10.1-1" in package.exact for package in packages):
            raise FetchError("the network is down")
        return original(archive, packages, *arguments, **options)

    monkeypatch.setattr(Archive, "download", download)
    with pytest.raises(FetchError, match=r"has linux-image-5\.10\.0-2\S+=5\.10\.2-1 \(404\); the network is down"):
        kernels.fetch(ref)


def test_an_exact_kernel_that_is_gone_is_not_replaced(stocked: FakeArchive, open_kernels: Open) -> None:
    stocked.gone.add("pool/linux-image-5.10.0-2-cloud-amd64_5.10.2-1_amd64.deb")
    kernels = open_kernels()
    with pytest.raises(PackageGoneError, match="the archive no longer has"):
        kernels.fetch(kernels.resolve(["5.10.0-2-cloud-amd64"])[0])


def test_a_series_is_not_replaced_where_exactly_that_kernel_is_wanted(
    stocked: FakeArchive, open_kernels: Open, recorder: Recorder
) -> None:
    stocked.gone.add("pool/linux-image-5.10.0-2-cloud-amd64_5.10.2-1_amd64.deb")
    kernels = open_kernels()
    (outcome,) = kernels.fetch_all(kernels.resolve(["5.10"]), exact=True)
    assert isinstance(outcome, PackageGoneError)
    assert recorder.notes == []


def test_a_version_that_the_index_dropped_is_served_from_the_cache(stocked: FakeArchive, open_kernels: Open) -> None:
    kernels = open_kernels()
    refs = kernels.resolve(["5.10", "7.3"])
    kernel = kernels.fetch(refs[0])
    stocked.stanzas["old"] = stocked.stanzas["old"][:1]
    stocked.stanzas["new"] = []
    stocked.publish()
    kernels = open_kernels()
    kernels.archive.update(force=True)
    assert [ref.package_version for ref in kernels.resolve(["all"])] == ["5.10.1-1"]
    old, new = kernels.fetch_all(refs)
    assert old == kernel
    assert "the archive's index has no linux-binary-7.3.4-cloud-amd64 7.3.4-1 (any more)" in str(new)


def test_a_missing_part_is_a_missing_kernel(stocked: FakeArchive, open_kernels: Open, cache: Cache) -> None:
    stocked.gone.add("pool/linux-base-7.3.4-cloud-amd64_7.3.4-1_amd64.deb")
    kernels = open_kernels()
    with pytest.raises(PackageGoneError, match="linux-base-7"):
        kernels.fetch(kernels.resolve(["7.3"])[0])
    assert cache.keys("kernels") == []


# -- no network -------------------------------------------------------------------------------------------------------


def cut_network(monkeypatch: pytest.MonkeyPatch) -> None:
    original = apt.configuration
    monkeypatch.setattr(
        apt, "configuration", lambda *arguments: original(*arguments) + 'Acquire::http::Proxy "http://127.0.0.1:9";\n'
    )


def test_without_network_an_older_kernel_of_the_series_is_used_with_a_note(
    stocked: FakeArchive, open_kernels: Open, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = open_kernels()
    older = kernels.fetch(kernels.resolve(["5.10.1-1"])[0])
    cut_network(monkeypatch)
    kernels = open_kernels()
    old, new = kernels.fetch_all(kernels.resolve(["5.10", "7.3"]))
    assert isinstance(old, Kernel)
    assert (old.release, old.ref.package_version) == (older.release, "5.10.1-1")
    assert isinstance(new, FetchError)
    assert "could not be fetched; " in recorder.notes[0] or "could not be fetched, " in recorder.notes[0]


def test_without_lists_the_cached_kernels_are_all_there_is(
    stocked: FakeArchive, open_kernels: Open, cache: Cache, recorder: Recorder
) -> None:
    kernels = open_kernels()
    fetched(kernels.fetch_all(kernels.resolve(["5.10", "7.0"])))
    for path in cache.directory.glob("apt/*/suites.json"):
        path.unlink()
    offline = open_kernels(offline=True)
    assert [kernel.ref.id for kernel in fetched(offline.fetch_all(offline.resolve(["all"])))] == ["5.10", "7.0"]
    assert recorder.notes[-1].startswith(
        "a series is the newest kernel of it in the cache: 5.10 is 5.10.2-1, 7.0 is 7.0.1-1. No other is fetched: "
        "offline was asked for: run `uring-matrix kernels fetch all` once with the network, since the cache"
    )
    with pytest.raises(SpecError, match=r"no kernel in the cache .* 5\.10, 7\.0; which others there are is not known"):
        offline.resolve(["7.3"])


@pytest.mark.parametrize("has_lists", [True, False])
def test_offline_a_series_is_its_newest_kernel_in_the_cache(
    has_lists: bool, stocked: FakeArchive, open_kernels: Open, cache: Cache, recorder: Recorder
) -> None:
    """What the lists have beside it is not fetched, and said to be missing: on its record, and with what to do."""
    kernels = open_kernels()
    kernels.fetch(kernels.resolve(["5.10.1-1"])[0])
    if not has_lists:
        for path in cache.directory.glob("apt/*/suites.json"):
            path.unlink()
    offline = open_kernels(offline=True)
    old, *others = offline.fetch_all(offline.resolve(["all"]))
    assert isinstance(old, Kernel)
    assert (old.ref.id, old.ref.package_version) == ("5.10", "5.10.1-1")
    said = "a series is the newest kernel of it in the cache: 5.10 is 5.10.1-1"
    if has_lists:
        said += "; not in the cache: 7.0, 7.3. No other is fetched: offline was asked for"
        assert "5.10.1-1 from the cache is used instead of 5.10.2-1" in old.note
        assert [type(other) for other in others] == [FetchError, FetchError]
        assert "`uring-matrix kernels fetch 7.3` fetches it" in str(others[-1])
    assert [note for note in recorder.notes if note.startswith(said)] != []
    assert len(others) == (2 if has_lists else 0)
    # Of what nobody asked for, nothing is said.
    offline.resolve(["5.10.1-1"])
    assert recorder.notes[-1].startswith("only the cache is looked into. No other is fetched: offline was asked for")
    offline.resolve(["5.10"])
    assert recorder.notes[-1].startswith("a series is the newest kernel of it in the cache: 5.10 is 5.10.1-1. No other")


def test_a_pinned_kernel_is_used_instead_of_no_other(stocked: FakeArchive, open_kernels: Open) -> None:
    kernels = open_kernels()
    kernels.fetch(kernels.resolve(["5.10.1-1"])[0])
    offline = open_kernels(offline=True)
    pinned = offline.resolve(["5.10", "7.3"])
    old, new = offline.fetch_all(pinned, exact=True)
    assert isinstance(old, Kernel)
    assert old.note == ""
    assert "`uring-matrix kernels fetch linux-binary-7.3.4-cloud-amd64=7.3.4-1`" in str(new)


def test_without_network_a_kernel_that_no_list_has_any_more_stands_in(
    stocked: FakeArchive, open_kernels: Open, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = open_kernels()
    kernels.fetch(kernels.resolve(["5.10.1-1"])[0])
    stocked.stanzas["old"] = [stanza for stanza in stocked.stanzas["old"] if "5.10.2-1" in stanza]
    stocked.publish()
    kernels.archive.update(force=True)
    cut_network(monkeypatch)
    kernels = open_kernels()
    (old,) = fetched(kernels.fetch_all(kernels.resolve(["5.10"])))
    assert old.ref.package_version == "5.10.1-1"
    assert "5.10.2-1 could not be fetched, 5.10.1-1 from the cache is used instead. " in old.note


def test_with_nothing_at_all_the_archives_error_is_told(stocked: FakeArchive, open_kernels: Open) -> None:
    with pytest.raises(FetchError, match="offline was asked for"):
        open_kernels(offline=True).resolve(["all"])


def test_a_bad_signature_is_not_papered_over_by_the_cache(
    stocked: FakeArchive, open_kernels: Open, cache: Cache
) -> None:
    kernels = open_kernels()
    fetched(kernels.fetch_all(kernels.resolve(["5.10"])))
    for path in cache.directory.glob("apt/*/suites.json"):
        state = json.loads(path.read_bytes())
        for known in state.values():
            known["updated"] = 0
        path.write_text(json.dumps(state))
    release = stocked.root / "dists/new/InRelease"
    release.write_text(release.read_text().replace("Origin: Debian", "Origin: Devian"))
    with pytest.raises(SignatureError):
        open_kernels().resolve(["all"])


def test_a_kernel_package_without_a_kernel_is_refused(fake: FakeArchive, open_kernels: Open, cache: Cache) -> None:
    fake.add("old", "linux-image-6.1.0-1-cloud-amd64", "6.1.1-1", {"usr/share/doc/x": b"nothing"})
    add_older(fake, "6.2.0-1-cloud-amd64", "6.2.1-1", files={"boot/vmlinuz-6.2.0-1-cloud-amd64": b"not a kernel" * 100})
    fake.publish()
    kernels = open_kernels()
    first, second = kernels.fetch_all(kernels.resolve(["all"]))
    assert isinstance(first, UnfitKernel)
    assert "hold no kernel image" in str(first)
    assert isinstance(second, UnfitKernel)
    assert "is not a kernel image" in str(second)
    assert cache.keys("kernels") == []


def test_an_unfit_kernel_is_refused_before_it_hangs(fake: FakeArchive, open_kernels: Open) -> None:
    release = "6.1.0-1-cloud-amd64"
    files: dict[str, bytes | str] = {
        f"boot/vmlinuz-{release}": bzimage(release),
        f"boot/config-{release}": config(CONFIG_IO_URING=None).encode(),
    }
    fake.add("old", f"linux-image-{release}", "6.1.1-1", files)
    fake.publish()
    kernels = open_kernels()
    for _attempt in range(2):
        (outcome,) = kernels.fetch_all(kernels.resolve(["6.1"]))
        assert isinstance(outcome, UnfitKernel)
        assert "CONFIG_IO_URING" in str(outcome)


# -- interruptions and full disks -------------------------------------------------------------------------------------

RUN = """
import dataclasses, sys
from pathlib import Path
from vm.apt import Archive
from vm.cache import Cache
from vm.catalogue import Catalogue
from vm.errors import VmError
from vm.fetch import Kernels
from vm.settings import Settings
from vm.sources import Archive as Source, Sources
def open_kernels(directory, address, key):
    cache, source = Cache(directory), Source(address, key)
    settings = Settings(cache=directory)
    archive = Archive(["old", "new"], "amd64", cache, settings, sources=Sources(source, source))
    catalogue = dataclasses.replace(Catalogue.load(), suites=("old", "new"), suites_to_come=())
    return Kernels(cache, settings, catalogue=catalogue, archive=archive)
"""


def test_killing_a_fetch_keeps_what_came_and_trusts_nothing_half(
    stocked: FakeArchive, open_kernels: Open, cache: Cache
) -> None:
    stalled = "pool/linux-binary-7.3.4-cloud-amd64_7.3.4-1_amd64.deb"
    stocked.stalled[stalled] = 300
    code = RUN + (
        "kernels = open_kernels(Path(sys.argv[1]), sys.argv[2], sys.argv[3])\n"
        "kernels.fetch_all(kernels.resolve(['5.10', '7.3']))\n"
    )
    arguments = [str(cache.directory), stocked.address, str(stocked.key)]
    with subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=Path(__file__).parents[2]) as process:
        # The first kernel is unpacked while the second one is still coming.
        while not cache.keys("kernels"):
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    assert [key.split("_")[0] for key in cache.keys("kernels")] == ["linux-image-5.10.0-2-cloud-amd64"]
    stocked.stalled.clear()
    stocked.requests.clear()
    kernels = open_kernels()
    assert len(fetched(kernels.fetch_all(kernels.resolve(["5.10", "7.3"])))) == 2
    assert not any("5.10.0-2" in request for request in stocked.requests)
    assert leftovers(cache) == []


def test_two_runs_at_once_fetch_a_kernel_once(stocked: FakeArchive, open_kernels: Open, cache: Cache) -> None:
    open_kernels().resolve(["all"])
    stocked.requests.clear()
    code = RUN + (
        "kernels = open_kernels(Path(sys.argv[1]), sys.argv[2], sys.argv[3])\n"
        "assert all(not isinstance(x, VmError) for x in kernels.fetch_all(kernels.resolve(['all'])))\n"
    )
    arguments = [str(cache.directory), stocked.address, str(stocked.key)]
    runs = [subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=Path(__file__).parents[2]) for _ in range(3)]
    assert [run.wait() for run in runs] == [0, 0, 0]
    pool = [request for request in stocked.requests if request.startswith("pool/")]
    assert len(pool) == len(set(pool)) == 4


def test_a_full_disk_is_told_and_leaves_nothing(fake: FakeArchive, in_small_world: Callable[[str, str], Any]) -> None:
    release = "6.1.0-1-cloud-amd64"
    image = bzimage(release)[:3000] + os.urandom(3_000_000)
    fake.add("old", f"linux-image-{release}", "6.1.1-1", {f"boot/vmlinuz-{release}": image})
    fake.publish()
    code = RUN + f"kernels = open_kernels(place / 'cache', {fake.address!r}, {str(fake.key)!r})\n"
    code += """
(outcome,) = kernels.fetch_all(kernels.resolve(["6.1"]))
temporary = [path.name for path in (place / "cache/temporary").iterdir()]
result = [type(outcome).__name__, str(outcome), kernels._cache.keys("kernels"), temporary]
"""
    kind, message, keys, temporary = in_small_world('mount -t tmpfs -o size=5m none "$1"', code)
    assert (kind, keys, temporary) == ("CacheError", [], [])
    assert "no space left" in message


def test_a_read_only_cache_serves_its_kernels_and_explains_the_rest(
    stocked: FakeArchive, in_small_world: Callable[[str, str], Any]
) -> None:
    code = RUN + f"kernels = open_kernels(place / 'cache', {stocked.address!r}, {str(stocked.key)!r})\n"
    code += """
import subprocess
kernels.fetch_all(kernels.resolve(["5.10"]))
subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
"""
    code += f"kernels = open_kernels(place / 'cache', {stocked.address!r}, {str(stocked.key)!r})\n"
    code += """
old, new = kernels.fetch_all(kernels.resolve(["5.10", "7.3"]))
result = [old.release, type(new).__name__, str(new)]
"""
    release, kind, message = in_small_world('mount -t tmpfs -o size=50m none "$1"', code)
    assert (release, kind) == ("5.10.0-2-cloud-amd64", CacheError.__name__)
    assert "the cache cannot be written" in message


# -- the user's own ---------------------------------------------------------------------------------------------------


def own(open_kernels: Open, path: Path) -> Kernel:
    kernels = open_kernels()
    return kernels.fetch(kernels.resolve([str(path)])[0])


def test_an_image_is_used_where_it_is_with_the_configuration_beside_it(tmp_path: Path, open_kernels: Open) -> None:
    (tmp_path / "vmlinuz-6.99.0-own").write_bytes(bzimage("6.99.0-own"))
    (tmp_path / "config-6.99.0-own").write_text(config(CONFIG_BLK_DEV_LOOP="y"))
    kernel = own(open_kernels, tmp_path / "vmlinuz-6.99.0-own")
    assert kernel.image == tmp_path / "vmlinuz-6.99.0-own"
    assert (kernel.release, kernel.ref.series, kernel.sha256) == ("6.99.0-own", "6.99", hash_file(kernel.image))
    assert kernel.config["CONFIG_IO_URING"] == "y"


def test_an_image_alone_is_taken_on_trust(tmp_path: Path, open_kernels: Open) -> None:
    (tmp_path / "bzImage").write_bytes(bzimage())
    assert own(open_kernels, tmp_path / "bzImage").config == {}


def test_a_build_tree_brings_its_configuration_and_modules(tmp_path: Path, open_kernels: Open) -> None:
    tree = tmp_path / "linux tree"
    for name, content in {
        "arch/x86/boot/bzImage": bzimage("6.99.0-own"),
        ".config": config(CONFIG_BLK_DEV_NVME="m").encode(),
        "include/config/kernel.release": b"6.99.0-own\n",
        "drivers/block/loop.ko": module(),
        "drivers/nvme/host/nvme-core.ko": module(),
        "drivers/nvme/host/nvme.ko": module("nvme-core"),
    }.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    kernel = own(open_kernels, tree)
    assert list(kernel.modules) == ["loop", "nvme_core", "nvme"]
    assert kernel.modules["loop"] == tree / "drivers/block/loop.ko"


def test_compressed_modules_of_a_build_tree_are_unpacked(tmp_path: Path, open_kernels: Open) -> None:
    for name, content in {
        "arch/x86/boot/bzImage": bzimage("6.99.0-own"),
        ".config": config().encode(),
        "drivers/block/loop.ko.gz": gzip.compress(module()),
    }.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(content)
    assert own(open_kernels, tmp_path / "tree").modules["loop"].read_bytes() == module()


def test_a_module_whose_dependency_is_not_there_is_left_out(tmp_path: Path, open_kernels: Open) -> None:
    for name, content in {
        "arch/x86/boot/bzImage": bzimage("6.99.0-own"),
        ".config": config(CONFIG_BLK_DEV_NVME="m").encode(),
        "drivers/block/loop.ko": module(),
        "drivers/nvme/host/nvme.ko": module("nvme-core"),
    }.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(content)
    assert list(own(open_kernels, tmp_path / "tree").modules) == ["loop"]


OWN_RELEASE = "6.99.0-own"


@pytest.fixture
def package_file(tmp_path: Path) -> Path:
    """A kernel of somebody's own as a package."""
    path = tmp_path / f"linux-image-{OWN_RELEASE}_1_amd64.deb"
    files: dict[str, bytes | str] = {
        f"boot/vmlinuz-{OWN_RELEASE}": bzimage(OWN_RELEASE),
        f"boot/config-{OWN_RELEASE}": config().encode(),
        f"lib/modules/{OWN_RELEASE}/kernel/drivers/block/loop.ko": module(),
        f"lib/modules/{OWN_RELEASE}/kernel/net/other.ko": os.urandom(1 << 20),
    }
    path.write_bytes(deb(f"Package: linux-image-{OWN_RELEASE}\nVersion: 6.99.0-1\nArchitecture: amd64\n", files))
    return path


def test_a_package_file_is_unpacked_once_and_verified(package_file: Path, open_kernels: Open, cache: Cache) -> None:
    kernel = own(open_kernels, package_file)
    assert (kernel.release, kernel.ref.package_version, list(kernel.modules)) == (OWN_RELEASE, "6.99.0-1", ["loop"])
    assert own(open_kernels, package_file) == kernel
    assert len(cache.keys("kernels")) == 1


def test_a_package_is_read_to_its_end_unless_its_hash_is_known(
    package_file: Path, open_kernels: Open, tmp_path: Path
) -> None:
    """Of the archive's packages it is: they are read as far as the last module that is wanted, and no further."""
    content = bytearray(package_file.read_bytes())
    content[-12] ^= 1  # in the footer of the compressed stream
    package_file.write_bytes(content)
    with pytest.raises(VmError, match=r"amd64\.deb is damaged"):
        own(open_kernels, package_file)
    (tmp_path / "target").mkdir()
    found = unpack_files([package_file], tmp_path / "target", "amd64", are_verified=True)
    assert (found["release"], found["modules"]) == (OWN_RELEASE, ["loop"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (bzimage()[:-5], "breaks off in the middle"),
        (bzimage(is_64_bit=False), "is a kernel for i386"),
        (b"#!/bin/sh\n" * 100, "is not a kernel image"),
    ],
)
def test_what_is_no_kernel_is_refused_with_a_sentence(
    content: bytes, message: str, tmp_path: Path, open_kernels: Open
) -> None:
    (tmp_path / "bzImage").write_bytes(content)
    with pytest.raises(SpecError, match=message):
        own(open_kernels, tmp_path / "bzImage")


def test_the_host_is_described_and_never_judged(open_kernels: Open) -> None:
    kernels = open_kernels()
    kernel = kernels.fetch(kernels.resolve(["host"])[0])
    assert (kernel.release, kernel.image, kernel.sha256) == (os.uname().release, Path(), "")


# -- pruning ----------------------------------------------------------------------------------------------------------


def test_pruning_keeps_the_newest_of_each_series(stocked: FakeArchive, open_kernels: Open, cache: Cache) -> None:
    kernels = open_kernels()
    fetched(kernels.fetch_all(kernels.resolve(["5.10.1-1", "5.10", "7.3"])))
    cache.folder("packages").joinpath("x.deb").write_bytes(b"x")
    removed = dict(kernels.prune())
    assert sorted(name.split("_")[0] for name in removed) == [
        "kernels/linux-image-5.10.0-1-cloud-amd64",
        "packages/x.deb",
    ]
    assert all(size_bytes > 0 for size_bytes in removed.values())
    assert sorted(ref.series for ref in kernels.cached()) == ["5.10", "7.3"]
    kernels.prune(everything=True)
    assert kernels.cached() == []
