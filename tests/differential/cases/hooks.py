"""Hooks of a project's conftest.py: around collection, around tests, and what is shown of them."""

from case_model import Case

CASES = [
    Case(
        "hooks-around-tests",
        {
            "conftest.py": """
                import pytest

                SEEN = []


                @pytest.hookimpl(tryfirst=True)
                def pytest_runtest_setup(item):
                    SEEN.append(f"setup {item.originalname}")
                    if item.name.startswith("test_hook_fails_before"):
                        raise ValueError("the hook fails in setup")
                    if item.get_closest_marker("forbidden"):
                        pytest.skip("a hook forbids it")


                @pytest.hookimpl(wrapper=True)
                def pytest_runtest_call(item):
                    print("before the call")
                    try:
                        return (yield)
                    except ZeroDivisionError as error:
                        raise ArithmeticError("made another") from error
                    finally:
                        print("after the call")


                def pytest_runtest_teardown(item, nextitem):
                    SEEN.append(f"teardown {item.originalname}")
                    print("next:", nextitem and nextitem.name)
                    if item.name.startswith("test_hook_fails_behind"):
                        raise ValueError("the hook fails in teardown")


                @pytest.hookimpl(wrapper=True)
                def pytest_runtest_makereport(item, call):
                    report = yield
                    if report.when == "call":
                        report.sections.append(("of a hook", f"{item.name} {report.outcome}"))
                        report.user_properties.append(("own", item.originalname))
                        if item.name.startswith("test_turned"):
                            report.outcome = "passed"
                    return report


                @pytest.fixture
                def seen():
                    return SEEN


                def pytest_configure(config):
                    config.addinivalue_line("markers", "forbidden: not to be run")


                def pytest_report_teststatus(report, config):
                    if report.when == "call" and report.passed and "turned" in report.nodeid:
                        return "turned", "T", "TURNED"


                def pytest_exception_interact(node, call, report):
                    pass


                def pytest_runtest_logreport(report):
                    pass
            """,
            "test_hooks.py": """
                import pytest


                def test_first(seen):
                    assert seen == ["setup test_first"]


                def test_second(seen):
                    assert seen[-2:] == ["teardown test_first", "setup test_second"]


                @pytest.mark.forbidden
                def test_forbidden():
                    raise AssertionError


                def test_divides():
                    1 / 0


                def test_turned_into_a_pass():
                    assert 0


                def test_fails():
                    assert 0


                def test_hook_fails_before():
                    pass


                def test_hook_fails_behind():
                    pass
            """,
        },
    ),
    Case(
        "hooks-around-collection",
        {
            "conftest.py": """
                import pytest

                COLLECTED = []


                def pytest_addoption(parser):
                    parser.addoption("--runslow", action="store_true")


                def pytest_configure(config):
                    config.addinivalue_line("markers", "slow: takes long")


                def pytest_itemcollected(item):
                    COLLECTED.append(item.originalname)
                    item.user_properties.append(("collected", len(COLLECTED) > 0))


                @pytest.hookimpl(trylast=True)
                def pytest_collection_modifyitems(config, items):
                    gone = [item for item in items if "unwanted" in item.name]
                    config.hook.pytest_deselected(items=gone)
                    items[:] = sorted(set(items) - set(gone), key=lambda item: item.name, reverse=True)
                    for item in items:
                        if "slow" in item.keywords and not config.getoption("--runslow"):
                            item.add_marker(pytest.mark.skip(reason="need --runslow option to run"))
                        if "late" in item.name:
                            item.add_marker(pytest.mark.usefixtures("late"))


                @pytest.fixture
                def late():
                    print("a fixture that was added late")


                def pytest_generate_tests(metafunc):
                    if "generated" in metafunc.fixturenames:
                        metafunc.parametrize("generated", ["one", "two"], ids=["1st", "2nd"])
                    if "path_name" in metafunc.fixturenames:
                        names = sorted(path.name for path in metafunc.config.rootpath.glob("data/*.txt"))
                        metafunc.parametrize("path_name", names)


                def pytest_ignore_collect(collection_path):
                    return True if collection_path.name == "test_ignored.py" else None


                collect_ignore = ["test_ignored_too.py"]
                collect_ignore_glob = ["*_never.py"]


                def pytest_make_parametrize_id(config, val, argname):
                    return f"{argname}={val}" if isinstance(val, complex) else None
            """,
            "data/a.txt": "a",
            "data/b.txt": "b",
            "test_items.py": """
                import pytest


                def test_a():
                    pass


                def test_b(generated):
                    assert generated == "one"


                def test_c_unwanted():
                    raise AssertionError


                @pytest.mark.slow
                def test_d_slow():
                    raise AssertionError


                def test_e_late(request):
                    assert "late" in request.fixturenames


                def test_f(path_name, request):
                    assert request.node.name == f"test_f[{path_name}]"


                @pytest.mark.parametrize("value", [1j, 2])
                def test_g(value):
                    pass


                class TestH:
                    @staticmethod
                    def test_static():
                        pass

                    @classmethod
                    def test_class(cls):
                        assert cls is TestH


                def pytest_generate_tests(metafunc):
                    if "of_module" in metafunc.fixturenames:
                        metafunc.parametrize("of_module", [1, 2])


                def test_i(of_module):
                    assert of_module == 1
            """,
            "test_ignored.py": "raise ValueError\n",
            "test_ignored_too.py": "raise ValueError\n",
            "test_never.py": "raise ValueError\n",
        },
        ("-rA", "-v"),
    ),
    Case(
        "hooks-of-display",
        {
            "conftest.py": """
                def pytest_assertrepr_compare(config, op, left, right):
                    if isinstance(left, Foo) and isinstance(right, Foo) and op == "==":
                        verbosity = str(config.get_verbosity())
                        return ["Comparing Foo instances:", f"   vals: {left.val} != {right.val}", verbosity]


                def pytest_assertion_pass(item, lineno, orig, expl):
                    print("passed:", orig, "|", expl)


                class Foo:
                    def __init__(self, val):
                        self.val = val

                    def __eq__(self, other):
                        return self.val == other.val


                def pytest_terminal_summary(terminalreporter, exitstatus, config):
                    terminalreporter.section("own section")
                    for name in ("passed", "failed", "error"):
                        for report in terminalreporter.stats.get(name, ()):
                            properties = dict(report.user_properties)
                            terminalreporter.line(f"{name} {report.nodeid} {report.when} {properties}")
                    terminalreporter.line(f"exit {int(exitstatus)}")


                def pytest_report_header(config, start_path):
                    return ["own header", "of two lines"]


                def pytest_report_collectionfinish(items):
                    return f"{len(items)} items, says a hook"


                def pytest_sessionfinish(session, exitstatus):
                    if session.testsfailed == 2:
                        session.exitstatus = 40


                def pytest_runtest_logstart(nodeid, location):
                    pass
            """,
            "pytest.ini": "[pytest]\nenable_assertion_pass_hook = true\n",
            "test_foo.py": """
                from conftest import Foo


                def test_compare():
                    f1 = Foo(1)
                    f2 = Foo(2)
                    assert f1 == f2


                def test_passes(record_property):
                    record_property("key", "value")
                    one = 1
                    assert one == 1


                def test_error():
                    raise ValueError("other")
            """,
        },
        ("-rA", "-v"),
    ),
    Case(
        "hooks-of-the-session",
        {
            "conftest.py": """
                import os

                import pytest


                def pytest_load_initial_conftests(early_config):
                    pass


                def pytest_sessionstart(session):
                    session.config.stash[KEY] = "stashed"
                    os.environ["SET_IN_SESSIONSTART"] = "yes"


                KEY = pytest.StashKey()


                @pytest.fixture
                def stashed(request):
                    return request.config.stash[KEY]


                @pytest.hookimpl(wrapper=True)
                def pytest_fixture_setup(fixturedef, request):
                    result = yield
                    if fixturedef.argname == "number":
                        fixturedef.cached_result = (result + 1, *fixturedef.cached_result[1:])
                    return result


                def pytest_fixture_post_finalizer(fixturedef, request):
                    pass


                def pytest_plugin_registered(plugin):
                    pass


                def pytest_unconfigure(config):
                    pass


                class Plugin:
                    @pytest.fixture
                    def of_a_class(self):
                        return "registered by hand"


                def pytest_configure(config):
                    config.pluginmanager.register(Plugin(), "own-plugin")
            """,
            "test_session.py": """
                import os

                import pytest


                @pytest.fixture
                def number():
                    return 1


                def test_number(number):
                    assert number == 2


                def test_stash(stashed):
                    assert stashed == "stashed"


                def test_environment():
                    assert os.environ["SET_IN_SESSIONSTART"] == "yes"


                def test_class(of_a_class):
                    assert of_a_class == "registered by hand"


                def test_plugin(request):
                    assert request.config.pluginmanager.get_plugin("own-plugin") is not None
            """,
        },
    ),
]
