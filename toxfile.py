"""Makes `tox -e kernel-SERIES` work for whatever series there is: no list of them has to be kept anywhere."""

import os
import re
import sys
from collections.abc import Iterable

from tox.config.sets import EnvConfigSet
from tox.plugin import impl

_KERNEL = re.compile(r"\bkernel-[\w.+~-]+")


@impl
def tox_extend_envs() -> Iterable[str]:
    """Declare the kernel environments that were asked for."""
    asked = [*sys.argv[1:], os.environ.get("TOX_ENV", ""), os.environ.get("TOXENV", "")]
    return dict.fromkeys(name for text in asked for name in _KERNEL.findall(text))


@impl
def tox_add_env_config(env_conf: EnvConfigSet) -> None:
    """Let tox.ini say `{series}`: what follows `kernel-` in the environment's name, or else the newest."""
    series = (env_conf.name or "").removeprefix("kernel").removeprefix("-") or "latest"
    env_conf.add_constant("series", "the kernel that the environment's name asks for", series)
