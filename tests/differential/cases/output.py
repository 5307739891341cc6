"""What tests print and log, and how it is captured."""

from case_model import Case

_PRINTS = """
    import logging
    import os
    import subprocess
    import sys

    import pytest


    @pytest.fixture
    def noisy():
        print("setup out")
        print("setup err", file=sys.stderr)
        logging.getLogger("setup").warning("setup log")
        yield
        print("teardown out")
        logging.getLogger("teardown").error("teardown log")


    def test_passes(noisy):
        print("call out")


    def test_fails(noisy):
        print("call out")
        print("call err", file=sys.stderr)
        logging.getLogger("call").critical("call log %d", 1)
        logging.getLogger("call").info("too low")
        assert 0


    def test_by_number():
        os.write(1, b"by number\\n")
        os.write(2, b"by number, too\\n")
        assert 0


    def test_child():
        subprocess.run([sys.executable, "-c", "print('of a child')"], check=True)
        assert 0


    def test_not_utf8():
        os.write(1, b"\\xff\\xfe not UTF-8\\n")
        assert 0


    def test_surrogates():
        sys.stdout.write("unicode ü 日本 🐍\\n")
        sys.stdout.buffer.write(b"bytes \\xc3\\xbc\\n")
        sys.stdout.flush()
        assert 0


    def test_control():
        print("\\x1b[31mred\\x1b[0m \\x00 \\x08 tab\\t| carriage\\rreturn")
        assert 0


    def test_no_newline():
        print("no newline", end="")
        assert 0


    def test_only_newlines():
        print("\\n\\n")
        assert 0


    def test_long_line():
        print("x" * 20_000)
        assert 0


    def test_many_lines():
        for number in range(3_000):
            print("line", number)
        assert 0


    def test_logs_an_exception():
        try:
            1 / 0
        except ZeroDivisionError:
            logging.exception("it went wrong")
        assert 0


    def test_is_no_terminal():
        assert not sys.stdout.isatty()
        with pytest.raises(OSError, match="reading from stdin"):
            input()


    def test_stdin():
        assert sys.stdin.fileno
"""
_LOGS = """
    import logging

    logger = logging.getLogger("own")


    def test_logs():
        logger.debug("a debug line")
        logger.info("an info line")
        logger.warning("a warning line")
        assert 0


    def test_passes():
        logger.info("an info line of a pass")


    def test_level():
        assert logging.getLogger().getEffectiveLevel() == logging.INFO


    def test_many_lines():
        logger.warning("one\\ntwo")
        assert 0
"""
_SMALL = """
    import sys


    def test_passes():
        print("out of a pass")


    def test_fails():
        print("out of a failure")
        print("err of a failure", file=sys.stderr)
        assert 0
"""

CASES = [
    Case("output", {"test_output.py": _PRINTS}),
    Case("output-not-captured-verbosely", {"test_output.py": _SMALL}, ("-v", "-s")),
    Case("output-both-ways", {"test_output.py": _SMALL}, ("--capture=tee-sys", "-rA", "--show-capture=stderr")),
    Case(
        "output-in-junit",
        {"test_output.py": _PRINTS},
        ("-q", "-o", "junit_logging=all", "-k", "passes or fails or by_number or control or logs"),
    ),
    Case(
        "output-of-logging",
        {"test_logs.py": _LOGS, "pytest.ini": "[pytest]\nlog_level = INFO\nlog_auto_indent = true\n"},
        ("-rA", "--log-format=%(levelname)s|%(message)s"),
    ),
    Case(
        "output-of-logging-live",
        {"test_logs.py": _LOGS},
        ("-rA", "--log-cli-level=INFO", "--log-cli-format=%(message)s"),
    ),
    Case(
        "output-of-logging-to-a-file",
        {
            "test_logs.py": _LOGS,
            "conftest.py": """
                def pytest_unconfigure(config):
                    pass
            """,
        },
        ("-rA", "--log-file=log.txt", "--log-file-level=INFO", "--log-file-format=%(message)s"),
    ),
]
