"""The guest image: Debian's Python, pure-Python packages of the host, PID 1 and the user's files, as one initramfs.

Two layers, each cached by the content of everything that went into it: the *runtime* (Debian's packages and the
host's pytest; changes rarely) and the *payload* (the code under test; changes with every edit), which a running guest
takes from a window into the host's memory, or the kernel unpacks behind the first. Both carry bytecode, compiled by the
guest's own Python, running on the host through its own loader: compiling in an emulated guest would cost more than
booting it.
"""

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from vm import bytecode, cpio, userland
from vm.apt import Archive
from vm.apt_text import Package
from vm.architectures import Architecture
from vm.archives import extract
from vm.cache import Cache, Entry, digest_of
from vm.errors import CacheError, FetchError, SignatureError, VmError
from vm.members import members
from vm.progress import Progress

# Where the guest's Python comes from.
SUITES = ("trixie", "trixie-security")
# What the guest needs of Debian: Python, mke2fs for tests that want a real file system, a shell and its like.
_PACKAGES = ("python3", "e2fsprogs", *userland.PACKAGES)
# In the packages' closure, but of no use in a guest. Every MiB of an image makes an emulated boot longer, so what is
# large and what no test of a kernel asks for stays out: databases, TLS, windows on a terminal, East Asian code pages.
_UNWANTED_PACKAGES = frozenset({
    "debconf", "dpkg", "libdb5.3t64", "libmd0", "libncursesw6", "libpcre2-8-0", "libpython3-stdlib", "libselinux1",
    "libsqlite3-0", "libss2", "libssl3t64", "libzstd1", "logsave", "media-types", "openssl-provider-legacy",
    "perl-base", "python3", "python3-minimal", "readline-common", "tar", "tzdata",
})  # fmt: skip
# Top-level modules of the standard library that guests do not have.
UNWANTED_MODULES = frozenset({
    "__pycache__", "_pyrepl", "curses", "dbm", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "sqlite3", "ssl.py",
    "test", "tkinter", "turtle.py", "turtledemo", "venv", "wsgiref", "xmlrpc",
})  # fmt: skip
# The same of its extension modules. Without OpenSSL's, hashlib takes Python's own code for every usual algorithm.
UNWANTED_EXTENSIONS = frozenset({
    "_codecs_cn", "_codecs_hk", "_codecs_iso2022", "_codecs_jp", "_codecs_kr", "_codecs_tw", "_curses",
    "_curses_panel", "_dbm", "_hashlib", "_sqlite3", "_ssl", "_xxtestfuzz", "xxlimited", "xxlimited_35", "xxsubtype",
})  # fmt: skip
# Parts of the C library's package for debuggers and for programs of another age.
_UNWANTED_LIBRARIES = frozenset({
    "libBrokenLocale", "libanl", "libc_malloc_debug", "libexpatw", "libmemusage", "libmvec", "libnsl", "libnss_compat",
    "libnss_dns", "libnss_files", "libnss_hesiod", "libpcprofile", "libthread_db", "libtic",
})  # fmt: skip
_WANTED_MEMBERS = frozenset({"usr/sbin/mke2fs", *userland.MEMBERS})
_PACKAGES_PATH = "usr/lib/python3/dist-packages"
# Where the user's files and third-party packages are in a guest.
WORK, SITE = "work", "site"
# How long a program of the guest's may take on the host where it runs the user's code.
_RUN_TIMEOUT_S = 300.0
_KIND = "runtime"
_PAYLOADS, _PAYLOAD = "payload", "payload.cpio"
_MOUNT_POINTS = ("dev", "proc", "sys", WORK)
_RECIPE = 4  # count up when the recipe below changes what it makes

# With `site`, as any Python has it: what it costs is one part in a hundred of a boot, and tests can tell.
_INIT = """#!/usr/bin/{python} -u
import gc
import sys

gc.disable()  # nothing of what is loaded before the first message is garbage; PID 1 puts it on again
del sys.path[0]  # where this file is
from vm.guest.init import main

main()
"""
# Prints those of its arguments that are modules, without importing them.
_IMPORTABLE = """
import sys
from importlib.util import find_spec

for name in sys.argv[1:]:
    try:
        found = find_spec(name)
    except ModuleNotFoundError:
        continue
    if found:
        print(name)
"""


