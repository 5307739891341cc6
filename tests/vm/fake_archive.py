"""A signed Debian archive made of nothing, for tests: packages in Python, a throwaway key, a small web server.

The server can be told to lack a file, to break off in the middle, or to be slow, which is how faults are injected.
"""

import gzip
import hashlib
import http.server
import io
import lzma
import select
import tarfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pysequoia import SignatureMode, Tsk, sign


def ar_archive(members: Mapping[str, bytes]) -> bytes:
    """Pack members the way a .deb is packed."""
    out = bytearray(b"!<arch>\n")
    for name, content in members.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content
        out += b"\n" * (len(content) % 2)
    return bytes(out)


def tar_archive(files: Mapping[str, bytes | str]) -> bytes:
    """Pack files; a string is the target of a symbolic link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size, member.mode = len(content), 0o755
                tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def deb(control: str, files: Mapping[str, bytes | str]) -> bytes:
    """Make a .deb."""
    return ar_archive(
        {
            "debian-binary": b"2.0\n",
            "control.tar.gz": gzip.compress(tar_archive({"./control": control.encode()})),
            "data.tar.xz": lzma.compress(
                tar_archive({f"./{name}": content for name, content in files.items()}), preset=0
            ),
        }
    )


def make_key() -> Tsk:
    """Make a throwaway key. It takes a millisecond and no program: every archive has its own."""
    return Tsk.generate("Test <test@invalid>", validity_seconds=24 * 60 * 60)


@dataclass
class FakeArchive:
    """An archive below a directory, which is made, and what is wrong with it."""

    root: Path
    secret: Tsk = field(default_factory=make_key)
    stanzas: dict[str, list[str]] = field(default_factory=dict)
    # Paths that are answered with 404.
    gone: set[str] = field(default_factory=set)
    # Paths whose answer stops after that many bytes; the connection stays open, as on a dead network. It goes on when
    # a path is taken out.
    stalled: dict[str, int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    address: str = ""

    def __post_init__(self) -> None:
        self.root.mkdir()
        self.key.write_bytes(bytes(self.secret.extract_certificate()))

    @property
    def key(self) -> Path:
        """The keyring of whoever trusts this archive."""
        return self.root.with_suffix(".gpg")

    def add(
        self,
        suite: str,
        name: str,
        version: str,
        files: Mapping[str, bytes | str] | None = None,
        *,
        depends: str = "",
        architecture: str = "amd64",
        in_pool: bool = True,
        installed_size: int = 20_000,
    ) -> str:
        """Put a package into a suite's index, and into the pool. Returns its path."""
        control = (
            f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: Nobody <nobody@invalid>\n"
        )
        control += f"Installed-Size: {installed_size}\n"
        control += f"Depends: {depends}\n" if depends else ""
        content = deb(control + "Description: for a test\n", files or {})
        filename = f"pool/{name}_{version.rpartition(':')[2]}_{architecture}.deb"
        path = self.root / filename
        path.parent.mkdir(parents=True, exist_ok=True)
        if in_pool:
            path.write_bytes(content)
        stanza = (
            control + f"Filename: {filename}\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"
        )
        self.stanzas.setdefault(suite, []).append(stanza + "Description: for a test\n")
        return filename

    def publish(self, *suites: str, architecture: str = "amd64", origin: str = "Debian") -> None:
        """Write and sign the indexes of these suites, or of all."""
        for suite in suites or tuple(self.stanzas):
            folder = self.root / "dists" / suite
            index = "\n".join(self.stanzas.get(suite, [])).encode()
            files = {
                f"main/binary-{architecture}/Packages": index,
                f"main/binary-{architecture}/Packages.xz": lzma.compress(index, preset=0),
            }
            date = time.strftime("%a, %d %b %Y %H:%M:%S", time.gmtime())
            release = f"Origin: {origin}\nSuite: {suite}\nCodename: {suite}\nDate: {date} UTC\n"
            release += f"Architectures: {architecture}\nComponents: main\nSHA256:\n"
            for name, content in files.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                release += f" {hashlib.sha256(content).hexdigest()} {len(content)} {name}\n"
            (folder / "Release").write_text(release)
            self.sign(folder)

    def sign(self, folder: Path, secret: Tsk | None = None) -> None:
        """Sign a suite's Release with our key, or with another one."""
        # The last line's end belongs to the signature's frame, as in Debian's own files.
        release = (folder / "Release").read_bytes().removesuffix(b"\n")
        signed = sign((secret or self.secret).signer(), release, mode=SignatureMode.CLEAR)
        (folder / "InRelease").write_bytes(signed)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    archive: FakeArchive


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        archive = self.server.archive
        path = self.path.lstrip("/")
        archive.requests.append(path)
        file = archive.root / path
        if path in archive.gone or not file.is_file():
            self.send_error(404)
            return
        content = file.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        sent = archive.stalled.get(path, 0)
        self.wfile.write(content[:sent])
        self.wfile.flush()
        while path in archive.stalled:
            if select.select([self.connection], [], [], 0.05)[0]:
                return  # the other side went away
        self.wfile.write(content[sent:])

    def log_message(self, *arguments: object) -> None:
        """Keep quiet."""


def serve(archive: FakeArchive) -> _Server:
    """Serve an archive on a free port of this machine until `shutdown`."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.archive = archive
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    archive.address = f"http://127.0.0.1:{server.server_address[1]}"
    return server
