"""What can go wrong with kernels and machines, by who has to act on it.

Every message says what was tried, what happened and what to do. All of them pickle, because pytest-xdist and process
pools carry them from one process to another.
"""


class VmError(Exception):
    """Anything this room reports instead of going on."""


class SpecError(VmError):
    """The user named a kernel that does not exist or that is not a kernel: a usage error."""


class SettingsError(VmError):
    """A flag, an environment variable or a pyproject.toml entry has a value that cannot be meant."""


class FetchError(VmError):
    """The archive, the network or apt did not give what was asked for."""


class SignatureError(FetchError):
    """What came is not signed by a key this machine trusts, or is not what was signed."""


class PackageGoneError(FetchError):
    """The index lists packages that the archive's pool no longer holds (404).

    Attributes:
        packages: the missing ones, as `name=version`, so that the caller can take others.
    """

    def __init__(self, message: str, packages: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.packages = packages

    def __reduce__(self) -> tuple[type["PackageGoneError"], tuple[str, tuple[str, ...]]]:
        return type(self), (str(self), self.packages)


class CacheError(VmError):
    """The cache directory cannot be used: read-only, full, or not a directory."""


class QemuError(VmError):
    """No usable QEMU, or QEMU itself failed."""


class UnfitKernel(VmError):  # noqa: N818 -- it is the kernel that does not fit, not a mistake of ours
    """This kernel cannot run the suite: its image is not bootable here or its configuration lacks something."""


class BootError(VmError):
    """A guest did not come up."""