class ImageError(VmError):
    """The guest image could not be made."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """The first layer, as an initramfs and as a directory whose Python runs on the host."""

    initramfs: Path
    root: Path
    architecture: Architecture
    # Name of the interpreter, "python3.13".
    python: str
    # Content hash of everything in it.
    key: str
    # Debian packages in it, name to version.
    packages: Mapping[str, str]

    def run_python(self, arguments: Sequence[str], directory: Path, *, timeout_s: float | None = _RUN_TIMEOUT_S) -> str:
        """Run the guest's Python on the host, as it finds modules in a guest.

        Args:
            arguments: of Python.
            directory: what is ``/work`` in the guest; ``/site`` is beside it.
            timeout_s: when to end it, None for never.

        Raises:
            ImageError: it failed; what it printed is in the message.
        """
        path = [directory, self.root / _PACKAGES_PATH, directory.parent / SITE]
        environment = {"PYTHONHOME": str(self.root / "usr"), "PYTHONPATH": os.pathsep.join(map(str, path))}
        return self.run_program(
            f"usr/bin/{self.python}", arguments, directory, environment=environment, timeout_s=timeout_s
        )

    def run_program(
        self,
        program: str,
        arguments: Sequence[str],
        directory: Path,
        *,
        environment: Mapping[str, str] = MappingProxyType({}),
        timeout_s: float | None = _RUN_TIMEOUT_S,
    ) -> str:
        """Run one of the guest's programs on the host, with the guest's libraries. Returns what it printed.

        Raises:
            ImageError: it failed, or did not end in time; what it printed is in the message.
        """
        libraries = self.root / "usr/lib" / self.architecture.triplet
        loader = [str(self.root / self.architecture.loader), "--library-path", str(libraries)]
        what = f"the guest's {PurePosixPath(program).name}"
        # Into a file: what the user's code starts may live on, and keep the end of a pipe.
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                [*loader, str(self.root / program), *arguments],
                cwd=directory,
                env={"PATH": os.defpath, "LANG": "C.UTF-8", **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                raise ImageError(f"{what} did not end within {timeout_s:.0f} s on {' '.join(arguments)}") from None
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            output.seek(0)
            said = output.read().decode(errors="replace")
        if process.returncode != 0:
            raise ImageError(
                f"{what} failed with status {process.returncode} on {' '.join(arguments)}:\n{said.strip()}"
            )
        return said


@dataclass(frozen=True)
class Recipe:
    """What goes into the first layer beside Debian's packages."""

    # The guest's.
    architecture: Architecture
    # Module or package name to its file or directory on the host; pure Python.
    trees: Mapping[str, Path]
    # Modules that PID 1 imports before it says that it is ready; those that there are not are left out.
    preload: Sequence[str]
    # The package that entry points look as if they had been started as, with `python -m`.
    main: str = ""
    # Asked about every file of `trees`, as `package/module.py`.
    is_wanted: Callable[[str], bool] = lambda _: True

    @property
    def sources(self) -> Mapping[str, Path]:
        """The trees, PID 1's own among them."""
        return {**self.trees, "vm/guest": Path(__file__).parent / "guest"}

    @cached_property
    def _sources_digest(self) -> str:
        return _digest(_tree_digests(self.sources, self.is_wanted))

    def key(self, packages: Iterable[Package]) -> str:
        """The content hash of a layer that is made of these packages."""
        return _digest(
            [f"recipe {_RECIPE} {self.architecture.name} {self.main} {' '.join(self.preload)}", self._sources_digest],
            [f"{package.name} {package.version}" for package in packages],
        )


def runtime(archive: Archive, recipe: Recipe, cache: Cache, progress: Progress) -> Runtime:
    """Make the first layer, or take it from the cache.

    Args:
        archive: the suites that the guest's Python comes from. Where they cannot be asked, or do not give what they
            list, the layer has the packages that an earlier one was made of.
        recipe: what else goes into it.
        cache: where it is kept.
        progress: told what is going on.
    """
    try:
        return _runtime(archive, _resolve(archive), recipe, cache, progress)
    except SignatureError:
        raise
    except (FetchError, CacheError) as error:
        earlier = _at_hand(_earlier_packages(recipe, cache), archive, recipe, cache)
        if earlier is None:
            raise
        progress.note(f"the guest image has the packages of an earlier one: {error}")
        return _runtime(archive, earlier, recipe, cache, progress)


