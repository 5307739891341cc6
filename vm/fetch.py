"""From a kernel's name to files that can be booted: download, verification, unpacking, and what to do when it fails."""

import contextlib
import gzip
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from vm import image
from vm.apt import Archive
from vm.apt_text import Package
from vm.archives import decompress
from vm.cache import BYTECODE, Cache, Entry, hash_file
from vm.catalogue import Candidate, Catalogue, Index, find_candidates, is_newer, series_of
from vm.errors import CacheError, FetchError, PackageGoneError, SignatureError, UnfitKernel, VmError
from vm.kernel import Kernel, KernelRef
from vm.kernelimage import check_fit, inspect, read_config
from vm.progress import SILENT, Progress
from vm.settings import Settings
from vm.specs import BUILD_IMAGES, Distribution, reference, resolve, spec_of
from vm.unpack import load_order, module_name, unpack_files, wanted_modules

_UNPACKING_THREADS = 2
_UPDATE = "`uring-matrix kernels list --update` brings the lists up to date; another mirror may have it (--mirror)"
_UNUSED_S = 30 * 24 * 60 * 60


class Kernels:
    """The kernels of the archive and of this machine, and the cache they are kept in.

    Args:
        cache: where they are kept.
        settings: mirror and offline.
        progress: told what takes time, and of every kernel that is not the one that was asked for.
        arch: Debian's name of the guest's architecture.
        catalogue: instead of the one that comes with the program.
        archive: instead of the one that the settings and the machine say.
        distributions: those by whose names kernels may be asked for.
    """

    def __init__(
        self,
        cache: Cache,
        settings: Settings,
        progress: Progress = SILENT,
        *,
        arch: str = "amd64",
        catalogue: Catalogue | None = None,
        archive: Archive | None = None,
        distributions: Callable[[], Sequence[Distribution]] = tuple,
    ) -> None:
        self.arch = arch
        self._distributions = distributions
        self.catalogue = catalogue or Catalogue.load()
        self._cache, self._settings, self._progress = cache, settings, progress
        self._given_archive = archive

    @cached_property
    def archive(self) -> Archive:
        """The archive; what is wrong with the machine's apt configuration comes out here."""
        if self._given_archive is not None:
            return self._given_archive
        suites = (*self.catalogue.suites, *self.catalogue.suites_to_come)
        return Archive(
            suites, self.arch, self._cache, self._settings, self._progress, optional=self.catalogue.suites_to_come
        )

    @property
    def index(self) -> Index:
        """What there is to test; when the archive cannot be asked, what is in the cache."""
        if isinstance(self._index, VmError):
            raise self._index
        return self._index

    @cached_property
    def _index(self) -> Index | VmError:
        """The index, or why there is none: nobody asks a dead network once for each kernel."""
        try:
            return self._find_index()
        except VmError as error:
            return error

    def _find_index(self) -> Index:
        flavours = self.catalogue.flavours.get(self.arch, (self.arch,))
        limit = ""
        try:
            listed = self.archive.kernel_packages()
            if not self._settings.offline:
                return Index(find_candidates(listed, self.arch), flavours, self.catalogue)
            cached = self._cached()
        except SignatureError:
            raise
        except (FetchError, CacheError) as error:
            listed, cached, limit = [], self._cached(), str(error)
            if not cached:
                raise
        # What is in the cache is all that can run; what else is listed is known to be missing.
        packages = (package for candidate in cached for package in candidate.packages)
        candidates = find_candidates([*packages, *listed], self.arch)
        at_hand = [candidate for candidate in candidates if self._has(candidate)]
        return Index(candidates, flavours, self.catalogue, first=at_hand, limit=limit)

    def resolve(self, specs: Sequence[str]) -> list[KernelRef]:
        """Find the kernels that specs name; see `vm.specs`."""
        refs = resolve(specs, lambda: self.index, self.arch, self._distributions)
        listed = [ref for ref in refs if ref.source == "debian"]
        if listed and (self._settings.offline or self.index.limit):
            self._tell_what_is_cached(listed, self.index.limit or "offline was asked for")
        return refs

    def _tell_what_is_cached(self, refs: Sequence[KernelRef], why: str) -> None:
        """Say what stands for each series, and what cannot be had."""
        found = {ref: self.index.find(ref.package, ref.package_version) for ref in refs}
        missing = [ref.id for ref, candidate in found.items() if candidate is None or not self._has(candidate)]
        cached = [
            f"{ref.id} is {ref.package_version}" for ref in refs if ref.id == ref.series and ref.id not in missing
        ]
        parts = [f"a series is the newest kernel of it in the cache: {', '.join(cached)}"] if cached else []
        parts += [f"not in the cache: {', '.join(missing)}"] if missing else []
        self._progress.note(f"{'; '.join(parts) or 'only the cache is looked into'}. No other is fetched: {why}")

    def fetch(self, ref: KernelRef) -> Kernel:
        """Make one kernel ready to boot.

        Raises:
            FetchError: it cannot be had.
            UnfitKernel: it is not a kernel this program can boot.
            CacheError: there is no room or no permission to keep it.
        """
        outcome = self.fetch_all([ref])[0]
        if isinstance(outcome, VmError):
            raise outcome
        return outcome

    def fetch_all(
        self,
        refs: Sequence[KernelRef],
        *,
        exact: bool = False,
        tell: Callable[[int, Kernel | VmError], object] = lambda *_: None,
    ) -> list[Kernel | VmError]:
        """Make kernels ready to boot, all downloads in one go.

        Args:
            refs: which, each once; those named first are downloaded first.
            exact: take nothing else for the newest of a series either, when that cannot be had.
            tell: called once for each of them with its place in `refs` and its outcome, as soon as it is there: perhaps
                while others are still coming, and from another thread.

        Returns:
            For each of them, in their order, the kernel, or why it cannot be had or cannot be booted: one that is
            missing or unfit does not cost the others.
        """
        outcomes = _Outcomes(refs, tell)
        missing: dict[KernelRef, Candidate] = {}
        for ref in refs:
            try:
                at_hand = self._at_hand(ref, exact)
            except VmError as error:
                outcomes.put(ref, error)
                continue
            if isinstance(at_hand, Candidate):
                missing[ref] = at_hand
            else:
                outcomes.put(ref, at_hand)
        if self._settings.offline:
            for ref in missing:
                outcomes.put(
                    ref,
                    FetchError(
                        f"{ref.package} {ref.package_version} is not in the cache, and is not fetched because offline "
                        f"was asked for; `uring-matrix kernels fetch {spec_of(ref, exact=exact)}` fetches it, with the "
                        "network"
                    ),
                )
        elif missing:
            try:
                with self._cache.lock("kernels"):
                    self._download(missing, exact, outcomes)
            except VmError as error:
                for ref in missing:
                    outcomes.put(ref, error)
        return outcomes.all

    def at_hand(self, ref: KernelRef, *, exact: bool = False) -> Kernel | None:
        """Find a kernel that needs no download; None when it needs one.

        Args:
            ref: which.
            exact: that very kernel is wanted, whether it stands for its series or not.

        Raises:
            VmError: it can never be had, or not be booted.
        """
        found = self._at_hand(ref, exact)
        if isinstance(found, Candidate):
            return None
        fit = _fit(found)
        if isinstance(fit, VmError):
            raise fit
        return fit

    def cached(self) -> list[KernelRef]:
        """List the kernels that need no download, oldest series first."""
        return [reference(candidate, candidate.release) for candidate in self._cached()]

    def prune(self, *, everything: bool = False) -> list[tuple[str, int]]:
        """Remove kernels that a run of `all` would not use, and what nobody used for a month.

        Of downloaded packages, those of guest images that stay are kept: another one can be made of them.

        Args:
            everything: remove whatever no run is using at the moment.

        Returns:
            What was removed and how many bytes that freed.
        """
        keep: set[str] = set()
        if not everything:
            keep = {_key(self.index.of_series(series)[0]) for series in self.index.series}
        removed: list[tuple[str, int]] = []
        for kind in self._cache.kinds():
            for key in self._cache.keys(kind):
                if kind == "kernels":
                    is_wanted = key in keep
                else:
                    is_wanted = not everything and self._cache.unused_for_s(kind, key) < _UNUSED_S
                if not is_wanted and (size_bytes := self._cache.remove(kind, key)) is not None:
                    removed.append((f"{kind}/{key}", size_bytes))
        return [
            *removed,
            *self._cache.clear_unused(BYTECODE, 0 if everything else _UNUSED_S),
            *self._cache.clear_folder("packages", image.package_files(self._cache)),
        ]

    # -- what is there already ----------------------------------------------------------------------------------------

    def _at_hand(self, ref: KernelRef, exact: bool) -> Kernel | Candidate:
        """Find a kernel without the network, or what to download for it."""
        if ref.source == "host":
            return host_kernel(ref)
        if ref.source == "path":
            return self._from_path(ref)
        candidate = self.index.find(ref.package, ref.package_version)
        if candidate is None:
            # Archives drop versions, and lock files name them; what is in the cache is still good.
            cached = (c for c in self._cached() if (c.package, c.version) == (ref.package, ref.package_version))
            candidate = next(cached, None)
        if candidate is None:
            raise FetchError(
                f"the archive's index has no {ref.package} {ref.package_version} (any more); "
                "see `uring-matrix kernels list` for what it has"
            )
        entry = self._cache.get("kernels", _key(candidate))
        note = "" if exact else self._older(ref, candidate)
        return _kernel(ref, entry, note) if entry is not None else candidate

    def _has(self, candidate: Candidate) -> bool:
        """Whether the cache has a kernel; whoever opens it, verifies it."""
        return _key(candidate) in self._cache.keys("kernels")

    def _older(self, ref: KernelRef, candidate: Candidate) -> str:
        """Say that the lists have a newer kernel than the one that stands for its series, if so."""
        newer = [one for one in self.index.of_series(candidate.series) if is_newer(one, candidate)]
        if ref.id != ref.series or not newer:
            return ""
        return f"{candidate.version} from the cache is used instead of {newer[0].version}, which is not fetched offline"

    def _cached(self) -> list[Candidate]:
        found = []
        for key in self._cache.keys("kernels"):
            entry = self._cache.get("kernels", key)
            if entry is not None and entry.meta["candidate"]["arch"] == self.arch:
                fields = dict(entry.meta["candidate"])
                fields["packages"] = tuple(Package(**package) for package in fields["packages"])
                found.append(Candidate(**fields))
        return found

    # -- downloads ----------------------------------------------------------------------------------------------------

    def _download(self, wanted: Mapping[KernelRef, Candidate], exact: bool, outcomes: "_Outcomes") -> None:
        """Download kernels, taking the next newest of a series for one that the archive does not have any more."""
        pending = dict(wanted)
        tried: dict[KernelRef, set[str]] = {ref: set() for ref in wanted}
        # Packages that are listed and are not there, in the order they were asked for.
        gone: dict[KernelRef, list[str]] = {ref: [] for ref in wanted}

        def keep(candidate: Candidate, entry: Entry) -> None:
            for ref, one in pending.items():
                if one == candidate:
                    note = f"{_gone(gone[ref])}; {one.version} is used instead. {_UPDATE}" if gone[ref] else ""
                    outcomes.put(ref, _kernel(_as_fetched(ref, candidate), entry, note))

        while pending:
            failures, error = self._download_once(dict.fromkeys(pending.values()), keep)
            for ref, candidate in list(pending.items()):
                if ref in outcomes:
                    pass
                elif candidate in failures:
                    outcomes.put(ref, _after(gone[ref], failures[candidate]))
                elif isinstance(error, PackageGoneError) and (hits := _hits(candidate, error)):
                    tried[ref].add(candidate.version)
                    gone[ref] += hits
                    following = None if exact else self._next(ref, tried[ref])
                    if following is not None:
                        pending[ref] = following
                        continue
                    is_series = not exact and ref.id == ref.series
                    rest = f", and lists no other kernel of {ref.series}" if is_series else ""
                    outcome = PackageGoneError(f"{_gone(gone[ref])}{rest}. {_UPDATE}", tuple(gone[ref]))
                    outcomes.put(ref, outcome if exact else self._instead(ref, outcome))
                elif error is not None and not isinstance(error, PackageGoneError):
                    failure = _after(gone[ref], error)
                    outcomes.put(ref, failure if exact else self._instead(ref, failure))
                elif error is None:
                    raise VmError(
                        f"{candidate.package} was downloaded, but neither unpacked nor refused: a mistake of ours"
                    )
                else:
                    continue  # it was not reached because others are gone: it comes with the next round
                if note := outcomes.note(ref):
                    self._progress.note(f"{ref.id}: {note}")
                del pending[ref]

    def _download_once(
        self, candidates: Iterable[Candidate], keep: Callable[[Candidate, Entry], None]
    ) -> tuple[dict[Candidate, VmError], VmError | None]:
        """Download and unpack; kernels are kept as they come, so that an interruption costs only what is under way.

        Args:
            candidates: which, in the order they are wanted.
            keep: given each of them when it is in the cache, perhaps from another thread.

        Returns:
            Those that cannot be unpacked, and what kept some from being downloaded.
        """
        failures: dict[Candidate, VmError] = {}
        fresh = []
        for candidate in candidates:
            # Another run may have fetched it while we waited for the lock.
            entry = self._cache.get("kernels", _key(candidate))
            if entry is not None:
                keep(candidate, entry)
            else:
                fresh.append(candidate)
        if not fresh:
            return failures, None
        failure: VmError | None = None
        unpacking: dict[Candidate, Future[None]] = {}
        lock = threading.Lock()
        with self._cache.temporary() as directory, ThreadPoolExecutor(_UNPACKING_THREADS) as pool:
            arrived: set[Package] = set()

            def unpack(candidate: Candidate) -> None:
                keep(candidate, self._keep(candidate, directory))

            def note_arrival(package: Package, _path: Path) -> None:
                with lock:
                    arrived.add(package)
                for candidate in fresh:
                    if package in candidate.packages and arrived.issuperset(candidate.packages):
                        unpacking[candidate] = pool.submit(unpack, candidate)

            packages = list(dict.fromkeys(package for candidate in fresh for package in candidate.packages))
            try:
                what = f"downloading {len(fresh)} kernels" if len(fresh) > 1 else f"downloading {fresh[0].package}"
                self.archive.download(packages, directory, on_file=note_arrival, what=what)
            except VmError as error:
                failure = error
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            for candidate, future in unpacking.items():
                try:
                    future.result()
                except VmError as error:
                    failures[candidate] = error
        return failures, failure

    def _keep(self, candidate: Candidate, directory: Path) -> Entry:
        """Unpack a kernel's packages into the cache, and drop them."""
        files = [directory / package.file for package in candidate.packages]
        entry = self._cache.get_or_build("kernels", _key(candidate), lambda target: _unpack(files, target, candidate))
        for path in files:
            path.unlink(missing_ok=True)
        return entry

    def _next(self, ref: KernelRef, gone: set[str]) -> Candidate | None:
        """Find the newest kernel of a series that is not gone; an exact kernel has no replacement."""
        if ref.id != ref.series:
            return None
        return next((c for c in self.index.of_series(ref.series) if c.version not in gone), None)

    def _instead(self, ref: KernelRef, error: VmError) -> Kernel | VmError:
        """Take an older kernel of the same series out of the cache when the network does not give the newest."""
        if ref.id != ref.series or isinstance(error, (SignatureError, CacheError)):
            return error
        # Of what is there, also that which no list has any more: archives drop versions.
        flavours = self.catalogue.flavours.get(self.arch, (self.arch,))
        for candidate in Index(self._cached(), flavours, self.catalogue).of_series(ref.series):
            entry = self._cache.get("kernels", _key(candidate))
            if entry is not None:
                note = (
                    f"{ref.package_version} could not be fetched, {candidate.version} from the cache is used instead. "
                    f"{error}"
                )
                return _kernel(_as_fetched(ref, candidate), entry, note)
        return error

    # -- the user's own -----------------------------------------------------------------------------------------------

    def _from_path(self, ref: KernelRef) -> Kernel:
        path = Path(ref.location or "")
        if path.suffix == ".deb":
            return self._from_deb(ref, path)
        is_tree = path.is_dir()
        image = path / BUILD_IMAGES[ref.arch] if is_tree else path
        facts = inspect(image, ref.arch)
        release = facts.release or ref.release or ""
        config = _find_config([path / ".config"] if is_tree else _configs_beside(path, release))
        folders = [path] if is_tree else [Path("/lib/modules") / release] if release else []
        return Kernel(
            ref=replace(ref, release=release or None, series=series_of(release)),
            image=image,
            sha256=hash_file(image),
            release=release,
            config=config,
            modules=self._modules_of(folders, config),
        )

    def _from_deb(self, ref: KernelRef, path: Path) -> Kernel:
        digest = hash_file(path)

        def build(target: Path) -> Mapping[str, Any]:
            return unpack_files([path], target, ref.arch)

        entry = self._cache.get_or_build("kernels", f"path_{digest[:32]}", build)
        return _kernel(ref, entry)

    def _modules_of(self, folders: Sequence[Path], config: Mapping[str, str]) -> dict[str, Path]:
        """Find a guest's modules in a build tree or in the machine's own modules."""
        wanted = wanted_modules(config)
        found: dict[str, Path] = {}
        for folder in folders:
            for source in (folder, folder / "kernel"):
                for path in [*source.glob("drivers/block/loop.ko*"), *source.glob("drivers/nvme/host/*.ko*")]:
                    found.setdefault(module_name(path), path)
        if not wanted or not found:
            return {}
        plain = {name: path for name, path in found.items() if path.suffix == ".ko"}
        try:
            order = load_order(wanted, {name: decompress(p.name, p.read_bytes()) for name, p in found.items()})
            packed = {name: found[name] for name in order if name not in plain}
            if packed:
                key = "_".join(hash_file(path)[:16] for path in packed.values())

                def build(target: Path) -> Mapping[str, Any]:
                    for name, path in packed.items():
                        (target / f"{name}.ko").write_bytes(decompress(path.name, path.read_bytes()))
                    return {}

                entry = self._cache.get_or_build("modules", key, build)
                plain |= {name: entry.path(f"{name}.ko") for name in packed}
        except (OSError, VmError) as error:
            self._progress.note(f"the kernel's modules are left out: {error}")
            return {}
        return {name: plain[name] for name in order}


