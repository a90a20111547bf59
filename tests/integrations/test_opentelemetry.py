"""OpenTelemetry, with the SDK's exporters in memory: the same figures, events on spans, spans of pipelines."""

import asyncio
import importlib.util
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast
from weakref import WeakValueDictionary

import pytest

from seawall import (
    Bulkhead,
    CallTimeoutError,
    CircuitBreaker,
    CircuitOpenError,
    Fallback,
    Pipeline,
    Retry,
    Timeout,
)
from seawall._core.names import NAMES
from seawall.observe import TABLE, Metrics
from tests.both import Colour, both, pipeline
from tests.runtime.fleet import environment

if importlib.util.find_spec("opentelemetry.sdk") is None:
    pytest.skip("OpenTelemetry's SDK is not installed", allow_module_level=True)

from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from seawall.integrations.opentelemetry import Traced, add_events, export_metrics

SPANS = InMemorySpanExporter()
PROVIDER = TracerProvider()
PROVIDER.add_span_processor(SimpleSpanProcessor(SPANS))
TRACER = PROVIDER.get_tracer("test")


@pytest.fixture(autouse=True)
def _nobody_else_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide what other tests have left alive: with hundreds of names, instruments add up the rest as `other`."""
    monkeypatch.setattr(NAMES, "_listed", WeakValueDictionary())


@pytest.fixture(autouse=True)
def no_spans() -> None:
    """Nothing is left of the test before."""
    SPANS.clear()


def spans() -> dict[str, ReadableSpan]:
    """Returns the spans that have ended, by name."""
    return {span.name: span for span in SPANS.get_finished_spans()}


def events(span: ReadableSpan) -> list[tuple[str, dict[str, Any]]]:
    """Returns the events of a span: name and attributes."""
    return [(event.name, dict(event.attributes or {})) for event in span.events]


@pytest.fixture
def exported() -> Iterator[tuple[Metrics, InMemoryMetricReader]]:
    """Metrics that listen, and a reader that they are exported to."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    with Metrics() as metrics:
        end = export_metrics(metrics, provider)
        yield metrics, reader
        end()
    provider.shutdown()


def read(reader: InMemoryMetricReader) -> dict[str, Any]:
    """Returns what a collection gives: by name the metric."""
    data = reader.get_metrics_data()
    scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
    return {metric.name: metric for scope in scopes for metric in scope.metrics}


def points(metric: Any) -> dict[tuple[tuple[str, str], ...], Any]:
    """Returns a metric's points by their attributes."""
    return {tuple(sorted(point.attributes.items())): point for point in metric.data.data_points}


def fail() -> None:
    """Fails, with a password in its text."""
    raise ConnectionError("amqp://u:hunter2@mq is gone")


def test_the_same_figures_are_exported_as_rendered(exported: tuple[Metrics, InMemoryMetricReader]) -> None:
    """Counters, gauges and states as they are; with the names, units and attributes of the table; states as 0 and 1."""
    _, reader = exported
    bank = Pipeline(
        "otel bank", Retry(on=ConnectionError, backoff=0.0), Bulkhead(7), CircuitBreaker(failures=3), Timeout(5.0)
    )
    with pytest.raises(ConnectionError):
        bank.call(fail)
    with pytest.raises(CircuitOpenError):
        bank.call(fail)
    seen = read(reader)
    breaker = ("strategy.name", "otel bank.breaker")
    assert 1 == points(seen["seawall.circuit_breaker.transitions"])[("state", "open"), breaker].value
    assert 1 == points(seen["seawall.circuit_breaker.rejected"])[breaker,].value
    assert 7 == points(seen["seawall.bulkhead.limit"])[("strategy.name", "otel bank.bulkhead"),].value
    status = {
        dict(key)["state"]: each.value
        for key, each in points(seen["seawall.circuit_breaker.status"]).items()
        if breaker in key
    }
    assert {"closed": 0, "open": 1, "half_open": 0, "isolated": 0, "disabled": 0, "metrics_only": 0} == status
    for row in TABLE:
        metric = seen.get(row.name)
        if metric is not None:
            assert (row.unit, row.description) == (metric.unit, metric.description)
            assert {key for point in metric.data.data_points for key in point.attributes} <= set(row.attributes)
    assert all("worker" not in name.rpartition(".")[0] or "breaker" in name for name in seen)


def test_durations_are_recorded_with_the_tables_buckets(exported: tuple[Metrics, InMemoryMetricReader]) -> None:
    """Every call, by how it ended; a success has no error type."""
    _, reader = exported
    plain = Pipeline("otel plain", Timeout(5.0))
    for _ in range(10):
        plain.call(lambda: None)
    with pytest.raises(ConnectionError):
        plain.call(fail)
    found = points(read(reader)["seawall.pipeline.duration"])
    ours = {dict(key)["outcome"]: point for key, point in found.items() if ("pipeline.name", "otel plain") in key}
    assert {"success": 10, "failure": 1} == {outcome: point.count for outcome, point in ours.items()}
    (row,) = (row for row in TABLE if row.name == "seawall.pipeline.duration")
    assert row.buckets == tuple(ours["success"].explicit_bounds)
    assert {"pipeline.name", "outcome"} == set(ours["success"].attributes)
    assert "ConnectionError" == ours["failure"].attributes["error.type"]


