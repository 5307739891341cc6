"""The first run on a machine, with everything still to be fetched, over a network of a given speed.

    python benchmarks/first_run.py [--kernel SPEC]... [--mbit MEGABITS_PER_SECOND] [--rounds N]

Two ways take turns, each with an empty cache: `uring-matrix run`, which makes the guest image, fetches QEMU and
kernels, and tests them, all at the same time; and `uring-matrix kernels fetch` before it, which has every kernel come
first. Both go through a proxy of our own, on this machine, that lets no more through than the network is said to. The
ratio is of elapsed time, the smallest of each way's rounds.
"""

import argparse
import http.server
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_CHUNK_SIZE = 16 << 10
# What apt says of the file it wants, and what a server says of it.
_REQUEST_HEADERS = ("Range", "If-Range", "If-Modified-Since", "Cache-Control")
_ANSWER_HEADERS = ("Content-Length", "Content-Range", "Content-Type", "Last-Modified")


class _Pipe:
    """The network: whatever goes through it takes its time, one after another."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._lock = threading.Lock()
        self._free_s = 0.0

    def take(self, size_bytes: int) -> None:
        """Wait until so much has gone through."""
        with self._lock:
            self._free_s = max(self._free_s, time.monotonic()) + size_bytes / self._bytes_per_s
            until_s = self._free_s
        time.sleep(max(until_s - time.monotonic(), 0.0))


class _Proxy(http.server.ThreadingHTTPServer):
    daemon_threads = True
    pipe: _Pipe


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Proxy

    def do_GET(self) -> None:
        headers = {name: self.headers[name] for name in _REQUEST_HEADERS if name in self.headers}
        try:
            answer = urllib.request.urlopen(urllib.request.Request(self.path, headers=headers))
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            self.send_response(answer.status or 502)
            for name in _ANSWER_HEADERS:
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.end_headers()
            while chunk := answer.read(_CHUNK_SIZE):
                self.server.pipe.take(len(chunk))
                self.wfile.write(chunk)

    def log_message(self, *arguments: object) -> None:
        """Keep quiet."""


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--kernel", action="append", metavar="SPEC", help="default: all")
    parser.add_argument("--mbit", type=float, default=100.0)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    kernels = options.kernel or ["all"]
    proxy = _Proxy(("127.0.0.1", 0), _Handler)
    proxy.pipe = _Pipe(options.mbit * 1e6 / 8)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    first, together = [], []
    with tempfile.TemporaryDirectory(prefix="first-run-") as name:
        configuration = Path(name) / "apt.conf"
        configuration.write_text(f'Acquire::http::Proxy "http://127.0.0.1:{proxy.server_address[1]}";\n')
        environment = {**os.environ, "APT_CONFIG": str(configuration), "URING_MATRIX_CACHE": f"{name}/cache"}

        def command(*arguments: str) -> None:
            subprocess.run(
                [sys.executable, "-m", "uring_matrix", *arguments],
                cwd=ROOT,
                env=environment,
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

        def run() -> None:
            command("run", "--no-report", "--out", f"{name}/matrix", *(f"--kernel={spec}" for spec in kernels))

        def fetch_and_run() -> None:
            command("kernels", "fetch", *kernels)
            run()

        for _ in range(options.rounds):
            together.append(elapsed_s(run, Path(name)))
            first.append(elapsed_s(fetch_and_run, Path(name)))
    proxy.shutdown()
    proxy.server_close()
    print(f"| at {options.mbit:g} Mbit/s, kernels {' '.join(kernels)} | elapsed | ratio |")
    print("| --- | ---: | ---: |")
    print(f"| kernels fetched first | {min(first):.1f} s | 1.00 |")
    print(f"| all at the same time | {min(together):.1f} s | {min(together) / min(first):.2f} |")


def elapsed_s(what: Callable[[], None], directory: Path) -> float:
    """How long something takes with an empty cache."""
    for folder in ("cache", "matrix"):
        shutil.rmtree(directory / folder, ignore_errors=True)
    started_s = time.monotonic()
    what()
    return time.monotonic() - started_s


if __name__ == "__main__":
    main()