class _Outcomes:
    """What became of each kernel, told once, when it is known."""

    def __init__(self, refs: Sequence[KernelRef], tell: Callable[[int, Kernel | VmError], object]) -> None:
        self._refs = refs
        self._tell = tell
        self._known: dict[KernelRef, Kernel | VmError] = {}

    def __contains__(self, ref: KernelRef) -> bool:
        return ref in self._known

    def put(self, ref: KernelRef, outcome: Kernel | VmError) -> None:
        """Take an outcome in; the first one of a kernel stands."""
        if ref not in self._known:
            self._known[ref] = _fit(outcome)
            self._tell(self._refs.index(ref), self._known[ref])

    def note(self, ref: KernelRef) -> str:
        """What there is to say of a kernel that is known: another version of it was taken, say."""
        found = self._known[ref]
        return found.note if isinstance(found, Kernel) else ""

    @property
    def all(self) -> list[Kernel | VmError]:
        """Of every kernel, in their order."""
        return [self._known[ref] for ref in self._refs]


def hold(kernel: Kernel, cache: Cache) -> None:
    """Verify a kernel that another process has fetched, and keep it from being removed while this one lives.

    Raises:
        CacheError: it is not there any more.
    """
    if cache.get("kernels", kernel.image.parent.name) is None:
        raise CacheError(f"{kernel.image} was fetched, but is gone from the cache or damaged; run again")


