"""Retry-After: seconds, the three forms of dates, and what says nothing."""

from datetime import UTC, datetime

import pytest

from seawall import Retried, Retry, RetryStopped
from seawall.integrations.httpx import transient
from seawall.testing import FakeClock, Recorder
from tests.integrations.httpx.driver import Wire
from tests.integrations.httpx.server import answer

NOW = datetime(2019, 6, 3, 11, 0, 0, tzinfo=UTC).timestamp()
OWN = 1.5  # the Retry's own delay, which is the least

SECONDS = {"3600": 3600.0, "2": 2.0, "1": OWN, "0": OWN, "21600": 21600.0, "  60  ": 60.0, "00060": 60.0}
DATES = {
    "Mon, 03 Jun 2019 11:30:12 GMT": 1812.0,
    "Monday, 03-Jun-19 11:30:12 GMT": 1812.0,
    "Mon Jun  3 11:30:12 2019": 1812.0,
    "Mon, 03 Jun 2019 12:00:00 GMT": 3600.0,
    "Monday, 03-Jun-19 12:00:00 GMT": 3600.0,
    "Mon Jun  3 12:00:00 2019": 3600.0,
    "Mon, 03 Jun 2019 11:00:00 GMT": OWN,
    "Mon, 03 Jun 2019 10:59:59 GMT": OWN,
    "Sunday, 06-Nov-94 08:49:37 GMT": OWN,
    "Sun Nov  6 08:49:37 1994": OWN,
    "Mon, 03 Jun 2019 17:00:00 GMT": 21600.0,
}
NOTHING = ["soon", "-5", "", "1.5", "1e3", "0x10", "٣", "inf", "nan", "10 s", "2, 3", "Mon, 99 Jun 2019 11:30:12 GMT"]


def hinted(wire: Wire, hint: str, status: int = 503, **how: object) -> tuple[list[float], list[str], int, int]:
    """Makes a call whose first answer has a hint. Returns delays, why it stopped, the status, and how many requests."""
    raw = [("Retry-After", hint.encode().decode("latin-1"))]
    wire.server.play("/", answer(), answer(status, headers=raw), answer())
    options: dict[str, object] = {"max_retry_after": 21600, "max_elapsed": None, "backoff": OWN, **how}
    client = wire.client(Retry(on=transient, max_attempts=2, **options), timeout=None)  # type: ignore[arg-type]
    with FakeClock(wall=NOW) as clock:
        client.get("/")  # the connection is there: time stands still until the delay
        clock.set_wall(NOW)
        with Recorder() as events:
            status = client.get("/").status_code
    delays = [event.delay for event in events.of(Retried)]
    return delays, [event.reason for event in events.of(RetryStopped)], status, wire.server.hits()


@pytest.mark.parametrize(("hint", "delay"), [*SECONDS.items(), *DATES.items()])
def test_a_hint_is_the_least_delay(wire: Wire, hint: str, delay: float) -> None:
    """Seconds, IMF-fixdate, RFC 850 and asctime; what has passed is no wait."""
    assert ([delay], [], 200, 3) == hinted(wire, hint)


@pytest.mark.parametrize("status", [429, 408, 500, 502])
def test_every_failing_status_may_hint(wire: Wire, status: int) -> None:
    """Not 503 alone."""
    assert ([3600.0], [], 200, 3) == hinted(wire, "3600", status)


@pytest.mark.parametrize("hint", NOTHING)
def test_a_hint_that_says_nothing(wire: Wire, hint: str) -> None:
    """The Retry's own delay it is."""
    assert ([OWN], [], 200, 3) == hinted(wire, hint)


@pytest.mark.parametrize("hint", ["21601", "9" * 400, "Mon, 03 Jun 2019 17:00:01 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_hint_above_the_cap(wire: Wire, hint: str) -> None:
    """Ends the retrying: the caller has the response, with the hint in it."""
    assert ([], ["retry_after"], 503, 2) == hinted(wire, hint)


def test_hints_may_be_left_alone(wire: Wire) -> None:
    """`retry_after=False`: the own delay, whatever the server says."""
    assert ([OWN], [], 200, 3) == hinted(wire, "3600", retry_after=False)
    assert ([OWN], [], 200, 6) == hinted(wire, "21601", retry_after=False)


def test_a_hint_on_an_answer_is_none(wire: Wire) -> None:
    """A 404 is not retried, whatever it says."""
    assert ([], [], 404, 2) == hinted(wire, "1", 404)


def test_without_a_hint(wire: Wire) -> None:
    """The own delay."""
    wire.server.play("/", answer(503), answer())
    client = wire.client(Retry(on=transient, max_attempts=2, backoff=OWN), timeout=None)
    with FakeClock(), Recorder(Retried) as events:
        assert 200 == client.get("/").status_code
    assert [OWN] == [event.delay for event in events.of(Retried)]


def test_hints_in_streams(wire: Wire) -> None:
    """Before the first byte everything is as in a plain call."""
    wire.server.play("/", answer(429, headers={"Retry-After": "20"}), answer())
    client = wire.client(Retry(on=transient, max_attempts=2, backoff=OWN), timeout=None)
    with FakeClock(), Recorder(Retried) as events, client.stream("GET", "/") as response:
        assert (200, b"fine") == (response.status_code, response.read())
    assert [20.0] == [event.delay for event in events.of(Retried)]
