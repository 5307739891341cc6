"""What lies beside tests: data, dot-files, empty folders, links, run bits; and tests that are named by their file."""

from case_model import Case, Executable, Folder, Link

_BESIDE = {
    "t/test_d.py": """
        import os
        import stat
        import subprocess
        from pathlib import Path

        import pytest
        from helpers.read import read

        HERE = Path(__file__).parent


        def test_data():
            assert (HERE / "data" / "x.txt").read_text() == "data\\n"


        def test_binary():
            assert (HERE / "data" / "raw.bin").read_bytes() == bytes(range(256))


        def test_helper():
            assert read("x.txt") == "data\\n"


        def test_dot_file():
            assert (HERE / ".hidden").read_text() == "hidden\\n"
            assert (HERE / "data" / ".config" / "rc").read_text() == "rc\\n"


        def test_empty_folder():
            assert list((HERE / "empty").iterdir()) == []


        def test_links():
            assert (HERE / "link.txt").is_symlink()
            assert os.readlink(HERE / "link.txt") == "data/x.txt"
            assert (HERE / "link.txt").read_text() == "data\\n"
            assert (HERE / "linked").is_symlink()
            assert (HERE / "linked" / "x.txt").read_text() == "data\\n"


        def test_dangling():
            assert (HERE / "dangling").is_symlink()
            assert not (HERE / "dangling").exists()


        def test_run_bit():
            assert os.access(HERE / "tool.sh", os.X_OK)
            assert not stat.S_IMODE((HERE / "data" / "x.txt").stat().st_mode) & 0o111


        def test_run_it():
            done = subprocess.run([HERE / "tool.sh", "a b"], capture_output=True, text=True, check=True)
            assert done.stdout == "tool: a b\\n"


        def test_above():
            assert (HERE.parent / "shared" / "top.json").read_text() == "{}\\n"


        def test_writes_beside():
            (HERE / "written.txt").write_text("x")
            (HERE / "written.txt").unlink()


        def test_relative():
            assert Path("t/data/x.txt").exists() or Path("data/x.txt").exists()


        class TestX:
            def test_y(self):
                assert read("x.txt") == "data\\n"

            def test_z(self):
                assert read("x.txt") == "other\\n"


        @pytest.mark.parametrize("name", sorted(path.name for path in (HERE / "data").iterdir()))
        def test_each(name):
            assert (HERE / "data" / name).exists()
    """,
    "t/test_other.py": "def test_other():\n    raise AssertionError('nobody asked')\n",
    "t/helpers/__init__.py": "",
    "t/helpers/read.py": """
        from pathlib import Path


        def read(name):
            return (Path(__file__).parents[1] / "data" / name).read_text()
    """,
    "t/data/x.txt": "data\n",
    "t/data/raw.bin": bytes(range(256)),
    "t/data/.config/rc": "rc\n",
    "t/data/unused.py": "this is no Python(\n",
    "t/.hidden": "hidden\n",
    "t/empty": Folder(),
    "t/link.txt": Link("data/x.txt"),
    "t/linked": Link("data"),
    "t/dangling": Link("nowhere"),
    "t/tool.sh": Executable('#!/bin/sh\necho "tool: $1"\n'),
    "shared/top.json": "{}\n",
    "pytest.ini": "[pytest]\n",
}
_WITHOUT_INI = {name: entry for name, entry in _BESIDE.items() if name != "pytest.ini"}

CASES = [
    Case(
        "files-by-folder",
        {
            **_BESIDE,
            "real/test_real.py": """
                from pathlib import Path


                def test_real():
                    assert Path(__file__).is_symlink()
            """,
            "real/conftest.py": "import pytest\n\n\n@pytest.fixture\ndef value():\n    return 1\n",
            "real/test_value.py": "def test_value(value):\n    assert value == 2\n",
            "linked": Link("real"),
            "test_linked_file.py": Link("real/test_real.py"),
            ".git/HEAD": "ref: refs/heads/main\n",
            "build/test_built.py": "def test_built():\n    assert 0\n",
            "venv/pyvenv.cfg": "home = /usr/bin\n",
            "venv/lib/test_in_venv.py": "def test_never():\n    assert 0\n",
            "node_modules/x/test_node.py": "def test_never():\n    assert 0\n",
            "test_seen.py": """
                from pathlib import Path


                def test_what_was_built_is_there():
                    assert Path("build/test_built.py").is_file()
            """,
        },
        ("-rA", "t", "linked", "test_linked_file.py", "test_seen.py", "--ignore=t/test_other.py"),
    ),
    Case("files-by-file", _BESIDE, ("-rA", "t/test_d.py")),
    Case("files-by-file-without-ini", _WITHOUT_INI, ("-rA", "t/test_d.py")),
    Case(
        "files-by-node",
        _BESIDE,
        ("-rA", "test_d.py::TestX", "./../t/test_d.py::test_data"),
        directory="t",
    ),
]
