"""Ring modes: the setup flags under which every test must behave the same. Data, used on the host and in guests."""

from dataclasses import dataclass

from harness.suites import Mode


@dataclass(frozen=True, slots=True)
class RingMode(Mode):
    """One way to set a ring up. Its flags are or-ed with what a test asks for."""

    @property
    def flags(self) -> int:
        """The bits for `io_uring_params.flags`."""
        import uring  # noqa: PLC0415 - the host lists modes without loading the ring

        bits = 0
        for name in self.flag_names:
            bits |= getattr(uring, name)
        return bits


MODES = {
    mode.id: mode
    for mode in (
        RingMode("default", (), "5.1"),
        RingMode("coop-taskrun", ("IORING_SETUP_COOP_TASKRUN",), "5.19"),
        RingMode("single-issuer", ("IORING_SETUP_SINGLE_ISSUER",), "6.0"),
        RingMode("no-sqarray", ("IORING_SETUP_NO_SQARRAY",), "6.6"),
    )
}
