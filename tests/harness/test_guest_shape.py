"""What a guest cannot be made of is refused with a sentence, before anything is fetched or booted."""

import psutil
import pytest

from harness.guest_shape import GuestShape
from vm.errors import SpecError


def shape(*, cpus: int | None = None, memory: int | None = None, append: tuple[str, ...] = ()) -> GuestShape:
    return GuestShape.of(cpus, memory, append)


def test_without_a_wish_a_guest_has_one_processor_and_what_its_image_needs() -> None:
    assert shape() == GuestShape(1, None, ())
    assert shape().memory_for(320) == 320


def test_parameters_are_taken_apart_as_a_shell_does() -> None:
    found = shape(append=("slub_debug=FZPU quiet", "'a=b c'"))
    assert found.parameters == ("slub_debug=FZPU", "quiet", "a=b c")


@pytest.mark.parametrize("word", ["console=ttyS1", "init=/bin/sh", "rdinit=/x", "panic=0", "root=/dev/sda", "--", "-x"])
def test_what_guests_are_run_by_is_not_to_be_set(word: str) -> None:
    with pytest.raises(SpecError, match="is not for you to set"):
        shape(append=(f"quiet {word}",))


def test_what_no_kernel_reads_is_refused() -> None:
    with pytest.raises(SpecError, match="cannot be taken apart"):
        shape(append=("a='b",))
    with pytest.raises(SpecError, match="characters that no kernel reads"):
        shape(append=("'a\nb'",))


def test_memory_has_bounds() -> None:
    there_mib = psutil.virtual_memory().total >> 20
    assert shape(memory=512).memory_for(256) == 512
    with pytest.raises(SpecError, match="guests of 100 MiB cannot boot: they need 256 MiB"):
        shape(memory=100).memory_for(256)
    with pytest.raises(SpecError, match="larger than this machine"):
        shape(memory=there_mib + 1).memory_for(256)
