"""Real guests of the oldest and the newest kernel: they boot, obey, and end when they are told to."""

import base64
import os
from pathlib import Path

import pytest

from uring_matrix.guests import machine_of, references
from vm.channel import ChannelClosedError
from vm.machine import Guest, MachineConfig

pytestmark = pytest.mark.vm
DEADLINE_S = 300.0


@pytest.fixture(scope="module", params=["oldest", "newest"])
def machine(request: pytest.FixtureRequest) -> MachineConfig:
    refs = references(["all"], None)
    return machine_of(refs[0 if request.param == "oldest" else -1], None)


def test_a_guest_runs_programs_one_after_another_and_powers_off(machine: MachineConfig, tmp_path: Path) -> None:
    with Guest.boot(machine, tmp_path, deadline_s=DEADLINE_S) as guest:
        assert guest.ready["release"].split(".")[0].isdigit()
        for word in ("one", "two"):
            guest.start("vm.guest.command:main", {"command": ["/usr/bin/python3.13", "-c", f"print('{word}')"]})
            ran = guest.channel.receive(DEADLINE_S)
            assert (ran["status"], base64.b64decode(ran["output"])) == (0, f"{word}\n".encode())
            assert guest.channel.receive(DEADLINE_S) == {"type": "exit", "status": 0}
        guest.channel.send({"type": "power-off"}, DEADLINE_S)
        with pytest.raises(ChannelClosedError):
            guest.channel.receive(DEADLINE_S)
        assert guest.wait(DEADLINE_S) == 0


def test_timers_have_their_full_resolution_before_the_first_test(machine: MachineConfig, tmp_path: Path) -> None:
    """Without it a timeout of 10 ms takes up to 16, and verdicts about timeouts are about the clock."""
    program = "import time; print(time.clock_getres(time.CLOCK_MONOTONIC))"
    with Guest.boot(machine, tmp_path, deadline_s=DEADLINE_S) as guest:
        guest.start("vm.guest.command:main", {"command": ["/usr/bin/python3.13", "-c", program]})
        assert float(base64.b64decode(guest.channel.receive(DEADLINE_S)["output"])) <= 1e-6


def test_qemu_ends_with_its_owner(machine: MachineConfig, tmp_path: Path) -> None:
    """Even when the owner is killed and cannot clean up."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        guest = Guest.boot(machine, tmp_path, deadline_s=DEADLINE_S)
        os.write(write_end, str(guest.process.pid).encode())
        os._exit(0)  # no clean-up of any kind
    os.close(write_end)
    qemu = int(os.read(read_end, 20))
    os.close(read_end)
    os.waitpid(child, 0)
    descriptor = os.pidfd_open(qemu) if is_alive(qemu) else None
    if descriptor is not None:
        import select

        assert select.select([descriptor], [], [], 30)[0], "QEMU outlived its owner"
        os.close(descriptor)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
