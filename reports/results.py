"""The results model as other rooms use it: records, results.json, the journal of a run, merging, exit codes.

Nothing here needs Jinja2: importing this module is cheap.
"""

from reports.distributions import distributions
from reports.earlier import Earlier
from reports.errors import ResultsError
from reports.events import fold, kernel_order, not_run, remaining
from reports.expectation import Expectation, annotate, documented_minimum, exit_code, forgiven, judge, judge_all
from reports.issue_files import read_known_issues
from reports.journal import Journal
from reports.keep import kept, kept_sentence, part
from reports.known_issues import Issues, about, known_sentence, no_longer_shown, united
from reports.merge import merge
from reports.pages import has_pages
from reports.provenance import Provenance
from reports.records import (
    SCHEMA_VERSION,
    SEVERITY,
    Attempt,
    Capability,
    CellKey,
    Generator,
    GuestConfig,
    Host,
    Kernel,
    KnownIssue,
    Mode,
    Qualifier,
    Result,
    Results,
    Run,
    Status,
    Test,
    attempts_of,
    combine,
    severity,
    utc_now,
    with_qualifier,
)
from reports.reproduction import kernel_spec
from reports.sentences import repeated_sentence, resume_sentence
from reports.storage import decode, encode, inconsistencies, read, write, write_atomically

__all__ = [
    "SCHEMA_VERSION",
    "SEVERITY",
    "Attempt",
    "Capability",
    "CellKey",
    "Earlier",
    "Expectation",
    "Generator",
    "GuestConfig",
    "Host",
    "Issues",
    "Journal",
    "Kernel",
    "KnownIssue",
    "Mode",
    "Provenance",
    "Qualifier",
    "Result",
    "Results",
    "ResultsError",
    "Run",
    "Status",
    "Test",
    "about",
    "annotate",
    "attempts_of",
    "combine",
    "decode",
    "distributions",
    "documented_minimum",
    "encode",
    "exit_code",
    "fold",
    "forgiven",
    "has_pages",
    "inconsistencies",
    "judge",
    "judge_all",
    "kept",
    "kept_sentence",
    "kernel_order",
    "kernel_spec",
    "known_sentence",
    "merge",
    "no_longer_shown",
    "not_run",
    "part",
    "read",
    "read_known_issues",
    "remaining",
    "repeated_sentence",
    "resume_sentence",
    "severity",
    "united",
    "utc_now",
    "with_qualifier",
    "write",
    "write_atomically",
]
