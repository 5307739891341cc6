"""A functional test for each operation: that it works, where the capabilities say that the kernel knows it."""
