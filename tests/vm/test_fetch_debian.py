"""The real archive: every series it has, QEMU without root, and all of it again without the network."""

import dataclasses
import subprocess
from pathlib import Path

import pytest

from vm.cache import Cache
from vm.catalogue import series_key
from vm.errors import FetchError
from vm.fetch import Kernels
from vm.kernel import Kernel
from vm.kernelimage import inspect
from vm.qemu import VERSION_MIN, _fetch, _qemu, host_arch
from vm.settings import Settings

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module")
def settings() -> Settings:
    """The user's own cache: what is fetched here is of use to whatever runs next."""
    return Settings.load()


def test_every_series_of_the_archive_is_found_in_order(settings: Settings) -> None:
    kernels = Kernels(Cache(settings.cache), settings)
    series = [ref.series for ref in kernels.resolve(["all"])]
    assert series == sorted(series, key=series_key)
    # Debian keeps the kernels of its supported releases and of its backports; fewer means that we misread an index.
    assert len(series) >= 5
    assert {"6.1", "6.12"} <= set(series)


def test_the_oldest_and_the_newest_kernel_are_fetched_and_work_offline(settings: Settings) -> None:
    kernels = Kernels(Cache(settings.cache), settings)
    refs = kernels.resolve(["all"])
    chosen = [refs[0], refs[-1]]
    fetched = [kernel for kernel in kernels.fetch_all(chosen) if isinstance(kernel, Kernel)]
    assert [kernel.ref.series for kernel in fetched] == [ref.series for ref in chosen]
    for kernel in fetched:
        assert inspect(kernel.image, "amd64").release == kernel.release
        assert kernel.config.get("CONFIG_IO_URING", "y") == "y"
    offline = Kernels(Cache(settings.cache), dataclasses.replace(settings, offline=True))
    assert offline.fetch_all([kernel.ref for kernel in fetched]) == fetched


def test_qemu_is_fetched_without_root_and_answers(settings: Settings) -> None:
    """Also where the machine has a QEMU: what is tested is our own."""
    cache = Cache(settings.cache)
    catalogue = Kernels(cache, settings).catalogue
    from vm.progress import SILENT

    entry = _fetch("amd64", cache, settings, SILENT, catalogue, None)
    qemu = _qemu(entry.directory, entry.meta, entry.files)
    assert qemu.version >= VERSION_MIN
    said = subprocess.run(
        [*qemu.command, "--version"], env=dict(qemu.environment), capture_output=True, text=True, check=True
    )
    assert ".".join(map(str, qemu.version)) in said.stdout
    # Every library is its own: nothing of the machine is mixed in.
    loaded = subprocess.run(
        [*qemu.command[:4], "--list", qemu.command[4]], capture_output=True, text=True, check=True
    ).stdout
    foreign = [line for line in loaded.splitlines() if "=> /" in line and str(entry.directory) not in line]
    assert foreign == []
    assert host_arch() in {"amd64", "arm64"}


def test_a_mirror_that_is_none_is_an_error(settings: Settings, tmp_path: Path) -> None:
    wrong = dataclasses.replace(settings, cache=tmp_path, mirror="file:/nonexistent/debian")
    with pytest.raises(FetchError, match="has none of the suites"):
        Kernels(Cache(tmp_path), wrong).resolve(["all"])
