"""What can be wrong with results: one class of error, with a sentence a user can act on."""


class ResultsError(Exception):
    """A results file or journal that cannot be used; the message says which, why, and what to do."""
