"""A guest is a small Debian: users, hosts, a shell, and Python's ways to start processes."""

from collections.abc import Iterator

import pytest
from real_guests import DEADLINE_S, NEWEST, OLDEST, machine, run

from vm.machine import Guest

pytestmark = pytest.mark.vm

_WORKERS = """
import multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor

def facts(number):
    import here, there
    return [number, here.NAME, there.NAME, sys.modules["__main__"].__name__, os.getpid() != os.getppid()]

def put(queue):
    queue.put(facts(7))

def by(method):
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=put, args=(queue,))
    process.start()
    found = [queue.get(timeout=100)]
    process.join()
    found.append(process.exitcode)
    with context.Pool(1) as pool:
        found.append(pool.map(facts, [1, 2]))
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        found.append(list(executor.map(facts, [3])))
    return found
"""


@pytest.fixture(scope="module", params=[OLDEST, NEWEST])
def guest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    folder = tmp_path_factory.mktemp("source")
    (folder / "here.py").write_text("NAME = 'here'\n")
    (folder / "there.py").write_text("NAME = 'there'\n")
    (folder / "workers.py").write_text(_WORKERS)
    (folder / "tool.py").write_text("import sys\nprint(__name__, sys.argv[1:])\n")
    files = {name: folder / name for name in ("here.py", "workers.py", "tool.py")}
    config = machine(request.param, files, {"there.py": folder / "there.py"})
    with Guest.boot(config, tmp_path_factory.mktemp("console"), deadline_s=DEADLINE_S) as guest:
        yield guest


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import getpass; result = getpass.getuser()", "root"),
        ("import pwd; result = list(pwd.getpwuid(0))", ["root", "x", 0, 0, "root", "/root", "/bin/sh"]),
        ("import pwd; result = pwd.getpwnam('nobody').pw_uid", 65534),
        ("import grp, pathlib; result = [grp.getgrgid(0).gr_name, pathlib.Path('/').group()]", ["root", "root"]),
        ("import os; result = [os.path.expanduser(name) for name in ('~', '~daemon')]", ["/root", "/usr/sbin"]),
        (
            "import pathlib; home = pathlib.Path.home(); (home / 'x').write_text('x'); (home / 'x').unlink();"
            " result = [str(home), oct(home.stat().st_mode)]",
            ["/root", "0o40700"],
        ),
        (
            "import socket; result = sorted({entry[4][0] for entry in socket.getaddrinfo('localhost', 80)})",
            ["127.0.0.1", "::1"],
        ),
        (
            "import socket, os; result = [socket.gethostname(), os.uname().nodename, socket.getfqdn(),"
            " socket.gethostbyname(socket.gethostname())]",
            ["guest", "guest", "guest", "127.0.1.1"],
        ),
        (
            "import socket; result = [socket.getservbyname('http'), socket.getprotobyname('tcp'),"
            " socket.getnameinfo(('127.0.0.1', 80), 0)]",
            [80, 6, ["localhost", "http"]],
        ),
        (
            "import socket\ntry: socket.getaddrinfo('nobody.invalid', 80)\n"
            "except socket.gaierror as error: result = error.errno == socket.EAI_NONAME",
            True,
        ),
        (
            "import subprocess; result = subprocess.run(['sh', '-c', 'echo $((1+1)) | cat'], capture_output=True,"
            " text=True).stdout",
            "2\n",
        ),
        ("import subprocess; result = subprocess.run('exit 3', shell=True).returncode", 3),
        ("import os; result = os.waitstatus_to_exitcode(os.system('test -d /root && exit 4'))", 4),
        (
            "import shutil; result = [shutil.which(name) for name in ('ls', 'env', 'mke2fs', 'modprobe', 'nothing')]",
            ["/usr/bin/ls", "/usr/bin/env", "/usr/sbin/mke2fs", None, None],
        ),
        (
            "import subprocess; result = subprocess.run(['mke2fs', '-V'], capture_output=True, text=True)"
            ".stderr.split()[0]",
            "mke2fs",
        ),
        (
            "import time, locale; time.tzset(); result = [*time.tzname, time.localtime(0).tm_hour,"
            " locale.setlocale(locale.LC_ALL, ''), locale.getencoding().lower()]",
            ["UTC", "UTC", 0, "C.UTF-8", "utf-8"],
        ),
        (
            "import os; result = [os.environ[name] for name in ('USER', 'LOGNAME', 'SHELL')]",
            ["root", "root", "/bin/sh"],
        ),
        (
            "import os, pathlib; result = [oct(os.stat(name).st_mode) for name in ('/tmp', '/var/tmp', '/dev/shm')]",
            ["0o41777", "0o41777", "0o41777"],
        ),
        (
            "import subprocess; result = subprocess.run(['cat', '/dev/stdin'], input='x', capture_output=True,"
            " text=True).stdout",
            "x",
        ),
        ("import os; main, other = os.openpty(); result = os.ttyname(other)", "/dev/pts/0"),
        ("import platform; result = platform.freedesktop_os_release()['ID']", "debian"),
    ],
)
def test_it_is_as_on_a_small_debian(guest: Guest, code: str, expected: object) -> None:
    assert run(guest, code) == expected


def test_the_process_looks_like_pytest(guest: Guest) -> None:
    code = """
        import sys
        main = sys.modules["__main__"]
        result = [sys.executable, sys.argv, main.__name__, main.__spec__.name, main.__package__, main.__file__]
        result += [sys.flags.isolated, sys.flags.no_site, callable(exit), sys.path]
    """
    file = "/usr/lib/python3/dist-packages/pytest/__main__.py"
    path = ["/work", "/usr/lib/python313.zip", "/usr/lib/python3.13", "/usr/lib/python3.13/lib-dynload"]
    path += ["/usr/lib/python3/dist-packages", "/site"]
    expected = ["/usr/bin/python3.13", [file], "__main__", "pytest.__main__", "pytest", file, 0, 0, True, path]
    assert run(guest, code) == expected


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_multiprocessing_works(guest: Guest, method: str) -> None:
    facts = ["here", "there", "__main__", True]
    expected = [[7, *facts], 0, [[1, *facts], [2, *facts]], [[3, *facts]]]
    assert run(guest, f"import workers; result = workers.by({method!r})") == expected


@pytest.mark.parametrize("python", ["sys.executable", "'python3'", "'python'"])
def test_children_that_are_pythons_find_what_they_should(guest: Guest, python: str) -> None:
    code = f"""
        import subprocess, sys
        def said(*arguments):
            done = subprocess.run([{python}, *arguments], capture_output=True, text=True)
            return done.stdout + done.stderr
        result = [said("-m", "tool", "x"), said("-c", "import here, there, pytest; print(here.NAME, there.NAME)")]
        result.append(said("-m", "pytest", "--version"))
    """
    expected = ["__main__ ['x']\\n", "here there\\n", f"pytest {pytest.__version__}\\n"]
    assert run(guest, code) == [text.replace("\\n", "\n") for text in expected]
