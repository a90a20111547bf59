"""The report: one file that loads nothing, says what was measured, and escapes what it is told."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from seawall.chaos import Bin, Conditions, Counts, Fault, FaultPeriod, Result, VariantResult, write_report
from seawall.chaos.measures import measure, timeline
from seawall.chaos.record import Ending, Record, Request
from seawall.chaos.report import page
from seawall.chaos.words import percent, recovered, rows, seconds, verdict

HOSTILE = """<script src="https://evil.example/x.js">alert('x')</script>&amp;"""
VOID = {"meta", "br", "link", "img", "input", "hr"}


class Reader(HTMLParser):
    """Reads a page: its tags with their attributes, its text, and whether every tag is closed in turn."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep it."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep it."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Check that it is the innermost one."""
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        """Keep it, outside the style sheet."""
        if "style" not in self.open:
            self.text += data


def a_side(endings: dict[Ending, int], counts: Counts, lifted: float | None = 8.0) -> VariantResult:
    """Return a variant whose requests ended so, evenly over 10 s."""
    all_of_them: list[Ending] = [ending for ending, number in endings.items() for _ in range(number)]
    record = Record(10, len(all_of_them))
    for number, ending in enumerate(all_of_them):
        late = 2.5 if ending == "late" else 0.02
        record.add(Request(10 * number / len(all_of_them), late, ending, "catalog" if ending == "fresh" else None))
    record.failures["ConnectError"] = endings.get("failed", 0)
    measures = measure(record, counts, {"catalog": lifted})
    return VariantResult(measures, dict(record.endings), dict(record.failures), timeline(record))


def a_result(**changes: Any) -> Result:
    """Return a result of two variants with every way of ending."""
    bare = a_side({"failed": 40, "late": 20, "fresh": 60}, Counts(200, 0, 0, 0, {"double_charges": 3, "lost": 0}))
    endings: dict[Ending, int] = {"cached": 20, "fallback": 10, "pending": 5, "unsettled": 1, "fresh": 84}
    protected = a_side(endings, Counts(60, 25, 2, 30, {"double_charges": 0, "lost": 0}))
    result = Result(
        scenario="TicketWave",
        says="A shop.",
        conditions=Conditions(10, 12, 7),
        usable_within=2.0,
        faults=(
            FaultPeriod(Fault("catalog", "refuse", 0.2, 0.4, "refuses every connection"), 2.0, 4.0),
            FaultPeriod(Fault("catalog", "errors", 0.3, 0.8, "answers 503"), 3.0, 8.0),
        ),
        notes=("Breaks are short.",),
        variants={"bare": bare, "protected": protected},
        cut_short=False,
        lasted=10.0,
        date=datetime(2025, 6, 15, 12, 30, tzinfo=UTC),
        python="CPython 3.12.1",
    )
    return replace(result, **changes)


def test_it_is_a_page_that_loads_nothing() -> None:
    """No script, no link, no image, no address; a policy that forbids them; every tag closed."""
    text = page(a_result())
    reader = Reader(text)

    assert [] == reader.open
    assert set() == {tag for tag, _ in reader.tags} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "a",
        "form",
        "image",
    }
    assert [] == re.findall(r"https?:|//\w|@import|url\((?!#of-\w+\))", text)
    assert set() == {name for _, attributes in reader.tags for name in attributes} & {"src", "href", "xlink:href"}
    policies = [attributes["content"] for _, attributes in reader.tags if "http-equiv" in attributes]
    assert ["default-src 'none'; style-src 'unsafe-inline'"] == policies


def test_the_charts_are_whole_and_named() -> None:
    """Each is well-formed, and says to those who do not see it what it is; fillings that are used exist."""
    text = page(a_result())
    charts = [ElementTree.fromstring(chart) for chart in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]
    named = [chart.get("aria-label") for chart in charts if chart.get("role") == "img"]

    assert 6 == len(named) == len([chart for chart in charts if chart.find("title") is not None])
    assert {"true"} == {chart.get("aria-hidden") for chart in charts if chart.get("role") is None}
    assert [
        "When each fault was there, by dependency",
        "Requests of bare over time, stacked by how they ended",
        "Requests of protected over time, stacked by how they ended",
        "p95 of the latency over time, for bare and protected",
    ] == named[2:]
    assert set(re.findall(r"url\(#(.*?)\)", text)) <= set(re.findall(r'<pattern id="(.*?)"', text))


def test_the_verdict_comes_first() -> None:
    """One sentence, with the figures; the scenario's own measures only where there is something to say."""
    text = Reader(page(a_result())).text
    sentence = (
        "In 10 s with 2 faults, bare left 60 of 120 requests without an answer of use, protected 1 of 120; "
        "availability 50.00 % and 99.16 %, latency p95 2.50 s and 20 ms, wasted calls 200 and 60, "
        "double charges 3 and 0."
    )

    assert sentence == verdict(a_result())
    assert text.index("Storm: TicketWave") < text.index(sentence) < text.index("A shop.") < text.index("Figures")


