"""How modules are found: paths, layouts, import modes, conftests, plugins in the tree."""

from case_model import Case

_SAME_NAMES = {
    "a/test_n.py": """
        from pathlib import Path


        def test_where():
            assert Path(__file__).parent.name == "a"


        def test_only_here():
            assert __name__.endswith("test_n")
    """,
    "b/test_n.py": """
        from pathlib import Path


        def test_where():
            assert Path(__file__).parent.name == "b"


        def test_fails():
            assert "b" == "a"
    """,
}
_PACKAGES = {
    "pkg/__init__.py": "VALUE = 1\n",
    "pkg/unit/__init__.py": "",
    "pkg/unit/helper.py": "def helped(value):\n    assert value == 2, 'the helper says so'\n",
    "pkg/unit/test_unit.py": """
        import sys

        from pkg import VALUE

        from . import helper
        from .helper import helped


        def test_value():
            assert VALUE == 1


        def test_helped():
            helped(3)


        def test_name():
            assert __name__ == "pkg.unit.test_unit"
            assert __package__ == "pkg.unit"


        def test_module():
            assert sys.modules["pkg.unit.helper"] is helper
    """,
}
_CONFTESTS = {
    "conftest.py": """
        import pytest

        SEEN = []


        @pytest.fixture
        def level():
            return "root"


        @pytest.fixture
        def chain():
            return ["root"]


        @pytest.fixture(autouse=True)
        def seen(request):
            SEEN.append(request.node.name)
    """,
    "one/conftest.py": """
        import pytest


        @pytest.fixture
        def level(level):
            return f"{level}/one"


        @pytest.fixture
        def chain(chain):
            return [*chain, "one"]


        def pytest_runtest_setup(item):
            item.user_properties.append(("hook of", "one"))
    """,
    "one/two/conftest.py": """
        import pytest


        @pytest.fixture
        def chain(chain):
            return [*chain, "two"]
    """,
    "test_root.py": """
        def test_level(level, chain):
            assert (level, chain) == ("root", ["root"])
    """,
    "one/test_one.py": """
        def test_level(level, chain):
            assert (level, chain) == ("root/one", ["root", "one"])
    """,
    "one/two/test_two.py": """
        def test_level(level, chain):
            assert (level, chain) == ("root/one", ["root", "one", "two"])


        def test_fails(level):
            assert level == "two"
    """,
}

