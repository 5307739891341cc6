"""What can be wrong with results: one class of error, with a sentence a user can act on."""


class ResultsError(Exception):
    """A results file or journal that cannot be used; the message says which, why, and what to do."""


class DamagedError(ResultsError):
    """A results.json that was cut off, or is another file.

    Attributes:
        what: the message without what to do about it, which a run and a reader are told differently.
    """

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(f"{what} {advice}".rstrip())
        self.what = what
