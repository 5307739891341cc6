"""A project's own options: on the command line, in addopts, in the environment."""

from case_model import Case

_CONFTEST = """
    import pytest


    def pytest_addoption(parser):
        group = parser.getgroup("own")
        group.addoption("--backend", default="A", help="which one")
        group.addoption("--level", type=int, default=0)
        group.addoption("--fast", action="store_true", dest="is_fast")
        group.addoption("--tag", action="append", default=[])
        group.addoption("--choice", choices=("one", "two"), default="one")


    @pytest.fixture
    def backend(request):
        return request.config.getoption("--backend")


    def pytest_generate_tests(metafunc):
        if "tag" in metafunc.fixturenames:
            metafunc.parametrize("tag", metafunc.config.getoption("tag"))
"""
_TESTS = """
    import pytest


    def test_backend(backend):
        assert backend == "B"


    def test_level(request):
        assert request.config.getoption("level") == 3
        assert request.config.option.level == 3


    def test_fast(pytestconfig):
        assert pytestconfig.getoption("is_fast") is True


    def test_tags(request):
        assert request.config.getoption("tag") == ["x", "y z"]


    def test_of_a_tag(tag):
        assert tag in {"x", "y z"}


    def test_choice(request):
        assert request.config.getoption("--choice") == "two"


    def test_unknown(request):
        with pytest.raises(ValueError, match="no option named"):
            request.config.getoption("--nobody")
        assert request.config.getoption("--nobody", default="d") == "d"


    def test_skipped_for_want_of_it(request):
        request.config.getvalueorskip("nobody")
"""
_FILES = {"conftest.py": _CONFTEST, "test_own.py": _TESTS}
_GIVEN = ("--backend=B", "--level", "3", "--fast", "--tag=x", "--tag", "y z", "--choice=two")

CASES = [
    Case("own-options-on-the-command-line", _FILES, ("-rA", *_GIVEN)),
    Case(
        "own-options-in-all-places",
        {
            **_FILES,
            "pyproject.toml": """
                [tool.pytest.ini_options]
                addopts = ["--backend=C", "--level=3", "--tag=x", "--fast"]
            """,
        },
        ("-rA", "--backend", "B"),
        environment={"PYTEST_ADDOPTS": "--choice=two --tag='y z'"},
    ),
    Case(
        "own-options-that-a-hook-changes",
        {
            "conftest.py": """
                import pytest


                def pytest_addoption(parser):
                    parser.addoption("--where", default="nowhere")
                    parser.addoption("--strict-mode", action="store_true")


                def pytest_configure(config):
                    config.option.where = config.option.where.upper()
                    config.own = {"set": "in pytest_configure"}
                    config.addinivalue_line("markers", "late: registered by a hook")


                def pytest_report_header(config):
                    return f"where: {config.option.where}"
            """,
            "test_hook.py": """
                import pytest


                def test_option(request):
                    assert request.config.getoption("where") == "HERE"


                def test_attribute(request):
                    assert request.config.own == {"set": "in pytest_configure"}


                @pytest.mark.late
                def test_marker(request):
                    assert request.node.get_closest_marker("late") is not None


                def test_builtin_options(request):
                    config = request.config
                    assert config.getoption("verbose") == 1
                    assert config.getoption("tbstyle") == "short"
                    assert config.getoption("strict_markers") is True
                    assert config.get_verbosity() == 1
                    assert config.getoption("maxfail") == 7
                    assert config.getoption("keyword") == "test"
                    assert config.getoption("--runxfail") is False


                def test_invocation(request, pytestconfig):
                    assert "--where=here" in request.config.invocation_params.args
                    assert request.config.invocation_params.dir == pytestconfig.rootpath
                    assert request.config.rootpath.joinpath("conftest.py").is_file()
                    assert request.config.inipath is None
                    assert request.config.args == ["test_hook.py"]
            """,
        },
        ("-v", "-rA", "--where=here", "--tb=short", "--strict-markers", "--maxfail=7", "-ktest", "test_hook.py"),
    ),
]
