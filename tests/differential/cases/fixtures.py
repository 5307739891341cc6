"""Fixtures: scopes, parameters, errors around a test, and pytest's own."""

from case_model import Case

CASES = [
    Case(
        "fixtures-of-every-scope",
        {
            "conftest.py": """
                import pytest

                LOG = []


                @pytest.fixture(scope="session")
                def of_session(request):
                    LOG.append("session+")
                    yield "session"


                @pytest.fixture(scope="package")
                def of_package():
                    LOG.append("package+")
                    yield "package"
                    LOG.append("package-")


                @pytest.fixture(scope="module")
                def of_module(request):
                    LOG.append(f"module+ {request.module.__name__}")
                    yield request.module.__name__
                    LOG.append(f"module- {request.module.__name__}")


                @pytest.fixture(scope="class")
                def of_class(request):
                    LOG.append(f"class+ {request.cls and request.cls.__name__}")
                    yield
                    LOG.append("class-")


                @pytest.fixture
                def log():
                    return LOG
            """,
            "test_a.py": """
                import pytest


                def test_first(of_session, of_module, log):
                    log.append("first")
                    assert log == ["session+", "module+ test_a", "first"]


                class TestClass:
                    def test_one(self, of_class, of_module, log):
                        log.append("one")
                        assert log[-2:] == ["class+ TestClass", "one"]

                    def test_two(self, of_class, log):
                        log.append("two")
                        assert log[-2:] == ["one", "two"]


                def test_after(log):
                    assert log[-2:] == ["two", "class-"]


                def test_package(of_package, of_session):
                    assert (of_package, of_session) == ("package", "session")
            """,
            "test_b.py": """
                def test_other_module(of_session, of_module, log):
                    assert log[-2:] == ["module- test_a", "module+ test_b"]
                    assert log.count("session+") == 1


                def test_order(log):
                    print(log)
                    assert log == []
            """,
        },
    ),
    Case(
        "fixtures-with-parameters",
        {
            "test_parameters.py": """
                import pytest

                LOG = []


                @pytest.fixture(params=["a", "b"], ids=["first", "second"])
                def letter(request):
                    return request.param


                @pytest.fixture(
                    params=[1, pytest.param(2, marks=pytest.mark.xfail(reason="two")), pytest.param(3, id="drei")]
                )
                def number(request):
                    return request.param


                @pytest.fixture(scope="module", params=["x", "y"])
                def shared(request):
                    LOG.append(f"+{request.param}")
                    yield request.param
                    LOG.append(f"-{request.param}")


                @pytest.fixture
                def direct(request):
                    return f"<{request.param}>"


                def test_letter(letter):
                    assert letter in "ab"


                def test_both(letter, number):
                    assert number != 2


                def test_shared_first(shared):
                    LOG.append("first")


                def test_shared_second(shared):
                    LOG.append("second")


                def test_order():
                    print(LOG)
                    assert LOG[:4] == ["+x", "first", "second", "-x"]


                @pytest.mark.parametrize("direct", [1, 2], indirect=True)
                def test_indirect(direct):
                    assert direct in {"<1>", "<2>"}


                @pytest.mark.parametrize("direct, plain", [(1, 2)], indirect=["direct"])
                def test_some_indirect(direct, plain):
                    assert (direct, plain) == ("<1>", 2)


                @pytest.mark.parametrize("shared", ["z"], indirect=True, scope="function")
                def test_overridden(shared):
                    assert shared == "z"


                def test_name(request, letter):
                    assert request.node.name == f"test_name[{'first' if letter == 'a' else 'second'}]"
            """,
        },
    ),
    Case(
        "fixtures-that-fail",
        {
            "test_around.py": """
                import pytest


                @pytest.fixture
                def fails_in_setup():
                    print("before it fails")
                    assert 1 == 2, "in setup"


                @pytest.fixture
                def fails_in_teardown():
                    yield 1
                    print("going to fail")
                    assert 1 == 3, "in teardown"


                @pytest.fixture
                def finalizers(request):
                    def one():
                        raise ValueError("finalizer one")

                    def two():
                        raise KeyError("finalizer two")

                    request.addfinalizer(one)
                    request.addfinalizer(two)


                @pytest.fixture
                def yields_twice():
                    yield 1
                    yield 2


                @pytest.fixture
                def yields_never():
                    if False:
                        yield


                @pytest.fixture(scope="module")
                def broken_for_all():
                    raise OSError(5, "no such luck")


                @pytest.fixture
                def one(two):
                    pass


                @pytest.fixture
                def two(one):
                    pass


                @pytest.fixture(scope="session")
                def too_wide(tmp_path):
                    pass


                def test_setup(fails_in_setup):
                    pass


                def test_teardown(fails_in_teardown):
                    pass


                def test_call_and_teardown(fails_in_teardown):
                    raise RuntimeError("in the call")


                def test_finalizers(finalizers):
                    pass


                def test_yields_twice(yields_twice):
                    pass


                def test_yields_never(yields_never):
                    pass


                def test_broken_first(broken_for_all):
                    pass


                def test_broken_second(broken_for_all):
                    pass


                def test_missing(nobody_has_this):
                    pass


                def test_recursive(one):
                    pass


                def test_too_wide(too_wide):
                    pass


                def test_called_directly():
                    fails_in_setup()


                def test_dynamic(request):
                    assert request.getfixturevalue("tmp_path").is_dir()
                    with pytest.raises(pytest.FixtureLookupError):
                        request.getfixturevalue("nobody")


                def test_dynamic_fails(request):
                    request.getfixturevalue("fails_in_setup")


                class TestXunit:
                    @classmethod
                    def setup_class(cls):
                        cls.value = 1

                    def setup_method(self, method):
                        print("set up", method.__name__)

                    def teardown_method(self, method):
                        assert method.__name__ != "test_second", "torn down"

                    def test_first(self):
                        assert self.value == 1

                    def test_second(self):
                        pass


                def setup_module(module):
                    module.SET_UP = True


                def test_module_is_set_up():
                    assert SET_UP
            """,
            "test_module_setup_fails.py": """
                def setup_module():
                    raise RuntimeError("the whole module")


                def test_one():
                    pass


                def test_two():
                    pass
            """,
        },
    ),
    Case(
        "fixtures-used-by-name",
        {
            "pytest.ini": "[pytest]\nusefixtures = for_all\n",
            "conftest.py": """
                import pytest

                USED = []


                @pytest.fixture
                def for_all():
                    USED.append("for_all")


                @pytest.fixture
                def for_some():
                    USED.append("for_some")


                @pytest.fixture(autouse=True)
                def always(request):
                    USED.clear()
                    yield
                    print("torn down", request.node.name)


                @pytest.fixture(name="other_name")
                def some_name():
                    return "renamed"
            """,
            "test_used.py": """
                import pytest
                from conftest import USED


                def test_all():
                    assert USED == ["for_all"]


                @pytest.mark.usefixtures("for_some")
                def test_some():
                    assert sorted(USED) == ["for_all", "for_some"]


                @pytest.mark.usefixtures("nobody")
                def test_unknown():
                    pass


                def test_renamed(other_name):
                    assert other_name == "renamed"


                @pytest.mark.usefixtures("for_some")
                class TestClass:
                    def test_in_it(self, request):
                        assert "for_some" in request.fixturenames
                        assert "always" in request.fixturenames

                    @pytest.fixture
                    def of_the_class(self):
                        return self

                    def test_own(self, of_the_class):
                        assert of_the_class is self
            """,
        },
    ),
    Case(
        "fixtures-of-pytest",
        {
            "test_builtin.py": """
                import logging
                import os
                import sys
                import warnings
                from pathlib import Path

                import pytest


                def test_tmp_path(tmp_path):
                    (tmp_path / "x").write_text("x")
                    assert tmp_path.name == "test_tmp_path0"
                    assert list(tmp_path.iterdir()) == [tmp_path / "x"]


                @pytest.mark.parametrize("value", ["a b", "ü"])
                def test_tmp_path_of_parameters(tmp_path, value):
                    print(tmp_path.name)


                def test_factory(tmp_path_factory):
                    assert tmp_path_factory.mktemp("mine").name == "mine0"
                    assert tmp_path_factory.mktemp("mine").name == "mine1"
                    assert tmp_path_factory.getbasetemp().is_dir()


                def test_tmp_path_shown(tmp_path):
                    assert tmp_path == 1


                def test_monkeypatch(monkeypatch, tmp_path):
                    monkeypatch.setenv("OWN_VARIABLE", "1")
                    monkeypatch.setattr(sys, "own", 1, raising=False)
                    monkeypatch.chdir(tmp_path)
                    monkeypatch.syspath_prepend(tmp_path)
                    assert os.environ["OWN_VARIABLE"] == "1"
                    assert Path.cwd() == tmp_path


                def test_monkeypatch_is_undone(request):
                    assert "OWN_VARIABLE" not in os.environ
                    assert not hasattr(sys, "own")
                    assert Path.cwd() == request.config.invocation_params.dir


                def test_capsys(capsys):
                    print("out")
                    print("err", file=sys.stderr)
                    assert capsys.readouterr() == ("out\\n", "err\\n")
                    with capsys.disabled():
                        print("straight to the terminal")
                    print("left over")


                def test_capfd(capfd):
                    os.write(1, b"by number\\n")
                    assert capfd.readouterr().out == "by number\\n"


                def test_capfdbinary(capfdbinary):
                    os.write(1, b"\\xff\\x00")
                    assert capfdbinary.readouterr().out == b"\\xff\\x00"


                def test_capteesys(capteesys):
                    print("both ways")
                    assert capteesys.readouterr().out == "both ways\\n"


                def test_caplog(caplog):
                    logging.getLogger("own").warning("careful with %s", "this")
                    assert caplog.record_tuples == [("own", logging.WARNING, "careful with this")]
                    with caplog.at_level(logging.DEBUG):
                        logging.debug("now seen")
                    assert caplog.messages[-1] == "now seen"


                def test_recwarn(recwarn):
                    warnings.warn("one")
                    warnings.warn("two")
                    assert len(recwarn) == 2


                def test_cache(cache):
                    cache.set("own/value", [1, 2])
                    assert cache.get("own/value", None) == [1, 2]


                def test_config(pytestconfig, request):
                    assert pytestconfig is request.config


                def test_doctest_namespace(doctest_namespace):
                    doctest_namespace["x"] = 1


                def test_tmpdir(tmpdir):
                    assert tmpdir.join("x").check() is False
            """,
        },
    ),
    Case(
        "fixtures-that-record",
        {
            "conftest.py": """
                import pytest


                @pytest.fixture(scope="session", autouse=True)
                def of_the_suite(record_testsuite_property):
                    record_testsuite_property("machine", "any")
            """,
            "test_record.py": """
                import pytest


                def test_property(record_property):
                    record_property("answer", 42)
                    record_property("text", "a <b> & ü")
                    record_property("answer", "again")


                def test_property_of_a_failure(record_property):
                    record_property("before", True)
                    assert 0


                def test_attribute(record_xml_attribute):
                    record_xml_attribute("assertions", "3")


                def test_user_properties(request):
                    request.node.user_properties.append(("by", "hand"))


                @pytest.fixture
                def records(record_property):
                    record_property("in", "setup")
                    yield
                    record_property("in", "teardown")


                def test_around(records):
                    pass
            """,
        },
        ("-rA", "-o", "junit_family=legacy", "-o", "junit_suite_name=mine", "-o", "junit_logging=all"),
    ),
    Case(
        "fixtures-that-record-xunit2",
        {
            "test_record.py": """
                import pytest


                def test_property(record_property):
                    record_property("answer", 42)


                def test_attribute(record_xml_attribute):
                    record_xml_attribute("assertions", "3")


                def test_output(capsys):
                    print("said")
                    assert 0
            """,
        },
        ("-rA", "--junit-prefix=pre", "-o", "junit_log_passing_tests=false", "-o", "junit_logging=system-out"),
    ),
    Case(
        "subtests",
        {
            "test_sub.py": """
                import pytest


                def test_all_pass(subtests):
                    for i in range(3):
                        with subtests.test(i=i):
                            assert i < 3


                def test_some_fail(subtests):
                    for i in range(3):
                        with subtests.test("with a message", i=i, text="a b", none=None):
                            print("in", i)
                            assert i != 1


                def test_label(subtests):
                    with subtests.test(msg="only a message"):
                        assert 0


                def test_no_label(subtests):
                    with subtests.test():
                        assert 0


                def test_odd_labels(subtests):
                    with subtests.test("ü [x] ::", value=["a", {"b": 1}], path=pytest):
                        raise ValueError("odd")


                def test_skip_and_xfail(subtests):
                    with subtests.test("skipped"):
                        pytest.skip("not this one")
                    with subtests.test("xfailed"):
                        pytest.xfail("known")
                    with subtests.test("runs"):
                        pass


                def test_fails_after(subtests):
                    with subtests.test("fine"):
                        pass
                    assert 1 == 2


                def test_nested(subtests):
                    with subtests.test("outer"):
                        with subtests.test("inner"):
                            assert 0


                @pytest.mark.parametrize("value", [1, 2])
                def test_of_parameters(subtests, value):
                    with subtests.test(value=value):
                        assert value == 1


                def test_warns(subtests, recwarn):
                    with subtests.test("logs"):
                        import logging

                        logging.warning("from a subtest")
                        assert 0
            """,
        },
        ("-rA", "-v"),
    ),
]
