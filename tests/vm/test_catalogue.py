"""The catalogue: packages into kernels, kernels into series, newest first, and series nobody has heard of."""

import datetime

import pytest

from vm.apt_text import Package
from vm.catalogue import Candidate, Catalogue, Index, find_candidates, flavour_of, series_key, series_of

CATALOGUE = Catalogue.load()


def package(name: str, version: str, suite: str = "sid", depends: str = "") -> Package:
    return Package(
        name, version, "amd64", suite, 1000, 2000, f"sha-{name}-{version}-{suite}", f"pool/{name}.deb", depends
    )


def index(*packages: Package) -> Index:
    return Index(find_candidates(packages, "amd64"), CATALOGUE.flavours["amd64"], CATALOGUE)


def newest(found: Index) -> dict[str, str]:
    return {series: found.of_series(series)[0].release for series in found.series}


def test_the_older_layout_is_one_package() -> None:
    (found,) = find_candidates([package("linux-image-6.1.0-56-cloud-amd64", "6.1.192-2")], "amd64")
    assert (found.series, found.release, found.flavour) == ("6.1", "6.1.0-56-cloud-amd64", "cloud-amd64")
    assert found.package == "linux-image-6.1.0-56-cloud-amd64"


def test_the_newer_layout_is_the_image_and_its_configuration() -> None:
    release = "7.3.4+deb14-cloud-amd64"
    names = [f"linux-{part}-{release}" for part in ("image", "binary", "base", "modules", "binary-unsigned")]
    depends = f"linux-base-{release} (= 7.3.4-1), linux-binary-{release} (= 7.3.4-1)"
    packages = [package(name, "7.3.4-1", depends=depends if "image" in name else "") for name in names]
    (found,) = find_candidates(packages, "amd64")
    assert [part.name for part in found.packages] == [f"linux-binary-{release}", f"linux-base-{release}"]
    assert found.size_bytes == 2000


def test_a_general_kernel_needs_its_modules_package() -> None:
    names = [f"linux-{part}-7.3.4-amd64" for part in ("binary", "base", "modules")]
    (found,) = find_candidates([package(name, "7.3.4-1") for name in names], "amd64")
    assert [part.name for part in found.packages] == names


def test_parts_of_another_version_are_not_mixed_in() -> None:
    packages = [package("linux-binary-7.3-cloud-amd64", "7.3-1"), package("linux-base-7.3-cloud-amd64", "7.3~rc7-1")]
    (found,) = find_candidates(packages, "amd64")
    assert [part.version for part in found.packages] == ["7.3-1"]


def test_packages_that_only_stand_for_others_are_left_out() -> None:
    packages = [
        package("linux-image-6.12-cloud-amd64", "6.12.117-1", depends="linux-image-6.12.117+deb12-cloud-amd64 (= 1)"),
        package("linux-image-cloud-amd64", "6.12.117-1", depends="linux-image-6.12.117-cloud-amd64"),
        package("linux-image-amd64-signed-template", "6.12.117-1"),
        package("linux-image-6.12.117-cloud-amd64-dbg", "6.12.117-1"),
        package("linux-modules-6.12.117-cloud-amd64", "6.12.117-1"),
        package("linux-image-6.12.117-cloud-arm64", "6.12.117-1"),
    ]
    assert find_candidates(packages, "amd64") == []


def test_the_signed_build_is_preferred_and_the_unsigned_one_will_do() -> None:
    both = [package(f"linux-image-6.1.0-5-cloud-amd64{end}", "6.1.5-1") for end in ("-unsigned", "")]
    assert [found.package for found in find_candidates(both, "amd64")] == ["linux-image-6.1.0-5-cloud-amd64"]
    assert [found.package for found in find_candidates(both[:1], "amd64")] == [
        "linux-image-6.1.0-5-cloud-amd64-unsigned"
    ]


def test_a_series_is_its_newest_version_by_debians_order() -> None:
    found = index(
        package("linux-image-6.16.9-cloud-amd64", "6.16.9-1"),
        package("linux-image-6.16.12-cloud-amd64", "6.16.12-1~bpo13+1"),
        package("linux-image-6.16.12b-cloud-amd64", "6.16.12-1"),
        package("linux-binary-7.3-cloud-amd64", "7.3~rc7-1~exp1"),
        package("linux-binary-7.3.4-cloud-amd64", "7.3.4-1~bpo13+1"),
    )
    assert newest(found) == {"6.16": "6.16.12b-cloud-amd64", "7.3": "7.3.4-cloud-amd64"}
    assert [candidate.version for candidate in found.of_series("6.16")] == [
        "6.16.12-1",
        "6.16.12-1~bpo13+1",
        "6.16.9-1",
    ]


