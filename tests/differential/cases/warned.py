"""Warnings: what is emitted is counted, and what is made an error fails."""

from case_model import Case

_WARNING_TESTS = """
    import warnings

    import pytest


    class OwnWarning(UserWarning):
        pass


    def deprecated():
        warnings.warn("do not call me", DeprecationWarning, stacklevel=2)


    def test_user_warning():
        warnings.warn("careful")


    def test_user_warning_again():
        warnings.warn("careful")


    def test_deprecated():
        deprecated()


    def test_pending():
        warnings.warn("soon", PendingDeprecationWarning)


    def test_own():
        warnings.warn(OwnWarning("of our own"))


    def test_expected():
        with pytest.warns(OwnWarning, match="of our"):
            warnings.warn(OwnWarning("of our own"))


    def test_not_emitted():
        with pytest.warns(UserWarning):
            pass


    def test_recorded(recwarn):
        warnings.warn("seen", RuntimeWarning)
        assert recwarn.pop(RuntimeWarning).message.args == ("seen",)


    @pytest.mark.filterwarnings("ignore:careful")
    def test_ignored():
        warnings.warn("careful")


    @pytest.mark.filterwarnings("error::UserWarning")
    def test_made_an_error():
        warnings.warn("careful")


    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_many(number):
        warnings.warn("the same of all")


    @pytest.fixture
    def noisy():
        warnings.warn("in setup", FutureWarning)
        yield
        warnings.warn("in teardown", FutureWarning)


    def test_around(noisy):
        pass


    def test_deprecated_call():
        with pytest.deprecated_call():
            deprecated()


    def test_filters_seen():
        print([entry[:3:2] for entry in warnings.filters][:3])
"""


def _warned(name: str, arguments: tuple[str, ...], ini: str = "", **more: object) -> Case:
    files = {"test_warnings.py": _WARNING_TESTS} | ({"pytest.ini": ini} if ini else {})
    return Case(f"warnings-{name}", files, ("-rA", *arguments), **more)  # type: ignore[arg-type]


CASES = [
    _warned("as-they-come", ()),
    _warned("made-errors", ("-W", "error")),
    _warned(
        "filtered-by-ini",
        ("-W", "default:the same:UserWarning", "-Werror::RuntimeWarning"),
        """
            [pytest]
            filterwarnings =
                error
                ignore::DeprecationWarning
                default:soon:PendingDeprecationWarning
                ignore:of our own:test_warnings.OwnWarning
        """,
    ),
    _warned("plugin-off", ("-p", "no:warnings", "-pno:logging")),
    Case(
        "warnings-while-collecting",
        {
            "pytest.ini": "[pytest]\nnobody_knows = this\n",
            "conftest.py": "import warnings\n\nwarnings.warn('from conftest', UserWarning)\n",
            "test_collected.py": """
                import warnings

                warnings.warn("while importing", UserWarning)
                DOC = "\\\\d"


                class TestWithInit:
                    def __init__(self):
                        pass

                    def test_never(self):
                        pass


                import pytest


                def test_returns_something():
                    return 1


                @pytest.mark.unknown
                def test_unknown_marker(request):
                    assert request.node.get_closest_marker("unknown").args == ()


                def test_is_fine():
                    pass
            """,
        },
        ("-rA",),
    ),
    Case(
        "warnings-of-threads-made-errors",
        {
            "pytest.ini": """
                [pytest]
                filterwarnings =
                    error::pytest.PytestUnhandledThreadExceptionWarning
                    error::pytest.PytestUnraisableExceptionWarning
            """,
            "test_lost.py": """
                import gc
                import threading


                class Broken:
                    def __del__(self):
                        raise ValueError("in del")


                def test_thread():
                    def fail():
                        raise RuntimeError("in a thread")

                    thread = threading.Thread(target=fail, name="the-thread")
                    thread.start()
                    thread.join()


                def test_unraisable():
                    broken = Broken()
                    del broken
                    gc.collect()


                def test_unclosed_file(tmp_path):
                    (tmp_path / "f").write_text("x")
                    file = open(tmp_path / "f")
                    del file
                    gc.collect()


                def test_after():
                    pass
            """,
            "test_only_warned.py": """
                import threading

                import pytest

                pytestmark = pytest.mark.filterwarnings("default")


                def test_thread():
                    def fail():
                        raise RuntimeError("in a thread")

                    thread = threading.Thread(target=fail, name="the-thread")
                    thread.start()
                    thread.join()
            """,
        },
        ("-rA",),
    ),
]
