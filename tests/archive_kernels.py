"""Which kernels tests boot for real."""

from vm.cache import Cache
from vm.fetch import Kernels
from vm.progress import PlainProgress
from vm.settings import Settings


def oldest_and_newest() -> list[str]:
    """The ids of the oldest and the newest kernel of the archive."""
    settings = Settings.load()
    progress = PlainProgress()
    refs = Kernels(Cache(settings.cache, progress), settings, progress).resolve(["all"])
    return [refs[0].id, refs[-1].id]
