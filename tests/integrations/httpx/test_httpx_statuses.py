"""Which statuses are failures, for whom, and what the caller gets when the strategies have given up."""

import pytest

from seawall import CircuitBreaker, CircuitOpenError, Retry, RetryStopped
from seawall.integrations.httpx import StatusError, transient
from seawall.testing import Recorder, no_retries
from tests.integrations.httpx.driver import Wire, counted, counter, retry
from tests.integrations.httpx.server import answer

FAILURES = (500, 501, 502, 503, 504, 507, 599, 408)
ANSWERS = (200, 201, 204, 206, 300, 304, 400, 401, 403, 404, 409, 410, 413, 418, 422, 425, 428, 431, 451, 499)


@pytest.mark.parametrize("status", [*FAILURES, 429])
def test_statuses_that_are_retried(wire: Wire, status: int) -> None:
    """5xx, 408 and 429: as often as the Retry says; then the caller has the response itself."""
    path = wire.server.play("/", answer(status, b"no"))
    response = wire.client(retry(3)).get(path)
    assert (status, b"no", 3) == (response.status_code, response.content, wire.server.hits())


def test_statuses_that_are_answers(wire: Wire) -> None:
    """All others come back from the first attempt, and a breaker counts them as successes."""
    breaker = counter()
    client = wire.client(retry(3), breaker)
    for status in ANSWERS:
        path = wire.server.play(f"/{status}", answer(status))
        assert (status, 1) == (client.get(path).status_code, wire.server.hits(path))
    assert (len(ANSWERS), 0) == counted(breaker)


@pytest.mark.parametrize("status", FAILURES)
def test_statuses_that_count_as_failures(wire: Wire, status: int) -> None:
    """For a breaker that was not told what is one."""
    breaker = counter()
    client = wire.client(breaker)
    assert status == client.get(wire.server.play("/", answer(status))).status_code
    assert (1, 1) == counted(breaker)


def test_429_counts_nowhere(wire: Wire) -> None:
    """It never opens a breaker that was not told, and does not mend a row of failures either."""
    wire.server.play("/busy", answer(429))
    breaker = CircuitBreaker(failures=2)
    client = wire.client(retry(3), breaker)
    for _ in range(3):
        assert 429 == client.get("/busy").status_code
    assert ("closed", 0) == (breaker.state, breaker.snapshot().calls)
    wire.server.play("/", answer(503), answer(429), answer(503), answer())
    with no_retries():
        assert [503, 429, 503] == [client.get("/").status_code for _ in range(3)]
    assert "open" == breaker.state
    assert 9 == wire.server.hits("/busy")


def test_429_counts_for_a_breaker_that_was_told_so(wire: Wire) -> None:
    """`on=transient` includes it."""
    breaker = counter(on=transient)
    assert 429 == wire.client(breaker).get(wire.server.play("/", answer(429))).status_code
    assert (1, 1) == counted(breaker)


def test_a_probe_answered_with_429_decides_nothing(wire: Wire) -> None:
    """A half-open breaker gives the probe again, and does not stay stuck."""
    breaker = CircuitBreaker(failures=1, open_for=1e-9)
    client = wire.client(breaker)
    wire.server.play("/", answer(503), answer(429), answer(429), answer())
    assert [503, 429, 429, 200] == [client.get("/").status_code for _ in range(4)]
    assert "closed" == breaker.state


def test_failing_statuses_open_the_circuit(wire: Wire) -> None:
    """What opened it is the cause of the rejection, with status, host and Retry-After."""
    wire.server.play("/", answer(503, headers={"Retry-After": "7"}))
    client = wire.client(CircuitBreaker(failures=2, open_for=60))
    assert [503, 503] == [client.get("/").status_code for _ in range(2)]
    with pytest.raises(CircuitOpenError) as caught:
        client.get("/")
    cause = caught.value.__cause__
    assert isinstance(cause, StatusError)
    assert (503, f"127.0.0.1:{wire.server.port}", "7") == (cause.status, cause.host, cause.retry_after)
    assert f"status 503 from 127.0.0.1:{wire.server.port} (Retry-After: 7)" == str(cause)
    assert 2 == wire.server.hits()


def test_matchers_may_look_at_the_status(wire: Wire) -> None:
    """`StatusError` is what strategies see."""
    client = wire.client(Retry(on=lambda e: isinstance(e, StatusError) and e.status == 502, backoff=0))
    wire.server.play("/", answer(502), answer(503), answer())
    assert (503, 2) == (client.get("/").status_code, wire.server.hits())


def test_the_callers_response_is_the_servers_last(wire: Wire) -> None:
    """Body, headers, cookies, request and elapsed time are that one's; earlier ones leave nothing behind."""
    wire.server.play(
        "/",
        answer(503, b"first", {"Set-Cookie": "old=1", "X-Number": "1"}),
        answer(500, b"second", {"Set-Cookie": "new=1", "X-Number": "2"}),
    )
    client = wire.client(retry(2))
    request = client.own.build_request("GET", "/")
    response = client.send(request)
    assert (500, "second", "2") == (response.status_code, response.text, response.headers["X-Number"])
    assert ({"new": "1"}, {"new": "1"}) == (dict(response.cookies), dict(client.own.cookies))
    assert (request, [], True, True) == (
        response.request,
        response.history,
        response.is_closed,
        response.is_stream_consumed,
    )
    assert response.elapsed.total_seconds() > 0
    assert ("HTTP/1.1", "Said") == (response.http_version, response.reason_phrase)
    with pytest.raises(wire.lib.HTTPStatusError) as caught:
        response.raise_for_status()
    assert response is caught.value.response
    assert 0 == client.busy()


def test_a_success_after_failures_is_the_callers(wire: Wire) -> None:
    """The responses in between are closed: their connection is used again."""
    wire.server.play("/", answer(503, b"one"), answer(429, b"two"), answer(200, b"three"))
    breaker = counter()
    client = wire.client(retry(3), breaker)
    assert b"three" == client.get("/").content
    assert [1, 1, 1] == [request.connection for request in wire.server.seen()]
    assert ((2, 1), 0) == (counted(breaker), client.busy())


def test_why_the_strategies_gave_up_is_told(wire: Wire) -> None:
    """Events carry the StatusError."""
    wire.server.play("/", answer(504))
    client = wire.client(retry(2))
    with Recorder(RetryStopped) as events:
        client.get("/")
    ((reason, failure),) = [(event.reason, event.failure) for event in events.of(RetryStopped)]
    assert ("attempts", 504) == (reason, getattr(failure, "status", None))


def test_a_long_retry_after_is_shown_in_part() -> None:
    """A server cannot fill our logs with it."""
    assert "status 503 from host (Retry-After: " + "9" * 40 + ")" == str(StatusError(503, "host", "9" * 5000))
    assert "status 503 from host" == str(StatusError(503, "host"))


def test_a_status_error_can_be_pickled() -> None:
    """Events and causes travel between processes."""
    import copy
    import pickle

    for twin in (pickle.loads(pickle.dumps(StatusError(503, "host", "5"))), copy.copy(StatusError(503, "host", "5"))):
        assert (503, "host", "5") == (twin.status, twin.host, twin.retry_after)
