"""What `--help` says beneath the options, where it is long or said of several commands."""

EXIT_CODES = """\b
Exit codes:
  0    everything as expected
  1    an unexpected verdict (run), a regression or a newly flaky cell (diff)
  2    usage: an option, a kernel spec or a file that cannot be meant or collected
  3    not done, or not all of it, for reasons of infrastructure (run); verdicts or cells are missing (diff)
  130  interrupted; what is done is kept
1 wins over 3."""

SPECS = """\b
A kernel SPEC is
  6.1                        a series: its newest kernel
  6.1.0-42-cloud-amd64       a release, as `uname -r` says it
  6.1.170-1                  a package version
  linux-image-…=6.1.170-1    one package, exactly
  '6.*'                      a glob: of series, else of releases
  all, latest                the newest of every series; the newest of all
  host                       the running kernel, without a guest
  debian12, bookworm         a distribution: the newest kernel of its own
  ./bzImage, ./linux/, x.deb a path: an image, a kernel build tree, a package"""

SETTINGS = """\b
Settings come from the option, else from the environment (URING_MATRIX_CACHE, URING_MATRIX_MIRROR,
URING_MATRIX_ACCEL, URING_MATRIX_OFFLINE=1), else from [tool.uring-matrix] in pyproject.toml."""


def epilog(*parts: str) -> str:
    """Put paragraphs together; one that begins with a backspace is shown as it is written."""
    return "\n\n".join(parts)


CAN = epilog(
    """\b
Examples:
  uring-matrix can                               everything that results know
  uring-matrix can accept-multishot send_zc      which kernel has both
  uring-matrix can IORING_OP_FTRUNCATE --on 6.1  is it there?
  uring-matrix can statx --on debian12 site/results.json""",
    """\b
A WHAT is an id, a title, a symbol with or without what all have in front, Zig's title of a test.
A KERNEL is one of the results: a series, release, version, glob, all, latest, or a distribution.
One that was not tested is not known, whatever those before and after it have.
RESULTS is the last word, if a results.json lies there or it ends in .json; otherwise matrix/.""",
    """\b
Exit codes:
  0  yes: all of it is there, on each KERNEL; or else from some kernel on up to the newest
  1  no: something is not there; or there is no such kernel
  2  nothing is called that way, or several things are; the nearest are named
  3  not known: a kernel was not tested, or a cell has no verdict
1 wins over 3. Without a WHAT there is a list, and the code is 0.""",
    """\b
The JSON is one object: schema_version (1), answer (yes, no, unknown; null for a list), not_tested
(distributions), and lines, one per architecture, each with
  arch, mode, answer, distributions (name to answer)
  together      documented, works_from, is_exact, not_on, lost_by, unknown_on: of all capabilities
  on            asked, distribution, kernels, answer, beside (kernel to answer), for each --on
  kernels       id, series, release, package_version, distribution
  capabilities  id, title, kind, basis (tested, observed, stated), symbols, alias, group,
                documented, works_from and so on as in together, on (kernel to answer);
                of observed ones states, claimed, values (each by kernel)
Fields may be added; those named here stay.""",
)

TESTS = epilog(
    """\b
Examples:
  uring-matrix tests
  uring-matrix tests -k 'accept and not direct'""",
    """\b
The JSON is one object: schema_version (1), and tests, each with
  id, title, group, since, symbols, source, kind, zig, doc
Fields may be added; those named here stay.""",
)

SHOW = epilog(
    """\b
Examples:
  uring-matrix show 5.10 accept-multishot
  uring-matrix show debian12 IORING_OP_FTRUNCATE
  uring-matrix show 7.3 test_nop --mode coop-taskrun site/
  uring-matrix show all nop --json""",
    """\b
KERNEL is one of the results: a series, release, version, glob, all, latest, or a distribution.
TEST is an id, a title, a symbol or Zig's title; what several tests have in common shows each.""",
    """\b
Exit codes:
  0  the verdicts are as expected
  1  an unexpected verdict
  2  there is no such cell; the nearest are named
  3  a cell has no verdict (infra, notrun), or a kernel could not be asked
1 wins over 3.""",
    """\b
The JSON is one object: schema_version (1), and cells, each with
  id, title, symbols, basis, kernel, release, distribution, arch, mode
  outcome (yes, no, unknown), expectation, error, result (the row of results.json, or null)
  console, console_lines   the file, and its lines of this test (with --console all)
Fields may be added; those named here stay.""",
)