def test_an_export_that_has_ended_exports_nothing() -> None:
    """Neither what is read nor what is recorded; metrics go on."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    with Metrics() as metrics:
        end = export_metrics(metrics, provider)
        plain = Pipeline("otel ended", Timeout(5.0))
        end()
        end()
        plain.call(lambda: None)
        assert {} == read(reader)
        assert (
            'seawall_pipeline_duration_seconds_count{pipeline_name="otel ended",outcome="success"} 1'
            in metrics.render()
        )
    provider.shutdown()


@both
def test_attempts_and_transitions_are_events_of_the_current_span(colour: Colour) -> None:
    """In order, with the strategy, the figures and the masked failure. The span's status is its own."""
    bank = pipeline(Retry(on=ConnectionError, backoff=1.0), CircuitBreaker(failures=3, open_for=30), Timeout(5.0))
    end = add_events()
    try:
        with TRACER.start_as_current_span("request"), pytest.raises(ConnectionError):
            colour.call(bank, colour.script(ConnectionError("amqp://u:hunter2@mq is gone")))
    finally:
        end()
    request = spans()["request"]
    failure = {"error.type": "ConnectionError", "error.message": "amqp://u:***@mq is gone"}
    retry, breaker = f"{bank.name}.retry", f"{bank.name}.breaker"
    assert [
        ("seawall.retried", {"strategy.name": retry, "seawall.attempt": 1, "seawall.delay": 1.0, **failure}),
        ("seawall.retried", {"strategy.name": retry, "seawall.attempt": 2, "seawall.delay": 1.0, **failure}),
        (
            "seawall.circuit_changed",
            {
                "strategy.name": breaker,
                "seawall.old": "closed",
                "seawall.new": "open",
                "seawall.open_for": 30.0,
                **failure,
            },
        ),
        (
            "seawall.retry_stopped",
            {
                "strategy.name": retry,
                "seawall.attempts": 3,
                "seawall.reason": "attempts",
                "seawall.elapsed": 2.0,
                **failure,
            },
        ),
    ] == events(request)[:4]
    ((name, recorded),) = events(request)[4:]
    assert ("exception", "ConnectionError", "amqp://u:***@mq is gone") == (
        name,
        recorded["exception.type"],
        recorded["exception.message"],
    )
    assert "hunter2" not in str(events(request))
    assert StatusCode.UNSET == request.status.status_code


def test_without_a_span_nothing_is_written_and_nothing_fails() -> None:
    """Nor after the end."""
    end = add_events(exceptions=False)
    plain = Pipeline("otel no span", Retry(on=ConnectionError, backoff=0.0, max_attempts=2), Timeout(5.0))
    with pytest.raises(ConnectionError):
        plain.call(fail)
    end()
    end()
    with TRACER.start_as_current_span("request"), pytest.raises(ConnectionError):
        plain.call(fail)
    assert [] == events(spans()["request"])


def test_a_rejection_is_an_event_and_no_exception() -> None:
    """The dependency was not asked."""
    breaker = CircuitBreaker(failures=1, name="otel open")
    breaker.isolate()
    end = add_events()
    with TRACER.start_as_current_span("request"), pytest.raises(Exception, match="isolated"):
        Pipeline("otel rejecting", breaker, Timeout(5.0)).call(fail)
    end()
    names = [name for name, _ in events(spans()["request"])]
    assert ["seawall.call_rejected"] == names[:1]
    assert 1 == len(names)


@both
def test_a_traced_pipeline_has_a_span_for_every_call(colour: Colour) -> None:
    """Named after the pipeline, a child of the current span, with all attempts inside; success, failure, rejection."""
    bank = pipeline(
        Traced(tracer_provider=PROVIDER, attributes={"peer": "bank"}),
        Retry(on=ConnectionError, backoff=1.0, max_attempts=2),
        CircuitBreaker(failures=3, open_for=30),
        Timeout(5.0),
    )

    def work() -> str:
        with TRACER.start_as_current_span("work"):
            return "done"

    end = add_events()
    with TRACER.start_as_current_span("request"):
        assert "done" == colour.call(bank, colour.script(ConnectionError("amqp://u:hunter2@mq"), work))
    end()
    seen = spans()
    span, request = seen[bank.name], seen["request"]
    assert span.parent is not None
    assert request.context.span_id == span.parent.span_id
    assert seen["work"].parent is not None
    assert span.context.span_id == seen["work"].parent.span_id
    assert ["seawall.retried", "seawall.recovered"] == [name for name, _ in events(span)]
    assert {"peer": "bank", "outcome": "success"} == dict(span.attributes or {})
    assert StatusCode.UNSET == span.status.status_code


