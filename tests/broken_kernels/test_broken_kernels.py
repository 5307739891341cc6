"""Broken kernels without building one: the data are whole, text is found and changed, and verdicts are judged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from broken_verdicts import COUNTED, Judgement, Kind, Report, baseline_faults, judge, markdown, not_known
from kernel_build import CONFIG, missing_packages, unmet
from kernel_changes import CHANGES, LATEST, OLDEST, SOURCES, ChangeError, KernelChange, choose, definition, read_changes
from kernel_source import SourceError, choose_package

from reports.results import Generator, Host, Kernel, Mode, Qualifier, Result, Results, Status, Test, utc_now
from vm.apt_text import Package
from vm.kernelimage import NEEDS, lacks, read_config
from vm.settings import default_cache

HERE = Path(__file__).parent
# Those that are compiled.
FILES_OF_6_1 = {
    "advise", "cancel", "epoll", "fdinfo", "filetable", "fs", "io-wq", "io_uring", "kbuf", "msg_ring", "net", "nop",
    "notif", "opdef", "openclose", "poll", "rsrc", "rw", "splice", "sqpoll", "statx", "sync", "tctx", "timeout",
    "uring_cmd", "xattr",
}  # fmt: skip
# Programs for the kernel's BPF, its own test device and its caches of memory show nothing through io_uring's interface.
NEWER_FILES = {
    "cmd_net", "eventfd", "futex", "memmap", "napi", "query", "register", "truncate", "tw", "wait", "waitid", "zcrx",
}  # fmt: skip

# -- the data ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
def test_there_are_enough_changes_and_some_are_kept_aside(source: str) -> None:
    changes = read_changes(source)
    aside = [change for change in changes if change.kept_aside]
    assert len(changes) - len(aside) >= 60
    assert len(aside) >= 15


def test_changes_concern_every_file_that_6_1_has() -> None:
    assert FILES_OF_6_1 - {Path(change.file).stem for change in read_changes(OLDEST)} == set()


def test_changes_concern_files_that_only_the_newest_has() -> None:
    assert NEWER_FILES - {Path(change.file).stem for change in read_changes(LATEST)} == set()


@pytest.mark.parametrize("source", SOURCES)
def test_a_change_says_what_is_seen_of_it(source: str) -> None:
    for change in read_changes(source):
        assert change.title, change.id
        assert change.seen, change.id
        assert change.about, change.id
        assert not change.title.endswith("."), change.id
        assert "crash" not in change.seen, change.id


def trees() -> list[tuple[str, Path]]:
    """The sources that this machine has unpacked, the newest version of each."""
    found = {}
    for path in sorted((default_cache() / "kernel-source").glob("linux-source-*/io_uring")):
        series = path.parent.name.removeprefix("linux-source-").partition("_")[0]
        found[OLDEST if series == OLDEST else LATEST] = path
    return sorted(found.items())


@pytest.mark.parametrize("source", SOURCES)
def test_every_change_fits_its_source(source: str) -> None:
    tree = dict(trees()).get(source)
    if tree is None:
        pytest.skip(f"the source {source} is not in the cache; tox -e broken-kernels fetches it")
    for change in read_changes(source):
        text = (tree / change.file).read_text(encoding="utf-8")
        assert change.apply(text) != text


def write(folder: Path, text: str) -> Path:
    (folder / "some.toml").write_text(text, encoding="utf-8")
    return folder


ENTRY = """
[[change]]
id = "a"
area = "b"
title = "c"
seen = "d"
about = ["e"]
file = "f.c"
scope = "g"
old = "h"
new = "i"
"""


def test_a_source_may_have_its_own_text(tmp_path: Path) -> None:
    folder = write(tmp_path, ENTRY + '[change.latest]\nold = "j"\n')
    assert [change.old for change in read_changes(OLDEST, folder)] == ["h"]
    assert [change.old for change in read_changes(LATEST, folder)] == ["j"]


def test_a_change_may_be_for_one_source(tmp_path: Path) -> None:
    folder = write(tmp_path, ENTRY + 'only = "latest"\n')
    assert read_changes(OLDEST, folder) == []
    assert len(read_changes(LATEST, folder)) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ENTRY + ENTRY, "twice"),
        (ENTRY + 'abuot = ["x"]\n', "nothing is called abuot"),
        (ENTRY.replace('seen = "d"\n', ""), "lacks seen"),
        (ENTRY.replace('old = "h"\n', ""), "lacks old"),
        (ENTRY.replace('"i"', '"h"'), "changes nothing"),
        (ENTRY.replace('"a"', '"A b"'), "an id has"),
        (ENTRY + 'only = "5.10"\n', "only is one of"),
    ],
)
def test_data_that_contradict_themselves_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ChangeError, match=message):
        read_changes(OLDEST, write(tmp_path, text))


def test_changes_are_chosen_by_id_and_by_area() -> None:
    changes = read_changes(OLDEST)
    assert [change.id for change in choose(changes, ["drain-ignored"])] == ["drain-ignored"]
    assert {change.area for change in choose(changes, ["links"])} == {"links"}
    assert choose(changes, []) == changes
    with pytest.raises(ChangeError, match="drane"):
        choose(changes, ["drane"])


# -- text -------------------------------------------------------------------------------------------------------------

SOURCE = """\
struct io_close {
	int fd;
};

