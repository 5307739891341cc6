"""A plugin for a run that shall not wait for minutes: a guest is given up after seconds without a word."""

import harness.guests

harness.guests._BOOT_TRIES = 1
harness.guests.Deadlines.of_test = classmethod(lambda cls, _test_s: cls(boot_s=8.0))
