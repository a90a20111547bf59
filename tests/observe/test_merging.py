"""Many workers, one set of figures: the rules, and what is done with what does not fit."""

import json
import time
from typing import Any

from seawall._runtime.runtime import Gathering
from seawall.observe.merge import Figures, merge
from seawall.observe.service_names import derive
from seawall.observe.table import OUTAGES

DURATION = "seawall.pipeline.duration"


def worker(name: str, *, written: float | None = None, **parts: Any) -> dict[str, Any]:
    """Returns a worker's snapshot; series are given by their label values."""
    section = {
        part: {row: {json.dumps(list(key)): each for key, each in series.items()} for row, series in rows.items()}
        for part, rows in parts.items()
    }
    now = time.time() if written is None else written
    return {"id": name, "written": now, "sections": {"metrics": section}}


def test_counters_and_distributions_are_added_up_those_of_the_dead_too() -> None:
    """Series by series, whoever has them."""
    one = worker(
        "1",
        counters={
            "seawall.retry.attempts": {("a", "2"): 1, ("b", "2"): 2},
            DURATION: {("p", "success", ""): [1] * 13 + [0.5]},
        },
    )
    two = worker(
        "2", counters={"seawall.retry.attempts": {("a", "2"): 10}, DURATION: {("p", "success", ""): [2] * 13 + [0.25]}}
    )
    dead = {"metrics": {"seawall.retry.attempts": {'["a", "2"]': 100, '["c", "2"]': 1}}, "other": {"x": {"[]": 1}}}
    figures = merge(Gathering([one, two], dead))  # type: ignore[arg-type]
    assert {("a", "2"): 111, ("b", "2"): 2, ("c", "2"): 1} == figures["seawall.retry.attempts"]
    assert {("p", "success", ""): [3] * 13 + [0.75]} == figures[DURATION]


def test_gauges_go_by_the_rule_of_their_row() -> None:
    """What is held and may be held adds up; of shares and ages the largest is told."""
    ones = {
        "seawall.bulkhead.in_flight": {("a",): 1},
        "seawall.bulkhead.limit": {("a",): 5},
        "seawall.circuit_breaker.failure_share": {("b",): 0.25},
        "seawall.health.check.age": {("c",): 3},
    }
    twos = {
        "seawall.bulkhead.in_flight": {("a",): 2},
        "seawall.bulkhead.limit": {("a",): 5},
        "seawall.circuit_breaker.failure_share": {("b",): 0.5, ("d",): 0},
        "seawall.health.check.age": {("c",): 1},
    }
    figures = merge(Gathering([worker("1", gauges=ones), worker("2", gauges=twos)]))
    assert ({("a",): 3}, {("a",): 10}) == (figures["seawall.bulkhead.in_flight"], figures["seawall.bulkhead.limit"])
    assert {("b",): 0.5, ("d",): 0} == figures["seawall.circuit_breaker.failure_share"]
    assert {("c",): 3} == figures["seawall.health.check.age"]


def test_of_states_the_worst_is_told_and_how_many_workers_are_in_each() -> None:
    """Isolated before open before half-open before closed."""

    def told(*states: str) -> tuple[list[str], dict[str, float]]:
        rows = [{"seawall.circuit_breaker.status": {("a",): state}} for state in states]
        figures = merge(Gathering([worker(str(number), states=each) for number, each in enumerate(rows)]))
        status, workers = figures["seawall.circuit_breaker.status"], figures["seawall.circuit_breaker.workers"]
        counts = {key[1]: each for key, each in workers.items() if each}
        assert 6 == len(status) == len(workers)
        return [key[1] for key, each in status.items() if each], counts  # type: ignore[return-value]

    assert (["open"], {"closed": 2, "open": 1}) == told("closed", "open", "closed")
    assert (["isolated"], {"isolated": 1, "open": 1}) == told("open", "isolated")
    assert (["half_open"], {"half_open": 2}) == told("half_open", "half_open")
    assert (["disabled"], {"closed": 1, "disabled": 1}) == told("closed", "disabled")


