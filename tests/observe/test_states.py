"""What is read when somebody looks: states, figures, health, switches, the process. Looking changes nothing."""

import gc
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest

from seawall import Bulkhead, CircuitBreaker, Fallback, Pipeline, RateLimit, Retry, Timeout, WorkerPool
from seawall._core.switch import Switch
from seawall.observe import Histogram, Metrics
from seawall.observe.instruments import MOST_SERIES
from seawall.testing import FakeClock, Recorder
from tests.runtime.fleet import environment

STATES = ["closed", "disabled", "half_open", "isolated", "metrics_only", "open"]


def about(metrics: Metrics, *names: str) -> list[str]:
    """Returns the series of a scrape that name one of these."""
    lines = metrics.render().splitlines()
    return [line for line in lines if any(f'"{name}"' in line for name in names) and not line.startswith("#")]


def test_every_series_of_a_breaker_is_there_before_its_first_call() -> None:
    """Each state with 0 or 1, transitions, rejections, failures: an alert never waits for a first failure."""
    breaker = CircuitBreaker(failures=3, name="first scrape")
    lines = about(Metrics(), breaker.name)
    status = [f'seawall_circuit_breaker_status{{strategy_name="first scrape",state="{state}"}}' for state in STATES]
    assert [f"{each} {int('closed' in each)}" for each in status] == [line for line in lines if "_status" in line]
    for name in ("transitions_total", "rejected_total", "failures"):
        assert any(line.startswith(f"seawall_circuit_breaker_{name}{{") and line.endswith(" 0") for line in lines)


def test_reading_a_thousand_times_changes_nothing() -> None:
    """An open breaker whose time is up is shown half-open, and stays as it is until a call comes; nobody is told."""
    with FakeClock() as clock:
        breaker = CircuitBreaker(failures=1, open_for=30, window_calls=10, min_calls=1, name="read often")
        bulkhead = Bulkhead(2, name="read often too")
        breaker.acquire().failure()
        permit = bulkhead.acquire()
        clock.advance(30)
        metrics, heard = Metrics(), Recorder()
        first = about(metrics, breaker.name, bulkhead.name)
        before = (breaker.snapshot(), bulkhead.snapshot())
        with heard:
            for _ in range(1000):
                metrics.collect()
        assert (before, first) == (
            (breaker.snapshot(), bulkhead.snapshot()),
            about(metrics, breaker.name, bulkhead.name),
        )
        assert 'seawall_circuit_breaker_status{strategy_name="read often",state="half_open"} 1' in first
        assert [] == heard.events
        permit.release()


def test_a_share_of_failures_is_told_once_it_means_something() -> None:
    """Below the least number of calls there is no series, rather than a made-up value."""
    breaker = CircuitBreaker(failure_rate=0.5, window_calls=10, min_calls=4, name="share")
    share = 'seawall_circuit_breaker_failure_share{strategy_name="share"}'
    metrics = Metrics()
    for end in ("failure", "success", "success"):
        getattr(breaker.acquire(), end)()
    assert [] == [line for line in about(metrics, "share") if line.startswith(share)]
    breaker.acquire().success()
    assert [f"{share} 0.25"] == [line for line in about(metrics, "share") if line.startswith(share)]
    assert 'seawall_circuit_breaker_failures{strategy_name="share"} 1' in about(metrics, "share")


def test_bulkheads_and_pools_tell_what_they_hold_may_hold_and_keep_waiting() -> None:
    """A pool's queue is what is beyond its threads."""
    bulkhead, pool = Bulkhead(5, max_waiting=2, name="held"), WorkerPool("pooled", 2, 3)
    permit = bulkhead.acquire()
    pool._busy.extend([None] * 3)
    lines = about(Metrics(), "held", "pooled")
    for name, figures in (("held", (1, 5, 0)), ("pooled", (2, 2, 1))):
        for what, figure in zip(("in_flight", "limit", "queued"), figures, strict=True):
            assert f'seawall_bulkhead_{what}{{strategy_name="{name}"}} {figure}' in lines
        assert f'seawall_bulkhead_rejected_total{{strategy_name="{name}"}} 0' in lines
    permit.release()


