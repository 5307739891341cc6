"""The real QEMU, with something wrong for guests whose kernel is a file of a certain name.

`panics` finds no init, `resets` has one that resets the machine at once, `starves` has no memory to be given, `crawls`
has a disk that answers some times a second.
"""

import json
import os
import resource
import sys
from pathlib import Path

# Room for QEMU itself, and for no guest.
_ADDRESSES_SIZE = 260 << 20

_REQUESTS_A_SECOND = 50


def main() -> None:
    """Become QEMU."""
    command, environment = json.loads(os.environ["AROUND_QEMU"])
    arguments = sys.argv[1:]
    kernel = Path(arguments[arguments.index("-kernel") + 1]).name if "-kernel" in arguments else ""
    match kernel:
        case "panics":
            arguments[arguments.index("-append") + 1] += " rdinit=/nowhere init=/nowhere"
        case "resets":
            arguments[arguments.index("-initrd") + 1] = os.environ["AROUND_QEMU_INITRD"]
        case "crawls":
            drive = next(place for place, one in enumerate(arguments) if one.startswith("if=none,id=disk"))
            arguments[drive] += f",throttling.iops-total={_REQUESTS_A_SECOND}"
        case "starves":
            # What it takes for itself is much more by default, and it would not get as far as the guest's memory.
            environment["MALLOC_ARENA_MAX"] = "1"
            arguments[arguments.index("-accel") + 1] = "tcg,tb-size=32"
            resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES_SIZE, _ADDRESSES_SIZE))
    os.execve(command[0], [*command, *arguments], {**os.environ, **environment})


if __name__ == "__main__":
    main()
