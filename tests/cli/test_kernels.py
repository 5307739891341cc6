"""`uring-matrix kernels` against a signed archive of its own, over the network of this machine alone."""

import json
import re
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from own_archive import RELEASES, FakeArchive, add_what_guests_need, bzimage

from uring_matrix.kernels import Row
from vm.kernel import KernelRef
from vm.specs import spec_of

from .conftest import Ended

Call = Callable[..., Ended]
GONE = "linux-image-6.12.1-3-cloud-amd64=6.12.1-1"
FIELDS = {
    *("id", "spec", "series", "arch", "source", "release", "package", "package_version", "suite"),
    *("size_bytes", "is_cached", "is_lts", "released", "location"),
}


@pytest.fixture
def archive(archive: FakeArchive) -> FakeArchive:
    """An archive that has what guests need as well."""
    add_what_guests_need(archive)
    return archive


def test_list_shows_the_newest_of_every_series(cli: Call, archive: FakeArchive) -> None:
    ended = cli("kernels", "list")
    assert ended.code == 0, ended.err
    rows = [line.split() for line in ended.out.splitlines()[1:]]
    assert [row[:4] for row in rows] == [
        ["6.1", RELEASES["6.1"], "6.1.1-1", "bookworm"],
        ["6.12", RELEASES["6.12"], "6.12.1-1", "trixie"],
    ]
    assert rows[0][-2:] == ["LTS", "2022-12-11"]


def test_list_json_is_one_line_with_the_documented_fields(cli: Call, archive: FakeArchive) -> None:
    ended = cli("kernels", "list", "--json", "6.*")
    assert ended.code == 0, ended.err
    assert ended.out.count("\n") == 1  # so that it fits into a CI job's output
    document = json.loads(ended.out)
    assert document["schema_version"] == 1
    assert [kernel["id"] for kernel in document["kernels"]] == ["6.1", "6.12"]
    assert {frozenset(kernel) for kernel in document["kernels"]} == {frozenset(FIELDS)}
    assert frozenset(Row.__dataclass_fields__) == FIELDS


def test_the_help_names_every_field(cli: Call) -> None:
    text = cli("kernels", "list", "--help").out
    assert FIELDS - set(re.findall(r"\w+", text)) == set()


def test_fetch_makes_a_kernel_cached(cli: Call, archive: FakeArchive) -> None:
    before = json.loads(cli("kernels", "list", "--json").out)["kernels"]
    fetched = cli("kernels", "fetch", "6.1")
    after = json.loads(cli("kernels", "list", "--json").out)["kernels"]
    assert fetched.code == 0, fetched.err
    assert [kernel["is_cached"] for kernel in before] == [False, False]
    assert [kernel["is_cached"] for kernel in after] == [True, False]
    image = Path(fetched.out.split()[-1])
    assert image.read_bytes() == bzimage(RELEASES["6.1"])


def test_fetch_brings_what_guests_need(cli: Call, archive: FakeArchive) -> None:
    """The guest image and its packages, and QEMU: with them, and without the archive, nothing is missing."""
    ended = cli("kernels", "fetch", "6.1")
    assert (ended.code, ended.out.count("\n")) == (0, 1), ended
    assert re.search(r"^guest image: \S+/runtime\.cpio$", ended.err, re.MULTILINE)
    assert re.search(r"^QEMU: QEMU ", ended.err, re.MULTILINE)
    assert list(Path("../cache/packages").glob("python3.13_*"))
    shutil.rmtree("../cache/apt")
    asked = len(archive.requests)
    assert cli("doctor", "--offline", "6.1").code == 0
    again = cli("kernels", "fetch", "6.1", "--offline")
    assert (again.code, again.out) == (0, ended.out), again
    assert len(archive.requests) == asked


def test_what_guests_need_and_cannot_be_had_is_named_and_costs_no_kernel(cli: Call, archive: FakeArchive) -> None:
    for suite in archive.stanzas:
        archive.stanzas[suite] = [one for one in archive.stanzas[suite] if "Package: busybox" not in one]
    archive.publish()
    ended = cli("kernels", "fetch", "6.1")
    assert (ended.code, ended.out.startswith("6.1 ")) == (3, True), ended
    assert "guest image: apt cannot install" in ended.err
    assert "QEMU: QEMU " in ended.err


def test_kernels_of_an_architecture_without_guests_are_fetched_alone(cli: Call, archive: FakeArchive) -> None:
    name = archive.add("bookworm", "linux-image-6.1.0-9-arm64", "6.1.1-1", {}, architecture="arm64")
    archive.publish(architecture="arm64")
    archive.gone.add(name)
    ended = cli("kernels", "fetch", "6.1", "--arch", "arm64")
    assert ended.code == 3, ended
    assert "guests of arm64 are not supported" in ended.err


def test_a_fetch_that_fails_names_the_kernel_and_keeps_the_others(cli: Call, archive: FakeArchive) -> None:
    archive.gone.add(next(iter(archive.root.glob("pool/linux-image-6.12*"))).relative_to(archive.root).as_posix())
    ended = cli("kernels", "fetch", "all")
    assert ended.code == 3
    assert ended.out.startswith("6.1 ")
    assert f"6.12: the archive no longer has {GONE} (404), and lists no other kernel of 6.12" in ended.err


