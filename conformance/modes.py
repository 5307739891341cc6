"""Ring modes: the setup flags under which every test must behave the same. Data, used on the host and in guests."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mode:
    """One way to set a ring up."""

    id: str
    # Setup flags as the kernel's header spells them; or-ed with what a test asks for.
    flag_names: tuple[str, ...]
    # The first kernel that has all of the flags.
    since: str

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
        Mode("default", (), "5.1"),
        Mode("coop-taskrun", ("IORING_SETUP_COOP_TASKRUN",), "5.19"),
        Mode("single-issuer", ("IORING_SETUP_SINGLE_ISSUER",), "6.0"),
        Mode("no-sqarray", ("IORING_SETUP_NO_SQARRAY",), "6.6"),
    )
}