def test_other_strategies_have_their_series_from_the_start() -> None:
    """A retry's, a rate limit's, a fallback's and a pipeline's own."""
    kept = Pipeline(
        "from the start",
        Fallback(None, on=ConnectionError),
        Retry(on=ConnectionError),
        RateLimit(5),
        Timeout(1.0),
    )
    prefix = kept.name
    lines = about(Metrics(), prefix, f"{prefix}.retry", f"{prefix}.ratelimit", f"{prefix}.rate_limit")
    for series in (
        f'seawall_pipeline_duration_seconds_count{{pipeline_name="{prefix}",outcome="success"}} 0',
        f'seawall_fallback_active{{pipeline_name="{prefix}"}} 0',
        f'seawall_fallback_duration_seconds_count{{pipeline_name="{prefix}"}} 0',
        f'seawall_retry_calls_total{{strategy_name="{prefix}.retry",result="gave_up"}} 0',
        f'seawall_rate_limiter_rejected_total{{strategy_name="{kept.get(RateLimit).name}"}} 0',
    ):
        assert series in [*lines, *about(Metrics(), kept.get(RateLimit).name)]


def test_what_is_gone_has_no_state() -> None:
    """Its counts stay; a gauge that nothing stands behind does not."""
    breaker = CircuitBreaker(failures=3, name="soon gone")
    metrics = Metrics()
    assert any("_status" in line for line in about(metrics, "soon gone"))
    del breaker
    gc.collect()
    lines = about(metrics, "soon gone")
    assert [] == [line for line in lines if "_status" in line]
    assert any("_rejected_total" in line for line in lines)


def test_strategies_beyond_two_hundred_are_told_together() -> None:
    """In-flight calls and limits add up under `other`; of states the worst is told there."""
    kept = [Bulkhead(1, name=f"many {number}") for number in range(MOST_SERIES + 50)]
    breakers = [CircuitBreaker(failures=1, name=f"many breakers {number}") for number in range(MOST_SERIES + 50)]
    breakers[-1].isolate()
    reading = Metrics().collect()
    limits, states = reading["gauges"]["seawall.bulkhead.limit"], reading["states"]["seawall.circuit_breaker.status"]
    assert MOST_SERIES + 1 == len(limits)
    assert limits['["other"]'] >= 50
    assert "isolated" == states['["other"]']
    assert len(kept) == 250


@dataclass
class Entry:
    """A check as the monitor reports it."""

    name: str
    status: str
    duration: float = 0.0
    age: float | None = None
    runs: int = 0
    bad_runs: int = 0


@dataclass
class Report:
    """A view as the monitor reports it."""

    status: str
    checks: list[Entry] = field(default_factory=list)


def test_health_is_told_by_probe_and_by_check() -> None:
    """States, ages, and every run once: its duration, and whether it was bad."""
    database = Entry("database", "healthy", 0.25, 3.0, runs=1)
    reports = {
        "all": Report("degraded", [database, Entry("cache", "degraded"), Entry("odd", "on fire")]),
        "live": Report("healthy"),
        "ready": Report("unhealthy"),
    }
    metrics = Metrics(health=reports.__getitem__)
    first = about(metrics, "database", "cache", "odd", "all", "live", "ready")
    for series in (
        'seawall_health_status{probe="all",state="degraded"} 1',
        'seawall_health_status{probe="all",state="healthy"} 0',
        'seawall_health_status{probe="live",state="healthy"} 1',
        'seawall_health_status{probe="ready",state="unhealthy"} 1',
        'seawall_health_check_status{check_name="database",state="healthy"} 1',
        'seawall_health_check_status{check_name="cache",state="degraded"} 1',
        'seawall_health_check_age_seconds{check_name="database"} 3',
        'seawall_health_check_duration_seconds_sum{check_name="database"} 0.25',
        'seawall_health_check_failures_total{check_name="database"} 0',
    ):
        assert series in first
    assert not any("odd" in line and "_status" in line for line in first)
    metrics.render()
    database.runs, database.bad_runs, database.duration = 2, 1, 0.5
    for _ in range(3):
        later = about(metrics, "database")
    assert 'seawall_health_check_duration_seconds_count{check_name="database"} 2' in later
    assert 'seawall_health_check_duration_seconds_sum{check_name="database"} 0.75' in later
    assert 'seawall_health_check_failures_total{check_name="database"} 1' in later


