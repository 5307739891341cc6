"""A guest whose PID 1 dies says of what."""

from pathlib import Path

import pytest
from real_guests import DEADLINE_S, NEWEST, OLDEST, machine

from harness import payload
from uring_matrix.guests import setup_for
from vm import image
from vm.errors import BootError
from vm.machine import Guest, MachineConfig

pytestmark = pytest.mark.vm


@pytest.fixture(params=[OLDEST, NEWEST])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> MachineConfig:
    """A guest whose PID 1 loads a module that cannot be loaded."""
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    setup = setup_for(None)
    recipe = image.Recipe(
        setup.architecture,
        trees={**payload.trees(), "broken": tmp_path / "broken.py"},
        preload=("broken",),
        is_wanted=payload.is_wanted,
    )
    runtime = image.runtime(setup._image_archive, recipe, setup.cache, setup.progress)
    sound = machine(request.param)
    return MachineConfig(sound.architecture, sound.emulator, sound.kernel, runtime.initramfs)


def test_the_tracebacks_end_is_the_reason(config: MachineConfig, tmp_path: Path) -> None:
    with pytest.raises(BootError) as raised:
        Guest.boot(config, tmp_path, deadline_s=DEADLINE_S)
    reason, *evidence = str(raised.value).splitlines()
    assert reason == "vmlinuz did not boot: PID 1 ended: ModuleNotFoundError: No module named 'no_such_module'"
    assert "Traceback (most recent call last):" in evidence
    assert "    import no_such_module" in evidence
    assert "icount" not in reason