def fetch_packages(archive: Archive) -> None:
    """Have the packages of the first layer in the cache: with them it can be made anew when pytest changes, say."""
    archive.download(_resolve(archive))


def is_at_hand(archive: Archive, recipe: Recipe, cache: Cache) -> bool:
    """Whether the first layer is in the cache, or can be made of what is."""
    made = _earlier_packages(recipe, cache)
    with contextlib.suppress(FetchError, CacheError):
        made.insert(0, _resolve(archive))
    return _at_hand(made, archive, recipe, cache) is not None


def _resolve(archive: Archive) -> list[Package]:
    return [package for package in archive.resolve(_PACKAGES) if package.name not in _UNWANTED_PACKAGES]


def _earlier_packages(recipe: Recipe, cache: Cache) -> list[list[Package]]:
    """What earlier layers were made of, the one that was used last first."""
    return [packages for arch, packages in _recorded(cache) if arch == recipe.architecture.name]


def package_files(cache: Cache) -> set[str]:
    """The files, among downloaded packages, that the layers in the cache are made of."""
    return {package.file for _arch, packages in _recorded(cache) for package in packages}


def _recorded(cache: Cache) -> Iterator[tuple[str, list[Package]]]:
    """The architecture and the packages of each layer in the cache."""
    for key in sorted(cache.keys(_KIND), key=lambda key: cache.unused_for_s(_KIND, key)):
        meta = cache.meta(_KIND, key)
        if meta.get("recipe") == _RECIPE:  # an older version of this program remembered other things
            yield meta["arch"], [Package(**fields) for fields in meta["packages"]]


def _at_hand(made: Sequence[list[Package]], archive: Archive, recipe: Recipe, cache: Cache) -> list[Package] | None:
    """Choose packages for which nothing has to be downloaded: a layer of them is there, else they are themselves."""
    fitting = (packages for packages in made if cache.get(_KIND, recipe.key(packages)) is not None)
    return next(fitting, None) or next((packages for packages in made if archive.has(packages)), None)


def _runtime(
    archive: Archive, packages: Sequence[Package], recipe: Recipe, cache: Cache, progress: Progress
) -> Runtime:
    key = recipe.key(packages)

    def build(directory: Path) -> Mapping[str, object]:
        debs = archive.download(packages)
        with progress.stage("guest image"):
            root = directory / "root"
            root.mkdir()
            for deb in debs:
                extract(deb, root, _is_wanted)
            python = _find_python(root)
            for name, path in recipe.sources.items():
                _copy_tree(path, root / _PACKAGES_PATH / (path.name if path.is_file() else name), recipe.is_wanted)
            made = Runtime(directory / "runtime.cpio", root, recipe.architecture, python, key, {})
            add_bytecode(made, [root / "usr/lib" / python, root / _PACKAGES_PATH], root=root)
            with made.initramfs.open("wb") as file:
                cpio.write_cpio(file, _runtime_entries(made, recipe.main, recipe.preload))
        return {
            "recipe": _RECIPE,
            "arch": recipe.architecture.name,
            "python": python,
            "packages": [asdict(package) for package in packages],
        }

    entry = cache.get_or_build(_KIND, key, build)
    return Runtime(
        entry.path("runtime.cpio"),
        entry.directory / "root",
        recipe.architecture,
        str(entry.meta["python"]),
        key,
        {package["name"]: package["version"] for package in entry.meta["packages"]},
    )


