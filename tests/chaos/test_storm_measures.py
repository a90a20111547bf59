"""The measures, against numbers worked out by hand."""

import pytest

from seawall.chaos import Bin, Counts
from seawall.chaos.measures import measure, percentile, recovery, settled, timeline
from seawall.chaos.record import Ending, Record, Request

COUNTS = Counts(7, 3, 1, 2, {"double_charges": 4})


def recorded(*requests: Request, seconds: float = 10, expected: int = 5) -> Record:
    """Return a record of these requests."""
    record = Record(seconds, expected)
    for request in requests:
        record.add(request)
    return record


def fresh(due: float, latency: float, target: str = "catalog") -> Request:
    """Return a request with a fresh answer."""
    return Request(due, latency, "fresh", target)


@pytest.mark.parametrize(("percent", "expected"), [(50, 2.0), (75, 3.0), (76, 4.0), (99, 4.0), (1, 1.0), (100, 4.0)])
def test_percentiles_are_values_that_were_measured(percent: int, expected: float) -> None:
    """The nearest rank: no value between two measured ones is made up."""
    assert expected == percentile([1.0, 2.0, 3.0, 4.0], percent)


def test_ranks_are_exact() -> None:
    """Of 20 values the 19th is the 95th percentile, of 100 the 95th: fractions do not push it on."""
    assert [19, 95, 950] == [percentile(range(1, n + 1), 95) for n in (20, 100, 1000)]
    assert [7, 29, 58] == [percentile(range(1, 101), percent) for percent in (7, 29, 58)]


def test_nothing_measured_is_none() -> None:
    """A run that was cut short before its first answer has counts, and no shares or times."""
    measures = measure(recorded(), COUNTS, {"catalog": None})

    assert {
        "requests": 0,
        "availability": None,
        "p50": None,
        "p95": None,
        "p99": None,
        "wasted_calls": 7,
        "retries": 3,
        "breaker_openings": 1,
        "fallbacks": 2,
        "recovery_seconds": None,
        "double_charges": 4,
    } == measures.as_dict()


def test_the_measures_of_a_variant() -> None:
    """Two of five requests are of no use: the late one and the failure; latencies are of all five."""
    endings: list[tuple[Ending, float]] = [
        ("fresh", 0.1),
        ("cached", 0.2),
        ("fallback", 0.3),
        ("late", 7),
        ("failed", 5),
    ]
    record = recorded(*(Request(number, latency, ending) for number, (ending, latency) in enumerate(endings)))
    measures = measure(record, COUNTS, {})

    assert (5, 0.6, 0.3, 7, 7) == (measures.requests, measures.availability, measures.p50, measures.p95, measures.p99)
    assert {"double_charges": 4} == measures.further
    assert list(measures.as_dict())[-1] == "double_charges"


def test_availability_is_rounded_down() -> None:
    """1 means all of them, not nearly all."""
    record = recorded(*(fresh(0, 0.1) for _ in range(99_999)), Request(0, 0.1, "failed"))

    assert 0.9999 == measure(record, COUNTS, {}).availability


def test_promises_that_were_not_kept_are_not_available() -> None:
    """Of three pending answers one has a reference that is unsettled; a fresh one of that reference is none of them."""
    record = recorded(
        Request(0, 0.1, "pending", reference="a"),
        Request(1, 0.1, "pending", reference="b"),
        Request(2, 0.1, "pending"),
        Request(3, 0.1, "fresh", reference="b"),
    )
    known = settled(record, frozenset({"b", "z"}))

    assert {"pending": 2, "unsettled": 1, "fresh": 1} == known.endings
    assert 0.75 == measure(known, COUNTS, {}).availability
    assert len(record.bins) == len(known.bins)


def test_recovery_is_the_first_fresh_answer_to_a_request_due_after_the_last_fault() -> None:
    """Earlier requests, other targets, late and cached answers do not count; the order of their ends does."""
    requests = [
        fresh(7.9, 0.2),
        fresh(8.0, 0.1, "mail"),
        Request(8.0, 0.1, "cached", "catalog"),
        Request(8.1, 2.5, "late", "catalog"),
        fresh(8.5, 0.9),
        fresh(8.7, 0.3),
    ]

    assert 1.0 == recovery(requests, {"catalog": 8.0})


def test_the_slowest_target_counts() -> None:
    """Each from when its own last fault was lifted."""
    requests = [fresh(5, 0.5), fresh(9.0, 0.25, "mail")]

    assert 1.25 == recovery(requests, {"catalog": 5.0, "mail": 8.0})


@pytest.mark.parametrize("lifted", [{"catalog": 5.0, "mail": 8.0}, {"catalog": 5.0, "mail": None}, {"mail": 1.0}, {}])
def test_without_recovery_there_is_no_time(lifted: dict[str, float | None]) -> None:
    """A target that did not come back, one that was never lifted, or nothing that was struck."""
    assert None is recovery([fresh(5.0, 0.5)], lifted)


def test_the_time_line_sorts_requests_by_when_they_were_due() -> None:
    """A bin without requests has no p95; what is due at the very end belongs to the last one."""
    record = recorded(fresh(0, 0.1), Request(1.9, 6, "late"), fresh(4, 0.3), fresh(10, 0.2))

    assert (
        Bin(0, 2, {"fresh": 1, "late": 1}, 6),
        Bin(2, 4, {}, None),
        Bin(4, 6, {"fresh": 1}, 0.3),
        Bin(6, 8, {}, None),
        Bin(8, 10, {"fresh": 1}, 0.2),
    ) == timeline(record)


def test_a_time_line_has_at_most_60_bins() -> None:
    """No more than there are requests; in each are as many as in the others, where that can be."""
    expected = (0, 5, 59, 60, 61, 400, 1800, 5003)

    assert [1, 5, 59, 60, 60, 50, 60, 60] == [len(timeline(Record(10, number))) for number in expected]


@pytest.mark.parametrize(("seconds", "rate"), [(10, 40), (30, 60), (7, 30), (3, 100)])
def test_bins_hold_equal_numbers_of_requests(seconds: float, rate: float) -> None:
    """What is due at the border of two belongs to the second, in spite of the errors of fractions."""
    number = int(seconds * rate)
    record = recorded(*(fresh(index / rate, 0.1) for index in range(number)), seconds=seconds, expected=number)

    assert 1 == len({sum(part.values()) for part in record.bins})
