"""Write golden.json again: what Zig 0.15.1, liburing and the kernel's newest headers say about io_uring's ABI.

    python tests/uring/golden/regenerate.py            (tox -e golden)

Needs `ziglang==0.15.1` from PyPI beside the running Python. Three programs are compiled and run: dump.zig prints Zig's
constants, struct layouts and every `prep_*` with a spread of arguments; a C program made here prints every constant of
<linux/io_uring.h> and the layouts of its structures, another what liburing's `io_uring_prep_*` make of the cases in
liburing_cases.py. The headers come out of Debian's newest linux-libc-dev and liburing-dev, fetched with apt into a
directory of its own (no root; signatures are checked), or from --headers. Nothing of `uring` is involved: that is the
point of it.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from liburing_cases import CASES, Pointer, Slice, Split

HERE = Path(__file__).resolve().parent
GOLDEN = HERE / "golden.json"
ZIG_VERSION = "0.15.1"
TARGET = "x86_64-linux-musl"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SUITES = ("experimental", "sid")
# The newest headers are where apt takes nothing from unless it is told to.
PACKAGES = {"linux-libc-dev": f"/{SUITES[0]}", "liburing-dev": ""}

# Structures whose C layout is compared; the field names are the header's.
C_STRUCTS = {
    "io_uring_sqe": "opcode flags ioprio fd off addr len rw_flags user_data buf_index personality splice_fd_in addr3 "
    "cmd_op level optname optval optlen file_index poll32_events cmd",
    "io_uring_cqe": "user_data res flags big_cqe",
    "io_uring_params": "sq_entries cq_entries flags sq_thread_cpu sq_thread_idle features wq_fd resv sq_off cq_off",
    "io_sqring_offsets": "head tail ring_mask ring_entries flags dropped array user_addr",
    "io_cqring_offsets": "head tail ring_mask ring_entries overflow cqes flags user_addr",
    "io_uring_rsrc_register": "nr flags resv2 data tags",
    "io_uring_rsrc_update2": "offset resv data tags nr resv2",
    "io_uring_clone_buffers": "src_fd flags src_off dst_off nr pad",
    "io_uring_files_update": "offset resv fds",
    "io_uring_rsrc_update": "offset resv data",
    "io_uring_restriction": "opcode sqe_op resv resv2",
    "io_uring_clock_register": "clockid",
    "io_uring_getevents_arg": "sigmask sigmask_sz min_wait_usec ts",
    "io_uring_reg_wait": "ts min_wait_usec flags sigmask sigmask_sz pad pad2",
    "io_uring_region_desc": "user_addr size flags id mmap_offset",
    "io_uring_mem_region_reg": "region_uptr flags",
    "io_uring_query_hdr": "next_entry query_data query_op size result",
    "io_uring_query_opcode": "nr_request_opcodes nr_register_opcodes feature_flags ring_setup_flags enter_flags "
    "sqe_flags nr_query_opcodes",
    "io_uring_file_index_range": "off len resv",
    "io_uring_probe_op": "op resv flags resv2",
    "io_uring_probe": "last_op ops_len resv resv2 ops",
    "open_how": "flags mode resolve",
    "io_uring_buf": "addr len bid resv",
    "io_uring_buf_ring": "tail",
    "io_uring_buf_reg": "ring_addr ring_entries bgid flags min_left resv",
    "io_uring_buf_status": "buf_group head resv",
    "io_uring_recvmsg_out": "namelen controllen payloadlen flags",
    "io_uring_zcrx_rqe": "off len",
    "io_uring_zcrx_offsets": "head tail rqes",
    "io_uring_zcrx_area_reg": "addr len rq_area_token flags dmabuf_fd",
    "io_uring_zcrx_ifq_reg": "if_idx if_rxq rq_entries flags area_ptr region_ptr offsets zcrx_id rx_buf_len event_desc",
    "zcrx_ctrl": "zcrx_id op",
    "io_uring_napi": "busy_poll_to prefer_busy_poll opcode pad op_param resv",
    "futex_waitv": "val uaddr flags __reserved",
    "io_uring_sync_cancel_reg": "addr fd flags timeout opcode pad pad2",
}
NAME = re.compile(r"^\s*#define\s+((?:IORING|IOSQE|IOU|IO_URING|SPLICE_F)_\w+)\s+\S", re.MULTILINE)
FUTEX = re.compile(r"^#define\s+(FUTEX2_\w+|FUTEX_BITSET_MATCH_ANY)\s+\S", re.MULTILINE)
ENUMERATOR = re.compile(r"^\t((?:IORING|IOSQE|IOU|IO_URING|IO_WQ|SOCKET_URING)_\w+)\b\s*[,=/]", re.MULTILINE)


def run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program; its output is shown when it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=cwd, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def zig(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the compiler of the ziglang package."""
    return run(sys.executable, "-m", "ziglang", *arguments)