def host_kernel(ref: KernelRef) -> Kernel:
    """Describe the running kernel; its image is an empty path, because nobody is going to boot it."""
    release = os.uname().release
    config = _find_config([Path("/proc/config.gz"), *_configs_beside(Path("/boot") / f"vmlinuz-{release}", release)])
    return Kernel(ref=ref, image=Path(), sha256="", release=release, config=config)


def _fit(outcome: Kernel | VmError) -> Kernel | VmError:
    """Replace a kernel that would hang by the reason why it would."""
    try:
        if isinstance(outcome, Kernel) and outcome.ref.source != "host":
            check_fit(outcome)
    except UnfitKernel as error:
        return error
    return outcome


def _key(candidate: Candidate) -> str:
    """Name a kernel's cache entry: also by content, because two mirrors may build the same version."""
    version = candidate.version.replace(":", "%3a").replace("/", "_")
    return f"{candidate.package}_{version}_{candidate.packages[0].sha256[:12]}"


def _as_fetched(ref: KernelRef, candidate: Candidate) -> KernelRef:
    return reference(candidate, ref.id)


def _hits(candidate: Candidate, error: PackageGoneError) -> list[str]:
    return [package.exact for package in candidate.packages if package.exact in error.packages]


def _gone(packages: Sequence[str]) -> str:
    return f"the archive no longer has {', '.join(packages)} (404)"


