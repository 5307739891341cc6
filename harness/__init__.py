"""Any test in any kernel: the pytest plugin that sends items into guests, judges what comes back and records it."""
