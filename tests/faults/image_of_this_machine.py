"""A pytest plugin: kernels come from the archive that APT_CONFIG names, the guest image as ever from this machine's."""

from functools import cached_property
from pathlib import Path

from fault_world import shared_cache

from harness.prepare import Setup
from vm import image
from vm.apt import Archive
from vm.cache import Cache
from vm.sources import find_sources

_APT = Path("/etc/apt")


def _image_archive(setup: Setup) -> Archive:
    sources = find_sources(None, image.SUITES, configuration=(_APT / "sources.list", _APT / "sources.list.d"))
    cache = Cache(shared_cache())
    return Archive(image.SUITES, setup.architecture.name, cache, setup.settings, setup.progress, sources=sources)


replacement = cached_property(_image_archive)
replacement.__set_name__(Setup, "_image_archive")
Setup._image_archive = replacement  # type: ignore[misc]
