"""A suite that is not about io_uring: what the harness has to be able to do without knowing of it."""
