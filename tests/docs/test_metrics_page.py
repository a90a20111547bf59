"""The page about metrics, held to the code: its table is the table, and a scrape shows that and nothing else."""

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from weakref import WeakValueDictionary

import pytest

from seawall import Event, listen, snapshot
from seawall._core.names import NAMES
from seawall._core.switch import SOURCES, SWITCHES
from seawall._registry import set_switches
from seawall.observe import TABLE
from tests.docs.busy_service import Busy, busy

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
TYPES = {"state": "gauge"}
SAMPLE = re.compile(r"^([a-z_]+)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')
NO_METRIC = {"seawall_event", "seawall_schema"}
"""The attribute of a log record, and a table."""
MOVING = ("seawall_process_", "seawall_event_loop_lag_", "seawall_health_check_age_", "seawall_worker_up")
"""What changes with time, whoever looks."""


@pytest.fixture(autouse=True)
def _nobody_else(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hide what other tests have left alive, and leave no switch."""
    monkeypatch.setattr(NAMES, "_listed", WeakValueDictionary())
    before = {source: [switch for switch in SWITCHES if switch.source == source] for source in SOURCES}
    yield
    for source, switches in before.items():
        set_switches(source, switches)


def table_rows() -> list[str]:
    """Returns the rows of the page's tables of metrics, in order."""
    return [line for line in PAGE.splitlines() if re.match(r"\| `\w+` \| (?:counter|gauge|histogram) \|", line)]


def samples(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Gives family and labels of every sample of a scrape."""
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    for line in text.splitlines():
        found = SAMPLE.match(line)
        if found is not None:
            name, labels = found[1], dict(LABEL.findall(found[2] or ""))
            family = re.sub(r"_(?:bucket|sum|count)$", "", name)
            if kinds.get(family) != "histogram":
                family = name
            labels.pop("le", None)
            yield family, labels


def values_of(label: str) -> set[str]:
    """Returns the values that the page gives for a label."""
    (cell,) = re.findall(rf"^\|[^|]*`{label}`[^|]*\| (.*) \|$", PAGE.split("| Label | Values |")[1], re.MULTILINE)
    return set(re.findall(r"`([\w*+]+)`", cell))


def test_the_table_is_that_of_the_code() -> None:
    """Every instrument with its name in Prometheus, type, labels and meaning, in the order of the code's table."""
    expected = [
        f"| `{row.prometheus}` | {TYPES.get(row.kind, row.kind)} "
        f"| {', '.join(f'`{label}`' for label in row.labels)} | {row.description} |"
        for option in (None, "ticketwave")
        for row in TABLE
        if row.option == option
    ]
    assert expected == table_rows()


def test_a_scrape_shows_every_metric_and_label_of_the_page_and_no_other() -> None:
    """Of a service in which every pattern has worked; and where the values of a label are listed, only those."""

    async def main() -> str:
        async with busy() as service:
            return await service.scrape()

    shown: dict[str, set[str]] = defaultdict(set)
    values: dict[str, set[str]] = defaultdict(set)
    for family, labels in samples(asyncio.run(main())):
        shown[family] |= set(labels)
        for label, value in labels.items():
            values[label].add(value)
    said = {re.findall(r"`(\w+)`", row)[0]: set(re.findall(r"`(\w+)`", row.split(" | ")[2])) for row in table_rows()}
    assert said == dict(shown)
    listed = ("outcome", "result", "state", "probe")
    assert {label: set() for label in listed} == {label: values[label] - values_of(label) for label in listed}


def test_states_are_listed_in_full() -> None:
    """All that an instrument of states may be in, whether it was or not."""
    assert {state for row in TABLE for state in row.states} == values_of("state")


def test_no_page_names_a_metric_that_there_is_not() -> None:
    """Nor a label in an expression."""
    known = {row.prometheus: {*row.labels, "le"} for row in TABLE}
    known |= {f"{row.prometheus}_{part}": known[row.prometheus] for row in TABLE for part in ("bucket", "sum", "count")}
    wrong = []
    for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))):
        for name, braces in re.findall(r"\b(seawall_[a-z_]+)(\{[^}\n]*\})?", path.read_text(encoding="utf-8")):
            labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\"", braces))
            if name not in known | dict.fromkeys(NO_METRIC) or labels - known.get(name, set()):
                wrong.append((path.name, name, labels))
    assert [] == wrong


def test_reading_a_thousand_times_changes_nothing() -> None:
    """Snapshots, scrapes and health are the same after it, breakers whose time is up included; nobody is told."""

    async def read(service: Busy) -> tuple[list[str], str, str]:
        text = await service.scrape()
        health = (await service.client.get("/health")).json()
        still = [line for line in text.splitlines() if not line.startswith(MOVING)]
        return still, repr({**snapshot(), "health": None}), repr(health)

    async def main() -> None:
        async with busy() as service:
            service.clock.advance(3600.0)  # the breaker of "pages" may be probed now
            before = await read(service)
            assert 'seawall_circuit_breaker_status{strategy_name="pages.breaker",state="half_open"} 1' in before[0]
            told: list[Event] = []
            stop = listen(told.append)
            for _ in range(1000):
                await read(service)
            stop()
            assert (before, []) == (await read(service), told)

    asyncio.run(main())
