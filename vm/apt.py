"""Debian packages through apt, with a root of its own: no administrator, and nothing of this machine is changed.

apt does what it is good at: mirrors, proxies, signatures, hashes, dependencies. It works on private lists with an empty
package status, so that the machine's own packages play no part, and it runs none of the machine's hooks.
"""

import contextlib
import hashlib
import itertools
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from vm.apt_process import Output, configuration, file_size, last_lines, run, watch
from vm.apt_text import Package, Trouble, classify, failures, hash_in_release, is_disk_full, parse_package
from vm.cache import Cache, hash_file
from vm.errors import CacheError, FetchError, PackageGoneError, SignatureError
from vm.progress import SILENT, Progress
from vm.settings import Settings
from vm.sources import Sources, find_sources, without_credentials

# How old an index may be before a run asks the mirror again.
STALE_AFTER_S = 24 * 60 * 60
# How the stanzas of a kernel's packages begin, and go on: what can be booted, and what can be built.
_KERNEL = b"\nPackage: linux-"
IMAGES = ("image-", "binary-", "modules-", "base-")
SOURCES = ("source-",)
# So many suites are named in a sentence.
_NAMES_MAX = 3
_EMPTY = hashlib.sha256().hexdigest()
# With less than that free, a disk is full.
_ROOM_LEAST_BYTES = 1 << 20
_HELPER = "/usr/lib/apt/apt-helper"
# Count up when what is remembered of lists changes its form.
_ANSWER = 2


class _DamagedListError(FetchError):
    """A list in the cache is not what was signed."""


