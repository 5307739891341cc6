"""Which tests run: expressions, marks, node ids, what failed last, and where a run stops."""

from case_model import Case

_MANY = {
    "pytest.ini": "[pytest]\nmarkers =\n    slow: takes long\n    size(n): has an argument\n",
    "t/test_many.py": """
        import pytest


        def test_first():
            pass


        def test_fails():
            assert 1 == 2


        @pytest.mark.slow
        def test_slow():
            pass


        @pytest.mark.size(n=2)
        def test_sized():
            pass


        class TestGroup:
            def test_in_group(self):
                pass

            @pytest.mark.slow
            def test_fails_in_group(self):
                assert "group" == "other"


        @pytest.mark.parametrize("number", range(3))
        def test_number(number):
            assert number != 1
    """,
    "t/test_more.py": """
        def test_first():
            pass


        def test_last():
            raise ValueError("the last")
    """,
    "arguments.txt": "-v\n--tb=short\n",
    "other/test_other.py": "def test_other():\n    pass\n",
}


# One after the other in the order of the file, with the fixtures of the module around them.
_KINDS = '''
    import unittest

    import pytest

    STATE = []


    def setup_module():
        STATE.append("module")


    def teardown_module():
        STATE.clear()


    @pytest.fixture(scope="session", params=["p", "q"])
    def shared(request):
        STATE.append(request.param)
        return request.param


    def test_first():
        assert STATE == ["module"]
        STATE.append(1)


    class Old(unittest.TestCase):
        def test_second(self):
            self.assertEqual(STATE, ["module", 1])


    def test_third():
        """
        >>> STATE.append(2)
        """
        STATE.append(3)


    def test_shared(shared):
        assert STATE[-1] == shared, STATE


    def test_shared_again(shared):
        assert shared in STATE
'''


def _some(name: str, *arguments: str, again: tuple[tuple[str, ...], ...] = (), **more: object) -> Case:
    return Case(f"select-{name}", _MANY, ("-rA", *arguments), again=again, **more)  # type: ignore[arg-type]


CASES = [
    _some(
        "by-expression-and-mark",
        "-k",
        "not (test_number and 2)",
        "-m",
        "not slow or size(n=2)",
        "--deselect=t/test_many.py::TestGroup",
        "--ignore=other",
        "--ignore-glob=*/test_mo*",
    ),
    _some("nothing", "-k", "no_such_test"),
    _some(
        "nodes",
        "@arguments.txt",
        "t/test_more.py::test_last",
        "t/test_many.py::TestGroup::test_in_group",
    ),
    _some("nodes-with-parameters", "t/test_many.py::test_number[2]", "t/test_many.py::test_number[1]"),
    _some("parameters-deselected", "t/test_many.py", "--deselect", "t/test_many.py::test_number[1]"),
    _some("no-such-node", "t/test_many.py::test_nobody"),
    _some("no-such-file", "t/test_nobody.py"),
    _some("until-first-failure", "-x"),
    _some("failed-last", again=(("-rA", "--lf"),)),
    _some("listed", "--collect-only", "-q", has_junit=False),
    _some("listed-as-a-tree", "--co", "-k", "group"),
    Case("select-no-tests-at-all", {"readme.txt": "no tests\n"}, ("-rA",)),
    Case(
        "order-of-all-kinds",
        {
            "pytest.ini": "[pytest]\naddopts = --doctest-modules\n",
            "test_a.py": _KINDS,
            "test_b.py": _KINDS,
        },
        ("-rA",),
    ),
]
