"""What differs between machine architectures: data, one record each."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Architecture:
    """An architecture that guests can have."""

    # Debian's name.
    name: str
    # What `uname -m` says there.
    machine: str
    # The QEMU program.
    qemu_program: str
    # `-machine` and `-cpu` under emulation; under KVM the CPU is `host`.
    qemu_machine: str
    qemu_cpu: str
    # Where Debian puts shared libraries, and the dynamic loader every program there starts through.
    triplet: str
    loader: str
    # Serial ports as the guest's kernel names them: printk's, and ours. Both are built into every stock kernel.
    console: str
    channel: str
    # Kernel parameters that only make sense here.
    parameters: tuple[str, ...]


AMD64 = Architecture(
    name="amd64",
    machine="x86_64",
    qemu_program="qemu-system-x86_64",
    qemu_machine="pc,hpet=off",  # the TSC is the clock; probing another costs a tenth of a boot
    # RDRAND, so that the kernel's random numbers are ready when Python asks for them.
    qemu_cpu="qemu64,+rdrand",
    triplet="x86_64-linux-gnu",
    loader="usr/lib64/ld-linux-x86-64.so.2",
    console="ttyS0",
    channel="ttyS1",
    # Resets go through the CPU, which QEMU's -no-reboot turns into an exit. The TSC counts emulated time exactly:
    # trusted from the start, it gives timers their full resolution before the first test, without calibration.
    # The local APIC's timer would be calibrated for a tenth of a second; the PIT has a known frequency, and in one-shot
    # mode it wakes within a microsecond, too.
    parameters=("reboot=t", "tsc=reliable", "no_timer_check", "nolapic_timer"),
)

ARCHITECTURES = {architecture.name: architecture for architecture in (AMD64,)}