class Archive:
    """Some suites of the Debian archive, for one architecture.

    Args:
        suites: code names, in order of preference; those the mirror does not have are left out with a note.
        arch: Debian's name of the architecture, which need not be this machine's.
        cache: where the lists live.
        settings: mirror and offline.
        progress: told what takes time.
        optional: suites whose absence nobody needs to hear of.
        sources: instead of what the settings and the machine say.
    """

    def __init__(
        self,
        suites: Sequence[str],
        arch: str,
        cache: Cache,
        settings: Settings,
        progress: Progress = SILENT,
        *,
        optional: Iterable[str] = (),
        sources: Sources | None = None,
    ) -> None:
        self.suites = tuple(suites)
        self.arch = arch
        self._cache, self._settings, self._progress = cache, settings, progress
        self._optional = frozenset(optional)
        self._is_refreshed = False
        self._given_sources = sources
        # Why there are no lists and never will be.
        self._problem: FetchError | None = None
        try:
            origin = f"{self._sources}\n{arch}"
            self._root = f"apt/{arch}-{_digest(origin)}"
        except FetchError as error:
            # No apt, or no Debian here: what another machine, or another day, left in the cache is still good.
            roots = sorted(cache.directory.glob(f"apt/{arch}-*/suites.json"), key=lambda path: path.stat().st_mtime)
            if not roots:
                # Packages that are in the cache can still be used, and whatever was made of them.
                self._problem = error
                self._root = f"apt/{arch}-none"
                return
            progress.note(f"only what is in the cache can be used: {error}")
            self._root = f"apt/{roots[-1].parent.name}"
            self._is_refreshed = True

    @cached_property
    def _sources(self) -> Sources:
        return self._given_sources or find_sources(self._settings.mirror, self.suites)

    # -- the index ----------------------------------------------------------------------------------------------------

    def update(self, *, force: bool = False) -> None:
        """Bring the lists up to date, if they are older than a day or if it is asked for.

        Raises:
            SignatureError: a suite is not signed by a key this machine trusts, or is damaged.
            FetchError: a suite could not be had and there is no older list of it.
        """
        if self._problem is not None:
            raise self._problem
        if self._is_refreshed and not force:
            return
        state = self._state()
        now = time.time()
        wanted = [
            suite
            for suite in self.suites
            if force or suite not in state or not 0 <= now - state[suite]["updated"] < STALE_AFTER_S
        ]
        if self._settings.offline:
            self._require_lists(state, "offline was asked for")
            self._is_refreshed = True
            return
        if wanted:
            try:
                self._refresh(wanted, force)
            except SignatureError:
                raise
            except (CacheError, FetchError) as error:
                # Older lists will do, if there is one of each suite that is not known to be absent.
                if not self._has_lists(state) or not all(suite in state for suite in self.suites):
                    raise
                self._progress.note(f"package lists are not brought up to date: {error}")
        self._is_refreshed = True

    def kernel_packages(self, parts: Sequence[str] = IMAGES) -> list[Package]:
        """List every version of every package that a kernel may be made of (or its `SOURCES`), of all suites.

        The result is cached until a list changes.
        """
        question = f"kernels {' '.join(parts)}"
        return self._mended(lambda: self._remember("index", question, lambda: list(self._scan(parts))))

    def resolve(self, names: Sequence[str]) -> list[Package]:
        """Find what has to be there so that these packages work, themselves included, from nothing.

        The result is cached until a list changes.

        Raises:
            FetchError: no such package, or its dependencies cannot be met by these suites.
        """
        question = "\n".join(sorted(names))
        return self._mended(lambda: self._remember("closure", question, lambda: self._resolve(names)))

    def _mended(self, ask: Callable[[], list[Package]]) -> list[Package]:
        """Ask a question of the lists; if one turns out to be damaged, fetch it again and ask once more."""
        self.update()
        try:
            return ask()
        except _DamagedListError:
            if self._settings.offline:
                raise
            self.update()
            return ask()

    # -- downloads ----------------------------------------------------------------------------------------------------

    def download(
        self,
        packages: Sequence[Package],
        directory: Path | None = None,
        *,
        on_file: Callable[[Package, Path], None] | None = None,
        what: str = "downloading packages",
    ) -> list[Path]:
        """Fetch packages and verify them against the signed index.

        Args:
            packages: which; from this archive.
            directory: an empty directory to put them in, of the caller, who removes it; without one they are kept in
                the cache, and those that are there already are only verified.
            on_file: called as soon as a file is complete and verified, while the others are still coming.
            what: the name of the progress stage.

        Returns:
            The files, in the order of the packages.

        Raises:
            PackageGoneError: the pool lacks some of them; the others have been fetched (and given to `on_file`).
            FetchError: anything else; no file that is not whole and right is ever returned.
        """
        if directory is not None:
            self._fetch(packages, directory, on_file, what)
            return [directory / package.file for package in packages]
        missing = [package for package in packages if not self.has([package])]

        def keep(package: Package, path: Path) -> None:
            with self._cache.writing(f"write {self._shelf / package.file}"):
                path.replace(self._cache.folder(self._shelf.name) / package.file)
            if on_file is not None:
                on_file(package, self._shelf / package.file)

        if missing:
            with self._cache.temporary() as workspace:
                self._fetch(missing, workspace, keep, what)
        return [self._shelf / package.file for package in packages]

    def has(self, packages: Iterable[Package]) -> bool:
        """Whether these packages are in the cache, whole and right."""
        paths = ((package, self._shelf / package.file) for package in packages)
        return all(file_size(path) == package.size_bytes and _is_right(path, package) for package, path in paths)

    @property
    def _shelf(self) -> Path:
        return self._cache.directory / "packages"

    def _fetch(
        self, packages: Sequence[Package], directory: Path, on_file: Callable[[Package, Path], None] | None, what: str
    ) -> None:
        """Run the download itself."""
        if not packages:
            return
        if self._settings.offline:
            names = ", ".join(package.exact for package in packages[:3]) + (" …" if len(packages) > 3 else "")
            raise FetchError(f"{names} would have to be downloaded, but offline was asked for; run once without it")
        total_bytes = sum(package.size_bytes for package in packages)
        pending = {package.file: package for package in packages}
        command = self._download_command(packages)
        with self._progress.stage(what, total_bytes) as stage:
            seen_bytes = dict.fromkeys(pending, 0)

            def look() -> bool:
                moved = False
                for file, package in list(pending.items()):
                    if (directory / file).is_symlink():
                        self._make_own(directory / file)
                    size_bytes = file_size(directory / file)
                    if size_bytes > seen_bytes[file]:
                        stage.advance(size_bytes - seen_bytes[file])
                        seen_bytes[file], moved = size_bytes, True
                    # A link may have come since: it is the archive's file, not ours.
                    is_ours = not (directory / file).is_symlink()
                    # A full size does not make it whole: the hash does.
                    if is_ours and size_bytes == package.size_bytes and _is_right(directory / file, package):
                        del pending[file]
                        if on_file is not None:
                            on_file(package, directory / file)
                return moved

            output = self._run(command, cwd=directory, look=look)
            look()
        if pending:
            raise self._download_error(output, list(pending.values()))

    def _make_own(self, path: Path) -> None:
        """Copy what apt only links to, when the archive lies on this machine's own disk."""
        with self._cache.writing(f"write {path}"):
            copy = path.with_name(f"{path.name}.copy")
            shutil.copyfile(path, copy)
            copy.replace(path)

    # -- apt ----------------------------------------------------------------------------------------------------------

    def _download_command(self, packages: Sequence[Package]) -> list[str]:
        """By address and hash, as the signed lists have them: apt-get would first read those lists again.

        And it would fetch in an order of its own. But where an address has a password in it, every user of this machine
        could read that in a command.
        """
        addresses = [f"{self._sources.of(package.suite).uri}/{package.filename}" for package in packages]
        if any(without_credentials(address) != address for address in addresses):
            return self._command("apt-get", "download", "-q", *(package.exact for package in packages))
        hashes = (f"SHA256:{package.sha256}" for package in packages)
        files = (package.file for package in packages)
        wanted = itertools.chain.from_iterable(zip(addresses, files, hashes, strict=True))
        return self._command(_HELPER, "-q", "download-file", *wanted)

    def _refresh(self, wanted: Sequence[str], force: bool) -> None:
        with self._cache.lock(self._root):
            state = self._state()
            if not force:
                # Another run may have done it while we waited.
                wanted = [
                    suite
                    for suite in wanted
                    if suite not in state or time.time() - state[suite]["updated"] > STALE_AFTER_S
                ]
            if not wanted:
                return
            # Without the file of all packages that it would make at the end, to be thrown away by us.
            command = self._command("apt-get", "update", "-q", "-o", "pkgCacheFile::Generate=false", suites=wanted)
            self._drop_changed_lists(wanted)
            with self._progress.stage(f"reading the package lists of {len(wanted)} suites") as stage:
                try:
                    output = self._run(command, look=watch(self._lists, stage))
                except FetchError as error:
                    # apt tries and tries where it cannot write.
                    if shutil.disk_usage(self._lists).free < _ROOM_LEAST_BYTES:
                        raise self._full() from error
                    raise
            failed = failures(output.text, wanted)
            self._judge(output, failed, state)
            targets = self._list_files(wanted)
            now = time.time()
            absent = []
            for suite in wanted:
                if suite in targets and suite not in failed:
                    state[suite] = {"updated": now, "files": targets[suite]}
                elif suite not in targets:
                    state[suite] = {"updated": now, "files": []}
                    absent.append(suite)
            if not self._has_lists(state):
                address = without_credentials(self._sources.main.uri)
                raise FetchError(
                    f"{address} has none of the suites {', '.join(self.suites)}; is it the address of a Debian archive "
                    "(the folder that has dists/ in it)? Say --mirror or URING_MATRIX_MIRROR"
                )
            self._cache.write(self._state_path(), json.dumps(state, indent=1).encode())
        told = [suite for suite in absent if suite not in self._optional]
        if told:
            self._progress.note(f"not on this mirror, left out: {', '.join(told)}")

    def _drop_changed_lists(self, suites: Sequence[str]) -> None:
        """Remove lists that are not as they were left: apt takes any list for good whose Release file is unchanged."""
        try:
            recorded = json.loads(self._state_path().read_bytes())
            files = [file for suite in suites for file in recorded.get(suite, {}).get("files", [])]
            changed = [self._lists / name for name, size, _hash in files if file_size(self._lists / name) != size]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return
        for path in changed:
            with self._cache.writing(f"remove {path}"):
                path.unlink(missing_ok=True)

    def _judge(self, output: Output, failed: Mapping[str, str], state: Mapping[str, Any]) -> None:
        """Decide which failures can be lived with; apt itself is content with old lists and a warning."""
        if is_disk_full(output.text):  # first: what could not be written whole is badly signed as well
            raise self._full()
        for suite, text in failed.items():
            address = without_credentials(self._sources.of(suite).uri)
            trouble = classify(text)
            if trouble is Trouble.SIGNATURE:
                raise SignatureError(
                    f"the suite {suite} of {address} is not signed by a key this machine trusts: {text}. Nothing of it "
                    "is used. Check the mirror and the network (a login page answers like this), or install the "
                    "current package debian-archive-keyring"
                )
            if trouble is Trouble.ABSENT:
                continue
            if state.get(suite, {}).get("files"):
                age_h = (time.time() - state[suite]["updated"]) / 3600
                self._progress.note(f"{suite} could not be read ({text}); its list of {age_h:.0f} hours ago is used")
                continue
            raise FetchError(
                f"could not read the suite {suite} of {address}: {text}. Check the network, the proxy in apt's "
                "configuration and the mirror (--mirror, URING_MATRIX_MIRROR)"
            )
        if output.status != 0 and not failed:
            raise FetchError(f"apt-get update failed with status {output.status}: {last_lines(output.text)}")

    def _list_files(self, suites: Sequence[str]) -> dict[str, list[list[Any]]]:
        """Find the list files of each suite. Returns the name, the size and the content's hash of each."""
        # `apt-get indextargets` would tell, but takes seconds to read all of them first.
        found: dict[str, list[list[Any]]] = {}
        for suite in suites:
            for path in sorted(
                self._lists.glob(f"*_dists_{suite.replace('/', '_')}_main_binary-{self.arch}_Packages*")
            ):
                identity = hash_in_release(path, self.arch) or str(path.stat().st_mtime_ns)
                found.setdefault(suite, []).append([path.name, file_size(path), identity])
        return found

    def _scan(self, parts: Sequence[str]) -> Iterator[Package]:
        """Read the packages of kernels out of the lists."""
        beginnings = tuple(_KERNEL + part.encode() for part in parts)
        for suite in self.suites:
            for text in self._read_lists(suite):
                # Fifty megabytes, twelve times: searching for a plain string is what is fast enough.
                start = text.find(_KERNEL)
                while start >= 0:
                    if text.startswith(beginnings, start):
                        end = text.find(b"\n\n", start)
                        yield parse_package(text[start + 1 : end if end >= 0 else len(text)], suite)
                    start = text.find(_KERNEL, start + 1)

    def _read_lists(self, suite: str) -> Iterator[bytes]:
        """Read a suite's lists, each of them verified, with an empty line before the first stanza."""
        for name, _size_bytes, _hash in self._state().get(suite, {}).get("files", []):
            yield b"\n" + self._read_list(self._lists / name, suite)

    def _read_list(self, path: Path, suite: str) -> bytes:
        """Read a list file, whatever it is compressed with, and hold it against its signed Release file."""
        expected = hash_in_release(path, self.arch)
        if expected == _EMPTY:
            # apt does not fetch what is known to be empty, and leaves the old list where it was.
            return b""
        try:
            text = subprocess.run([_HELPER, "cat-file", str(path)], check=True, capture_output=True).stdout
        except (OSError, subprocess.CalledProcessError) as error:
            detail = (
                error.stderr.decode(errors="replace") if isinstance(error, subprocess.CalledProcessError) else error
            )
            raise self._damaged(path, suite, str(detail)) from error
        if expected is not None and hashlib.sha256(text).hexdigest() != expected:
            raise self._damaged(path, suite, "its content is not what was signed")
        return text

    def _resolve(self, names: Sequence[str]) -> list[Package]:
        # apt takes a list for good that is there; we do not.
        lists = [(suite, text) for suite in self.suites for text in self._read_lists(suite)]
        output = self._run(self._command("apt-get", "install", "-s", "-qq", *names))
        chosen = re.findall(r"^Inst (\S+) \((\S+) ", output.text, re.MULTILINE)
        if output.status != 0 or not chosen:
            raise FetchError(
                f"apt cannot install {' '.join(names)} for {self.arch} from {', '.join(self.suites)}: "
                f"{last_lines(output.text)}"
            )
        exact = [_bare(f"{name}={version}") for name, version in chosen]
        names_chosen = b"|".join(re.escape(name.partition("=")[0].encode()) for name in exact)
        found: dict[str, Package] = {}
        for suite, text in lists:
            for match in re.finditer(rb"\nPackage: (?:%s)\n" % names_chosen, text):
                end = text.find(b"\n\n", match.start())
                package = parse_package(text[match.start() + 1 : end if end >= 0 else len(text)], suite)
                found.setdefault(package.exact, package)
        missing = [name for name in exact if name not in found]
        if missing:
            raise FetchError(f"apt chose {', '.join(missing)}, which no list of {', '.join(self.suites)} describes")
        return [found[name] for name in exact]

    def _run(self, command: Sequence[str], **how: Any) -> Output:
        """Run apt. Its temporary files are among the cache's, where they go even if we are killed meanwhile."""
        with self._cache.temporary() as temporary:
            return run(command, temporary, **how)

    def _command(self, program: str, *arguments: str, suites: Sequence[str] | None = None) -> list[str]:
        """Compose a call of apt that sees only our root and our suites."""
        path = shutil.which(program)
        if path is None:
            raise FetchError(
                f"{program} is not to be had on this machine, and packages come through it; run on a Debian or Ubuntu "
                "system, or name kernels by path and install QEMU with the system's package manager"
            )
        return [path, "-c", str(self._configure(tuple(suites or self._usable()))), *arguments]

    def _usable(self) -> Sequence[str]:
        """The suites that have lists."""
        state = self._state()
        return [suite for suite in self.suites if state.get(suite, {}).get("files")]

    def _configure(self, suites: Sequence[str]) -> Path:
        """Write apt's configuration for these suites. Returns the path of apt.conf."""
        root = self._cache.folder(self._root)
        view = root / "views" / _digest("\n".join(suites))
        sources = "\n".join(self._stanza(suite) for suite in suites)
        for path, text in (
            (root / "status", ""),
            (view / "sources.d" / "debian.sources", sources),
            (view / "apt.conf", configuration(root, view, self.arch)),
        ):
            if not path.exists() or path.read_text() != text:
                self._cache.write(path, text.encode())
        for folder in ("lists/partial", "state", "archives/partial"):
            if not (root / folder).is_dir():
                with self._cache.writing(f"make {root / folder}"):
                    (root / folder).mkdir(parents=True, exist_ok=True)
        return view / "apt.conf"

    def _stanza(self, suite: str) -> str:
        """Write one suite's entry the way sources.list.d has it."""
        archive = self._sources.of(suite)
        lines = ["Types: deb", f"URIs: {archive.uri}", f"Suites: {suite}", "Components: main"]
        lines += [f"Architectures: {self.arch}", "Targets: Packages"]
        if archive.signed_by:
            # As the machine's configuration has it, a whole key on continuation lines included.
            lines.append(f"Signed-By: {archive.signed_by}")
        return "\n".join(lines) + "\n"

    # -- what is remembered -------------------------------------------------------------------------------------------

    @property
    def _lists(self) -> Path:
        return self._cache.directory / self._root / "lists"

    def _state_path(self) -> Path:
        return self._cache.directory / self._root / "suites.json"

    def _state(self) -> dict[str, Any]:
        """Read what is known about each suite; a damaged record is as good as none."""
        try:
            state = json.loads(self._state_path().read_bytes())
            # A list that was cut or removed has to be fetched again; other damage shows when it is read.
            return {
                suite: known
                for suite, known in state.items()
                if isinstance(known["updated"], int | float)
                and all(file_size(self._lists / name) == size for name, size, _hash in known["files"])
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _has_lists(self, state: Mapping[str, Any]) -> bool:
        return any(state.get(suite, {}).get("files") for suite in self.suites)

    def _require_lists(self, state: Mapping[str, Any], why: str) -> None:
        if not self._has_lists(state):
            raise FetchError(
                f"{why}: run `uring-matrix kernels fetch all` once with the network, since the cache "
                f"{self._cache.directory} lacks package lists ({_some(self.suites)})"
            )

    def _remember(self, kind: str, question: str, answer: Callable[[], list[Package]]) -> list[Package]:
        """Answer from the cache as long as the lists are the same."""
        state = self._state()
        view = _digest(f"{_ANSWER} {self._root}\n{self.suites}\n{question}")
        stamp = _digest(json.dumps([state.get(suite, {}).get("files") for suite in self.suites]))
        key = f"{view}-{stamp}"

        def build(directory: Path) -> Mapping[str, Any]:
            packages = [asdict(package) for package in answer()]
            (directory / "packages.json").write_text(json.dumps(packages))
            return {"question": question}

        try:
            entry = self._cache.get_or_build(kind, key, build)
        except CacheError:
            return answer()
        for old in self._cache.keys(kind):
            if old.startswith(f"{view}-") and old != key:
                with contextlib.suppress(CacheError):
                    self._cache.remove(kind, old)
        return [Package(**fields) for fields in json.loads(entry.path("packages.json").read_bytes())]

    # -- errors -------------------------------------------------------------------------------------------------------

    def _damaged(self, path: Path, suite: str, detail: str) -> "_DamagedListError":
        """Throw a damaged list away, so that it is fetched again."""
        with contextlib.suppress(OSError):
            path.unlink()
        self._is_refreshed = False
        return _DamagedListError(
            f"the package list of {suite} was damaged ({detail.strip()}) and is thrown away; run again to get it anew"
        )

    def _full(self) -> CacheError:
        # What came in part would keep the disk full.
        for path in (self._lists / "partial").glob("*"):
            with contextlib.suppress(OSError):
                path.unlink()
        return CacheError(
            f"no space left for package lists in {self._cache.directory}; free some, or choose another place with "
            "--cache or URING_MATRIX_CACHE"
        )

    def _download_error(self, output: Output, missing: Sequence[Package]) -> Exception:
        """Say why packages did not come."""
        if is_disk_full(output.text):
            return self._full()
        failed = {}
        for address, reason in re.findall(r"Failed to fetch (\S+)\s+(.*)", output.text):
            failed[unquote(urlsplit(address).path).rpartition("/")[2]] = reason
        reasons = {package: failed.get(_pool_name(package)) for package in missing}
        gone = [package for package, reason in reasons.items() if reason and classify(reason) is Trouble.ABSENT]
        listing = "; ".join(f"{package.exact}: {reason or 'did not come'}" for package, reason in reasons.items())
        if len(gone) == len(missing):
            return PackageGoneError(
                f"the index lists packages that the archive no longer has: {listing}. "
                "Bring the lists up to date (`uring-matrix kernels list --update`) or choose another version",
                tuple(package.exact for package in gone),
            )
        return FetchError(f"could not download {listing}. {last_lines(output.text)}")


def _bare(exact: str) -> str:
    """Drop the architecture that apt adds to the names of foreign packages."""
    name, _, version = exact.partition("=")
    return f"{name.partition(':')[0]}={version}"


def _pool_name(package: Package) -> str:
    return package.filename.rpartition("/")[2]


def _is_right(path: Path, package: Package) -> bool:
    try:
        return hash_file(path) == package.sha256
    except FileNotFoundError:  # apt has seen that it is wrong, and put it away
        return False


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _some(names: Sequence[str]) -> str:
    """Name a few, and say how many more there are."""
    more = len(names) - _NAMES_MAX
    return ", ".join(names[:_NAMES_MAX]) + (f" and {more} more" if more > 0 else "")