def payload(
    base: Runtime,
    cache: Cache,
    *,
    files: Mapping[str, Path],
    site: Mapping[str, Path] = MappingProxyType({}),
    prepare: Callable[[Runtime, Path, Sequence[Path] | None], None] | None = None,
    recipe: str = "",
) -> Path:
    """Make an archive of the files of this run, cached by content; a guest takes it from its window, or `join` it.

    Everything is kept: modes, links as links, directories with nothing in them (a path that is a directory stands for
    itself alone), names of any bytes. Bytecode is added where there can be some. It only saves time: what cannot be
    compiled here fails in the guest, where somebody sees why.

    Args:
        base: the first layer.
        cache: where the result is kept.
        files: name below the guest's ``/work`` to the file on the host.
        site: the same below ``/site``, where third-party packages are: the last directory that modules are looked for.
        prepare: called with the runtime, the directory the files were copied to (``…/root/work``) and None, to add more
            bytecode; or, where all else is there from an earlier archive, with the files of bytecode to make anew.
            Nothing else that it makes or changes gets into the guest, and it may fail.
        recipe: whatever else shapes the result.

    Raises:
        MemberError: something cannot be sent.
    """
    sent = [*members(WORK, files), *(members(SITE, site) if site else ())]
    shaped_by = f"recipe {_RECIPE} {recipe} {base.key}"
    digests = {member.name: member.digest() for member in sent}
    key = _digest([shaped_by], digests.values())

    def build(directory: Path) -> Mapping[str, object]:
        with cache.temporary() as workspace:
            root = workspace / "root"
            root.mkdir()
            copied, folders = sent, [root / WORK, root / SITE]
            kept: list[cpio.Entry] = []
            stale: list[Path] | None = None
            earlier = _earlier_payload(cache, shaped_by)
            if earlier is not None and (edited := bytecode.changed(digests, earlier.meta["files"])) is not None:
                kept, names = bytecode.of_earlier(earlier.path(_PAYLOAD), edited)
                stale, folders = [root / name for name in names], [root / name for name in edited]
                copied = [member for member in sent if stat.S_ISDIR(member.mode) or member.name in edited]
            for member in copied:
                member.copy(root)
            steps = [lambda: add_bytecode(base, folders, root=root)]
            if prepare is not None:
                steps.append(lambda: prepare(base, root / WORK, stale))
            added, failed = bytecode.make(copied, root, steps)
            made = [*kept, *(member.entry() for member in added)]
            with (directory / _PAYLOAD).open("wb") as file:
                cpio.write_cpio(file, itertools.chain((member.entry() for member in sent), made))
        return {"shaped by": shaped_by, "files": digests, "not compiled": failed}

    return cache.get_or_build(_PAYLOADS, key, build).path(_PAYLOAD)


def _earlier_payload(cache: Cache, shaped_by: str) -> Entry | None:
    """The last archive that was made in the same way, if all that there could be of bytecode is in it."""
    for key in sorted(cache.keys(_PAYLOADS), key=lambda key: cache.unused_for_s(_PAYLOADS, key)):
        meta = cache.meta(_PAYLOADS, key)
        if meta.get("shaped by") == shaped_by and not meta["not compiled"]:
            return cache.get(_PAYLOADS, key)
    return None


def join(initramfs: Path, archive: Path, cache: Cache) -> Path:
    """Join the runtime and a payload into one initramfs, for guests that have no window."""

    def build(directory: Path) -> Mapping[str, object]:
        with (directory / "guest.cpio").open("wb") as file:
            for part in (initramfs, archive):
                with part.open("rb") as layer:
                    shutil.copyfileobj(layer, file, 1 << 20)
        return {}

    key = _digest(digest_of(part) for part in (initramfs, archive))
    return cache.get_or_build("image", key, build).path("guest.cpio")


def add_bytecode(base: Runtime, paths: Iterable[Path], *, root: Path) -> None:
    """Add bytecode that the guest trusts without looking at the sources' times.

    Args:
        base: whose Python compiles.
        paths: modules, and directories of modules, to compile.
        root: the directory on the host that is `/` in the guest.
    """
    names = [str(path) for path in paths if path.exists()]
    unchecked = ("--invalidation-mode", "unchecked-hash")
    base.run_python(
        ("-S", "-m", "compileall", "-q", *unchecked, "-s", str(root), "-p", "/", *names), root, timeout_s=None
    )


