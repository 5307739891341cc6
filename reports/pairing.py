"""Which columns of two results are about the same kernel: by name, else by what the kernel is. Pure functions."""

from collections.abc import Callable, Hashable, Iterable, Sequence

from reports.records import Kernel


def same_kernels(old: Iterable[Kernel], new: Iterable[Kernel]) -> dict[str, str]:
    """Pair columns that have different names and the same image: a series in a matrix, a release where one is repeated.

    Args:
        old: the kernels of one side.
        new: those of the other.

    Returns:
        Names of the new side to those of the old one. Kernels of one name on both sides are not in it, nor are those
        that could be paired in more than one way.
    """
    befores, afters = list(old), list(new)
    names = {kernel.id for kernel in befores} & {kernel.id for kernel in afters}
    sides = tuple([kernel for kernel in side if kernel.id not in names] for side in (befores, afters))
    found: dict[str, str] = {}
    for key in (_image, _package):
        left, right = ([one for one in side if one.id not in found.keys() | found.values()] for side in sides)
        for kernel in right:
            own = [one for one in left if _is_same(one, kernel, key)]
            if len(own) == 1 and len([one for one in right if _is_same(own[0], one, key)]) == 1:
                found[kernel.id] = own[0].id
    return found


def _is_same(one: Kernel, other: Kernel, key: Callable[[Kernel], Sequence[Hashable]]) -> bool:
    own = key(one)
    # Where both images are known they decide.
    is_other = bool(one.sha256 and other.sha256 and one.sha256 != other.sha256)
    return all(own) and own == key(other) and not is_other


def _image(kernel: Kernel) -> Sequence[Hashable]:
    return (kernel.sha256, kernel.arch)


def _package(kernel: Kernel) -> Sequence[Hashable]:
    return (kernel.package, kernel.package_version, kernel.arch)
