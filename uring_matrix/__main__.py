"""`python -m uring_matrix`: the same as the command `uring-matrix`."""

from uring_matrix.cli import main

main()
