"""Time-outs, deadlines, and what is sent on with a request: the time left and the correlation id."""

import asyncio
import math
import re
from contextlib import suppress
from typing import Any

import pytest

from seawall import (
    CallTimeoutError,
    CircuitBreaker,
    DeadlineExceededError,
    Hedge,
    Retried,
    RetryStopped,
    Timeout,
    correlation,
    deadline,
    remaining,
)
from seawall.integrations.httpx import unprocessed
from seawall.testing import FakeClock, Recorder
from tests.integrations.httpx.driver import Wire, counted, counter, retry, unbounded
from tests.integrations.httpx.server import answer, head, later, redirect, reset, stall, trickle

LEFT = "x-request-timeout"
ID = "x-correlation-id"


def sent(wire: Wire, header: str, path: str | None = None) -> list[str | None]:
    """Returns what each request had in a header."""
    return [request.headers.get(header) for request in wire.server.seen(path)]


def test_the_time_left_goes_with_each_attempt(swire: Wire) -> None:
    """In seconds, decimal, less each time."""
    swire.server.play("/", answer(503), answer(503), answer())
    client = swire.client(retry(3, backoff=2.25))
    with FakeClock(), deadline(10):
        assert 200 == client.get("/").status_code
    assert ["10.000", "7.750", "5.500"] == sent(swire, LEFT)


def test_the_time_left_by_the_real_clock(wire: Wire) -> None:
    """In both colours; of the deadline, or of the Timeout of each attempt."""
    wire.server.play("/", answer(503), answer(503), answer())
    with deadline(10):
        assert 200 == wire.client(retry(3, backoff=0.01)).get("/").status_code
    values = sent(wire, LEFT)
    assert all(re.fullmatch(r"\d+\.\d{3}", str(value)) for value in values)
    first, second, third = (float(str(value)) for value in values)
    assert 10 >= first > second > third > 0
    wire.server.play("/timeout", answer(503), answer())
    wire.client(retry(2), Timeout(7)).get("/timeout")
    assert all(6 < float(str(value)) <= 7 for value in sent(wire, LEFT, "/timeout"))


def test_the_shorter_of_deadline_and_time_out_is_sent(wire: Wire) -> None:
    """Whichever ends first."""
    client = wire.client(Timeout(7))
    with deadline(3):
        client.get("/deadline")
    with deadline(60):
        client.get("/timeout")
    left = [float(str(value)) for value in sent(wire, LEFT)]
    assert (True, True) == (2 < left[0] <= 3, 6 < left[1] <= 7)


def test_without_a_deadline_nothing_is_sent(wire: Wire) -> None:
    """There is no such header then."""
    wire.client(retry(1)).get("/")
    assert [None] == sent(wire, LEFT)


def test_a_deadline_that_never_ends(wire: Wire) -> None:
    """Is none: nothing is sent, and no time-out becomes longer than sockets can bear."""
    client = wire.client(retry(1), timeout=None)
    with deadline(math.inf):
        assert 200 == client.get("/").status_code
    assert [None] == sent(wire, LEFT)


def test_the_callers_own_headers_win(wire: Wire) -> None:
    """In every attempt, and they stay in the request."""
    wire.server.play("/", answer(503), answer())
    client = wire.client(retry(2))
    request = client.own.build_request("GET", "/", headers={"X-Request-Timeout": "3", "X-Correlation-ID": "mine"})
    with deadline(10), correlation("ours"):
        client.send(request)
    assert (["3", "3"], ["mine", "mine"]) == (sent(wire, LEFT), sent(wire, ID))
    assert ("3", "mine") == (request.headers["x-request-timeout"], request.headers["x-correlation-id"])


