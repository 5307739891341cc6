"""A Python prompt on the guest's console, or a program that somebody piped in."""

import code
import contextlib
import fcntl
import importlib
import os
import select
import sys
import termios
import traceback
from _sitebuiltins import Quitter
from typing import Any

CONSOLE = "/dev/console"
_CHUNK_BYTES = 16 << 10


def main(port: Any, argument: Any) -> None:
    """Entry point for PID 1: talk to whoever sits at the console until they leave."""
    del port
    names = _names(argument["modules"])

    _take_the_console()
    release = os.uname().release
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401, PLC0415 - line editing for input()
    with contextlib.suppress(SystemExit):
        code.interact(
            banner=f"Linux {release}. {', '.join(f'`{name}`' for name in argument['modules'])} imported; Ctrl-D or "
            "exit() ends the guest.",
            local=names,
            exitmsg="",
        )


def run(port: Any, argument: Any) -> None:
    """Entry point for PID 1: run a program, and send what it writes and how it ends."""
    streams = {}
    pipes = [os.pipe(), os.pipe()]
    child = os.fork()
    if child == 0:
        for number, (_, write) in enumerate(pipes, 1):
            os.dup2(write, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os._exit(_run_here(argument["program"], _names(argument["modules"])))
    for number, (read, write) in enumerate(pipes, 1):
        os.close(write)
        os.set_blocking(read, False)
        streams[read] = number
    status = None
    # What it started and left behind may hold the pipes for ever: its own end is the end.
    while status is None:
        ended, waited = os.waitpid(child, os.WNOHANG)
        status = waited if ended else None
        for read in select.select(list(streams), [], [], 0 if ended else 0.05)[0]:
            while data := _read(read):
                port.send({"type": "output", "stream": streams[read], "data": data.decode("latin-1")})
                if status is None:
                    break
            if data == b"":
                del streams[read]
    exit_code = os.waitstatus_to_exitcode(status)
    port.send({"type": "exit", "code": exit_code if exit_code >= 0 else 128 - exit_code})


def _run_here(program: str, names: dict[str, Any]) -> int:
    try:
        source = program.encode("utf-8", "surrogateescape")
        exec(compile(source, "<stdin>", "exec"), {"__name__": "__main__", **names})  # noqa: S102 - what it is for
        result: object = 0
    except SystemExit as end:
        result = end.code
    except BaseException:
        traceback.print_exc()
        result = 1
    if result is not None and not isinstance(result, int):
        print(result, file=sys.stderr)
        result = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return (result or 0) & 0xFF


def _names(modules: list[str]) -> dict[str, Any]:
    """What is there without being imported; exit and quit are what Python's `site` adds elsewhere."""
    loaded = {name: importlib.import_module(name) for name in modules}
    return {**loaded, "os": os, "exit": Quitter("exit", "Ctrl-D (i.e. EOF)"), "quit": Quitter("quit", "Ctrl-D")}


def _read(descriptor: int) -> bytes | None:
    """A piece of what is there; empty at the end, None if there is nothing now."""
    try:
        return os.read(descriptor, _CHUNK_BYTES)
    except BlockingIOError:
        return None


def _take_the_console() -> None:
    """Make the console this session's terminal, so that Ctrl-C and job control work."""
    descriptor = os.open("/dev/ttyS0", os.O_RDWR)
    with contextlib.suppress(OSError):
        fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)
    for standard in range(3):
        os.dup2(descriptor, standard)