def test_an_unknown_spec_is_a_usage_error_that_names_the_nearest(cli: Call, archive: FakeArchive) -> None:
    ended = cli("kernels", "list", "6.13")
    assert (ended.code, ended.out) == (2, "")
    assert "'6.13'" in ended.err
    assert re.search(r"nearest: .*\b6\.12\b", ended.err)


def test_offline_with_an_empty_cache_is_a_sentence(cli: Call, archive: FakeArchive) -> None:
    ended = cli("--offline", "kernels", "list")
    assert ended.code == 3
    assert "offline" in ended.err
    assert "Traceback" not in ended.err


def test_offline_uses_what_the_cache_has(cli: Call, archive: FakeArchive) -> None:
    cli("kernels", "fetch", "6.1")
    asked = len(archive.requests)
    ended = cli("kernels", "fetch", "6.1", "--offline")
    assert ended.code == 0, ended.err
    assert len(archive.requests) == asked


def test_update_asks_the_archive_again(cli: Call, archive: FakeArchive) -> None:
    cli("kernels", "list")
    asked = len(archive.requests)
    cli("kernels", "list")
    assert len(archive.requests) == asked
    assert cli("kernels", "list", "--update").code == 0
    assert len(archive.requests) > asked


def test_an_unsigned_archive_is_refused(cli: Call, archive: FakeArchive, tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(f"deb [signed-by={tmp_path}/no-such.gpg] {archive.address} bookworm main\n")
    ended = cli("kernels", "list")
    assert ended.code == 3
    assert "is not signed by a key" in ended.err


def test_prune_says_what_it_removed(cli: Call, archive: FakeArchive) -> None:
    assert cli("kernels", "prune").out == "nothing to remove\n"
    cli("kernels", "fetch", "6.1")
    assert cli("kernels", "prune").out == "nothing to remove\n"
    ended = cli("kernels", "prune", "--all")
    assert ended.code == 0
    assert f"kernels/linux-image-{RELEASES['6.1']}" in ended.out
    assert not list(Path("../cache/kernels").glob("*/manifest.json"))


def test_lock_pins_exact_packages_and_images(cli: Call, archive: FakeArchive) -> None:
    ended = cli("kernels", "lock", "6.1", "-o", "pinned.lock")
    assert ended.code == 0, ended.err
    document = tomllib.loads(Path("pinned.lock").read_text())
    (kernel,) = document["kernel"]
    assert kernel["id"] == "6.1"
    assert kernel["package"] == f"linux-image-{RELEASES['6.1']}"
    assert kernel["package_version"] == "6.1.1-1"
    assert re.fullmatch("[0-9a-f]{64}", kernel["sha256"])


def test_an_architecture_nobody_knows_is_a_usage_error(cli: Call) -> None:
    ended = cli("kernels", "list", "--arch", "vax")
    assert ended.code == 2
    assert "amd64, arm64" in ended.err


@pytest.mark.parametrize(
    ("ref", "spec"),
    [
        pytest.param(
            KernelRef("6.1", "6.1", "amd64", "debian", "p", "1-1", release="6.1.0-1-amd64"), "6.1", id="series"
        ),
        pytest.param(
            KernelRef("6.1.0-1-amd64", "6.1", "amd64", "debian", "p", "1-1", release="6.1.0-1-amd64"),
            "6.1.0-1-amd64",
            id="release",
        ),
        pytest.param(
            KernelRef("6.1.0-1-amd64-1-1", "6.1", "amd64", "debian", "p", "1-1", release="6.1.0-1-amd64"),
            "p=1-1",
            id="an id that was made unique",
        ),
        pytest.param(KernelRef("bzImage", "", "amd64", "path", location="/x/bzImage"), "/x/bzImage", id="path"),
        pytest.param(KernelRef("host", "6.1", "amd64", "host", release="6.1.7"), "host", id="host"),
    ],
)
def test_the_spec_of_a_row_asks_for_that_row(ref: KernelRef, spec: str) -> None:
    assert spec_of(ref) == spec


@pytest.mark.parametrize("spec", ["debian12", "bookworm", "Debian 12"])
def test_a_distributions_name_is_its_kernel(cli: Call, archive: FakeArchive, spec: str) -> None:
    ended = cli("kernels", "list", spec, "--json")
    assert [one["id"] for one in json.loads(ended.out)["kernels"]] == ["6.1"]


def test_a_distribution_whose_kernel_cannot_be_had_is_a_usage_error(cli: Call, archive: FakeArchive) -> None:
    for command in ("kernels list", "kernels fetch", "kernels lock", "probe", "shell", "doctor", "run", "run --kernel"):
        ended = cli(*command.split(), "el9")
        assert (ended.code, ended.out) == (2, ""), ended
        assert "RHEL 9 has Linux 5.14, and its own kernel cannot be fetched yet" in ended.err
