"""What pytest's reports carry beside pytest's own, from wherever an item runs to whoever keeps the results.

pytest-xdist sends a report's attributes along as long as they are plain data.
"""

# Of an item's last report: its row of the results; and what is known of its test, from each process once.
ROW, TEST = "matrix_row", "matrix_test"
# Of a report in between, of an item that is being repeated: its row so far, should nothing more come.
ROW_SO_FAR = "matrix_row_so_far"
# Of any report: update about its kernel.
KERNEL_UPDATE = "matrix_kernel"
# In that: which other version than the one that was asked for was fetched, and why.
NOTES_OF_FETCHING = "notes_of_fetching"
# Of a worker's output: what became of the cells that a resumed run was asked for.
RESUMED = "uring_matrix_resumed"
# Of a guest's report: keywords that its item got while it ran; how many of its subtests failed; whether its text is
# what an object of pytest's drew.
ADDED_KEYWORDS, FAILED_SUBTESTS, IS_DRAWN = "matrix_keywords", "matrix_failed_subtests", "matrix_is_drawn"
# The file in which a run keeps them as they come.
JOURNAL_NAME = "results.jsonl"