CASES = [
    Case(
        "pythonpath-in-ini",
        {
            "pytest.ini": "[pytest]\npythonpath = lib other/lib\n",
            "lib/mylib.py": "def double(x):\n    return 2 * x\n",
            "other/lib/nested/__init__.py": "from .deep import DEEP\n",
            "other/lib/nested/deep.py": "DEEP = 'deep'\n",
            "tests/test_lib.py": """
                import sys

                import mylib
                from nested import DEEP


                def test_double():
                    assert mylib.double(2) == 4


                def test_deep():
                    assert DEEP == "deep"


                def test_path(request):
                    root = request.config.rootpath
                    assert {str(root / "lib"), str(root / "other" / "lib")} <= set(sys.path)


                def test_wrong():
                    assert mylib.double(2) == 5
            """,
        },
        ("-rA", "tests"),
    ),
    Case(
        "src-layout",
        {
            "pyproject.toml": """
                [tool.pytest.ini_options]
                pythonpath = ["src"]
                testpaths = ["tests"]
            """,
            "tox.ini": "[pytest]\npythonpath = nowhere\n",
            "src/thing/__init__.py": """
                from importlib import resources

                TEXT = (resources.files(__name__) / "text.txt").read_text()
            """,
            "src/thing/text.txt": "from a package\n",
            "src/thing/sub/mod.py": "def run():\n    raise KeyError('from src')\n",
            "tests/test_thing.py": """
                import pytest
                import thing
                from thing.sub import mod


                def test_text():
                    assert thing.TEXT == "from a package\\n"


                def test_raises():
                    with pytest.raises(KeyError, match="from src"):
                        mod.run()


                def test_traceback():
                    mod.run()
            """,
        },
        ("-rA",),
    ),
    Case(
        "module-of-the-root-folder-by-the-executable",
        {
            "conftest.py": "",
            "app.py": "def answer():\n    return 42\n",
            "tests/test_app.py": "import app\n\n\ndef test_answer():\n    assert app.answer() == 42\n",
            "tests/sub/__init__.py": "",
            "tests/sub/test_app.py": "import app\n\n\ndef test_answer():\n    assert app.answer() == 43\n",
        },
        ("-rA",),
        is_script=True,
    ),
    Case(
        "import-mode-importlib",
        {**_SAME_NAMES, **_PACKAGES, "pytest.ini": "[pytest]\npythonpath = .\n"},
        ("-rA", "--import-mode=importlib"),
    ),
    Case("import-mode-append", _PACKAGES, ("-rA", "--import-mode=append")),
    Case("nested-conftests", _CONFTESTS, ("-rA",)),
    Case(
        "no-conftest",
        {
            "conftest.py": "raise RuntimeError('this conftest is broken')\n",
            "test_alone.py": """
                def test_alone(tmp_path):
                    assert tmp_path.is_dir()


                def test_fails():
                    assert [1, 2] == [1, 3], "not rewritten"
            """,
        },
        ("-rA", "--noconftest", "--assert=plain"),
    ),
    Case(
        "plugin-in-the-tree",
        {
            "env_plugin.py": "import pytest\n\n\n@pytest.fixture\ndef from_environment():\n    return 1\n",
            "local_plugin.py": """
                import pytest


                def pytest_addoption(parser):
                    parser.addoption("--planet", default="Earth")


                @pytest.fixture
                def planet(request):
                    return request.config.getoption("planet")


                def pytest_report_header():
                    return "the local plugin is there"
            """,
            "test_planet.py": """
                def test_planet(planet):
                    assert planet == "Mars"


                def test_of_the_environment(from_environment):
                    assert from_environment == 1


                def test_registered(request):
                    assert request.config.pluginmanager.has_plugin("local_plugin")
                    assert not request.config.pluginmanager.has_plugin("doctest")
                    assert not request.config.pluginmanager.has_plugin("nobody")
            """,
        },
        ("-rA", "-p", "local_plugin", "-pno:doctest", "-p", "no:nobody", "--planet=Mars"),
        environment={"PYTEST_PLUGINS": "env_plugin"},
    ),
    Case(
        "plugins-named-by-conftest",
        {
            "conftest.py": """
                import pytest

                pytest_plugins = ["helpers.plugin", "pytester"]
                pytest.register_assert_rewrite("helpers.checks")
            """,
            "helpers/checks.py": "def check(a, b):\n    assert a == b\n",
            "helpers/plain.py": "def check(a, b):\n    assert a == b\n",
            "helpers/__init__.py": "",
            "helpers/plugin.py": """
                import pytest

                pytest_plugins = ["helpers.second"]


                @pytest.fixture
                def helped():
                    return "helped"


                @pytest.fixture(autouse=True)
                def around(record_property):
                    record_property("around", "yes")


                def check(value):
                    assert value == "rewritten"
            """,
            "helpers/second.py": "import pytest\n\n\n@pytest.fixture\ndef second():\n    return 2\n",
            "test_plugins.py": """
                from helpers import checks, plain, plugin


                def test_helped(helped, second):
                    assert (helped, second) == ("helped", 2)


                def test_assertion_of_a_plugin():
                    plugin.check("not")


                def test_rewritten():
                    checks.check({"a": 1}, {"a": 2})


                def test_not_rewritten():
                    plain.check({"a": 1}, {"a": 2})


                def test_pytester(pytester):
                    pytester.makepyfile("def test_inner(): assert 1 == 2")
                    result = pytester.runpytest_inprocess("-pno:cacheprovider")
                    result.assert_outcomes(failed=1)
            """,
        },
        ("-rA",),
    ),
]