def test_series_are_in_the_order_of_their_numbers() -> None:
    found = index(
        *(package(f"linux-image-{v}.1-cloud-amd64", f"{v}.1-1") for v in ("6.12", "10.0", "5.10", "6.9", "7.0"))
    )
    assert found.series == ["5.10", "6.9", "6.12", "7.0", "10.0"]


def test_a_rebuild_for_another_release_does_not_count_while_the_series_own_suite_has_it() -> None:
    rebuild = package("linux-image-6.1.0-0.deb11.60-cloud-amd64", "6.1.199-1~deb11u1", "bullseye-security")
    own = package("linux-image-6.1.0-56-cloud-amd64", "6.1.192-2", "bookworm-security")
    assert newest(index(rebuild, own)) == {"6.1": "6.1.0-56-cloud-amd64"}
    assert newest(index(rebuild)) == {"6.1": "6.1.0-0.deb11.60-cloud-amd64"}


def test_a_series_is_of_one_flavour_and_the_best_one() -> None:
    general = package("linux-image-6.1.0-57-amd64", "6.1.193-1")
    cloud = package("linux-image-6.1.0-56-cloud-amd64", "6.1.192-2")
    realtime = package("linux-image-6.1.0-58-rt-amd64", "6.1.194-1")
    assert newest(index(general, cloud, realtime)) == {"6.1": "6.1.0-56-cloud-amd64"}
    assert newest(index(general, realtime)) == {"6.1": "6.1.0-57-amd64"}
    assert newest(index(realtime)) == {}


def test_an_exact_kernel_is_found_whatever_its_flavour() -> None:
    found = index(package("linux-image-6.1.0-58-rt-amd64", "6.1.194-1"))
    candidate = found.find("linux-image-6.1.0-58-rt-amd64", "6.1.194-1")
    assert isinstance(candidate, Candidate)
    assert found.find("linux-image-6.1.0-58-rt-amd64", "6.1.195-1") is None


def test_the_first_of_equal_packages_counts() -> None:
    packages = [
        package("linux-image-6.1.0-1-cloud-amd64", "6.1.1-1", suite) for suite in ("bookworm", "bookworm-security")
    ]
    (found,) = find_candidates(packages, "amd64")
    assert found.suite == "bookworm"


def test_a_series_that_nobody_has_heard_of_is_there_all_the_same() -> None:
    assert newest(index(package("linux-binary-11.4.2+deb17-cloud-amd64", "11.4.2-1"))) == {
        "11.4": "11.4.2+deb17-cloud-amd64"
    }
    assert CATALOGUE.facts("11.4").released is None


def test_the_data_says_what_is_known() -> None:
    assert CATALOGUE.facts("6.1").is_lts
    assert CATALOGUE.facts("6.1").released == datetime.date(2022, 12, 11)
    for series in CATALOGUE.series.values():
        assert set(series.suites) <= {*CATALOGUE.suites, *CATALOGUE.suites_to_come}
    for group in CATALOGUE.qemu_suites:
        assert set(group) <= set(CATALOGUE.suites)
    assert not set(CATALOGUE.suites) & set(CATALOGUE.suites_to_come)


@pytest.mark.parametrize(
    ("release", "series", "flavour"),
    [
        ("6.1.0-56-cloud-amd64", "6.1", "cloud-amd64"),
        ("6.12.117+deb13-amd64", "6.12", "amd64"),
        ("6.12.117+deb13-rt-amd64", "6.12", "rt-amd64"),
        ("7.3-cloud-amd64", "7.3", "cloud-amd64"),
        ("6.1.0-0.deb11.52-amd64", "6.1", "amd64"),
        ("own", "", ""),
    ],
)
def test_a_release_tells_its_series_and_flavour(release: str, series: str, flavour: str) -> None:
    assert (series_of(release), flavour_of(release, "amd64")) == (series, flavour)


def test_series_sort_by_number() -> None:
    assert sorted(["6.10", "6.9", "5.20", "x"], key=series_key) == ["x", "5.20", "6.9", "6.10"]