@both
def test_a_traced_failure_is_recorded_with_its_status(colour: Colour) -> None:
    """With the traceback, and without the password."""
    bank = pipeline(Traced("pay", tracer_provider=PROVIDER), Timeout(5.0))
    with pytest.raises(ConnectionError):
        colour.call(bank, colour.script(ConnectionError("amqp://u:hunter2@mq is gone")))
    pay = spans()["pay"]
    assert (StatusCode.ERROR, "ConnectionError: amqp://u:***@mq is gone") == (
        pay.status.status_code,
        pay.status.description,
    )
    assert {"outcome": "failure", "error.type": "ConnectionError"} == dict(pay.attributes or {})
    ((name, recorded),) = events(pay)
    assert "exception" == name
    assert "Traceback" in recorded["exception.stacktrace"]
    assert "hunter2" not in str(events(pay))


def test_a_cancelled_call_ends_its_span_without_an_error() -> None:
    """Nobody failed."""
    traced = Pipeline("otel cancelled", Traced(tracer_provider=PROVIDER), Timeout(60.0))

    async def main() -> None:
        task = asyncio.create_task(traced.acall(asyncio.Event().wait))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())
    span = spans()["otel cancelled"]
    assert ({"outcome": "cancelled"}, StatusCode.UNSET) == (dict(span.attributes or {}), span.status.status_code)


def test_a_time_out_is_a_failure_of_the_span() -> None:
    """As with any other failure."""
    traced = Pipeline("otel slow", Traced(tracer_provider=PROVIDER), Timeout(0.01))

    async def main() -> None:
        with pytest.raises(CallTimeoutError):
            await traced.acall(asyncio.Event().wait)

    asyncio.run(main())
    assert "CallTimeoutError" == (spans()["otel slow"].attributes or {})["error.type"]


def current() -> str:
    """Returns the name of the current span."""
    return str(getattr(trace.get_current_span(), "name", "none"))


def test_a_streams_span_lasts_until_its_end_and_is_current_for_the_producer_alone() -> None:
    """Whoever takes the items is outside it, whether the stream ends, fails, or is left."""
    traced = Traced("stream", tracer_provider=PROVIDER, name="otel stream")

    @traced
    def items(fails: bool = False) -> Iterator[str]:
        for _ in range(2):
            yield current()
        if fails:
            raise ConnectionError("gone")

    @traced
    async def aitems(fails: bool = False) -> AsyncIterator[str]:
        for item in items.__wrapped__(fails):  # type: ignore[attr-defined]
            yield item

    async def take(fails: bool = False) -> list[str]:
        taken = []
        async for item in aitems(fails):
            taken += [item, current()]
            assert not spans()
        return taken

    with TRACER.start_as_current_span("request"):
        taken = []
        for item in items():
            taken += [item, current()]
            assert not spans()
        assert ["stream", "request"] * 2 == taken
        assert ["stream"] == list(spans())
        SPANS.clear()
        assert ["stream", "request"] * 2 == asyncio.run(take())
        assert ["stream"] == list(spans())
        for fail_ in (lambda: list(items(True)), lambda: asyncio.run(take(True))):
            SPANS.clear()
            with pytest.raises(ConnectionError):
                fail_()
            assert StatusCode.ERROR == spans()["stream"].status.status_code
        SPANS.clear()
        left = cast("Any", items())
        next(left)
        left.close()
        assert "cancelled" == (spans()["stream"].attributes or {})["outcome"]
        assert "request" == current()


def test_a_decorated_function_gives_its_span_its_name() -> None:
    """Traced alone is a decorator like every strategy; without an SDK it does nothing."""

    @Traced(tracer_provider=PROVIDER)
    def create_invoice() -> str:
        return current()

    assert "create_invoice" == create_invoice()
    assert "none" == Traced(name="otel none")(current)()


@pytest.mark.parametrize("wrong", ["", 7])
def test_a_span_name_is_a_text(wrong: object) -> None:
    """The error says what would be right."""
    with pytest.raises(TypeError, match=r"span_name=.* use a text such as 'CreateInvoice'"):
        Traced(wrong)  # type: ignore[arg-type]


def test_a_fallback_inside_a_span_is_told_there() -> None:
    """The call succeeded, and its span says how."""
    end = add_events()
    spared = Pipeline("otel spared", Fallback("spare", on=ConnectionError), Traced("inner", tracer_provider=PROVIDER))
    with TRACER.start_as_current_span("request"):
        assert "spare" == spared.call(fail)
    end()
    ((name, attributes),) = events(spans()["request"])
    assert ("seawall.fell_back", "value") == (name, attributes["seawall.served_by"])
    assert StatusCode.ERROR == spans()["inner"].status.status_code


def test_the_api_alone_is_enough() -> None:
    """No part of the SDK is imported, and everything works without one."""
    script = (
        "import sys; from seawall import Pipeline, Timeout; from seawall.observe import Metrics; "
        "from seawall.integrations.opentelemetry import Traced, add_events, export_metrics; "
        "m = Metrics(); m.start(); export_metrics(m); add_events(); "
        "print(Pipeline('p', Traced(), Timeout(1)).call(lambda: 'done'), any('sdk' in name for name in sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=False)
    assert "done False\n" == ran.stdout, ran.stderr
