"""What is said before a boot that would only hang."""

from pathlib import Path

import pytest
from kernel_samples import arm64_image, bzimage, config, vmlinux

from vm.errors import UnfitKernel
from vm.kernel import Kernel, KernelRef
from vm.kernelimage import Image, check_fit, inspect, lacks, read_config


def write(directory: Path, content: bytes) -> Path:
    path = directory / "image"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "arch", "expected"),
    [
        pytest.param(bzimage(), "amd64", Image("bzImage", "amd64", "6.1.0-1-cloud-amd64"), id="bzImage"),
        pytest.param(vmlinux(), "amd64", Image("vmlinux", "amd64", "6.1.0-own"), id="vmlinux"),
        pytest.param(arm64_image(), "arm64", Image("Image", "arm64", "6.1.0-1-arm64"), id="Image"),
        pytest.param(b"MZ\0\0zimg" + bytes(100), "arm64", Image("zboot", "arm64", ""), id="zboot"),
    ],
)
def test_every_kind_of_image_is_known(content: bytes, arch: str, expected: Image, tmp_path: Path) -> None:
    assert inspect(write(tmp_path, content), arch) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", r"is not a kernel image \(it is empty\)", id="empty"),
        pytest.param(b"x" * 100, r"is not a kernel image \(it has 100 bytes\)", id="short"),
        pytest.param(b"x" * 5000, "it lacks the magic number", id="text"),
        pytest.param(bytes(5000), "it holds nothing but zeros", id="zeros"),
        pytest.param(b"!<arch>\ndebian-binary", r"its name has to end in \.deb", id="package"),
        pytest.param(b"\xfd7zXZ" + bytes(600), "it is a compressed file; unpack it first", id="compressed"),
        pytest.param(
            bzimage()[:-100], r"breaks off in the middle: it has 39900 bytes and its header says 40000", id="cut"
        ),
        pytest.param(bzimage()[:700], "breaks off in the middle", id="cut early"),
        pytest.param(bzimage(is_64_bit=False), r"is a kernel for i386, and the guest is amd64", id="32 bit"),
        pytest.param(arm64_image(), r"is a kernel for arm64, and the guest is amd64; say --arch arm64", id="arm64"),
        pytest.param(vmlinux(183), r"is a kernel for arm64", id="arm64 vmlinux"),
        pytest.param(vmlinux(has_pvh=False), r"without CONFIG_PVH.*give the bzImage", id="no pvh"),
        pytest.param(vmlinux(banner=b"a program"), r"is an ELF file for amd64, but not a kernel", id="program"),
        pytest.param(b"\x7fELF\x01" + bytes(100), "32-bit or broken ELF", id="32 bit ELF"),
    ],
)
def test_what_cannot_boot_gets_a_sentence(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(UnfitKernel, match=message):
        inspect(write(tmp_path, content), "amd64")


def test_an_unreadable_image_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UnfitKernel, match=r"absent cannot be read \(No such file or directory\)"):
        inspect(tmp_path / "absent", "amd64")


def test_a_configuration_is_read_as_make_wrote_it() -> None:
    found = read_config(
        'CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C="text with = in it"\nCONFIG_D=0x10\n\n#\nnonsense\n'
    )
    assert found == {"CONFIG_A": "y", "CONFIG_C": "text with = in it", "CONFIG_D": "0x10"}


@pytest.mark.parametrize(
    "option",
    ["CONFIG_IO_URING", "CONFIG_BLK_DEV_INITRD", "CONFIG_SERIAL_8250_CONSOLE", "CONFIG_TTY", "CONFIG_BINFMT_SCRIPT"],
)
@pytest.mark.parametrize("value", [None, "m"])
def test_each_thing_the_suite_needs_is_missed(option: str, value: str | None) -> None:
    assert [need.option for need in lacks(read_config(config(**{option: value})), "amd64")] == [option]


def test_one_serial_port_is_not_enough() -> None:
    options = read_config(config(CONFIG_SERIAL_8250_RUNTIME_UARTS="1"))
    assert [need.option for need in lacks(options, "amd64")] == ["CONFIG_SERIAL_8250_RUNTIME_UARTS=2"]


def test_a_kernel_that_does_not_fit_is_refused_with_everything_it_lacks() -> None:
    options = read_config(config(CONFIG_IO_URING=None, CONFIG_SERIAL_8250_CONSOLE=None))
    kernel = Kernel(KernelRef("mine", "6.1", "amd64", "path"), Path("image"), "0", "6.1.0-own", options)
    with pytest.raises(
        UnfitKernel, match=r"the kernel mine \(6\.1\.0-own\) cannot run the suite.*CONFIG_IO_URING.*CONSOLE"
    ):
        check_fit(kernel)


@pytest.mark.parametrize("text", [config(), ""], ids=["complete", "unknown"])
def test_a_kernel_that_fits_or_does_not_tell_is_let_through(text: str) -> None:
    check_fit(Kernel(KernelRef("mine", "6.1", "amd64", "path"), Path("image"), "0", "6.1.0-own", read_config(text)))