@pytest.mark.parametrize("ending", ["answer", "failure", "time-out", "rejection"])
def test_the_request_has_nothing_of_ours_afterwards(wire: Wire, ending: str) -> None:
    """Neither headers nor shortened time-outs, however the call ended."""
    wire.server.play("/", {"answer": answer(), "failure": reset()}.get(ending, stall()))
    breaker = CircuitBreaker(failures=1)
    client = wire.client(retry(2), breaker, Timeout(0.1 if ending == "time-out" else 5), timeout=wire.reading(7))
    request = client.own.build_request("GET", "/")
    before = dict(request.headers), dict(request.extensions["timeout"])
    hold = breaker.isolate() if ending == "rejection" else None
    with deadline(10), correlation("ours"):
        if ending == "answer":
            assert request is client.send(request).request
        else:
            with pytest.raises(wire.lib.TransportError) as caught:
                client.send(request)
            assert request is caught.value.request
    assert before == (dict(request.headers), dict(request.extensions["timeout"]))
    assert hold is None or 0 == wire.server.hits()


def test_a_hook_may_take_out_what_was_sent_on(wire: Wire) -> None:
    """Redirects carry it anew: each hop is a request with the time that is left then."""
    wire.server.play("/", redirect("/next"))
    client = wire.client(retry(2), follow_redirects=True)
    with deadline(10), correlation("one"):
        client.get("/")
    assert ["one", "one"] == sent(wire, ID)
    first, second = (float(str(value)) for value in sent(wire, LEFT))
    assert 10 >= first >= second > 5


def test_the_correlation_id_goes_with_each_attempt(wire: Wire) -> None:
    """Of the innermost block; without one there is none."""
    wire.server.play("/", answer(503), answer())
    client = wire.client(retry(2))
    with correlation("outer"), correlation("inner"):
        client.get("/")
    client.get("/")
    assert ["inner", "inner", None] == sent(wire, ID)


def test_correlation_ids_do_not_mix(awire: Wire) -> None:
    """Of 50 tasks at once, each has its own."""
    client = awire.client(retry(2))

    async def call(number: int) -> None:
        with correlation(f"id{number}"):
            await client.own.get(f"/{number}")

    async def main() -> None:
        await asyncio.gather(*(call(number) for number in range(50)))

    awire.run(main())
    assert {f"/{number}": f"id{number}" for number in range(50)} == {
        request.path: request.headers[ID] for request in awire.server.seen()
    }


STALLS = {"head": b"", "body": head(), "rest": head() + b"half"}


@pytest.mark.parametrize("place", STALLS)
def test_a_time_out_cuts_what_stalls(wire: Wire, place: str) -> None:
    """Long before the client's own time-outs: an error of ours and the client's, a failure for the breaker."""
    wire.server.play("/", stall(STALLS[place]))
    breaker = counter()
    client = wire.client(breaker, Timeout(0.08), timeout=60)
    with pytest.raises(CallTimeoutError) as caught:
        client.get("/")
    error = caught.value
    assert isinstance(error, wire.lib.TimeoutException)
    assert not isinstance(error, wire.lib.ReadTimeout | wire.lib.NetworkError)
    assert (False, 0.08, False) == (error.by_deadline, error.limit, unprocessed(error))
    assert ((1, 1), 0) == (counted(breaker), client.busy())


@pytest.mark.parametrize("place", STALLS)
def test_a_deadline_cuts_what_stalls(wire: Wire, place: str) -> None:
    """That says nothing about the server: the breaker counts nothing, and nothing is retried."""
    wire.server.play("/", stall(STALLS[place]))
    breaker = counter()
    client = wire.client(retry(3), breaker, timeout=60)
    with deadline(0.08), Recorder(Retried) as events, pytest.raises(CallTimeoutError) as caught:
        client.get("/")
    assert isinstance(caught.value, wire.lib.TimeoutException)
    assert (True, False, []) == (caught.value.by_deadline, unprocessed(caught.value), events.events)
    assert ((0, 0), 1, 0) == (counted(breaker), wire.server.hits(), client.busy())


@pytest.mark.parametrize("limit", ["Timeout", "deadline"])
def test_a_body_that_trickles_is_cut(wire: Wire, limit: str) -> None:
    """A byte now and then keeps the client's own time-outs quiet, not ours."""
    wire.server.play("/", trickle(head(200, 250), times=250))
    breaker = counter()
    client = wire.client(breaker, Timeout(0.1 if limit == "Timeout" else 60))
    with deadline(0.1 if limit == "deadline" else 60), pytest.raises(CallTimeoutError) as caught:
        client.get("/")
    assert ((limit == "deadline"), 0) == (caught.value.by_deadline, client.busy())
    assert ((1, 1) if limit == "Timeout" else (0, 0)) == counted(breaker)


