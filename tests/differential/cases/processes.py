"""Processes, threads, users, names of hosts, variables: what a test may expect of its machine."""

from case_model import Case

CASES = [
    Case(
        "multiprocessing",
        {
            "test_processes.py": """
                import multiprocessing
                import os
                import subprocess
                import sys
                from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

                import pytest


                def double(number):
                    return 2 * number


                def put(queue):
                    queue.put("from a child")


                def fail():
                    raise ValueError("in a child")


                @pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
                def test_start_method(method):
                    context = multiprocessing.get_context(method)
                    queue = context.Queue()
                    process = context.Process(target=put, args=(queue,))
                    process.start()
                    assert queue.get(timeout=60) == "from a child"
                    process.join(60)
                    assert process.exitcode == 0


                @pytest.mark.parametrize("method", ["fork", "spawn"])
                def test_pool(method):
                    with multiprocessing.get_context(method).Pool(2) as pool:
                        assert pool.map(double, [1, 2, 3]) == [2, 4, 6]
                        pool.close()
                        pool.join()


                def test_executor():
                    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                        assert pool.submit(double, 21).result() == 42


                def test_executor_fails():
                    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
                        with pytest.raises(ValueError, match="in a child"):
                            pool.submit(fail).result()


                def test_threads():
                    with ThreadPoolExecutor(4) as pool:
                        assert list(pool.map(double, range(10))) == list(range(0, 20, 2))


                def test_fork():
                    process = os.fork()
                    if process == 0:
                        os._exit(7)
                    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 7


                def test_python():
                    command = [sys.executable, "-c", "import sys; print(sys.argv)", "x"]
                    assert subprocess.check_output(command, text=True) == "['-c', 'x']\\n"


                def test_python_module():
                    command = [sys.executable, "-m", "json.tool"]
                    assert subprocess.check_output(command, input="[1]", text=True).split() == ["[", "1", "]"]


                def test_pytest_in_a_child(tmp_path):
                    (tmp_path / "test_inner.py").write_text("def test_inner(): pass")
                    command = [sys.executable, "-m", "pytest", "-q", tmp_path]
                    done = subprocess.run(command, capture_output=True, text=True)
                    assert "1 passed" in done.stdout, done.stderr
            """,
        },
    ),
    Case(
        "machine",
        {
            "test_machine.py": """
                import getpass
                import grp
                import locale
                import os
                import pwd
                import shutil
                import signal
                import socket
                import subprocess
                import sys
                import tempfile
                import time
                from pathlib import Path

                import pytest


                def test_user():
                    assert getpass.getuser()
                    assert pwd.getpwuid(os.getuid()).pw_name
                    assert grp.getgrgid(os.getgid()).gr_name


                def test_home():
                    assert Path.home().is_dir()
                    assert Path("~").expanduser() == Path.home()


                def test_shell():
                    assert subprocess.check_output(["sh", "-c", "echo $((1 + 2))"]) == b"3\\n"
                    assert subprocess.run("exit 3", shell=True).returncode == 3
                    assert os.system("true") == 0


                def test_commands():
                    assert subprocess.run(["true"]).returncode == 0
                    assert subprocess.check_output(["echo", "a", "b"]) == b"a b\\n"
                    assert subprocess.check_output(["cat"], input=b"x") == b"x"
                    assert shutil.which("ls")


                def test_no_such_command():
                    with pytest.raises(FileNotFoundError):
                        subprocess.run(["no-such-command"])


                def test_localhost():
                    addresses = {entry[4][0] for entry in socket.getaddrinfo("localhost", 80)}
                    assert "127.0.0.1" in addresses or "::1" in addresses


                def test_own_name():
                    assert socket.gethostname()


                def test_service():
                    assert socket.getservbyname("http", "tcp") == 80


                def test_server():
                    with socket.create_server(("127.0.0.1", 0)) as server:
                        with socket.create_connection(server.getsockname()) as client:
                            other, _ = server.accept()
                            with other:
                                client.sendall(b"x")
                                assert other.recv(1) == b"x"


                def test_ipv6():
                    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
                        assert server.getsockname()[0] == "::1"


                def test_unix_socket(tmp_path, monkeypatch):
                    monkeypatch.chdir(tmp_path)
                    with socket.socket(socket.AF_UNIX) as server:
                        server.bind("s")


                def test_temporary():
                    with tempfile.NamedTemporaryFile() as file:
                        file.write(b"x")
                    assert Path(tempfile.gettempdir()).is_dir()


                def test_encoding():
                    assert sys.getfilesystemencoding() == "utf-8"
                    assert locale.getpreferredencoding(False).lower() in {"utf-8", "utf8"}


                def test_devices():
                    assert Path("/dev/null").is_char_device()
                    assert os.urandom(4)
                    assert Path("/dev/shm").is_dir()
                    assert Path("/dev/fd/0").exists()
                    master, slave = os.openpty()
                    os.close(master)
                    os.close(slave)


                def test_signal():
                    seen = []
                    old = signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
                    os.kill(os.getpid(), signal.SIGUSR1)
                    signal.signal(signal.SIGUSR1, old)
                    assert seen == [1]


                def test_default_signals():
                    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


                def test_alarm():
                    old = signal.signal(signal.SIGALRM, lambda *_: None)
                    signal.setitimer(signal.ITIMER_REAL, 0.01)
                    time.sleep(0.05)
                    signal.signal(signal.SIGALRM, old)


                def test_not_pid_1():
                    assert os.getpid() != 1
                    assert os.getppid() > 0


                def test_descriptors():
                    assert sorted(int(name) for name in os.listdir("/proc/self/fd"))[:3] == [0, 1, 2]


                def test_time_zone():
                    assert time.tzname


                def test_umask(tmp_path):
                    (tmp_path / "f").touch()
                    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o644


                def test_modules():
                    import asyncio, bz2, ctypes, decimal, gzip, hashlib, http.client, json, lzma, uuid, zlib
                    import xml.etree.ElementTree

                    assert hashlib.sha256(b"").hexdigest().startswith("e3b0")
            """,
        },
    ),
    Case(
        "environment-by-name",
        {
            "test_environment.py": """
                import os


                def test_given():
                    assert os.environ["OWN_TOKEN"] == "a = b"


                def test_given_value():
                    assert os.environ["OWN_MODE"] == "fast"


                def test_unicode():
                    assert os.environ["OWN_TEXT"] == "ü $HOME 'x'"


                def test_empty():
                    assert os.environ["OWN_EMPTY"] == ""


                def test_child():
                    import subprocess, sys

                    code = "import os; print(os.environ['OWN_TOKEN'])"
                    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "a = b\\n"


                def test_pytest_version():
                    assert "PYTEST_VERSION" in os.environ
            """,
            "conftest.py": """
                import os

                import pytest

                AT_IMPORT = os.environ.get("OWN_MODE")


                def pytest_configure(config):
                    assert os.environ["OWN_MODE"] == "fast"


                @pytest.fixture(params=os.environ.get("OWN_LIST", "").split(","))
                def entry(request):
                    return request.param
            """,
            "test_list.py": """
                def test_entry(entry):
                    assert entry in {"a", "b"}
            """,
        },
        environment={
            "OWN_TOKEN": "a = b",
            "OWN_MODE": "fast",
            "OWN_TEXT": "ü $HOME 'x'",
            "OWN_EMPTY": "",
            "OWN_LIST": "a,b",
        },
        kernel_arguments=(
            "--guest-env=OWN_TOKEN",
            "--guest-env=OWN_MODE=fast",
            "--guest-env",
            "OWN_TEXT",
            "--guest-env=OWN_EMPTY",
            "--guest-env=OWN_LIST",
        ),
    ),
    Case(
        "state-between-tests",
        {
            "test_state.py": """
                import os
                import sys
                import threading

                STATE = []


                def test_one():
                    STATE.append(1)
                    os.environ["LEFT"] = "1"
                    sys.left = 1


                def test_two():
                    assert STATE == [1]
                    assert os.environ["LEFT"] == "1"
                    assert sys.left == 1


                def test_fails_in_between():
                    assert 0


                def test_three():
                    assert STATE == [1]


                def test_main_thread():
                    assert threading.current_thread() is threading.main_thread()


                def test_module_is_one():
                    import test_state

                    assert test_state.STATE is STATE
            """,
        },
    ),
    Case(
        "side-by-side",
        {
            "test_a.py": """
                import pytest


                @pytest.mark.parametrize("n", range(4))
                def test_a(n):
                    assert n != 2
            """,
            "test_b.py": """
                import warnings


                def test_b(record_property):
                    record_property("a", 1)
                    warnings.warn("careful")
            """,
        },
        ("-rA", "-n2"),
        has_order=False,
    ),
]
