"""Names that are no plain words: of files, folders, tests and parameters."""

from case_model import Case

_PASS_AND_FAIL = """
    def test_passes():
        pass


    def test_fails(request):
        assert request.node.nodeid == "something else"
"""

CASES = [
    Case(
        "names-of-files",
        {
            "test_ok.py": "def test_ok():\n    pass\n",
            "test_f[y].py": _PASS_AND_FAIL,
            "test a b.py": _PASS_AND_FAIL,
            "test_ü.py": _PASS_AND_FAIL,
            "test_日本.py": _PASS_AND_FAIL,
            "test-dash.py": _PASS_AND_FAIL,
            "test_quote'\".py": _PASS_AND_FAIL,
            "test_plus+$HOME%20&;.py": _PASS_AND_FAIL,
            "a folder/test_in_it.py": _PASS_AND_FAIL,
            "ordner_ä/test_in_it_2.py": _PASS_AND_FAIL,
            "[brackets]/test_in_it_3.py": _PASS_AND_FAIL,
            "a.dot/test_in_it_4.py": _PASS_AND_FAIL,
        },
        ("-rA",),
    ),
    Case(
        "names-of-files-on-the-command-line",
        {
            "a folder/test a b.py": _PASS_AND_FAIL,
            "test_ü.py": _PASS_AND_FAIL,
            "pytest.ini": """
                [pytest]
                disable_test_id_escaping_and_forfeit_all_rights_to_community_support = True
            """,
            "test_unicode.py": """
                import pytest


                @pytest.mark.parametrize("value", ["ü", "日本", "🐍", "a\u0301"])
                def test_value(value, request):
                    assert request.node.name == f"test_value[{value}]"
            """,
            "test_other.py": "def test_other():\n    assert 0\n",
        },
        ("-rA", "a folder/test a b.py::test_fails", "test_ü.py::test_passes", "test_unicode.py"),
    ),
    Case(
        "names-of-parameters",
        {
            "test_parameters.py": """
                import enum
                import math

                import pytest


                class Colour(enum.Enum):
                    RED = 1


                class Thing:
                    pass


                ODD = ["a[b]", "[", "]", "x::y", "a-b", "", None, True, 1.5, b"\\xff", "ü", "日本", "a b"]
                OBJECTS = [Colour.RED, Thing, Thing(), math.sin, [1], {"a": 1}, (1, 2), 1j, float("nan")]
                MARKED = ["x", pytest.param("y", id="the-y"), pytest.param("z", marks=pytest.mark.xfail)]


                @pytest.mark.parametrize("value", ODD)
                def test_value(value, request):
                    print(ascii(request.node.name))
                    assert value != "a-b"


                @pytest.mark.parametrize(
                    "value", ["same", "same", 1, "1", "new\\nline", "tab\\t", "\\x00", "a/b", "\\\\"]
                )
                def test_odd(value):
                    assert value


                @pytest.mark.parametrize("value", OBJECTS)
                def test_objects(value, request):
                    assert request.node.callspec.params["value"] is value


                @pytest.mark.parametrize("one", [1, 2])
                @pytest.mark.parametrize("two", MARKED)
                def test_two(one, two):
                    assert two != "z"


                @pytest.mark.parametrize("value", [1, 2, 3], ids=["first", None, "third[3]"])
                def test_ids(value, request):
                    assert request.node.name == f"test_ids[{request.node.callspec.id}]"


                @pytest.mark.parametrize("value", [1, 2], ids=lambda value: f"v{value}")
                def test_ids_by_function(value):
                    pass


                @pytest.mark.parametrize("empty", [])
                def test_empty(empty):
                    pass


                @pytest.mark.parametrize("hidden", [pytest.param(1, id=pytest.HIDDEN_PARAM)])
                def test_hidden(hidden, request):
                    assert request.node.name == "test_hidden"


                @pytest.mark.parametrize("value", ["6.1-default", "default", "6.1"])
                def test_like_a_cell(value, request):
                    assert value in request.node.name


                @pytest.mark.parametrize("value", ["x" * 300])
                def test_long(value):
                    assert len(value) == 300
            """,
        },
        ("-rA",),
    ),
    Case(
        "names-that-a-test-sees",
        {
            "test_names.py": """
                import os

                import pytest

                pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnknownMarkWarning")


                def test_name(request):
                    assert request.node.name == "test_name"


                def test_nodeid(request):
                    assert request.node.nodeid == "test_names.py::test_nodeid"


                def test_keywords(request):
                    assert "test_keywords" in request.node.keywords
                    assert sorted(name for name in request.node.keywords if name.startswith("test_")) == [
                        "test_keywords",
                        "test_names.py",
                    ]


                @pytest.mark.size(1)
                class TestClass:
                    @pytest.mark.size(2)
                    def test_markers(self, request):
                        assert [mark.args for mark in request.node.iter_markers("size")] == [(2,), (1,)]
                        assert request.node.get_closest_marker("size").args == (2,)
                        assert [mark.name for mark in request.node.own_markers] == ["size"]

                    def test_parents(self, request):
                        assert [node.name for node in request.node.listchain()][-3:] == [
                            "test_names.py",
                            "TestClass",
                            "test_parents",
                        ]
                        assert request.cls is TestClass
                        assert request.instance is self


                @pytest.mark.parametrize("x", [1, 2])
                def test_parameters(request, x):
                    assert request.node.name == f"test_parameters[{x}]"
                    assert request.node.originalname == "test_parameters"
                    assert request.node.callspec.params == {"x": x}
                    assert request.node.callspec.id == str(x)


                def test_without_parameters(request):
                    assert not hasattr(request.node, "callspec")


                def test_fixture_names(request, tmp_path):
                    assert sorted(request.fixturenames) == ["request", "tmp_path", "tmp_path_factory"]


                def test_environment():
                    assert os.environ["PYTEST_CURRENT_TEST"] == "test_names.py::test_environment (call)"


                def test_items(request):
                    names = [item.name for item in request.session.items]
                    assert names[:3] == ["test_name", "test_nodeid", "test_keywords"]
                    assert request.session.testscollected == 13


                def test_location(request):
                    assert request.node.location[0] == "test_names.py"
                    assert request.node.location[2] == "test_location"
                    assert request.node.path == request.path == request.config.rootpath / "test_names.py"


                def test_module(request):
                    assert request.module.__name__ == __name__ == "test_names"
                    assert request.function is test_module
            """,
        },
        ("-rA",),
    ),
]