def from_zig(work: Path) -> dict[str, Any]:
    """What dump.zig prints."""
    zig("build-exe", HERE / "dump.zig", "-target", TARGET, f"-femit-bin={work / 'dump'}")
    return dict(json.loads(run(work / "dump").stderr))


def from_header(work: Path, headers: Path) -> dict[str, Any]:
    """Every constant of <linux/io_uring.h>, those of <linux/futex.h> that it takes, and layouts."""
    text = (headers / "linux" / "io_uring.h").read_text(encoding="utf-8")
    # Include guards and function-like macros have no value.
    names = sorted({*NAME.findall(text), *ENUMERATOR.findall(text)} - {"IORING_RESTRICTION_LAST"})
    # The size's bits are no flag.
    futex = (headers / "linux" / "futex.h").read_text(encoding="utf-8")
    names += sorted({*FUTEX.findall(futex)} - {"FUTEX2_SIZE_MASK"})
    lines = ["#include <stddef.h>", "#include <stdio.h>", "#include <linux/futex.h>", "#include <linux/io_uring.h>"]
    lines.append("#include <linux/io_uring/query.h>")
    lines += ["#include <linux/openat2.h>", "int main(void) {"]
    lines.append('puts("{\\"constants\\": {");')
    lines += [
        f'printf("%s\\"{name}\\": %lld", {int(i > 0)} ? ", " : "", (long long)({name}));'
        for i, name in enumerate(names)
    ]
    lines.append('puts("}, \\"layouts\\": {");')
    for index, (struct, fields) in enumerate(C_STRUCTS.items()):
        comma = ", " if index else ""
        lines.append(f'printf("{comma}\\"{struct}\\": {{\\"size\\": %zu, \\"fields\\": {{", sizeof(struct {struct}));')
        for number, field in enumerate(fields.split()):
            comma = ", " if number else ""
            lines.append(f'printf("{comma}\\"{field}\\": %zu", offsetof(struct {struct}, {field}));')
        lines.append('printf("}}");')
    lines += ['puts("}}");', "return 0;", "}"]
    source = work / "header.c"
    source.write_text("\n".join(lines), encoding="utf-8")
    zig("cc", "-target", TARGET, "-I", headers, source, "-o", work / "header")
    return dict(json.loads(run(work / "header").stdout))


def from_liburing(work: Path, headers: Path) -> list[dict[str, Any]]:
    """What its functions write into a cleared entry."""
    lines = ["#define _GNU_SOURCE", "#include <stdio.h>", "#include <string.h>", "#include <liburing.h>"]
    lines.append("static struct io_uring_sqe sqe;")
    lines.append("static void show(void) {")
    lines.append('for (unsigned i = 0; i < sizeof(sqe); i++) printf("%02x", ((unsigned char *)&sqe)[i]);')
    lines += ['puts("");', "memset(&sqe, 0, sizeof(sqe));", "}", "int main(void) {"]
    lines += [f"io_uring_prep_{name}({arguments_in_c(arguments)}); show();" for name, *arguments in CASES]
    lines += ["return 0;", "}"]
    source = work / "liburing.c"
    source.write_text("\n".join(lines), encoding="utf-8")
    zig("cc", "-target", TARGET, "-w", "-I", headers, source, "-o", work / "liburing")
    entries = run(work / "liburing").stdout.split()
    return [
        {"name": f"prep_{name}", "arguments": [in_json(argument) for argument in arguments], "sqe": entry}
        for (name, *arguments), entry in zip(CASES, entries, strict=True)
    ]


def arguments_in_c(arguments: list[Any]) -> str:
    """What stands in a call."""
    lengths = [f"{argument.length:#x}" for argument in arguments if isinstance(argument, Split)]
    return ", ".join(["&sqe", *map(in_c, arguments), *lengths])


