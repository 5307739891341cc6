"""kernels.lock: exactly these kernels, by package, version and the hash of the image, and none that is newer."""

import json
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from vm.errors import FetchError, SpecError, VmError
from vm.fetch import Kernels
from vm.kernel import Kernel, KernelRef
from vm.specs import HOST

FORMAT = 1
_HEAD = """\
# Kernels pinned by `uring-matrix kernels lock`; `uring-matrix run --lock FILE` uses exactly these.
"""


@dataclass(frozen=True, slots=True)
class Pin:
    """One kernel of a lock file; its fields are those of the file, absent where None."""

    id: str
    series: str
    arch: str
    release: str
    # Of the image.
    sha256: str
    # A Debian package has these three, …
    package: str | None = None
    package_version: str | None = None
    suite: str | None = None
    # … and a kernel of the user's own this one.
    location: str | None = None

    @property
    def ref(self) -> KernelRef:
        """The kernel as it can be fetched."""
        return KernelRef(
            id=self.id,
            series=self.series,
            arch=self.arch,
            source="path" if self.location is not None else "debian",
            package=self.package,
            package_version=self.package_version,
            suite=self.suite,
            release=self.release,
            location=self.location,
        )


def pin(kernel: Kernel) -> Pin:
    """Pin a fetched kernel.

    Raises:
        SpecError: it is the running kernel, which has no image that could be had again.
    """
    ref = kernel.ref
    if ref.source == HOST:
        raise SpecError("the running kernel cannot be pinned; name kernels of the archive, or paths")
    return Pin(
        id=ref.id,
        series=ref.series,
        arch=ref.arch,
        release=kernel.release,
        sha256=kernel.sha256,
        package=ref.package,
        package_version=ref.package_version,
        suite=ref.suite,
        location=ref.location,
    )


def render_lock(pins: Iterable[Pin]) -> str:
    """Compose the text of a lock file."""
    text = [_HEAD, f"format = {FORMAT}\n"]
    for one in pins:
        text.append("\n[[kernel]]\n")
        for field in fields(Pin):
            value = getattr(one, field.name)
            if value is not None:
                # A JSON string is a TOML string as well.
                text.append(f"{field.name} = {json.dumps(value)}\n")
    return "".join(text)


def read_lock(path: Path) -> list[Pin]:
    """Read a lock file.

    Raises:
        SpecError: it is not there, or no lock file of this format.
    """
    hint = "write it anew with `uring-matrix kernels lock`"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{path} cannot be read ({error.strerror or error}); {hint}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SpecError(f"{path} is no lock file: {error}; {hint}") from error
    if document.get("format") != FORMAT:
        raise SpecError(f"{path} has format {document.get('format')!r}, and this program reads {FORMAT}; {hint}")
    kernels = document.get("kernel", [])
    if not isinstance(kernels, list) or not kernels:
        raise SpecError(f"{path} pins no kernel; {hint}")
    pins = [_read_pin(path, number, kernel, hint) for number, kernel in enumerate(kernels, 1)]
    counts = Counter((one.id, one.arch) for one in pins)
    if twice := [name for (name, _), count in counts.items() if count > 1]:
        raise SpecError(f"{path} pins {', '.join(twice)} more than once; give each kernel an id of its own, or {hint}")
    return pins


def fetch_locked(
    kernels: Kernels, pins: Sequence[Pin], tell: Callable[[int, Kernel | VmError], object] = lambda *_: None
) -> list[Kernel | VmError]:
    """Make pinned kernels ready to boot.

    Args:
        kernels: where they come from.
        pins: which.
        tell: as in `Kernels.fetch_all`.

    Returns:
        For each pin, in order, its kernel, or why it cannot be had; one whose image is another than the pinned one is
        as good as gone.
    """

    def check_and_tell(number: int, outcome: Kernel | VmError) -> None:
        tell(number, checked(pins[number], outcome))

    outcomes = kernels.fetch_all([one.ref for one in pins], exact=True, tell=check_and_tell)
    return [checked(one, outcome) for one, outcome in zip(pins, outcomes, strict=True)]


def checked(one: Pin, outcome: Kernel | VmError) -> Kernel | VmError:
    """Hold what was fetched against its pin."""
    if isinstance(outcome, VmError):
        what = f"{one.package} {one.package_version}" if one.location is None else one.location
        return FetchError(f"{one.id} is pinned to {what}, which cannot be had: {outcome}")
    if outcome.sha256 != one.sha256:
        return FetchError(
            f"{one.id} is pinned to an image with sha256 {one.sha256}, but {outcome.image.name} of "
            f"{one.location or one.package} has {outcome.sha256}; if that is meant, pin it again with "
            "`uring-matrix kernels lock`"
        )
    return outcome


def _read_pin(path: Path, number: int, kernel: Any, hint: str) -> Pin:
    known = {field.name for field in fields(Pin)}
    # Fields that a later version added are nothing to this one.
    values = {name: value for name, value in kernel.items() if name in known} if isinstance(kernel, dict) else {}
    missing = [name for name in ("id", "series", "arch", "release", "sha256") if name not in values]
    if missing or not all(isinstance(value, str) for value in values.values()):
        raise SpecError(f"kernel {number} of {path} lacks {', '.join(missing) or 'text where text belongs'}; {hint}")
    if "location" not in values and not {"package", "package_version"} <= values.keys():
        raise SpecError(f"kernel {number} of {path} names neither a package nor a location; {hint}")
    return Pin(**values)
