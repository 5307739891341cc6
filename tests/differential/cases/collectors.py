"""Items that are no test functions: doctests, and those of a project's own collectors."""

from case_model import Case

_YAML = {
    "conftest.py": """
        # content of conftest.py, as pytest's documentation has it, with JSON in place of YAML
        import json

        import pytest


        def pytest_collect_file(parent, file_path):
            if file_path.suffix == ".json" and file_path.name.startswith("test"):
                return JsonFile.from_parent(parent, path=file_path)


        class JsonFile(pytest.File):
            def collect(self):
                raw = json.loads(self.path.read_text())
                for name, spec in sorted(raw.items()):
                    yield JsonItem.from_parent(self, name=name, spec=spec)


        class JsonItem(pytest.Item):
            def __init__(self, *, spec, **kwargs):
                super().__init__(**kwargs)
                self.spec = spec
                if "mark" in spec:
                    self.add_marker(getattr(pytest.mark, spec["mark"]))

            def setup(self):
                print("set up", self.name)

            def runtest(self):
                for name, value in sorted(self.spec.items()):
                    if name == "skip":
                        pytest.skip(value)
                    if name == "record":
                        self.user_properties.append(("record", value))
                    if name not in {"mark", "record"} and name != value:
                        raise JsonException(self, name, value)

            def repr_failure(self, excinfo):
                if isinstance(excinfo.value, JsonException):
                    return "\\n".join(
                        [
                            "usecase execution failed",
                            "   spec failed: {1!r}: {2!r}".format(*excinfo.value.args),
                            "   no further details known at this point.",
                        ]
                    )
                return super().repr_failure(excinfo)

            def reportinfo(self):
                return self.path, 0, f"usecase: {self.name}"


        class JsonException(Exception):
            pass
    """,
    "test_simple.json": """
        {
            "ok": {"sub1": "sub1"},
            "hello": {"world": "hello", "some": "other"},
            "skipped": {"skip": "as the file says"},
            "known": {"a": "b", "mark": "xfail"},
            "recorded": {"record": "r"},
            "a name [x] ü": {"same": "same"}
        }
    """,
    "sub/test_other.json": '{"other": {"x": "y"}}\n',
}
_DOCTESTS = {
    "mod.py": '''
        """A module.

        >>> 1 + 1
        2
        """


        def good():
            """
            >>> good()
            'good'
            """
            return "good"


        def bad():
            """Says otherwise.

            >>> x = 3
            >>> bad()
            'bad'
            >>> x
            3
            """
            return "good"


        def raises():
            """
            >>> raises()
            1
            """
            raise ValueError("in a doctest")


        class Thing:
            """
            >>> Thing().value
            1
            >>> print("said")
            said
            """

            value = 1

            def method(self):
                """
                >>> Thing().method()  # doctest: +SKIP
                2
                """

            def ellipsis(self):
                """
                >>> list(range(20))  # doctest: +ELLIPSIS
                [0, 1, ..., 18, 19]
                """


        def with_fixture():
            """
            >>> getfixture("tmp_path").is_dir()
            True
            >>> provided
            'by conftest'
            """


        def expected_exception():
            """
            >>> int("x")
            Traceback (most recent call last):
            ValueError: invalid literal for int() with base 10: 'x'
            """
    ''',
    "conftest.py": """
        import pytest


        @pytest.fixture(autouse=True)
        def provide(doctest_namespace):
            doctest_namespace["provided"] = "by conftest"
    """,
    "test_beside.py": '''
        def test_function():
            """
            >>> 1
            1
            """


        def test_fails():
            assert 0
    ''',
    "docs/text.rst": """
        A text
        ======

        >>> 2 * 2
        4
        >>> "a" + "b"
        'a b'
    """,
    "docs/test_guide.txt": """
        >>> 3 * 3
        9
    """,
    "docs/other.md": """
        >>> 1 / 0
        1
    """,
}

CASES = [
    Case("own-collector", _YAML, ("-rA", "test_simple.json", "sub/test_other.json::other")),
    Case("doctests", _DOCTESTS, ("-rA", "--doctest-modules", "--doctest-glob=*.rst", "--doctest-glob=*.md")),
    Case(
        "doctests-by-ini",
        {
            **_DOCTESTS,
            "pytest.ini": """
                [pytest]
                addopts = --doctest-modules --doctest-report ndiff --doctest-continue-on-failure
                doctest_optionflags = NORMALIZE_WHITESPACE ELLIPSIS
            """,
        },
        ("-v", "mod.py", "docs/text.rst", "--doctest-glob=text.rst"),
    ),
    Case(
        "own-python-collectors",
        {
            "conftest.py": """
                import pytest


                class OwnFunction(pytest.Function):
                    def runtest(self):
                        print("run by an item of its own class")
                        super().runtest()


                class OwnModule(pytest.Module):
                    def collect(self):
                        for item in super().collect():
                            item.add_marker(pytest.mark.own)
                            yield item


                @pytest.hookimpl
                def pytest_pycollect_makemodule(module_path, parent):
                    return OwnModule.from_parent(parent, path=module_path)


                @pytest.hookimpl(tryfirst=True)
                def pytest_pycollect_makeitem(collector, name, obj):
                    if name.startswith("own_"):
                        return OwnFunction.from_parent(collector, name=name, callobj=obj)


                def pytest_configure(config):
                    config.addinivalue_line("markers", "own: added")


                def pytest_pyfunc_call(pyfuncitem):
                    if pyfuncitem.name.startswith("test_called_by_hook"):
                        print("called by a hook")
                        return True
            """,
            "test_own.py": """
                def own_function():
                    assert 1 == 2


                def test_function(request):
                    assert request.node.get_closest_marker("own")


                def test_called_by_hook():
                    raise AssertionError
            """,
        },
        ("-rA", "-m", "own or not own"),
    ),
]