def _after(gone: Sequence[str], error: VmError) -> VmError:
    """An error that came when other packages had been found to be gone."""
    return type(error)(f"{_gone(gone)}; {error}") if gone else error


def _kernel(ref: KernelRef, entry: Entry, note: str = "") -> Kernel:
    release = entry.meta["release"]
    config = read_config(entry.path("config").read_text(errors="replace")) if "config" in entry.files else {}
    return Kernel(
        ref=replace(ref, release=release, series=ref.series or series_of(release)),
        image=entry.path("vmlinuz"),
        sha256=entry.files["vmlinuz"],
        release=release,
        config=config,
        modules={name: entry.path(f"modules/{name}.ko") for name in entry.meta["modules"]},
        note=note,
    )


def _unpack(files: Sequence[Path], target: Path, candidate: Candidate) -> Mapping[str, Any]:
    return {**unpack_files(files, target, candidate.arch, are_verified=True), "candidate": asdict(candidate)}


def _configs_beside(image: Path, release: str) -> list[Path]:
    """Where the configuration of an image may be: beside it under the same name's end, or with its modules."""
    end = image.name.partition("-")[2]
    names = [f"config-{release}", *([f"config-{end}"] if end else []), ".config", "config"]
    return [image.parent / name for name in names] + ([Path("/lib/modules") / release / "config"] if release else [])


def _find_config(paths: Iterable[Path]) -> dict[str, str]:
    for path in paths:
        with contextlib.suppress(OSError, EOFError):
            content = path.read_bytes()
            text = gzip.decompress(content) if path.suffix == ".gz" else content
            config = read_config(text.decode(errors="replace"))
            if config:
                return config
    return {}
