"""Prometheus' text format, to the letter."""

import re

import pytest

from seawall.observe import CONTENT_TYPE, TABLE, Metrics
from seawall.observe.merge import Figures
from seawall.observe.prometheus import to_text
from tests.observe.promtool import complaints

NASTY = 'back\\slash "quotes"\nnew line\r\ttab {braces} , = # ü 日本 \ud800'


def full() -> Figures:
    """Returns figures for every row of the table, with labels of all kinds."""
    figures: Figures = {}
    for row in TABLE:
        value = [*range(len(row.buckets) + 1), 0.125] if row.kind == "histogram" else 3
        labels = [tuple(f"{text}{number}" for number, _ in enumerate(row.attributes)) for text in ("b", "a", NASTY)]
        figures[row.name] = dict.fromkeys(labels, value)  # type: ignore[misc]
    return figures


def test_promtool_has_nothing_against_any_row(pytestconfig: pytest.Config) -> None:
    """Names, units, suffixes, help texts, buckets, escaped labels: `promtool check metrics` is silent."""
    assert "" == complaints(pytestconfig, to_text(full()))


def test_promtool_has_nothing_against_what_a_process_shows(pytestconfig: pytest.Config) -> None:
    """The same for a scrape as it is."""
    assert "" == complaints(pytestconfig, Metrics(names="ticketwave").render())


def test_promtool_would_complain(pytestconfig: pytest.Config) -> None:
    """The two tests above can fail."""
    assert "_total" in complaints(pytestconfig, "# HELP a A.\n# TYPE a counter\na 1\n")


def test_a_small_text_is_exactly_this() -> None:
    """Families by name, series by label values, buckets added up, help with a full stop."""
    figures: Figures = {
        "seawall.worker.up": {("2-1",): 1, ("1-1",): 0},
        "seawall.fallback.duration": {("rates",): [0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 4007.5]},
        "seawall.circuit_breaker.rejected": {("b",): 2.5, ("a",): 10**18},
        "seawall.bulkhead.limit": {},
    }
    buckets = zip(
        ("1", "5", "10", "30", "60", "120", "300", "600", "1800", "3600", "+Inf"), [0] + [2] * 9 + [3], strict=True
    )
    assert [
        "# HELP seawall_circuit_breaker_rejected_total Calls that a circuit breaker did not let through.",
        "# TYPE seawall_circuit_breaker_rejected_total counter",
        'seawall_circuit_breaker_rejected_total{strategy_name="a"} 1000000000000000000',
        'seawall_circuit_breaker_rejected_total{strategy_name="b"} 2.5',
        "# HELP seawall_fallback_duration_seconds "
        "Time from the first call answered by a fallback until the dependency answered again.",
        "# TYPE seawall_fallback_duration_seconds histogram",
        *(f'seawall_fallback_duration_seconds_bucket{{pipeline_name="rates",le="{le}"}} {n}' for le, n in buckets),
        'seawall_fallback_duration_seconds_sum{pipeline_name="rates"} 4007.5',
        'seawall_fallback_duration_seconds_count{pipeline_name="rates"} 3',
        "# HELP seawall_worker_up 1 for a worker, 0 while it is silent.",
        "# TYPE seawall_worker_up gauge",
        'seawall_worker_up{worker="1-1"} 0',
        'seawall_worker_up{worker="2-1"} 1',
    ] == to_text(figures).splitlines()


def test_label_values_are_escaped() -> None:
    """Backslash, quote and line feed; half a surrogate pair, which is no UTF-8, is a question mark."""
    text = to_text({"seawall.worker.up": {(NASTY,): 1}})
    assert r'{worker="back\\slash \"quotes\"\nnew line' in text
    assert text.count("\n") == 3
    assert 'ü 日本 ?"} 1\n' in text
    assert text.encode()


def test_an_empty_label_is_none() -> None:
    """To Prometheus they are the same; a successful call has no error type."""
    figures: Figures = {"seawall.http.errors": {("", "500"): 1, ("", ""): 2}}
    lines = to_text(figures).splitlines()[2:]
    assert ["seawall_http_errors_total 2", 'seawall_http_errors_total{http_response_status_code="500"} 1'] == lines


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (3.0, "3"),
        (0.1, "0.1"),
        (1e-7, "1e-07"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
        (2.0**60, "1.152921504606847e+18"),
    ],
)
def test_numbers_are_those_that_go_reads(value: float, shown: str) -> None:
    """Whole ones without a point, others as short as they can be read back."""
    assert to_text({"seawall.process.memory": {(): value}}).endswith(f"seawall_process_memory_bytes {shown}\n")


def test_each_family_is_there_once_and_all_in_order() -> None:
    """And so is each series; the same figures give the same text, in whatever order they come."""
    figures = full()
    text = to_text(figures)
    families = re.findall(r"^# TYPE (\S+)", text, re.M)
    assert sorted(set(families)) == families
    series = [line.rpartition(" ")[0] for line in text.split("\n") if line and line[0] != "#"]
    assert len(set(series)) == len(series)
    backwards = {name: dict(reversed(each.items())) for name, each in reversed(figures.items())}
    assert text == to_text(backwards)
    assert text.endswith("\n")


def test_the_content_type_names_the_version() -> None:
    """As scrapers ask for it."""
    assert "text/plain; version=0.0.4; charset=utf-8" == CONTENT_TYPE


def test_the_table_is_sound() -> None:
    """No name twice, no name that OpenTelemetry or Prometheus would bend, states with their label, bounds that rise."""
    names = [row.name for row in TABLE]
    assert len(set(names)) == len(names)
    assert len({row.prometheus for row in TABLE}) == len(names)
    for row in TABLE:
        assert re.fullmatch(r"[a-z][a-z_]*(\.[a-z][a-z_]*)+", row.name)
        assert row.unit in ("", "s", "By") or re.fullmatch(r"\{[a-z]+\}", row.unit)
        assert not row.name.endswith(("_total", "_count", "_sum", "_bucket", "_ratio", "_seconds", "_bytes"))
        assert not row.description.endswith(".")
        assert sorted(row.buckets) == list(row.buckets)
        assert (row.kind == "state") == bool(row.states)
        assert row.kind != "state" or row.attributes[-1] == "state"
        assert {row.of, row.counts} - {None} <= set(names)
        assert (row.of is None) == (row.option is None)
