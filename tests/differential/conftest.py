"""Virtual environments for cases: this one, or one that has further packages."""

import hashlib
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from case_model import Environments
from filelock import FileLock


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Environments:
    """Give the interpreter of an environment that has these packages beside all that this one has."""
    base = tmp_path_factory.getbasetemp()
    if base.name.startswith("popen-"):
        base = base.parent  # the workers share what they make

    def environment(packages: tuple[str, ...]) -> Path:
        if not packages:
            return Path(sys.executable)
        name = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:8]
        home = base / f"environment-{name}"
        python = home / "bin" / "python"
        with FileLock(f"{home}.lock"):
            if not (home / "complete").exists():
                subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--clear", str(home)], check=True)
                pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
                subprocess.run([*pip, *packages], check=True)
                site = next((home / "lib").glob("python3.*/site-packages"))
                # After its own: a package that both have is the new one's. A plain path would not have the .pth files
                # of the other environment read, and one of them is this project.
                line = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
                (site / "zz_parent.pth").write_text(line, encoding="utf-8")
                (home / "complete").touch()
        return python

    return environment
