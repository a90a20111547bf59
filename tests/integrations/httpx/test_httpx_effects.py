"""Methods with effects: sent again only where that is safe."""

from collections.abc import Callable
from typing import Any

import pytest

from seawall import (
    CallTimeoutError,
    CircuitBreaker,
    CircuitOpenError,
    Retried,
    RetryStopped,
    Timeout,
)
from seawall.integrations.httpx import transient, unprocessed
from seawall.testing import Recorder
from tests.breakers import trip
from tests.integrations.httpx.driver import Client, Wire, retry
from tests.integrations.httpx.server import answer, half, hang_up, port_of_nobody, reset, stall

KEY = {"Idempotency-Key": "order 17"}
KEYED = ("key", "none")
METHODS = {"GET": True, "QUERY": True, "PUT": True, "DELETE": True, "POST": False, "PATCH": False}
UNKNOWN: dict[str, Callable[[], Any]] = {
    "timeout": stall,
    "reset": reset,
    "hang up": hang_up,
    "500": lambda: answer(500),
    "503": lambda: answer(503),
    "408": lambda: answer(408),
}
"""Failures after which the request may have been processed."""


def outcome(client: Client, method: str, path: str, headers: dict[str, str]) -> Any:
    """Makes a call; returns the status, or the error."""
    try:
        return client.request(method, path, headers=headers).status_code
    except client.wire.lib.TransportError as error:
        return error


@pytest.mark.parametrize("failure", UNKNOWN)
def test_how_often_the_server_sees_what_it_may_have_processed(wire: Wire, failure: str) -> None:
    """Idempotent methods, and any with a key, as often as the Retry says; POST, PATCH and unknown ones once."""
    client = wire.client(retry(2), timeout=wire.reading(0.02))
    sent = {}
    for method in METHODS:
        for key, headers in ("key", KEY), ("none", {}):
            path = wire.server.play(f"/{method}/{key}", UNKNOWN[failure]())
            outcome(client, method, path, headers)
            sent[method, key] = wire.server.hits(path)
    expected = {(method, key): 2 if safe or key == "key" else 1 for method, safe in METHODS.items() for key in KEYED}
    assert expected == sent
    assert 0 == client.busy()


def test_how_often_the_server_sees_what_it_did_not_process(wire: Wire) -> None:
    """After 429 every method goes out again, key or not."""
    client = wire.client(retry(3))
    for method in METHODS:
        for headers in (KEY, {}):
            path = wire.server.play(f"/{method}/{len(headers)}", answer(429))
            assert 429 == outcome(client, method, path, headers)
            assert 3 == wire.server.hits(path)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "LOCK"])
def test_other_methods(wire: Wire, method: str) -> None:
    """Those that RFC 9110 calls idempotent are, those it does not know are not."""
    path = wire.server.play("/", answer(503))
    assert 503 == wire.client(retry(2)).request(method, path).status_code
    assert (1 if method == "LOCK" else 2) == wire.server.hits()


def test_a_refused_connection_is_tried_again(wire: Wire) -> None:
    """Nothing was sent, so every method may."""
    client = wire.client(retry(3), base_url=f"http://127.0.0.1:{port_of_nobody()}")
    for method in METHODS:
        for headers in (KEY, {}):
            with Recorder() as events:
                error = outcome(client, method, "/", headers)
            assert isinstance(error, wire.lib.ConnectError)
            assert (2, "attempts") == (len(events.of(Retried)), events.of(RetryStopped)[0].reason)


def test_a_server_that_comes_back_gets_the_post_once(wire: Wire) -> None:
    """Refused first, then there."""
    guard = retry(3)
    guard.listen(lambda event: wire.server.resume(), Retried)
    wire.server.pause()
    assert 200 == wire.client(guard).post("/", json={"a": 1}).status_code
    assert [b'{"a":1}'] == [request.body for request in wire.server.seen()]


