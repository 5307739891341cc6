"""The command line of a guest's pytest, made from the session's own."""

import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from conformance.plugin import SUITE
from harness import payload
from harness.invocation import Invocation, read

pytest_plugins = ["pytester"]

CONFTEST = """
def pytest_addoption(parser):
    parser.addoption("--backend", default="A")
    parser.addini("flavour", "of ice")
"""


def invocation(
    pytester: pytest.Pytester, *arguments: str, named: Sequence[str] = (), packages: Collection[str] = ()
) -> Invocation:
    config = pytester.parseconfig(*arguments)
    tree = payload.source_tree(config, ())
    return read(config, tree, [pytester.path / name for name in named], packages)


def options(pytester: pytest.Pytester, *arguments: str, packages: Collection[str] = ()) -> list[str]:
    found = list(invocation(pytester, *arguments, packages=packages).options)
    assert found[:3] == ["-o", "addopts=", "--color=no"]
    return found[3:]


@pytest.mark.parametrize(
    ("given", "travels"),
    [
        (["-W", "error::ResourceWarning"], ["-W", "error::ResourceWarning"]),
        (["--import-mode=importlib"], ["--import-mode=importlib"]),
        (["-vv", "--tb", "short", "-l"], ["-v", "-v", "--tb=short", "-l"]),
        (["-o", "xfail_strict=true", "--strict-markers"], ["-o", "xfail_strict=true", "--strict-markers"]),
        (["-p", "no:doctest", "-p", "no:xdist"], ["-p", "no:doctest", "-p", "no:xdist"]),
        (["--doctest-modules", "--noconftest", "--runxfail"], ["--doctest-modules", "--noconftest", "--runxfail"]),
        # The files are the host's; that there are some has effects on tests.
        (["--junitxml=x", "--log-file", "y"], ["--junit-xml=/dev/null", "--log-file=/dev/null"]),
        # Choosing tests, reporting, and ours.
        (["-k", "one", "-m", "two", "-x", "--maxfail", "3", "-rA", "--durations=3", "--color=yes"], []),
        (["--lf", "--deselect", "x", "--ignore", "y", "--basetemp", "z", "-s", "--capture=sys"], []),
        (["--kernel", "host", "--mode", "default", "--isolate", "-n", "2", "--dist", "load"], []),
    ],
    ids=lambda words: " ".join(words) or "nothing",
)
def test_options_travel_unless_they_are_the_hosts(
    pytester: pytest.Pytester, given: list[str], travels: list[str]
) -> None:
    assert options(pytester, *given) == travels


def test_options_of_a_conftest_travel_from_wherever_they_are_given(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\naddopts = --backend=ini -q\nflavour = vanilla\n")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--backend=environment")
    assert options(pytester, "--backend", "word", "-k", "x") == [
        "--backend=ini",
        "-q",
        "--backend=environment",
        "--backend=word",
    ]


def test_guests_are_not_told_where_this_machine_has_its_temporary_files(pytester: pytest.Pytester) -> None:
    """They may be elsewhere in every run, and a guest that is told of one run's is no good for another."""
    given = ["-o", "cache_dir=a", "-ocache_dir=b", "--override-ini=cache_dir=c", "--basetemp", "d", "--basetemp=e"]
    kept = ["-o", "xfail_strict=true", "-x", "--override-ini", "junit_family=xunit1"]
    assert invocation(pytester, *given, *kept, "--override-ini", "cache_dir=f").host_arguments == (*kept,)