def test_every_figure_is_there() -> None:
    """The measures, how requests ended, the script, the notes, the definitions, and the conditions."""
    text = Reader(page(a_result())).text
    wanted = (
        *(
            "50.00 %",
            "99.16 %",
            "2.50 s",
            "20 ms",
            "200",
            "60",
            "double charges",
            "lost",
            "Half of all requests took no",
        ),
        *("refuses every connection", "answers 503", "catalog: refuse", "3.0 s", "8.0 s", "of no use after 2 s"),
        *("Breaks are short.", "ConnectError", "CPython 3.12.1", "2025-06-15 12:30:00 UTC", "seed", "open loop"),
    )

    assert [] == [words for words in wanted if words not in text]
    assert [] == [row.says for row in rows(a_result()) if row.says not in text]


def test_the_better_one_is_marked() -> None:
    """By a sign, not by its looks alone; measures that are neither good nor bad, and equal ones, have none."""
    result = a_result()

    assert {"availability": 1, "p95": 1, "p99": 1, "wasted_calls": 1, "double_charges": 1} == {
        row.key: row.better for row in rows(result) if row.better is not None
    }
    assert 6 == Reader(page(result)).text.count("✓")


def test_a_variant_that_did_not_recover_is_the_worse_one() -> None:
    """Not seen is longer than any time."""
    side = a_side({"fresh": 120}, Counts(0, 0, 0, 0), lifted=9.0)
    never = a_side({"failed": 9}, Counts(0, 0, 0, 0))
    recovery = next(row for row in rows(a_result(variants={"a": side, "b": never})) if row.key == "recovery_seconds")

    assert (("20 ms", "not seen"), 0) == (recovery.cells, recovery.better)


def test_hostile_texts_are_escaped() -> None:
    """Of the scenario, its faults, its variants, its notes and its exceptions: none becomes a tag."""
    side = replace(a_side({"failed": 5, "fresh": 5}, Counts(0, 0, 0, 0, {HOSTILE: 1})), failures={HOSTILE: 5})
    text = page(
        a_result(
            scenario=HOSTILE,
            says=HOSTILE,
            notes=(HOSTILE,),
            python=HOSTILE,
            variants={HOSTILE: side, "b": side},
            faults=(FaultPeriod(Fault(HOSTILE, HOSTILE, 0.2, 0.4, HOSTILE), 2.0, 4.0),),
        )
    )
    reader = Reader(text)

    assert [] == reader.open
    assert not {"script"} & {tag for tag, _ in reader.tags}
    assert "<script" not in text
    assert reader.text.count(HOSTILE) >= 10
    assert [] == [
        chart for chart in re.findall(r"<svg.*?</svg>", text, re.DOTALL) if ElementTree.fromstring(chart) is None
    ]


def test_a_run_that_was_cut_short_says_so() -> None:
    """At the top; a fault that was on ends there, one that was not reached says that it was not."""
    never = FaultPeriod(Fault("mail", "latency", 0.8, 0.9, "slow"))
    on = FaultPeriod(Fault("catalog", "refuse", 0.2, 0.9, "refuses"), 2.0, None)
    text = Reader(page(a_result(cut_short=True, lasted=4.2, faults=(on, never)))).text

    assert "Cut short: in the first 4.2 s with 1 fault, bare left" in text
    assert "Cut short after 4.2 of 10 s" in text
    assert "not reached" in text


def test_nothing_measured_is_a_report_too() -> None:
    """Of a run that was cut short before the load: no figures, no charts of nothing that fail."""
    empty = a_side({}, Counts(0, 0, 0, 0))
    result = a_result(variants={"bare": empty, "protected": empty}, cut_short=True, lasted=0.0, faults=(), notes=())
    reader = Reader(page(result))

    assert [] == reader.open
    assert "Nothing was measured: the run was cut short before any request had ended." in reader.text
    assert "The script has none." in reader.text


def test_extremes_are_drawn() -> None:
    """A bin of one request, latencies beyond the scale, an hour, and a fraction of a second."""
    bins = (Bin(0, 0.1, {"fresh": 1}, 0.00001), Bin(0.1, 0.2, {}, None), Bin(0.2, 0.3, {"late": 9999}, 120.0))
    side = replace(a_side({"fresh": 1}, Counts(0, 0, 0, 0)), timeline=bins)
    for length in (0.3, 3600.0):
        text = page(a_result(variants={"a": side, "b": side}, conditions=Conditions(length, 1, 1), lasted=length))
        places = [float(place) for place in re.findall(r'\b[xy][12]?="(-?[\d.]+)"', text)]
        assert 0 <= min(places) <= max(places) <= 960


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (seconds(0.0123), "12 ms"),
        (seconds(0.9996), "1.00 s"),
        (seconds(None), "–"),
        (percent(0.99999), "99.99 %"),
        (percent(1.0), "100 %"),
        (percent(0.29), "29.00 %"),
        (percent(None), "–"),
        (recovered(None), "not seen"),
    ],
)
def test_figures_as_people_read_them(words: str, expected: str) -> None:
    """Short, with their units, and never better than they were."""
    assert expected == words


def test_it_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """What was there stays when the new one cannot be made, and no draft is left."""
    path = tmp_path / "report.html"
    write_report(a_result(), path)
    before = path.read_text(encoding="utf-8")
    with pytest.raises(AttributeError):
        write_report(a_result(variants={"bare": None, "protected": None}), path)
    with pytest.raises(FileNotFoundError):
        write_report(a_result(), tmp_path / "nowhere" / "report.html")

    assert page(a_result()) == before == path.read_text(encoding="utf-8")
    assert [path] == list(tmp_path.iterdir())
