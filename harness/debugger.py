"""What somebody with a debugger is told."""

import shlex

from vm.machine import LOOPBACK, Guest


def how_to_attach(guest: Guest) -> str:
    """The command that attaches gdb to a guest that waits for it, with the kernel's symbols where they lie with it.

    A build tree has them at its top, three folders above the image.
    """
    kernel = guest.config.kernel.absolute()
    places = [kernel.with_name("vmlinux"), *(folder / "vmlinux" for folder in kernel.parents[3:4])]
    symbols = [str(path) for path in places if path.is_file()][:1]
    command = shlex.join(["gdb", *symbols, "-ex", f"target remote {LOOPBACK}:{guest.gdb_port}"])
    return f"{command}, then continue (nokaslr is set, and there are no deadlines)"
