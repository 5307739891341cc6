"""What lies here and is not for the session of these tests."""

collect_ignore = ["clock_suite"]