def test_where_things_lie(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makeini("[pytest]\npythonpath = lib\n")
    for name in ("lib", "t/deep", "u[1]"):
        pytester.mkdir(name) if "/" not in name else (pytester.path / name).mkdir(parents=True)
    monkeypatch.syspath_prepend(str(pytester.path / "lib"))
    monkeypatch.chdir(pytester.path / "t")
    told = invocation(pytester, "--rootdir", "..", named=["t/deep", "u[1]"])
    assert (told.configuration, told.directory, told.confcutdir) == ("tox.ini", "t", ".")
    # pytest would take brackets on its command line for parameters.
    assert told.paths == ("t/deep", ".")
    assert "lib" in told.search_path
    assert not any("site-packages" in entry for entry in told.search_path)


PLUGIN = """
def pytest_addoption(parser):
    parser.addoption("--loud", action="store_true")
    parser.addini("volume", "how much")
"""


@pytest.fixture
def elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of modules that is not below the root directory, as an environment's is."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "loud_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    ("ini", "arguments", "message"),
    [
        ("", ["-p", "loud_plugin"], "-p loud_plugin: loud_plugin, which guests do not have"),
        (
            "",
            ["-p", "loud_plugin", "--loud"],
            "loud_plugin, which guests do not have: send it along with --guest-package",
        ),
        ("addopts = -p loud_plugin\nvolume = 3", [], "is a setting of loud_plugin, which guests do not have"),
        ("required_plugins = pytest-xdist", [], "names pytest-xdist, which guests do not have"),
    ],
)
def test_what_cannot_travel_is_refused_by_name(
    pytester: pytest.Pytester, ini: str, arguments: list[str], message: str
) -> None:
    pytester.makeini(f"[pytest]\n{ini}\n")
    with pytest.raises(pytest.UsageError, match=message):
        options(pytester, *arguments)


def test_a_plugin_in_the_tree_travels(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makepyfile(loud_plugin=PLUGIN)
    monkeypatch.syspath_prepend(str(pytester.path))
    assert options(pytester, "-p", "loud_plugin", "--loud") == ["-p", "loud_plugin", "--loud"]


@pytest.mark.parametrize("name", ["loud_plugin", "lib.deep.loud_plugin"])
@pytest.mark.parametrize("how", ["-p", "addopts", "PYTEST_PLUGINS"])
def test_a_plugins_file_travels_where_an_installed_suites_tests_are_named_alone(
    name: str, how: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else of the root directory does, then: the guest had no such module, and its tests were `infra`."""
    path = pytester.path / f"{name.replace('.', '/')}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PLUGIN)
    if "." in name:
        for folder in ("lib", "lib/deep"):
            (pytester.path / folder / "__init__.py").touch()
    (pytester.mkdir("other") / "x").touch()
    pytester.makeini("[pytest]\n" + (f"addopts = -p {name}\n" if how == "addopts" else ""))
    monkeypatch.syspath_prepend(str(pytester.path))
    if how == "PYTEST_PLUGINS":
        monkeypatch.setenv(how, name)
    config = pytester.parseconfig("--pyargs", "conformance", *(["-p", name] if how == "-p" else []))
    config.option.matrix_out = None
    sent = payload.files_of_session(config, [SUITE])
    told = read(config, payload.source_tree(config, [SUITE]), [], ())
    assert ["-p", name] == list(told.options[-2:])
    assert sent[f"{name.replace('.', '/')}.py"] == path
    assert "." in told.search_path
    if "." in name:
        assert {"lib/__init__.py", "lib/deep/__init__.py"} <= set(sent)
        assert "other/x" not in sent


def test_plugins_of_the_environment_travel(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makepyfile(loud_plugin=PLUGIN)
    monkeypatch.syspath_prepend(str(pytester.path))
    monkeypatch.setenv("PYTEST_PLUGINS", "loud_plugin")
    assert options(pytester) == ["-p", "loud_plugin"]


def test_pythons_own_warning_options_travel(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "warnoptions", ["error::DeprecationWarning"])
    assert invocation(pytester).warning_options == ("error::DeprecationWarning",)


def test_a_plugin_object_about_tests_is_refused(pytester: pytest.Pytester) -> None:
    class Before:
        def pytest_runtest_setup(self) -> None:
            pass

    class Report:
        def pytest_runtest_logreport(self) -> None:
            pass

    pytester.plugins = [Report()]
    assert options(pytester) == []
    pytester.plugins = [Before()]
    with pytest.raises(pytest.UsageError, match="has pytest_runtest_setup, and an object cannot be sent"):
        options(pytester)
