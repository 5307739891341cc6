"""Outcomes: passed, failed, skipped, xfailed, and their reasons."""

from case_model import Case

_XFAIL = """
    import sys

    import pytest

    IS_TRUE = True


    @pytest.mark.xfail
    def test_bare_fails():
        assert 1 == 2


    @pytest.mark.xfail
    def test_bare_passes():
        pass


    @pytest.mark.xfail(reason="known")
    def test_reason():
        raise ValueError


    @pytest.mark.xfail(reason="strict", strict=True)
    def test_strict_passes():
        pass


    @pytest.mark.xfail(strict=False)
    def test_not_strict_passes():
        pass


    @pytest.mark.xfail(raises=ValueError)
    def test_raises():
        raise ValueError("as said")


    @pytest.mark.xfail(raises=ValueError, reason="another")
    def test_raises_another():
        raise KeyError("not as said")


    @pytest.mark.xfail(raises=(OSError, KeyError))
    def test_raises_one_of():
        raise KeyError("k")


    @pytest.mark.xfail(run=False, reason="it would crash")
    def test_not_run():
        raise SystemExit(3)


    @pytest.mark.xfail(IS_TRUE, reason="a condition")
    def test_condition():
        assert 0


    @pytest.mark.xfail(not IS_TRUE, reason="no condition")
    def test_no_condition():
        assert 0


    @pytest.mark.xfail("sys.platform == 'linux'", reason="a text for a condition")
    def test_condition_as_text():
        assert sys


    @pytest.mark.xfail("config.rootpath and nobody", reason="a broken condition")
    def test_condition_broken():
        pass


    def test_imperative():
        pytest.xfail("said while running")


    @pytest.fixture
    def fails():
        raise RuntimeError("in setup")


    @pytest.mark.xfail(reason="setup fails")
    def test_setup_fails(fails):
        pass


    @pytest.fixture
    def fails_late():
        yield
        raise RuntimeError("in teardown")


    @pytest.mark.xfail(reason="teardown fails")
    def test_teardown_fails(fails_late):
        pass


    @pytest.mark.xfail(reason="skipped all the same")
    def test_skip_in_xfail():
        pytest.skip("not now")


    @pytest.mark.parametrize("value", [1, pytest.param(2, marks=pytest.mark.xfail(reason="two")), 3])
    def test_parameter(value):
        assert value != 2


    def test_added_late(request):
        request.node.add_marker(pytest.mark.xfail(reason="added late"))
        assert 0


    class TestClass:
        pytestmark = pytest.mark.xfail(reason="of the class")

        def test_one(self):
            assert 0

        def test_two(self):
            pass
"""
_SKIPS = """
    import sys

    import pytest


    @pytest.mark.skip
    def test_bare():
        raise AssertionError


    @pytest.mark.skip(reason="for a reason")
    def test_reason():
        raise AssertionError


    @pytest.mark.skip("positional")
    def test_positional():
        raise AssertionError


    @pytest.mark.skipif(True, reason="it is so")
    def test_if():
        raise AssertionError


    @pytest.mark.skipif(False, reason="it is not so")
    def test_if_not():
        pass


    @pytest.mark.skipif("sys.version_info > (3,)", reason="as text")
    def test_if_text():
        raise AssertionError


    @pytest.mark.skipif("1 +", reason="broken")
    def test_if_broken():
        pass


    def test_imperative():
        pytest.skip("while running, with ü and\\ntwo lines")


    def test_importorskip():
        pytest.importorskip("no_such_module_at_all")


    def test_importorskip_reason():
        pytest.importorskip("no_such_module_at_all", reason="because")


    def test_importorskip_there():
        assert pytest.importorskip("json").loads("1") == 1


    @pytest.fixture
    def skips():
        pytest.skip("in a fixture")


    def test_fixture(skips):
        raise AssertionError


    @pytest.fixture
    def skips_late():
        yield
        pytest.skip("in teardown")


    def test_teardown(skips_late):
        pass


    @pytest.mark.skip(reason="a class of them")
    class TestClass:
        def test_one(self):
            raise AssertionError

        def test_two(self):
            raise AssertionError


    def test_fail():
        pytest.fail("said so")


    def test_fail_without_trace():
        pytest.fail("said so, shortly", pytrace=False)


    @pytest.mark.parametrize("value", [1, pytest.param(2, marks=pytest.mark.skip(reason="two"))])
    def test_parameter(value):
        assert value == 1
"""
_XFAILS = {"test_xfail.py": _XFAIL}

