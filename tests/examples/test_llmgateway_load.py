"""The LLM gateway under load, while a tenth of what its providers are asked fails."""

import asyncio
import json

import pytest

pytest.importorskip("sqlalchemy", reason="NO SQLAlchemy: pip install 'sqlalchemy[asyncio]>=2.1'")
pytest.importorskip("aio_pika", reason="NO aio-pika: pip install 'aio-pika>=10.2'")

from examples.llmgateway.load import Load, Report, run
from examples.llmgateway.provider import Faults, Provider
from tests.examples.llmgateway import gateway


def under(load: Load, faults: float, first_word: float = Provider.first_word) -> Report:
    """Put a gateway under load; return the report."""

    async def test() -> Report:
        async with gateway(environ={}) as (system, _):
            for number, provider in enumerate(system.providers.values()):
                provider.faults, provider.first_word = Faults(faults, seed=number), first_word
            report = await run(system.url, load)
        struck = sum((provider.struck for provider in system.providers.values()), start=type(provider.struck)())
        asked = sum(len(provider.asked) for provider in system.providers.values())
        print(json.dumps(report.as_dict()), dict(struck), asked)
        assert 0 < struck.total() < 3 * faults * asked
        assert 0 == system.publisher.lost
        return report

    return asyncio.run(test())


def test_a_tenth_of_faults_is_met_by_the_other_provider_and_not_by_waiting() -> None:
    """Errors < 0.1 %, availability > 99.9 %, p50 < 200 ms, p95 < 1 s, p99 < 3 s, with the policies in earnest."""
    report = under(Load(users=6, seconds=3.0, think=0.03), 0.1)

    assert report.requests > 100
    assert [] == report.missed()
    assert [] == report.misformed
    assert report.figures["hedges"] > 0
    assert report.fallbacks > 0


def test_more_customers_than_there_is_room_for_are_turned_away_in_the_error_format() -> None:
    """With 40 at once the bulkheads are full: the others are told so at once, and those inside are served."""
    report = under(Load(users=40, seconds=0.6, think=0.0, streamed=0.5), 0.1, first_word=0.4)

    assert {"ok", "OVERLOADED"} == set(report.outcomes), report.outcomes
    assert [] == report.misformed
    assert report.figures["bulkhead_rejections"] > 0
    assert report.most_at_once == 40


def test_the_report_says_what_was_missed() -> None:
    """Each target by its name; what is in no error format, too."""
    report = Report(Load(), seconds=1.0, durations=[0.1] * 90 + [1.5] * 8 + [4.0] * 2)
    report.outcomes.update({"ok": 100, "PROVIDER_FAILED": 1, "VALIDATION_ERROR": 1})
    report.misformed.append("<html>")

    assert ["p95", "p99", "error", "availability", "not"] == [missed.split()[0] for missed in report.missed()]
    assert (102, 102.0) == (report.as_dict()["requests"], report.as_dict()["throughput"])


@pytest.mark.parametrize("wrong", [{"users": 0}, {"users": 1001}, {"seconds": 0}, {"streamed": 2}, {"think": -1}])
def test_a_load_is_bounded(wrong: dict[str, float]) -> None:
    """No more than 1000 customers, an hour, and whole shares."""
    with pytest.raises(ValueError, match="is no load; use 1 to 1000 users"):
        Load(**wrong)  # type: ignore[arg-type]
