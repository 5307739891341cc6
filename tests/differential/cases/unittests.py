"""unittest's test cases, and those of asyncio."""

from case_model import Case

CASES = [
    Case(
        "unittest",
        {
            "test_unit.py": """
                import unittest

                import pytest


                class Base(unittest.TestCase):
                    @classmethod
                    def setUpClass(cls):
                        cls.shared = [1]

                    def setUp(self):
                        print("setUp", self.id())
                        self.own = 2

                    def tearDown(self):
                        print("tearDown")
                        assert self._testMethodName != "test_teardown_fails"

                    def test_passes(self):
                        self.assertEqual(self.shared, [1])

                    def test_fails(self):
                        self.assertEqual(self.own, 3)

                    def test_plain_assert(self):
                        assert self.own == 3

                    def test_teardown_fails(self):
                        pass

                    def test_diff(self):
                        self.assertDictEqual({"a": 1}, {"a": 2})

                    @unittest.skip("by unittest")
                    def test_skipped(self):
                        raise AssertionError

                    @unittest.skipIf(True, "conditionally")
                    def test_skipped_if(self):
                        raise AssertionError

                    def test_skipped_while_running(self):
                        self.skipTest("while running")

                    @unittest.expectedFailure
                    def test_expected_failure(self):
                        self.assertEqual(1, 2)

                    @unittest.expectedFailure
                    def test_unexpected_success(self):
                        pass

                    def test_subtests(self):
                        for i in range(3):
                            with self.subTest("of unittest", i=i):
                                self.assertNotEqual(i, 1)

                    def test_subtest_skips(self):
                        with self.subTest(why="skip"):
                            self.skipTest("in a subtest")

                    def test_cleanup(self):
                        self.addCleanup(print, "cleaned up")

                    def test_id(self):
                        self.assertEqual(self.id().rpartition(".")[2], "test_id")

                    @pytest.mark.xfail(reason="a mark")
                    def test_marked(self):
                        self.fail("as marked")

                    @pytest.mark.skipif(True, reason="a skipping mark")
                    def test_skipif(self):
                        raise AssertionError

                    def test_assert_logs(self):
                        with self.assertLogs("x") as logs:
                            __import__("logging").getLogger("x").info("seen")
                        self.assertEqual(logs.output, ["INFO:x:seen"])


                class Derived(Base):
                    def test_fails(self):
                        self.assertTrue(self.own)


                @unittest.skip("the class")
                class Skipped(unittest.TestCase):
                    def test_never(self):
                        raise AssertionError


                class SetUpFails(unittest.TestCase):
                    @classmethod
                    def setUpClass(cls):
                        raise RuntimeError("for the class")

                    def test_one(self):
                        pass

                    def test_two(self):
                        pass


                class WithFixtures(unittest.TestCase):
                    @pytest.fixture(autouse=True)
                    def provide(self, tmp_path, request):
                        self.path = tmp_path
                        self.request = request

                    def test_fixture(self):
                        assert self.path.is_dir()

                    def test_node(self):
                        assert self.request.node.name == "test_node"
                        assert self.request.node.nodeid == "test_unit.py::WithFixtures::test_node"

                    def runTest(self):
                        pass


                def setUpModule():
                    global READY
                    READY = True


                def test_function_beside():
                    assert READY


                def load_tests(loader, tests, pattern):
                    raise AssertionError("pytest does not call this")
            """,
        },
    ),
    Case(
        "unittest-of-asyncio",
        {
            "test_async.py": """
                import asyncio
                import unittest


                class Async(unittest.IsolatedAsyncioTestCase):
                    async def asyncSetUp(self):
                        self.queue = asyncio.Queue()
                        print("asyncSetUp")

                    async def asyncTearDown(self):
                        print("asyncTearDown")

                    async def test_passes(self):
                        await self.queue.put(1)
                        self.assertEqual(await self.queue.get(), 1)

                    async def test_fails(self):
                        await asyncio.sleep(0)
                        self.assertEqual(1, 2)

                    async def test_skips(self):
                        self.skipTest("asynchronously")

                    async def test_subtests(self):
                        for i in range(2):
                            with self.subTest(i=i):
                                await asyncio.sleep(0)
                                self.assertEqual(i, 0)

                    @unittest.expectedFailure
                    async def test_expected_failure(self):
                        self.fail("as expected")

                    def test_plain_method(self):
                        pass
            """,
        },
    ),
    Case(
        "async-functions-without-a-plugin",
        {
            "test_async.py": """
                import pytest


                async def test_coroutine():
                    assert False


                async def test_generator():
                    yield 1


                @pytest.fixture
                async def value():
                    return 1


                def test_async_fixture(value):
                    pass


                def test_ok():
                    pass
            """,
        },
    ),
]