def test_an_open_circuit_is_not_asked_again(wire: Wire) -> None:
    """Whatever the method: rejections are repeated only where their class is listed."""
    breaker = CircuitBreaker(failures=1, open_for=60)
    client = wire.client(retry(3), breaker)
    trip(breaker)
    for method in METHODS:
        for headers in (KEY, {}):
            with Recorder() as events:
                assert isinstance(outcome(client, method, "/", headers), CircuitOpenError)
            assert [] == events.of(Retried)
    assert 0 == wire.server.hits()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_listed_rejection_is_repeated(wire: Wire, method: str) -> None:
    """It proves that nothing was sent, so a POST may go on too."""
    breaker = CircuitBreaker(failures=1, open_for=60)
    guard = retry(2, on=(CircuitOpenError,))
    guard.listen(lambda event: breaker.reset(), Retried)
    client = wire.client(guard, breaker)
    trip(breaker)
    assert (200, 1) == (client.request(method, "/").status_code, wire.server.hits())


def test_a_post_without_a_key_that_times_out_is_sent_once(wire: Wire) -> None:
    """Cut by a Timeout; the event says why it was not made again."""
    wire.server.play("/", stall())
    client = wire.client(retry(3), Timeout(0.08))
    with Recorder() as events, pytest.raises(CallTimeoutError) as caught:
        client.post("/", json={"a": 1})
    assert isinstance(caught.value, wire.lib.TimeoutException)
    assert (["unsafe"], False) == ([each.reason for each in events.of(RetryStopped)], unprocessed(caught.value))
    assert any("(unsafe)" in note for note in caught.value.__notes__)
    assert 1 == wire.server.hits()


def test_a_post_with_a_key_that_times_out_is_retried_with_it(wire: Wire) -> None:
    """The server sees the same key and the same body each time."""
    wire.server.play("/", stall(), stall(), answer())
    client = wire.client(retry(3), Timeout(0.12))
    assert 200 == client.post("/", json={"a": 1}, headers=KEY).status_code
    sent = [(request.headers["idempotency-key"], request.body) for request in wire.server.seen()]
    assert [("order 17", b'{"a":1}')] * 3 == sent


def test_a_key_may_come_from_the_client(wire: Wire) -> None:
    """And its name is read in any case."""
    for number, headers in enumerate(({"idempotency-key": "k"}, {"IDEMPOTENCY-KEY": "k"})):
        path = wire.server.play(f"/{number}", answer(503), answer())
        assert 200 == wire.client(retry(2), headers=headers).post(path).status_code
        assert ["k", "k"] == [request.headers["idempotency-key"] for request in wire.server.seen(path)]


def test_one_doubtful_attempt_is_enough(wire: Wire) -> None:
    """A POST refused with 429 goes out again; once it met a 503, no 429 and no refusal makes it safe."""
    client = wire.client(retry(5))
    wire.server.play("/", answer(429), answer(429), answer(503), answer(429), answer())
    response = client.post("/")
    assert (503, 3, False) == (response.status_code, wire.server.hits(), unprocessed(response))


def test_a_get_is_repeated_after_anything_listed(wire: Wire) -> None:
    """Also where doubts are mixed."""
    wire.server.play("/", answer(429), answer(503), half(), reset(), answer())
    client = wire.client(retry(5))
    assert (200, 5) == (client.get("/").status_code, wire.server.hits())


def test_half_an_answer_shows_that_a_post_was_processed(wire: Wire) -> None:
    """Sent once."""
    wire.server.play("/", half())
    with pytest.raises(wire.lib.RemoteProtocolError):
        wire.client(retry(3)).post("/")
    assert 1 == wire.server.hits()


def test_a_connection_closed_under_a_post(wire: Wire) -> None:
    """The server ends a kept connection just as the next request comes: GET goes out anew, POST does not."""
    client = wire.client(retry(3))
    for method, expected in ("GET", [1, 1, 2]), ("POST", [2, 2]):
        path = wire.server.play(f"/{method}", answer(), hang_up(), answer())
        client.request(method, path)
        if method == "GET":
            assert 200 == client.request(method, path).status_code
        else:
            with pytest.raises(wire.lib.RemoteProtocolError):
                client.request(method, path)
        assert expected == [request.connection for request in wire.server.seen(path)]


def test_only_listed_failures_are_retried_with_a_key(wire: Wire) -> None:
    """A key makes it safe, not wanted."""
    wire.server.play("/", answer(404))
    assert (404, 1) == (
        wire.client(retry(3, on=transient)).post("/", headers=KEY).status_code,
        wire.server.hits(),
    )