def test_switches_are_told_by_position() -> None:
    """Off, on for a part of the calls, on; of a pattern, of a policy, of both."""
    switches = [
        Switch("retry", "rates", 0.0, "runtime"),
        Switch("timeout", None, 0.5, "code"),
        Switch(None, "bank", 1.0, "env"),
    ]
    lines = [line for line in Metrics(switches=lambda: switches).render().splitlines() if line.endswith(" 1")]
    assert {
        'seawall_switch_status{switch_name="retry",policy="rates",state="off"} 1',
        'seawall_switch_status{switch_name="timeout",policy="*",state="partial"} 1',
        'seawall_switch_status{switch_name="*",policy="bank",state="on"} 1',
    } == {line for line in lines if line.startswith("seawall_switch_status")}


def test_the_process_tells_what_it_uses() -> None:
    """Memory, processor time and open files of this very process, in plausible figures."""
    figures = Metrics().figures()
    assert 5_000_000 < figures["seawall.process.memory"][()] < 10**11  # type: ignore[operator]
    assert 0 < figures["seawall.process.cpu"][()] < 10**6  # type: ignore[operator]
    before = figures["seawall.process.open_fds"][()]
    with open(__file__), open(__file__):
        assert before + 2 == Metrics().figures()["seawall.process.open_fds"][()]  # type: ignore[operator]


def test_the_event_loops_lag_is_told_where_it_is_known() -> None:
    """Once for every snapshot; without anybody who knows, there is no series."""
    lags = iter([0.002, None, 0.02])
    metrics = Metrics(loop_lag=lambda: next(lags))
    for _ in range(2):
        metrics.collect()
    text = metrics.render()
    assert "seawall_event_loop_lag_seconds_count 2\n" in text
    assert "seawall_event_loop_lag_seconds_sum 0.022\n" in text
    assert "seawall_event_loop_lag" not in Metrics().render()


def test_a_source_that_fails_spoils_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once, and the rest is told; when it works again, and fails again, it is logged again."""
    answers: list[Any] = [RuntimeError("no"), RuntimeError("no"), [], RuntimeError("no")]

    def switches() -> list[Switch]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    metrics = Metrics(switches=switches, health=lambda view: Report("healthy"))
    for _ in range(4):
        assert 'seawall_health_status{probe="all",state="healthy"} 1' in metrics.render()
    assert 2 == sum("metrics of switches could not be read" in record.message for record in caplog.records)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"names": "ours"}, ValueError),
        ({"runtime": "app"}, TypeError),
        ({"health": 1}, TypeError),
        ({"switches": []}, TypeError),
        ({"loop_lag": 0.5}, TypeError),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments: dict[str, Any], error: type[Exception]) -> None:
    """With the value, and what would be right."""
    with pytest.raises(error, match=f"{next(iter(arguments))}=.*use "):
        Metrics(**arguments)


def test_an_instrument_is_fed_by_whoever_knows() -> None:
    """By its name in the table and its kind; what is not there is refused."""
    metrics = Metrics()
    metrics.get("seawall.event_loop.lag", Histogram).observe(0.5)
    assert "seawall_event_loop_lag_seconds_sum 0.5\n" in metrics.render()
    with pytest.raises(LookupError, match=r"no instrument 'seawall.nothing'; use one of seawall.bulkhead"):
        metrics.get("seawall.nothing", Histogram)
    with pytest.raises(TypeError, match=r"'seawall\.http\.errors' is a Counter, not a Histogram"):
        metrics.get("seawall.http.errors", Histogram)


def test_importing_starts_nothing_and_loads_little() -> None:
    """No thread, no third-party module, and nothing of the floors above."""
    script = (
        "import sys, threading, seawall.observe; print(threading.active_count(), "
        "sorted({n.partition('.')[0] for n in sys.modules} - sys.stdlib_module_names - {'seawall', '__main__'}))"
    )
    ran = subprocess.run(
        [sys.executable, "-S", "-c", script], env=environment(), capture_output=True, text=True, check=True
    )
    assert "1 []\n" == ran.stdout
