"""What tox.ini cannot say: `tox -e kernel-SERIES` for whatever series there is, and what the lower bounds are.

No list of the ones or the others has to be kept anywhere.
"""

import os
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from tox.config.sets import EnvConfigSet
from tox.plugin import impl

_KERNEL = re.compile(r"\bkernel-[\w.+~-]+")
_PYPROJECT = Path(__file__).with_name("pyproject.toml")


def lower_bounds(pyproject: str) -> list[str]:
    """Pin every runtime dependency to the lowest version that it may have.

    Args:
        pyproject: the text of pyproject.toml.

    Raises:
        ValueError: a dependency promises no lowest version.
    """
    pinned = []
    for text in tomllib.loads(pyproject)["project"]["dependencies"]:
        requirement = Requirement(text)
        versions = [bound.version for bound in requirement.specifier if bound.operator in {">=", "==", "~="}]
        if len(versions) != 1:
            raise ValueError(f"pyproject.toml: {text!r} has not one lower bound")
        extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
        marker = f" ; {requirement.marker}" if requirement.marker else ""
        pinned.append(f"{requirement.name}{extras}=={versions[0]}{marker}")
    return pinned


@impl
def tox_extend_envs() -> Iterable[str]:
    """Declare the kernel environments that were asked for."""
    asked = [*sys.argv[1:], os.environ.get("TOX_ENV", ""), os.environ.get("TOXENV", "")]
    return dict.fromkeys(name for text in asked for name in _KERNEL.findall(text))


@impl
def tox_add_env_config(env_conf: EnvConfigSet) -> None:
    """Let tox.ini say `{series}` and `{lower_bounds}`.

    The series is what follows `kernel-` in the environment's name, or else the newest.
    """
    series = (env_conf.name or "").removeprefix("kernel").removeprefix("-") or "latest"
    env_conf.add_constant("series", "the kernel that the environment's name asks for", series)
    env_conf.add_constant(
        "lower_bounds",
        "the runtime dependencies, at the lowest version of each",
        lambda: "\n".join(lower_bounds(_PYPROJECT.read_text(encoding="utf-8"))),
    )
