"""Tracebacks are found between the kernel's lines."""

from vm.console import last_traceback

_CONSOLE = """\
[    0.148719] acpi PNP0A03:00: fail to add MMCONFIG information
Traceback (most recent call last):
  File \x1b[35m"/init"\x1b[0m, line \x1b[35m9\x1b[0m, in \x1b[35m<module>\x1b[0m
    \x1b[31mmain\x1b[0m\x1b[1;31m()\x1b[0m
[    0.2] printk: something in between
    \x1b[31m~~~~\x1b[0m\x1b[1;31m^^\x1b[0m
\x1b[1;35mModuleNotFoundError\x1b[0m: \x1b[35mNo module named 'x'\x1b[0m
[    0.487479] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100
[    0.487515] Call Trace:
[    0.487525]  dump_stack+0x6b/0x83
"""


def test_the_exception_is_the_last_line() -> None:
    assert last_traceback(_CONSOLE) == [
        "Traceback (most recent call last):",
        '  File "/init", line 9, in <module>',
        "    main()",
        "    ~~~~^^",
        "ModuleNotFoundError: No module named 'x'",
    ]


def test_the_last_of_several_counts() -> None:
    text = _CONSOLE + "Traceback (most recent call last):\r\n  File 'x'\r\nOSError: [Errno 5] no\nmore of it\n"
    assert last_traceback(text)[-1] == "OSError: [Errno 5] no"


def test_one_that_was_cut_off_does_not_hide_another() -> None:
    assert last_traceback(_CONSOLE + "Traceback (most recent call last):\n  File 'x'\n")[-1].startswith("ModuleNot")


def test_a_kernel_has_none() -> None:
    assert last_traceback("[    0.1] Kernel panic - not syncing: VFS\n[    0.2] Call Trace:\n") == []
    assert last_traceback("") == []