def _is_wanted(name: str) -> bool:
    """Whether a guest needs this member of a Debian package: interpreter, modules, shared libraries, a few programs."""
    parts = PurePosixPath(name).parts
    if name in _WANTED_MEMBERS or parts[:2] == ("usr", "lib64") or name.startswith(f"{userland.LOCALE}/"):
        return True
    if parts[:2] == ("usr", "bin"):
        return parts[2].startswith("python3.") and parts[2].removeprefix("python3.").isdigit()
    if parts[:2] != ("usr", "lib") or len(parts) < 4:
        return False
    if parts[2].startswith("python3."):
        if parts[3] == "lib-dynload" and parts[-1].partition(".")[0] in UNWANTED_EXTENSIONS:
            return False
        return parts[3] not in UNWANTED_MODULES and not parts[3].startswith("config-") and "_test" not in parts[-1]
    return len(parts) == 4 and ".so" in parts[3] and parts[3].partition(".")[0] not in _UNWANTED_LIBRARIES


def _find_python(root: Path) -> str:
    found = sorted(path.name for path in (root / "usr/bin").glob("python3.*"))
    if len(found) != 1:
        raise ImageError(f"expected one Python among Debian's packages, found {found or 'none'}")
    return found[0]


def _runtime_entries(made: Runtime, main: str, preload: Sequence[str]) -> Iterator[cpio.Entry]:
    for name in _MOUNT_POINTS:
        yield cpio.directory(name)
    # What the kernel, the loader and Python want before PID 1 has mounted anything.
    yield cpio.character_device("dev/console", 5, 1)
    yield cpio.character_device("dev/null", 1, 3, 0o666)
    yield cpio.character_device("dev/urandom", 1, 9, 0o666)
    for name in ("bin", "sbin", "lib", "lib64"):
        yield cpio.symlink(name, f"usr/{name}")
    yield cpio.Entry("init", stat.S_IFREG | 0o755, _INIT.format(python=made.python).encode())
    yield from _tree_entries(made.root, "")
    # Not in the runtime's root: its Python runs here, where /site is something else.
    yield cpio.Entry(f"{_PACKAGES_PATH}/{SITE}.pth", stat.S_IFREG | 0o644, f"/{SITE}\n".encode())
    for name in ("python", "python3"):
        yield cpio.symlink(f"usr/bin/{name}", made.python)
    applets = made.run_program(userland.BUSYBOX, ["--list-full"], made.root).split()
    yield from userland.entries(applets, lambda name: (made.root / name).exists())
    config = {
        "port": f"/dev/{made.architecture.channel}",
        "preload": importable(made, preload),
        "main": main,
        "hostname": userland.HOSTNAME,
    }
    yield cpio.Entry("etc/guest.json", stat.S_IFREG | 0o644, json.dumps(config).encode())


def importable(made: Runtime, names: Sequence[str]) -> list[str]:
    """Those modules that the guest's Python has. Which ones pytest has depends on its version."""
    return made.run_python(["-S", "-c", _IMPORTABLE, *names], made.root).split()


def _tree_entries(root: Path, prefix: str) -> Iterator[cpio.Entry]:
    """Everything below a directory, parents first."""
    for path in sorted(root.rglob("*")):
        name = str(PurePosixPath(prefix) / path.relative_to(root))
        if path.is_symlink():
            yield cpio.symlink(name, str(path.readlink()))
        elif path.is_dir():
            yield cpio.directory(name)
        else:
            status = path.stat()
            yield cpio.Entry(name, status.st_mode, path.read_bytes(), modified_s=int(status.st_mtime))


def _copy_tree(source: Path, target: Path, is_wanted: Callable[[str], bool]) -> None:
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
    else:
        for path in _sources(source, is_wanted):
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)


def _sources(directory: Path, is_wanted: Callable[[str], bool]) -> list[Path]:
    """Files of a package that are wanted, without what the host's Python cached beside them."""
    return sorted(
        path
        for path in directory.rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and is_wanted(str(PurePosixPath(path.relative_to(directory.parent))))
    )


def _tree_digests(trees: Mapping[str, Path], is_wanted: Callable[[str], bool]) -> Iterator[str]:
    for name, path in sorted(trees.items()):
        for file in [path] if path.is_file() else _sources(path, is_wanted):
            relative = file.relative_to(path.parent)
            yield f"{name} {relative} {hashlib.sha256(file.read_bytes()).hexdigest()}"


def _digest(*parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        for line in part:
            digest.update(line.encode(errors="backslashreplace") + b"\n")
    return digest.hexdigest()