CASES = [
    Case("xfail", _XFAILS, ("-rA",)),
    Case(
        "xfail-strict",
        {**_XFAILS, "pyproject.toml": '[tool.pytest.ini_options]\nstrict_xfail = true\naddopts = ["--xfail-tb"]\n'},
        ("-rA",),
    ),
    Case("xfail-run-anyway", _XFAILS, ("-rA", "--runxfail")),
    Case("xfail-not-strict", {**_XFAILS, "pytest.ini": "[pytest]\nxfail_strict = false\n"}, ("-rA", "-v")),
    Case("skip", {"test_skip.py": _SKIPS}, ("-rA",)),
    Case(
        "skip-while-collecting",
        {
            "test_module.py": """
                import pytest

                pytest.skip("the whole module", allow_module_level=True)


                def test_never():
                    raise AssertionError
            """,
            "test_import.py": """
                import pytest

                nobody = pytest.importorskip("no_such_module_at_all")


                def test_never():
                    raise AssertionError
            """,
            "test_mark.py": """
                import pytest

                pytestmark = [pytest.mark.skipif(True, reason="all of them"), pytest.mark.filterwarnings("ignore")]


                def test_one():
                    raise AssertionError


                def test_two():
                    raise AssertionError
            """,
            "test_wrong.py": "import pytest\n\npytest.skip('at the wrong place')\n",
            "test_ok.py": "def test_ok():\n    pass\n",
        },
        ("-rA", "--continue-on-collection-errors"),
    ),
    Case(
        "collection-errors",
        {
            "test_syntax.py": "def test_x(:\n    pass\n",
            "test_raises.py": "raise ValueError('while importing')\n",
            "test_ok.py": "def test_ok():\n    pass\n",
        },
        ("-rA",),
    ),
    Case(
        "collection-errors-passed-over",
        {
            "test_raises.py": "raise ValueError('while importing')\n",
            "test_imports.py": "import not_there_at_all\n\n\ndef test_never():\n    pass\n",
            "test_syntax.py": "def test_x(:\n    pass\n",
            "test_yields.py": "def test_yields():\n    yield 1\n\n\ndef test_beside():\n    pass\n",
            "test_parameter.py": """
                import pytest


                @pytest.mark.parametrize("nobody", [1])
                def test_nobody():
                    pass
            """,
            "a/test_twice.py": "def test_a():\n    pass\n",
            "b/test_twice.py": "def test_b():\n    pass\n",
            "broken/conftest.py": "raise RuntimeError('this conftest is broken')\n",
            "broken/test_sub.py": "def test_sub():\n    pass\n",
            "test_ok.py": "def test_ok():\n    pass\n\n\ndef test_fails():\n    assert 0\n",
        },
        ("-rA", "--continue-on-collection-errors"),
    ),
    Case(
        "assertions",
        {
            "test_assertions.py": """
                import collections
                import dataclasses

                import pytest


                @dataclasses.dataclass
                class Point:
                    x: int
                    y: int


                def test_lists():
                    assert [1, 2, 3] == [1, 4, 3]


                def test_dicts():
                    assert {"a": 1, "b": {"c": 2}} == {"a": 1, "b": {"c": 3}, "d": 4}


                def test_sets():
                    assert {1, 2, 3} == {2, 3, 4}


                def test_texts():
                    assert "one\\ntwo\\nthree" == "one\\n2\\nthree"


                def test_long_texts():
                    assert "a" * 500 == "a" * 499 + "b"


                def test_not_in():
                    assert "needle" not in "hay needle hay"


                def test_dataclass():
                    assert Point(1, 2) == Point(1, 3)


                def test_bytes():
                    assert b"\\x00\\xff" == b"\\x00\\xfe"


                def test_call():
                    def double(value):
                        return value * 2

                    assert double(4) == 9


                def test_message():
                    assert 1 > 2, f"a message of {1 + 1} parts"


                def test_boolean():
                    value = []
                    assert value and not None


                def test_chain():
                    assert 1 < 3 < 2


                def test_all():
                    assert all(number < 3 for number in range(5))


                def test_approx():
                    assert 0.1 + 0.2 == pytest.approx(0.4)


                def test_walrus():
                    assert (value := 3) == 4


                def test_namedtuple():
                    Pair = collections.namedtuple("Pair", "a b")
                    assert Pair(1, 2) == Pair(1, 3)


                def test_raises_nothing():
                    with pytest.raises(ValueError):
                        pass


                def test_raises_otherwise():
                    with pytest.raises(ValueError, match="this"):
                        raise ValueError("that")


                def test_attribute():
                    class Thing:
                        size = 3

                        def __repr__(self):
                            return "<the thing>"

                    thing = Thing()
                    assert thing.size == 4


                def test_long_list():
                    assert list(range(100)) == list(range(99))
            """,
        },
        ("-rA",),
    ),
]
CASES.append(Case("assertions-at-length", CASES[-1].files, ("-vv", "-rA", "-k", "lists or dicts or long or dataclass")))