def in_c(argument: Any) -> str:
    """An argument in C; a buffer is two of them, unless its length comes last."""
    match argument:
        case Slice(address, length):
            return f"(void *){address:#x}, {length:#x}"
        case Pointer(address) | Split(address):
            return f"(void *){address:#x}"
        case _:
            return f"{argument}ll" if argument < 0 else f"{argument:#x}ull"


def in_json(argument: Any) -> Any:
    """An argument as golden.json has them."""
    match argument:
        case Slice(address, length) | Split(address, length):
            return {"slice": [address, length]}
        case Pointer(address):
            return {"pointer": address}
        case _:
            return argument


def debian_headers(work: Path) -> tuple[Path, dict[str, str]]:
    """The newest headers Debian has, unpacked, and their versions; the mirror is the one this machine uses."""
    targets = run("apt-get", "indextargets", "--format", "$(SITE) $(ORIGIN)", "Created-By: Packages").stdout
    sites = [line.split()[0] for line in targets.splitlines() if line.endswith(" Debian")]
    if not sites:
        raise SystemExit("apt knows no Debian mirror here; pass --headers DIR, the directory above linux/io_uring.h")
    root = work / "apt"
    for name in ("lists/partial", "cache/archives/partial", "etc"):
        (root / name).mkdir(parents=True)
    (root / "status").touch()
    sources = [f"deb [signed-by={KEYRING}] {sites[0]} {suite} main" for suite in SUITES]
    (root / "etc" / "sources.list").write_text("\n".join(sources) + "\n", encoding="utf-8")
    options = [
        f"-oDir::Etc::SourceList={root}/etc/sources.list",
        "-oDir::Etc::SourceParts=/nonexistent",
        f"-oDir::State::Lists={root}/lists",
        f"-oDir::State::status={root}/status",
        f"-oDir::Cache={root}/cache",
        "-oAPT::Architecture=amd64",
        "-oAPT::Sandbox::User=root",
    ]
    run("apt-get", *options, "update")
    versions = {}
    for name, suite in PACKAGES.items():
        run("apt-get", *options, "download", name + suite, cwd=root)
        package = next(root.glob(f"{name}_*.deb"))
        run("dpkg-deb", "-x", package, root / "unpacked")
        versions[name] = run("dpkg-deb", "-f", package, "Version").stdout.strip()
    return root / "unpacked" / "usr" / "include", versions


def main() -> None:
    """Compile, run, write; or compare with --check."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--headers", type=Path, help="directory above linux/io_uring.h and liburing.h, instead of Debian's"
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail when golden.json would change")
    arguments = parser.parse_args()
    version = zig("version").stdout.strip()
    if version != ZIG_VERSION:
        raise SystemExit(f"ziglang {version} is installed, {ZIG_VERSION} is wanted: pip install ziglang=={ZIG_VERSION}")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        headers, versions = (arguments.headers, {}) if arguments.headers else debian_headers(work)
        libc, liburing = (versions.get(name, "given") for name in PACKAGES)
        golden = {
            "zig": from_zig(work),
            "linux": {"linux-libc-dev": libc, **from_header(work, headers)},
            "liburing": {"liburing-dev": liburing, "cases": from_liburing(work, headers)},
        }
    text = compact(golden)
    before = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
    lost = set(before.get("linux", {}).get("constants", {})) - set(golden["linux"]["constants"])
    if lost:
        raise SystemExit(f"the header is older than the one golden.json was made from; it lacks {sorted(lost)}")
    if arguments.check:
        if before != golden:
            raise SystemExit(
                "golden.json is not what the compilers say; run without --check and look at the difference"
            )
        print("golden.json is up to date")
        return
    GOLDEN.write_text(text, encoding="utf-8")
    cases = len(golden["zig"]["cases"]) + len(golden["liburing"]["cases"])
    print(f"{GOLDEN.name}: {cases} cases, {len(golden['linux']['constants'])} kernel constants")


def compact(golden: dict[str, Any]) -> str:
    """JSON with one line per case and per table entry, so that differences are readable."""
    text = json.dumps(golden, indent=1)
    # Join what lies deeper than a case or a constant.
    return re.sub(r"\n {4,}\s*|\n {3}(?=[}\]])", " ", text) + "\n"


if __name__ == "__main__":
    main()
