"""Exceptions: their texts, their chains, and those that end more than a test."""

from case_model import Case

CASES = [
    Case(
        "exceptions",
        {
            "test_exceptions.py": """
                import errno

                import pytest


                class NoText(Exception):
                    def __str__(self):
                        raise RuntimeError("no str")


                class NoRepr(Exception):
                    def __repr__(self):
                        raise RuntimeError("no repr")


                class Neither(Exception):
                    def __str__(self):
                        raise RuntimeError("no str")

                    __repr__ = __str__


                class Value:
                    def __repr__(self):
                        raise TypeError("this has no repr")


                class NoEquality:
                    def __eq__(self, other):
                        raise TypeError("cannot be compared")


                class NotATest(BaseException):
                    pass


                def test_plain():
                    raise ValueError("plain")


                def test_without_text():
                    raise ValueError


                def test_many_lines():
                    raise ValueError("one\\ntwo\\n\\nfour")


                def test_no_text():
                    raise NoText


                def test_no_repr():
                    raise NoRepr("text")


                def test_neither():
                    raise Neither


                def test_value_without_repr():
                    value = Value()
                    assert value == 1


                def test_no_equality():
                    assert NoEquality() == 1


                def test_chained():
                    try:
                        raise KeyError("first")
                    except KeyError as error:
                        raise ValueError("second") from error


                def test_while_handling():
                    try:
                        raise KeyError("first")
                    except KeyError:
                        raise ValueError("second")


                def test_not_chained():
                    try:
                        raise KeyError("first")
                    except KeyError:
                        raise ValueError("second") from None


                def test_note():
                    error = ValueError("noted")
                    error.add_note("a note")
                    error.add_note("another\\nnote")
                    raise error


                def test_group():
                    raise ExceptionGroup("several", [ValueError("one"), ExceptionGroup("inner", [KeyError("two")])])


                def test_group_expected():
                    with pytest.raises(ExceptionGroup) as caught:
                        raise ExceptionGroup("several", [ValueError("one")])
                    assert caught.group_contains(ValueError)


                def test_raises_group():
                    with pytest.RaisesGroup(ValueError):
                        raise ExceptionGroup("several", [KeyError("one")])


                def test_base_exception():
                    raise NotATest("of the base")


                def test_system_exit():
                    raise SystemExit(3)


                def test_sys_exit():
                    import sys

                    sys.exit("with a text")


                def test_system_exit_expected():
                    with pytest.raises(SystemExit):
                        raise SystemExit


                def test_generator_exit():
                    raise GeneratorExit


                def test_os_error():
                    raise OSError(errno.EINVAL, "Invalid argument", "a file")


                def test_os_error_of_the_kernel(tmp_path):
                    open(tmp_path / "not" / "there")


                def test_recursion():
                    def again():
                        return again()

                    again()


                def test_syntax():
                    compile("def x(:", "generated.py", "exec")


                def test_generated_code():
                    exec(compile("def f():\\n    raise ValueError('generated')\\nf()", "generated.py", "exec"))


                def test_lambda():
                    (lambda: 1 / 0)()


                def test_deep():
                    def one():
                        two()

                    def two():
                        raise LookupError("deep")

                    one()


                def test_hidden_helper():
                    def helper():
                        __tracebackhide__ = True
                        pytest.fail("hidden")

                    helper()


                def test_unicode():
                    raise ValueError("ü 日本 🐍")


                def test_surrogates():
                    raise ValueError("lone \\udcff surrogate")


                def test_surrogates_compared():
                    assert "a\\udcff" == "b"


                def test_control_characters():
                    raise ValueError("\\x00 \\x1b[31mred\\x1b[0m \\x7f \\r")


                def test_long():
                    raise ValueError("x" * 5000)


                def test_locals_in_a_class():
                    class Local(Exception):
                        pass

                    raise Local("of a local class")


                def test_stop_iteration():
                    next(iter([]))


                def test_name_error():
                    undefined_name


                def test_attribute_error():
                    [].nothing


                def test_fails_in_generator():
                    list(1 / n for n in (1, 0))
            """,
        },
    ),
    Case(
        "interrupted-by-a-test",
        {
            "test_interrupt.py": """
                def test_before():
                    pass


                def test_interrupts():
                    raise KeyboardInterrupt


                def test_after():
                    pass
            """,
        },
    ),
    Case(
        "ended-by-a-test",
        {
            "test_exit.py": """
                import pytest


                def test_before():
                    pass


                def test_exits():
                    pytest.exit("enough", returncode=7)


                def test_after():
                    pass
            """,
        },
    ),
    Case(
        "ended-by-shouldstop",
        {
            "test_stop.py": """
                def test_before():
                    pass


                def test_stops(request):
                    request.session.shouldstop = "a test says so"


                def test_after():
                    pass
            """,
            "conftest.py": """
                def pytest_runtest_teardown(item):
                    if item.name.startswith("test_fails_session"):
                        item.session.shouldfail = "a hook says so"
            """,
        },
    ),
    Case(
        "ends-its-process",
        {
            "test_end.py": """
                import os


                def test_before():
                    pass


                def test_ends():
                    os._exit(5)


                def test_after():
                    pass
            """,
        },
    ),
]
