"""What users call a kernel: every form, duplicates, unique ids, and the nearest name for one that is not there."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake_archive import deb
from kernel_samples import bzimage

from vm.apt_text import Package
from vm.catalogue import Catalogue, Index, find_candidates
from vm.errors import SpecError
from vm.kernel import KernelRef
from vm.specs import resolve

CATALOGUE = Catalogue.load()
KERNELS = {
    "5.10.0-45-cloud-amd64": "5.10.255-1",
    "5.10.0-46-cloud-amd64": "5.10.262-1",
    "6.1.0-56-cloud-amd64": "6.1.192-2",
    "6.1.0-56-amd64": "6.1.192-2",
    "6.1.0-56-rt-amd64": "6.1.192-2",
    "6.12.115+deb13-cloud-amd64": "6.12.115-1",
    "6.12.117+deb13-cloud-amd64": "6.12.117-1",
    "7.3.4+deb13-cloud-amd64": "7.3.4-1~bpo13+1",
}


@pytest.fixture(scope="module")
def load() -> Callable[[], Index]:
    packages = [
        Package(f"linux-image-{release}", version, "amd64", "sid", 1000, 2000, "sha", "pool")
        for release, version in KERNELS.items()
    ]
    index = Index(find_candidates(packages, "amd64"), CATALOGUE.flavours["amd64"], CATALOGUE)
    return lambda: index


def no_index() -> Index:
    raise AssertionError("the index was asked for")


def names(refs: list[KernelRef]) -> list[tuple[str, str | None]]:
    return [(ref.id, ref.release) for ref in refs]


NEWEST = {
    "5.10": "5.10.0-46-cloud-amd64",
    "6.1": "6.1.0-56-cloud-amd64",
    "6.12": "6.12.117+deb13-cloud-amd64",
    "7.3": "7.3.4+deb13-cloud-amd64",
}


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        ([], NEWEST),
        (["all"], NEWEST),
        (["latest"], {"7.3": NEWEST["7.3"]}),
        (["6.1"], {"6.1": NEWEST["6.1"]}),
        (["7.3,5.10"], {"7.3": NEWEST["7.3"], "5.10": NEWEST["5.10"]}),
        (["6.1", "all"], {"6.1": NEWEST["6.1"], "5.10": NEWEST["5.10"], "6.12": NEWEST["6.12"], "7.3": NEWEST["7.3"]}),
        (["6.*"], {"6.1": NEWEST["6.1"], "6.12": NEWEST["6.12"]}),
        (["6.1?"], {"6.12": NEWEST["6.12"]}),
        (["5.10.0-*"], {release: release for release in list(KERNELS)[:2]}),
        (["6.12.11*"], {release: release for release in list(KERNELS)[5:7]}),
        (["6.1.0-56-rt-amd64"], {"6.1.0-56-rt-amd64": "6.1.0-56-rt-amd64"}),
        (["6.1.0-56"], {"6.1.0-56-cloud-amd64": "6.1.0-56-cloud-amd64"}),
        (["6.1.192-2"], {"6.1.0-56-cloud-amd64": "6.1.0-56-cloud-amd64"}),
        (["6.1.192"], {"6.1.0-56-cloud-amd64": "6.1.0-56-cloud-amd64"}),
        (["linux-image-6.1.0-56-amd64"], {"6.1.0-56-amd64": "6.1.0-56-amd64"}),
        (["linux-image-6.1.0-56-amd64=6.1.192-2"], {"6.1.0-56-amd64": "6.1.0-56-amd64"}),
    ],
    ids=str,
)
def test_every_form_of_a_spec(specs: list[str], expected: dict[str, str], load: Callable[[], Index]) -> None:
    assert dict(names(resolve(specs, load, "amd64"))) == expected


def test_a_reference_has_all_that_is_known(load: Callable[[], Index]) -> None:
    (ref,) = resolve(["6.1"], load, "amd64")
    assert ref == KernelRef(
        id="6.1",
        series="6.1",
        arch="amd64",
        source="debian",
        package="linux-image-6.1.0-56-cloud-amd64",
        package_version="6.1.192-2",
        suite="sid",
        release="6.1.0-56-cloud-amd64",
        size_bytes=1000,
    )


def test_the_same_kernel_by_several_names_is_one(load: Callable[[], Index]) -> None:
    refs = resolve(["6.1.0-56-cloud-amd64", "6.1", "6.1.192-2", "host", "host"], load, "amd64")
    assert [ref.id for ref in refs] == ["6.1.0-56-cloud-amd64", "host"]


def test_the_host_needs_no_index() -> None:
    (ref,) = resolve(["host"], no_index, "amd64")
    assert (ref.id, ref.source, ref.release) == ("host", "host", os.uname().release)


@pytest.mark.parametrize(
    ("spec", "nearest"),
    [
        ("6.13", "nearest: 6.12, 7.3"),
        ("5.4", "nearest: 5.10"),
        ("6.1.0-55-cloud-amd64", "nearest: 6.1.0-56-cloud-amd64"),
        ("lastest", "nearest: latest"),
        ("xyzzy", "no kernel is called 'xyzzy'. There are the series 5.10, 6.1, 6.12, 7.3"),
        ("8.*", "no kernel is called '8.*'"),
    ],
)
def test_an_unknown_spec_names_the_nearest(spec: str, nearest: str, load: Callable[[], Index]) -> None:
    with pytest.raises(SpecError) as caught:
        resolve(["6.1", spec], load, "amd64")
    assert nearest in str(caught.value)


@pytest.mark.parametrize("spec", ["", " ", ","])
def test_an_empty_spec_is_refused(spec: str, load: Callable[[], Index]) -> None:
    with pytest.raises(SpecError):
        resolve([spec], load, "amd64")


def test_an_empty_index_is_an_error() -> None:
    empty = Index([], ["amd64"], CATALOGUE)
    for spec in ("all", "latest"):
        with pytest.raises(SpecError, match="no kernels for this architecture"):
            resolve([spec], lambda: empty, "amd64")


# -- distributions ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Distribution:
    """A release of a distribution."""

    name: str
    series: str
    suites: tuple[str, ...] = ()
    is_mainline_like: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name.lower().replace(" ", ""),)

    def is_called(self, text: str) -> bool:
        return text.lower().replace(" ", "") in self.names


DISTRIBUTIONS = (
    Distribution("Debian 12", "6.1", ("bookworm", "bookworm-security")),
    Distribution("Debian 13", "6.12", ("trixie",)),
    Distribution("Ubuntu 22.04", "5.15"),
    Distribution("Alpine 3.22", "6.12"),
    Distribution("RHEL 9", "5.14", is_mainline_like=False),
)


def by_distribution(spec: str, *kernels: tuple[str, str, str]) -> list[KernelRef]:
    """Resolve a spec where an archive has these kernels: release, version, suite."""
    packages = [
        Package(f"linux-image-{release}", version, "amd64", suite, 1000, 2000, "sha", "pool")
        for release, version, suite in kernels
    ]
    index = Index(find_candidates(packages, "amd64"), CATALOGUE.flavours["amd64"], CATALOGUE)
    return resolve([spec], lambda: index, "amd64", lambda: DISTRIBUTIONS)


BULLSEYE = ("5.10.0-46-cloud-amd64", "5.10.262-1", "bullseye")
BOOKWORM = ("6.1.0-56-cloud-amd64", "6.1.192-2", "bookworm-security")


@pytest.mark.parametrize("spec", ["debian12", "Debian 12"])
def test_a_distribution_is_the_newest_kernel_of_its_own_suites(spec: str) -> None:
    older = ("6.1.0-50-cloud-amd64", "6.1.150-1", "bookworm")
    (ref,) = by_distribution(spec, BULLSEYE, older, BOOKWORM)
    assert (ref.id, ref.package_version, ref.suite) == ("6.1", "6.1.192-2", "bookworm-security")


def test_a_kernel_of_its_series_from_elsewhere_is_no_distributions_own() -> None:
    backport = ("6.1.0-60-cloud-amd64", "6.1.200-1~deb11u1", "bullseye-security")
    with pytest.raises(SpecError) as caught:
        by_distribution("debian12", BULLSEYE, backport)
    assert str(caught.value).startswith(
        "Debian 12 has Linux 6.1, and this archive has none in bookworm, bookworm-security; nearest by version: 6.1, "
        "another build of that series."
    )


def test_a_distributions_kernel_that_is_not_the_series_newest_goes_by_its_release() -> None:
    # This series has no suites of its own in the catalogue, so that all of them count.
    newer = ("6.13.9+deb14-cloud-amd64", "6.13.9-1", "sid")
    own = ("6.13.2+deb13-cloud-amd64", "6.13.2-1", "trixie")
    packages = [Package(f"linux-image-{r}", v, "amd64", s, 1, 2, "sha", "pool") for r, v, s in (newer, own)]
    index = Index(find_candidates(packages, "amd64"), CATALOGUE.flavours["amd64"], CATALOGUE)
    known = [Distribution("Debian 13", "6.13", ("trixie",))]
    (ref,) = resolve(["debian13"], lambda: index, "amd64", lambda: known)
    assert (ref.id, ref.package_version) == (own[0], "6.13.2-1")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "ubuntu22.04",
            "Ubuntu 22.04 has Linux 5.15, and its own kernel cannot be fetched yet; nearest by version: 5.10, 6.1. If",
        ),
        ("rhel9", "RHEL 9 has Linux 5.14, and its own kernel cannot be fetched yet; nearest by version: 5.10, 6.1 (of"),
        ("alpine3.22", "nearest by version: 6.1. If"),
        ("debian10", "no kernel is called 'debian10'; nearest: debian12."),
        ("debian12.5", "no kernel is called 'debian12.5'; nearest: debian12, debian13."),
        ("debain13", "nearest: debian13"),
    ],
)
def test_a_distribution_whose_kernel_cannot_be_had_says_what_to_take_instead(spec: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        by_distribution(spec, BULLSEYE, BOOKWORM)
    assert message in str(caught.value)


def test_a_distribution_beats_a_file_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("debian12").write_bytes(bzimage())
    assert [ref.id for ref in by_distribution("debian12", BOOKWORM)] == ["6.1"]
    assert [ref.source for ref in by_distribution("./debian12", BOOKWORM)] == ["path"]


# -- paths ------------------------------------------------------------------------------------------------------------


def test_a_path_needs_no_index_and_takes_the_files_name(tmp_path: Path) -> None:
    path = tmp_path / "my kernel, the second"
    path.write_bytes(bzimage())
    (ref,) = resolve([str(path)], no_index, "amd64")
    assert (ref.id, ref.source, ref.location, ref.size_bytes) == (path.name, "path", str(path), path.stat().st_size)


def test_a_series_beats_a_file_of_that_name_and_a_slash_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load: Callable[[], Index]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "6.1").write_bytes(bzimage())
    (tmp_path / "bzImage").write_bytes(bzimage())
    sources = [ref.source for ref in resolve(["6.1", "./6.1", "bzImage"], load, "amd64")]
    assert sources == ["debian", "path", "path"]


def test_equal_names_are_told_apart(tmp_path: Path) -> None:
    for folder in ("a", "b", "c/b"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "bzImage").write_bytes(bzimage())
    specs = [str(tmp_path / folder / "bzImage") for folder in ("a", "b", "c/b", "a")]
    assert [ref.id for ref in resolve(specs, no_index, "amd64")] == ["bzImage", "b-bzImage", "bzImage-2"]


def test_a_build_tree_is_known_by_its_image(tmp_path: Path) -> None:
    tree = tmp_path / "linux"
    (tree / "arch/x86/boot").mkdir(parents=True)
    (tree / "include/config").mkdir(parents=True)
    (tree / "arch/x86/boot/bzImage").write_bytes(bzimage())
    (tree / "include/config/kernel.release").write_text("6.99.0-rc1-own\n")
    (ref,) = resolve([f"{tree}/"], no_index, "amd64")
    assert (ref.id, ref.series, ref.release, ref.location) == ("linux", "6.99", "6.99.0-rc1-own", str(tree))


def test_a_package_file_tells_its_version(tmp_path: Path) -> None:
    path = tmp_path / "linux-image-6.1.0-own_1_amd64.deb"
    path.write_bytes(deb("Package: linux-image-6.1.0-own\nVersion: 6.1.0-1\nArchitecture: amd64\n", {}))
    (ref,) = resolve([str(path)], no_index, "amd64")
    assert (ref.id, ref.series, ref.package_version) == (path.stem, "6.1", "6.1.0-1")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent/bzImage", "No such file or directory"),
        ("empty-folder/", "is a folder without arch/x86/boot/bzImage; a build tree has one after `make bzImage`"),
        ("foreign.deb", "is a package for arm64, and the guest is amd64"),
        ("broken.deb", "is not a Debian package"),
        ("pipe/x", "neither a file nor a folder"),
    ],
)
def test_a_path_that_is_no_kernel_gets_a_sentence(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty-folder").mkdir()
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe/x")
    (tmp_path / "broken.deb").write_bytes(b"no package")
    (tmp_path / "foreign.deb").write_bytes(deb("Package: a\nVersion: 1\nArchitecture: arm64\n", {}))
    with pytest.raises(SpecError, match=message):
        resolve([str(tmp_path / name)], no_index, "amd64")


def test_a_home_that_is_not_there_is_an_error() -> None:
    with pytest.raises(SpecError, match="~nobody-of-that-name/bzImage"):
        resolve(["~nobody-of-that-name/bzImage"], no_index, "amd64")


def test_a_path_with_other_letters_gets_a_plain_id(tmp_path: Path) -> None:
    """Test ids have it: pytest would escape it there, and nobody would know the rows again."""
    (tmp_path / "größer [1]").write_bytes(bzimage())
    (ref,) = resolve([str(tmp_path / "größer [1]")], no_index, "amd64")
    assert (ref.id, ref.location) == ("gr__er _1_", str(tmp_path / "größer [1]"))
