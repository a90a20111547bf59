"""How statuses add up: the worst of many, and thresholds over a row of results."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.health import Health
from seawall.health.status import SEVERITY, Status, settle, worst

STATUSES = st.sampled_from(get_args(Status))
ROWS = st.lists(STATUSES, min_size=1, max_size=12)


def test_unknown_is_worse_than_degraded_and_better_than_unhealthy() -> None:
    """What is not known to be well must not hide behind what is."""
    assert ["healthy", "degraded", "unknown", "unhealthy"] == sorted(get_args(Status), key=SEVERITY.__getitem__)
    assert "unknown" == worst(["healthy", "unknown", "degraded"])
    assert "unhealthy" == worst(["unknown", "unhealthy"])
    assert "healthy" == worst([])


@pytest.mark.parametrize(
    ("row", "failures", "successes", "expected"),
    [
        ("H U", 1, 1, "unhealthy"),
        ("H U U", 3, 2, "healthy"),
        ("H U U U", 3, 2, "unhealthy"),
        ("H U U H U U", 3, 2, "healthy"),
        ("H D D U", 3, 1, "degraded"),  # the mildest of the row
        ("H D D U U U", 3, 1, "unhealthy"),
        ("U H", 1, 2, "unhealthy"),
        ("U H H", 1, 2, "healthy"),
        ("U H D", 1, 2, "degraded"),  # the worst of the row
        ("U H U H U H", 3, 2, "unhealthy"),  # a flapper stays what it was
        ("U", 3, 3, "unhealthy"),  # the first result counts at once
    ],
)
def test_thresholds(row: str, failures: int, successes: int, expected: Status) -> None:
    """It takes so many worse results in a row to report something worse, and so many better ones for the better."""
    results = [{"H": "healthy", "D": "degraded", "U": "unhealthy"}[each] for each in row.split()]

    assert expected == _reported(results, failures, successes)


@given(ROWS)
def test_with_thresholds_of_one_the_last_result_is_reported(row: list[Status]) -> None:
    """By default what was found last is what is reported."""
    assert row[-1] == _reported(row, 1, 1)


@given(ROWS, st.integers(1, 4), st.integers(1, 4))
def test_only_a_result_seen_lately_is_reported(row: list[Status], failures: int, successes: int) -> None:
    """A change leads to the status of one of the results that brought it about, never to one that was not found."""
    before = _reported(row[:-1], failures, successes) if len(row) > 1 else None
    after = _reported(row, failures, successes)

    assert after == before or after in row[-max(failures, successes) :]


@given(STATUSES, st.integers(1, 5), st.integers(1, 5), st.integers(5, 9))
def test_what_lasts_is_reported_in_the_end(status: Status, failures: int, successes: int, times: int) -> None:
    """Whatever it was, enough equal results are reported."""
    assert status == _reported(["healthy", "unhealthy", *[status] * times], failures, successes)


def test_a_status_of_another_library_is_refused() -> None:
    """The error names what there is."""
    with pytest.raises(ValueError, match="status='UP' is unknown; use one of 'healthy', 'degraded'"):
        Health("UP")  # type: ignore[arg-type]


def _reported(row: list[Status], failures: int, successes: int) -> Status:
    reported, recent = row[0], [row[0]]
    for status in row[1:]:
        recent.append(status)
        reported = settle(reported, recent[-max(failures, successes) :], failures, successes)
    return reported
