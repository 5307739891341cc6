"""Kernels and machines: find, fetch, boot. Knows nothing of pytest or io_uring."""
