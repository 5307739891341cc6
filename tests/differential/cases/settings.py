"""What stands in ini files: own values of every type, values overridden, and the files themselves."""

from case_model import Case

_TYPES = """
    def pytest_addoption(parser):
        parser.addini("text", "a text", default="unset")
        parser.addini("truth", "a truth", type="bool", default=False)
        parser.addini("words", "words", type="args")
        parser.addini("lines", "lines", type="linelist")
        parser.addini("places", "paths", type="paths")
        parser.addini("spots", "path list", type="pathlist")
        parser.addini("number", "a number", type="int", default=1)
        parser.addini("part", "a fraction", type="float", default=0.5)
        parser.addini("plain", "a string", type="string", default="none")
        parser.addini("absent", "nowhere set", type="linelist")
        parser.addini("old_name", "has an alias", aliases=["new_name"], default="x")
"""
_TYPES_TEST = """
    import pytest


    @pytest.mark.parametrize(
        "name, expected",
        [
            ("text", "some text"),
            ("truth", True),
            ("words", ["a", "b c", "--d"]),
            ("lines", ["one line", "another = line"]),
            ("number", 7),
            ("part", 1.25),
            ("plain", "p"),
            ("absent", []),
            ("old_name", "new"),
        ],
    )
    def test_value(request, name, expected):
        assert request.config.getini(name) == expected


    def test_paths(request):
        root = request.config.rootpath
        assert request.config.getini("places") == [root / "here", root / "there" / "too"]
        assert [str(path) for path in request.config.getini("spots")] == [str(root / "data")]


    def test_unknown(request):
        with pytest.raises(ValueError, match="unknown configuration value"):
            request.config.getini("nobody")


    def test_builtin(request):
        assert request.config.getini("console_output_style") == "count"
        assert request.config.getini("norecursedirs") == ["build", ".*"]
        assert request.config.getini("log_level") == "INFO"
        assert request.config.inipath == request.config.rootpath / request.config.inipath.name
"""
_INI = """
    [pytest]
    text = some text
    truth = yes
    words = a "b c" --d
    lines =
        one line
        another = line
    places = here there/too
    spots = data
    number = 7
    part = 1.25
    plain = p
    new_name = new
    console_output_style = count
    norecursedirs = build .*
    log_level = INFO
"""
_WHICH = """
    import sys


    def test_which(request):
        print("ini:", request.config.inipath and request.config.inipath.name, request.config.getini("own"))
        assert request.config.getini("own") == "right"


    def test_root(request):
        assert (request.config.rootpath / "conftest.py").is_file()
"""
_OWN = """
    def pytest_addoption(parser):
        parser.addini("own", "a text", default="unset")
"""


def _which(name: str, files: dict[str, str], arguments: tuple[str, ...] = ("-rA",), **more: object) -> Case:
    return Case(f"ini-{name}", {"conftest.py": _OWN, "t/test_which.py": _WHICH, **files}, arguments, **more)  # type: ignore[arg-type]


CASES = [
    Case(
        "own-ini-values-of-all-types",
        {"conftest.py": _TYPES, "test_types.py": _TYPES_TEST, "pytest.ini": _INI},
        ("-rA",),
    ),
    Case(
        "own-ini-values-in-native-toml",
        {
            "conftest.py": _TYPES,
            "test_types.py": _TYPES_TEST,
            "pyproject.toml": """
                [tool.pytest]
                text = "some text"
                truth = true
                words = ["a", "b c", "--d"]
                lines = ["one line", "another = line"]
                places = ["here", "there/too"]
                spots = ["data"]
                number = 7
                part = 1.25
                plain = "p"
                new_name = "new"
                console_output_style = "count"
                norecursedirs = ["build", ".*"]
                log_level = "INFO"
            """,
        },
        ("-rA",),
    ),
    Case(
        "ini-values-overridden",
        {
            "conftest.py": _TYPES,
            "pytest.ini": "[pytest]\ntext = other\nlines =\n    x\nxfail_strict = false\n",
            "test_override.py": """
                import pytest


                def test_text(request):
                    assert request.config.getini("text") == "given = twice"


                def test_truth(request):
                    assert request.config.getini("truth") is True


                def test_number(request):
                    assert request.config.getini("number") == 12


                def test_empty(request):
                    assert request.config.getini("lines") == []


                @pytest.mark.xfail
                def test_strict_xfail():
                    pass


                class Check:
                    def check_me(self):
                        assert False
            """,
        },
        (
            "-rA",
            "-o",
            "text=given = twice",
            "--override-ini=truth=1",
            "-onumber=12",
            "-o",
            "lines=",
            "-o",
            "xfail_strict=true",
            "-o",
            "python_classes=Check",
            "-o",
            "python_functions=test_* check_*",
        ),
    ),
    _which(
        "setup-cfg",
        {"setup.cfg": "[metadata]\nname = x\n[tool:pytest]\nown = right\naddopts = -v\n", "pyproject.toml": ""},
        ("-rA", "test_which.py"),
        directory="t",
    ),
    _which(
        "another-file",
        {"pytest.ini": "[pytest]\nown = wrong\n", "other.ini": "[pytest]\nown = right\naddopts = -v\n"},
        ("-rA", "-c", "other.ini"),
    ),
    Case(
        "no-ini-and-a-root-that-is-named",
        {
            "one/two/test_deep.py": """
                from pathlib import Path


                def test_root(request):
                    assert request.config.rootpath.joinpath("marker.txt").read_text() == "the root\\n"
                    assert request.config.inipath is None


                def test_id(request):
                    assert request.node.nodeid == "one/two/test_deep.py::test_id"


                def test_directory(request):
                    assert Path.cwd() == request.config.rootpath / "one" == request.config.invocation_params.dir
            """,
            "marker.txt": "the root\n",
        },
        ("-rA", "--rootdir=..", "two/test_deep.py"),
        directory="one",
    ),
    Case(
        "names-of-tests-in-ini",
        {
            "pytest.ini": """
                [pytest]
                python_files = check_*.py *_spec.py
                python_classes = Check *Suite
                python_functions = check it_*
                markers =
                    slow: takes long (say `-m "not slow"`)
                    size(n): with an argument
                empty_parameter_set_mark = xfail
                testpaths = checks
            """,
            "checks/check_one.py": """
                import pytest


                def check_it():
                    pass


                def it_fails():
                    assert 1 == 2


                def test_not_collected():
                    raise AssertionError


                class CheckThings:
                    def check_in_class(self):
                        pass


                class OwnSuite:
                    @pytest.mark.slow
                    @pytest.mark.size(3)
                    def it_has_marks(self, request):
                        assert [mark.name for mark in request.node.iter_markers()] == ["size", "slow"]


                @pytest.mark.parametrize("nothing", [])
                def it_has_no_parameters(nothing):
                    pass
            """,
            "checks/some_spec.py": "def it_works(): pass\n",
            "checks/test_no.py": "def check(): assert False\n",
            "other/check_no.py": "def check(): assert False\n",
        },
        ("-rA",),
    ),
    Case(
        "strict",
        {
            "pyproject.toml": """
                [tool.pytest.ini_options]
                addopts = ["--strict-markers", "--strict-config", "-ra"]
                markers = ["known: it is"]
                xfail_strict = true
                filterwarnings = ["error"]
            """,
            "test_known.py": """
                import warnings

                import pytest


                @pytest.mark.known
                def test_known():
                    pass


                @pytest.mark.xfail(reason="it does not")
                def test_passes_by_mistake():
                    pass


                def test_warns():
                    warnings.warn("careful")
            """,
        },
        ("-rA",),
    ),
]