def test_health_is_the_worst_of_those_who_know() -> None:
    """A worker whose results are old does not hide what the others know."""
    rows = [{"seawall.health.status": {("ready",): state}} for state in ("unknown", "healthy", "degraded")]
    figures = merge(Gathering([worker(str(number), states=each) for number, each in enumerate(rows)]))
    assert {("ready", "degraded"): 1} == {key: each for key, each in figures["seawall.health.status"].items() if each}


def test_a_silent_worker_is_not_up_and_still_counts() -> None:
    """It may be stopped; what it has told is true. A clock that was set back does not hide a worker for long."""
    now = time.time()
    counters = {"seawall.retry.attempts": {("a", "2"): 1}}
    all_ = [worker(str(age), written=now - age, counters=counters) for age in (0, 3, 60, -60)]
    figures = merge(Gathering([*all_, {"id": "none", "sections": {}}]))
    assert {("0",): 1, ("3",): 1, ("60",): 0, ("-60",): 0, ("none",): 0} == figures["seawall.worker.up"]
    assert {("a", "2"): 4} == figures["seawall.retry.attempts"]


def test_what_does_not_fit_the_table_is_left_out() -> None:
    """Unknown names, other labels, other shapes, other types, wherever they are; what fits is told."""
    bad: list[Any] = [None, 7, [], "x", {"counters": 7, "gauges": [], "states": "x"}]
    odd = {
        "counters": {
            "seawall.retry.attempts": {
                '["a", "2"]': 1,
                '["a"]': 9,
                "[7, 8]": 9,
                "no json": 9,
                '["b", "2"]': [1, 2],
                "[" * 9999: 1,
            },
            "seawall.unknown": {"[]": 1},
            "seawall.bulkhead.limit": {'["a"]': 9},
            DURATION: {'["p", "success", ""]': 3, '["q", "success", ""]': [1, 2, 3]},
        },
        "gauges": {
            "seawall.bulkhead.limit": {'["a"]': 5, '["b"]': "x", '["c"]': True},
            "seawall.retry.attempts": {'["z", "2"]': 1},
        },
        "states": {
            "seawall.circuit_breaker.status": {'["a"]': "open", '["b"]': "burning", '["c"]': 7, '["d"]': ["open"]}
        },
    }
    workers = [{"id": str(number), "sections": {"metrics": each}} for number, each in enumerate([*bad, odd])]
    figures = merge(Gathering(workers))
    assert {("a", "2"): 1} == figures["seawall.retry.attempts"]
    assert {} == figures[DURATION]
    assert {("a",): 5} == figures["seawall.bulkhead.limit"]
    assert [("a", "open")] == [key for key, each in figures["seawall.circuit_breaker.status"].items() if each]
    assert "seawall.unknown" not in figures


def test_ticketwave_is_told_under_its_own_names() -> None:
    """By service: the pipeline after which a strategy was named, or its own name; the first retry is attempt 1."""
    took = [*([0] * len(OUTAGES)), 1, 4000.0]
    figures: Figures = {
        "seawall.circuit_breaker.transitions": {
            ("catalog.breaker", "open"): 2,
            ("catalog.breaker2", "open"): 1,
            ("catalog.breaker", "closed"): 9,
            ("stripe", "open"): 4,
        },
        "seawall.retry.attempts": {("catalog.retry", "2"): 3, ("catalog.retry", "10+"): 1},
        "seawall.fallback.duration": {("catalog",): took},
        "seawall.fallback.active": {("catalog",): 1},
        "seawall.health.check.failures": {("database",): 5},
    }
    assert {
        "circuit_breaker.opened": {("catalog",): 3, ("stripe",): 4},
        "retry.attempts": {("catalog", "1"): 3, ("catalog", "9+"): 1},
        "fallback.duration": {("catalog",): took},
        "degraded_mode.active": {("catalog",): 1},
        "health_check.failures": {("database",): 5},
    } == derive(figures)
