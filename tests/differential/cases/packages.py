"""Third-party packages and plugins, sent along by name."""

from case_model import Case

_ASYNC = """
    import asyncio

    import pytest


    async def test_auto():
        await asyncio.sleep(0)


    async def test_fails():
        await asyncio.sleep(0)
        assert 1 == 2


    @pytest.fixture
    async def value():
        await asyncio.sleep(0)
        yield 3


    async def test_fixture(value):
        assert value == 3


    @pytest.mark.asyncio(loop_scope="module")
    async def test_of_the_module():
        assert asyncio.get_running_loop()


    class TestClass:
        async def test_method(self):
            pass

        @pytest.mark.xfail(reason="known")
        async def test_xfail(self):
            raise ValueError


    def test_plain(request):
        assert request.config.getini("asyncio_mode") == "auto"
"""
_QUICK_AND_SLOW = """
    import time

    import pytest


    def test_quick():
        pass


    @pytest.mark.timeout(1, method="signal")
    def test_marked():
        time.sleep(30)


    @pytest.mark.timeout(0)
    def test_without():
        pass


    def test_after():
        pass
"""

CASES = [
    Case(
        "package-attrs",
        {
            "test_attrs.py": """
                import attr
                import attrs


                @attrs.define
                class Point:
                    x: int
                    y: int = 0


                def test_define():
                    assert Point(1) == Point(1, 0)


                def test_fails():
                    assert Point(1) == Point(2)


                def test_old_name():
                    assert attr.asdict(Point(1)) == {"x": 1, "y": 0}
            """,
        },
        packages=("attrs",),
        kernel_arguments=("--guest-package=attrs",),
    ),
    Case(
        "package-pytest-asyncio",
        {
            "pyproject.toml": """
                [tool.pytest.ini_options]
                asyncio_mode = "auto"
                asyncio_default_fixture_loop_scope = "function"
            """,
            "test_async.py": _ASYNC,
        },
        packages=("pytest-asyncio",),
        kernel_arguments=("--guest-package=pytest-asyncio",),
    ),
    Case(
        "package-pytest-timeout",
        {
            "test_timeout.py": _QUICK_AND_SLOW + "\n\n    def test_too_slow():\n        time.sleep(30)\n",
            "pytest.ini": "[pytest]\ntimeout = 2\ntimeout_func_only = true\n",
        },
        ("-rA",),
        packages=("pytest-timeout",),
        kernel_arguments=("--guest-package=pytest-timeout",),
    ),
    *(
        Case(
            f"package-pytest-timeout-of-less-than-a-boot-by-{method}",
            {
                "test_timeout.py": """
                    import pytest


                    def test_quick():
                        pass


                    def test_fails():
                        assert 1 == 2


                    @pytest.mark.parametrize("n", range(3))
                    def test_after(n):
                        pass
                """,
                "pytest.ini": f"[pytest]\ntimeout = 2\ntimeout_method = {method}\n",
            },
            packages=("pytest-timeout",),
            kernel_arguments=("--guest-package=pytest-timeout", "--no-snapshots"),
        )
        for method in ("signal", "thread")
    ),
    Case(
        "package-pytest-repeat",
        {
            "test_repeat.py": """
                import pytest


                def test_repeated(request):
                    assert "-" in request.node.name


                @pytest.mark.repeat(2)
                def test_marked():
                    assert 0


                @pytest.mark.parametrize("x", "ab")
                def test_parameters(x):
                    pass


                class TestClass:
                    def test_method(self):
                        pass
            """,
        },
        ("-rA", "--count=3"),
        packages=("pytest-repeat",),
        kernel_arguments=("--guest-package=pytest-repeat",),
    ),
    Case(
        "package-pytest-subtests",
        {
            "test_sub.py": """
                def test_sub(subtests):
                    for i in range(3):
                        with subtests.test("msg", i=i):
                            assert i != 1
            """,
        },
        packages=("pytest-subtests",),
        kernel_arguments=("--guest-package=pytest-subtests",),
    ),
    Case(
        "package-hypothesis",
        {
            "test_hypothesis.py": """
                import pytest
                from hypothesis import HealthCheck, example, given, settings
                from hypothesis import strategies as st

                settings.register_profile(
                    "own", max_examples=20, derandomize=True, database=None, deadline=None,
                    suppress_health_check=list(HealthCheck),
                )
                settings.load_profile("own")


                @given(st.integers())
                def test_holds(number):
                    assert number == number


                @given(st.lists(st.integers()))
                def test_fails(numbers):
                    assert len(numbers) < 3


                @given(st.text())
                @example("ü")
                def test_example(text):
                    assert text != "ü"


                @pytest.mark.parametrize("base", [1, 2])
                @given(st.integers(min_value=0, max_value=5))
                def test_parameters(base, number):
                    assert number * base <= 10
            """,
        },
        ("-rA", "--hypothesis-seed=7", "--hypothesis-verbosity=quiet"),
        packages=("hypothesis",),
        kernel_arguments=("--guest-package=hypothesis",),
    ),
    Case(
        "package-several",
        {
            "pytest.ini": "[pytest]\nasyncio_mode = auto\n",
            "test_several.py": """
                import asyncio

                import attrs
                import pytest
                from hypothesis import given, settings
                from hypothesis import strategies as st


                @pytest.mark.timeout(30)
                async def test_async():
                    await asyncio.sleep(0)


                @settings(max_examples=5, database=None, deadline=None, derandomize=True)
                @given(st.integers())
                async def test_both(number):
                    await asyncio.sleep(0)
                    assert attrs.define(type("X", (), {}))() is not None


                def test_plugins(request):
                    names = {dist.project_name for _, dist in request.config.pluginmanager.list_plugin_distinfo()}
                    assert names >= {"pytest-asyncio", "pytest-timeout", "hypothesis"}


                def test_metadata():
                    from importlib.metadata import entry_points, version

                    assert version("attrs")
                    assert {"asyncio", "timeout"} <= {point.name for point in entry_points(group="pytest11")}
            """,
        },
        ("-rA", "--timeout=120"),
        packages=("attrs", "hypothesis", "pytest-asyncio", "pytest-timeout"),
        kernel_arguments=(
            "--guest-package=attrs",
            "--guest-package=hypothesis",
            "--guest-package=pytest-asyncio",
            "--guest-package=pytest-timeout",
        ),
    ),
]