def test_the_clients_own_time_out_may_be_shorter(wire: Wire) -> None:
    """Then its error comes out, unchanged, and is a failure too."""
    wire.server.play("/", stall())
    breaker = counter()
    client = wire.client(retry(2), breaker, Timeout(20), timeout=wire.reading(0.05))
    with deadline(30), pytest.raises(wire.lib.ReadTimeout) as caught:
        client.get("/")
    assert not isinstance(caught.value, CallTimeoutError)
    assert ((2, 2), 2) == (counted(breaker), wire.server.hits())


def test_a_time_out_of_one_call_may_be_given_with_it(wire: Wire) -> None:
    """`timeout=` of the call is kept to, and not lengthened by ours."""
    wire.server.play("/", stall())
    client = wire.client(Timeout(60))
    with pytest.raises(wire.lib.ReadTimeout):
        client.get("/", timeout=wire.reading(0.05))


def test_no_attempt_starts_after_the_deadline(wire: Wire) -> None:
    """The call that met it is not retried; one that comes after it is not made."""
    wire.server.play("/", later(0.03, answer(503)))
    client = wire.client(retry(1000, backoff=0.01, max_elapsed=None))
    with deadline(0.15):
        with Recorder(RetryStopped) as events, suppress(CallTimeoutError, DeadlineExceededError):
            assert 503 == client.get("/").status_code
        hits = wire.server.hits()
        assert {event.reason for event in events.of(RetryStopped)} <= {"deadline"}
        while remaining():
            pass
        with pytest.raises(DeadlineExceededError):
            client.get("/")
    assert hits == wire.server.hits() < 6


def test_a_wait_that_does_not_fit_is_not_begun(wire: Wire) -> None:
    """The caller has the response at once."""
    wire.server.play("/", answer(503, headers={"Retry-After": "20"}))
    with deadline(10), Recorder(RetryStopped) as events:
        assert 503 == wire.client(retry(3)).get("/").status_code
    assert ["deadline"] == [event.reason for event in events.of(RetryStopped)]


def test_the_deadline_bounds_redirects_together(wire: Wire) -> None:
    """Each hop has what is left."""
    wire.server.play("/", later(0.02, redirect("/")))
    client = wire.client(retry(2), follow_redirects=True, max_redirects=100)
    with deadline(0.15), pytest.raises(wire.lib.TimeoutException) as caught:
        client.get("/")
    assert isinstance(caught.value, CallTimeoutError | DeadlineExceededError)
    assert 2 <= wire.server.hits() <= 8


def test_each_attempt_of_a_hedge_says_what_is_left(awire: Wire) -> None:
    """Less for the later one, and nothing stays in the request."""
    awire.server.play("/", stall(), answer())
    client = awire.client(Hedge(0.05), Timeout(7))
    request = client.own.build_request("GET", "/")
    with deadline(5):
        assert 200 == client.send(request).status_code
    first, second = (float(str(value)) for value in sent(awire, LEFT))
    assert 5 >= first > second > 3
    assert LEFT not in request.headers


def test_a_transport_of_the_callers_sees_shortened_time_outs(swire: Wire) -> None:
    """All four of them, where the client has longer ones or none."""
    seen: list[Any] = []

    class Looks(swire.lib.BaseTransport):  # type: ignore[misc]
        def handle_request(self, request: Any) -> Any:
            seen.append(dict(request.extensions["timeout"]))  # as it is now
            return swire.lib.Response(200)

    client = swire.client(unbounded(retry(1)), transport=Looks())
    with FakeClock(), deadline(4):
        client.get("/", timeout=swire.lib.Timeout(2, read=30, pool=None))
        client.get("/", timeout=None)
    client.get("/", timeout=3)
    assert [
        {"connect": 2, "read": 4.0, "write": 2, "pool": 4.0},
        {"connect": 4.0, "read": 4.0, "write": 4.0, "pool": 4.0},
        {"connect": 3, "read": 3, "write": 3, "pool": 3},
    ] == seen
