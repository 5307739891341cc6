"""What is documented against what was observed. Pure functions."""

from collections.abc import Iterable, Mapping

from conformance.capabilities.record import Capability, Source


def series_key(series: str) -> tuple[int, ...]:
    """For sorting and comparing `5.10` and `6.1`."""
    return tuple(int(number) for number in series.split("."))


def contradicting(source: Source, observed: Mapping[str, str]) -> tuple[str, ...]:
    """Which kernels contradict somebody's word about the first kernel.

    Args:
        source: says that kernels from a version on have it, and older ones do not.
        observed: series to what was observed there: `has`, `lacks`; other states contradict nobody.

    Returns:
        The series that have it and are older, and those that lack it and are not.
    """
    first = series_key(source.version)
    return tuple(
        series
        for series in sorted(observed, key=series_key)
        if (observed[series] == "has" and series_key(series) < first)
        or (observed[series] == "lacks" and series_key(series) >= first)
    )


def disagreements(
    capabilities: Iterable[Capability], observed: Mapping[str, Mapping[str, str]]
) -> dict[tuple[str, Source], tuple[str, ...]]:
    """Everything that is documented and was observed to be otherwise.

    Args:
        capabilities: the facts.
        observed: series to id to state.

    Returns:
        For a capability's id and a source of its, the series that contradict it.
    """
    found = {}
    for one in capabilities:
        states = {series: found_there[one.id] for series, found_there in observed.items()}
        for source in one.sources:
            if series := contradicting(source, states):
                found[one.id, source] = series
    return found
