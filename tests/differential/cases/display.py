"""How results are shown: tracebacks, verbosity, locals, durations."""

from case_model import Case

_SHOWN = {
    "helper.py": "def check(value):\n    limit = 3\n    assert value < limit\n",
    "test_shown.py": """
        import time

        import helper
        import pytest


        def test_passes():
            pass


        def test_fails():
            value = [1, 2, 3]
            other = {"a": 1}
            assert value == [1, 2, 4], "with a message"


        def test_in_helper():
            number = 5
            helper.check(number)


        def test_error(nobody):
            pass


        def test_chained():
            try:
                {}["a"]
            except KeyError as error:
                raise RuntimeError("from it") from error


        @pytest.mark.parametrize("x", [1, 2])
        def test_parameter(x):
            assert x == 1


        def test_skipped():
            pytest.skip("not now")


        class TestClass:
            def test_method(self):
                \"\"\"A docstring.\"\"\"
                assert self is None or "left" == "right"
    """,
}


def _shown(name: str, *arguments: str, **more: object) -> Case:
    return Case(f"show-{name}", _SHOWN, arguments, **more)  # type: ignore[arg-type]


CASES = [
    _shown("short", "--tb=short", "-rA", "-o", "truncation_limit_lines=3"),
    _shown("long-with-locals", "--tb=long", "-l", "-rA", "-k", "not method"),
    _shown("native", "--tb=native", "-v", "-o", "console_output_style=count"),
    _shown("verbose", "-vv", "--no-header", "--show-capture=no"),
    _shown("quiet", "-qq", "--tb=line"),
    _shown("full-trace", "--full-trace", "-k", "in_helper"),
    _shown("coloured", "--color=yes", "--code-highlight=yes", "-rA", "-k", "fails or passes"),
    _shown("setup", "--setup-show", "-k", "passes or parameter", refusal="--setup-show"),
    _shown("fixtures-per-test", "--fixtures-per-test", "-k", "passes", has_junit=False),
    _shown("debugger", "--pdb", "-k", "passes", refusal="--pdb"),
    Case(
        "show-durations",
        {
            "test_durations.py": """
                import time

                import pytest


                @pytest.fixture
                def slow():
                    time.sleep(0.6)


                def test_quick():
                    pass


                def test_slow_setup(slow):
                    pass


                def test_slow_call():
                    time.sleep(1.2)
            """,
        },
        ("--durations=5", "--durations-min=0.5"),
    ),
]