int io_close(struct io_kiocb *req);

const struct io_op_def io_op_defs[] = {
	[A] = { .x = 1, },
};

static inline int io_close_fixed(struct io_kiocb *req)
{
	return 1;
}

int io_close(struct io_kiocb *req)
{
	if (x) {
		return 2;
	}
	return 3;
}

SYSCALL_DEFINE2(io_uring_setup, u32, entries,
		struct io_uring_params __user *, params)
{
	return 4;
}
"""


@pytest.mark.parametrize(
    ("scope", "first", "last"),
    [
        ("io_close", "int io_close(struct io_kiocb *req)\n{", "return 3;\n}"),
        ("io_close_fixed", "static inline int io_close_fixed(", "return 1;\n}"),
        ("io_op_defs", "const struct io_op_def io_op_defs[] = {", "},\n}"),
        ("io_uring_setup", "SYSCALL_DEFINE2(io_uring_setup,", "return 4;\n}"),
    ],
)
def test_a_definition_is_found(scope: str, first: str, last: str) -> None:
    begin, end = definition(SOURCE, scope)
    assert SOURCE[begin:end].startswith(first)
    assert SOURCE[begin:end].endswith(last)


def test_what_is_not_defined_is_not_found() -> None:
    with pytest.raises(ChangeError, match="no definition of io_open"):
        definition(SOURCE, "io_open")


def change(old: str = "return 3;", **fields: object) -> KernelChange:
    values = {"id": "close", "area": "a", "title": "t", "seen": "s", "about": ("IORING_OP_CLOSE",), "file": "f.c"}
    return KernelChange(**{**values, "scope": "io_close", "old": old, "new": "return 9;", **fields})  # type: ignore[arg-type]


def test_a_change_is_made_in_its_function_alone() -> None:
    assert change().apply(SOURCE) == SOURCE.replace("return 3;", "return 9;")


@pytest.mark.parametrize(("old", "count"), [("return 1;", 0), ("return", 2)])
def test_text_that_is_not_there_once_is_refused(old: str, count: int) -> None:
    with pytest.raises(ChangeError, match=f"{count} times"):
        change(old).apply(SOURCE)


# -- what is built ----------------------------------------------------------------------------------------------------


def package(name: str, version: str) -> Package:
    return Package(name, version, "all", "sid", 1, 1, "0", f"pool/{name}.deb")


def test_the_newest_source_is_the_newest_version_of_the_newest_series() -> None:
    packages = [
        package("linux-source-6.1", "6.1.170-3"),
        package("linux-source-6.1", "6.1.99-1"),
        package("linux-source-6.12", "6.12.9-1"),
        package("linux-source-6.9", "6.9.1-1"),
        package("linux-source", "7.0-1"),
        package("linux-source-6.12-rt", "6.12.99-1"),
    ]
    assert choose_package(packages, LATEST).exact == "linux-source-6.12=6.12.9-1"
    assert choose_package(packages, "6.1").exact == "linux-source-6.1=6.1.170-3"
    with pytest.raises(SourceError, match=r"5\.10"):
        choose_package(packages, "5.10")


def test_what_is_asked_of_the_configuration_is_what_guests_need() -> None:
    asked = read_config(CONFIG.read_text(encoding="utf-8"))
    # Of what guests need beside, `make defconfig` has everything.
    config = {**{need.option: "y" for need in NEEDS}, "CONFIG_64BIT": "y", **asked}
    assert lacks(config, "amd64") == []
    assert {"CONFIG_KASAN", "CONFIG_PROVE_LOCKING"} - set(asked) == set()


def test_what_a_configuration_refused_is_told() -> None:
    asked = "# a comment\nCONFIG_A=y\nCONFIG_B=y\n# CONFIG_C is not set\n# CONFIG_D is not set\n"
    assert unmet(asked, "CONFIG_A=y\nCONFIG_D=m\n") == ["CONFIG_B=y", "# CONFIG_D is not set"]


def test_missing_programs_and_headers_are_named_by_their_packages() -> None:
    needs = {"sh": "dash", "no-such-program": "some", "/no/such/header.h": "some-dev", "/": "base-files"}
    assert missing_packages(needs) == ["some", "some-dev"]


# -- what is judged ---------------------------------------------------------------------------------------------------

CLOSE = Test(id="test_close", title="close", symbols=("IORING_OP_CLOSE",))
READ = Test(id="test_read", title="read", symbols=("IORING_OP_READ",))
SEEN = Test(id="op-close", title="IORING_OP_CLOSE", kind="capability", symbols=("IORING_OP_CLOSE",))


def results(complete: bool = True, **verdicts: Status | tuple[Status, dict[str, object]]) -> Results:
    rows = []
    for test in (CLOSE, READ, SEEN):
        said = verdicts.get(test.id.replace("-", "_"), Status.PASS)
        status, fields = said if isinstance(said, tuple) else (said, {})
        state = {"state": "has"} if test is SEEN else {}
        row = {"test": test.id, "kernel": "k", "arch": "amd64", "mode": "default", "status": status, **state, **fields}
        rows.append(Result(**row))  # type: ignore[arg-type]
    return Results(
        generator=Generator(name="t", version="0"),
        started=utc_now(),
        finished=utc_now(),
        complete=complete,
        command=(),
        host=Host(kernel="k", machine="m"),
        kernels=(Kernel(id="k", series="6.1", arch="amd64", source="path"),),
        tests=(CLOSE, READ, SEEN),
        modes=(Mode(id="default"),),
        results=tuple(rows),
    )


@pytest.mark.parametrize(
    ("verdicts", "kind"),
    [
        ({"test_close": Status.FAIL}, Kind.NOTICED),
        ({"test_close": Status.TIMEOUT}, Kind.NOTICED),
        ({"test_close": Status.FAIL, "test_read": Status.ERROR}, Kind.NOTICED),
        ({"test_read": Status.FAIL}, Kind.ELSEWHERE),
        ({"test_close": Status.CRASH}, Kind.CRASHED),
        ({"test_close": Status.ERROR}, Kind.ERROR),
        ({"test_close": Status.UNSUPPORTED}, Kind.UNNOTICED),
        ({"op_close": (Status.UNSUPPORTED, {"state": "lacks"})}, Kind.OBSERVED),
        ({"op_close": (Status.PASS, {"claimed": False})}, Kind.OBSERVED),
        ({}, Kind.UNNOTICED),
        ({"test_close": Status.INFRA}, Kind.OPEN),
    ],
)
def test_what_the_verdicts_say_of_a_change(verdicts: dict[str, Any], kind: Kind) -> None:
    assert judge(change(), results(), results(**verdicts)).kind is kind


def test_a_test_that_is_named_is_about_a_change() -> None:
    named = change(about=("test_read",))
    assert judge(named, results(), results(test_read=Status.FAIL)).kind is Kind.NOTICED


def test_a_test_that_fails_without_the_change_notices_nothing() -> None:
    failing = results(test_close=Status.FAIL)
    assert judge(change(), failing, failing).kind is Kind.UNNOTICED
    assert baseline_faults(failing) == ["test_close [default]: fail: "]
    assert baseline_faults(results()) == []


def test_results_that_are_not_whole_are_no_proof_that_nothing_was_noticed() -> None:
    assert judge(change(), results(), results(complete=False)).kind is Kind.OPEN


WARNING: dict[str, object] = {
    "qualifiers": (Qualifier.KERNEL_WARNING,),
    "evidence": ("kernel: BUG: KASAN: use-after-free in io_close",),
}


def test_what_the_kernel_complains_of_is_told_where_the_test_passes() -> None:
    one = judge(change(), results(), results(test_read=(Status.PASS, WARNING)))
    assert one.kind is Kind.UNNOTICED
    assert one.complaints == ("test_read: BUG: KASAN: use-after-free in io_close",)
    assert baseline_faults(results(test_read=(Status.PASS, WARNING))) == [
        "test_read [default]: BUG: KASAN: use-after-free in io_close"
    ]


def test_what_cannot_be_noticed_does_not_count_and_must_not_be_noticed() -> None:
    hidden = change(undetectable="nobody can tell")
    unnoticed = judge(hidden, results(), results())
    assert (unnoticed.kind, unnoticed.why) == (Kind.UNDETECTABLE, "nobody can tell")
    assert Report.of("s", [unnoticed], ()).code == 0
    noticed = Report.of("s", [judge(hidden, results(), results(test_close=Status.FAIL))], ())
    assert noticed.wrong_judgements == ["close"]
    assert noticed.code == 1


def judgement(kind: Kind) -> Judgement:
    return Judgement("some", "area", kind, "title", ("IORING_OP_NOP",))


@pytest.mark.parametrize("kind", Kind)
def test_the_exit_code_says_what_is_wrong(kind: Kind) -> None:
    expected = {Kind.NOTICED: 0, Kind.ELSEWHERE: 0, Kind.UNDETECTABLE: 0, Kind.OPEN: 3}.get(kind, 1)
    assert Report.of("s", [judgement(Kind.NOTICED), judgement(kind)], ()).code == expected


def test_a_suite_that_fails_in_the_unbroken_kernel_proves_nothing() -> None:
    assert Report.of("s", [judgement(Kind.NOTICED)], ["test_read: fail"]).code == 3


def test_the_rate_counts_what_tests_noticed_of_what_they_could() -> None:
    kinds = [*Kind, Kind.NOTICED]
    report = Report.of("s", map(judgement, kinds), ())
    assert report.rate == pytest.approx(3 / (len(COUNTED) + 1))
    assert Report.of("s", [not_known(change(), "no compiler")], ()).rate == 1.0


def test_the_report_names_everything_that_a_test_did_not_notice() -> None:
    text = markdown(Report.of("linux-source-6.1=1", map(judgement, Kind), ["test_read: fail"]))
    for kind in Kind:
        assert f"### {kind.capitalize()}: 1" in text
    assert "test_read: fail" in text


# -- the command ------------------------------------------------------------------------------------------------------


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, str(HERE / "broken_kernels.py"), *arguments]
    return subprocess.run(program, capture_output=True, text=True, check=False, cwd=HERE.parents[1])


def test_the_command_lists_what_it_would_try() -> None:
    done = command("--list", "--source", "6.1", "drain")
    assert done.returncode == 0, done.stderr
    assert "drain-ignored" in done.stdout
    assert "latest" not in done.stdout


def test_what_is_kept_aside_is_listed_when_it_is_asked_for() -> None:
    assert "link-timeout-result-wrong" not in command("--list").stdout
    listed = command("--list", "--kept-aside").stdout
    assert "link-timeout-result-wrong" in listed
    assert "drain-ignored" not in listed


def test_what_no_test_is_about_is_listed_without_a_kernel() -> None:
    listed = command("--untested", "--source", "6.1", "nop-result-wrong", "timeout-boottime-is-monotonic")
    assert listed.returncode == 0, listed.stderr
    assert "nop-result-wrong" not in listed.stdout


def test_an_unknown_change_is_a_usage_error() -> None:
    done = command("no-such-change")
    assert done.returncode == 2
    assert "no-such-change" in done.stderr


def test_the_data_are_all_that_is_in_their_folder() -> None:
    assert {path.suffix for path in CHANGES.iterdir()} == {".toml"}
