"""Streams: governed until their first byte, then the caller's; errors stay readable; connections come back."""

import asyncio
import threading
from typing import Any

import pytest

from seawall import Bulkhead, CircuitBreaker, Pipeline, Retry, Timeout, deadline
from seawall.integrations.httpx import PerHost, transient, unprocessed
from tests.integrations.httpx.driver import Wire, counted, counter, retry, unbounded, until
from tests.integrations.httpx.server import answer, chunked, head, later, reset, stall, trickle

LONG = bytes(range(256)) * 1024  # 256 kB: more than is kept of a failing response


def test_a_stream_may_last_longer_than_the_time_out(wire: Wire) -> None:
    """After its first byte nobody counts."""
    wire.server.play("/", chunked(*[b"piece"] * 6, pause=0.06))
    client = wire.client(retry(2), Timeout(0.2))
    with client.stream("GET", "/") as response:
        assert b"piece" * 6 == b"".join(response.chunks())
    assert 1 == wire.server.hits()


def test_a_pause_in_a_stream_may_be_longer_than_the_time_out(wire: Wire) -> None:
    """Between pieces the client's own time-outs hold, not the Timeout."""
    wire.server.play("/", chunked(b"one", b"two", pause=0.25))
    client = wire.client(retry(2), Timeout(0.12))
    with client.stream("GET", "/") as response:
        assert b"onetwo" == b"".join(response.chunks())


def test_a_deadline_does_not_cut_a_stream_after_its_first_byte(wire: Wire) -> None:
    """The call has ended by then."""
    wire.server.play("/", chunked(b"one", b"two", pause=0.25))
    client = wire.client(retry(2))
    with deadline(0.12), client.stream("GET", "/") as response:
        assert b"onetwo" == b"".join(response.chunks())


def test_the_clients_own_time_out_holds_between_pieces(wire: Wire) -> None:
    """It is not lost after the first byte, nor retried."""
    wire.server.play("/", stall(head() + b"half"))
    client = wire.client(retry(3), Timeout(5), timeout=wire.reading(0.1))
    with client.stream("GET", "/") as response, pytest.raises(wire.lib.ReadTimeout):
        response.read()
    assert (1, 0) == (wire.server.hits(), client.busy())


def test_slots_are_free_after_the_first_byte(wire: Wire) -> None:
    """And the breaker has its outcome."""
    wire.server.play("/", trickle(head(200, 999), times=999))
    bulkhead, breaker = Bulkhead(1), counter()
    client = wire.client(retry(2), bulkhead, breaker)
    with client.stream("GET", "/") as first, client.stream("GET", "/") as second:
        assert (200, 200) == (first.status_code, second.status_code)
        assert (0, (2, 0)) == (bulkhead.snapshot().running, counted(breaker))


def test_the_lane_is_free_after_the_first_byte(wire: Wire) -> None:
    """A host whose stream is still read may be let go for another."""
    hosts = PerHost(lambda host: unbounded(retry(2)), max_hosts=1)
    client = wire.client(hosts)
    wire.server.play("/", trickle(head(200, 999), times=999))
    with client.stream("GET", "/"):
        client.get(f"http://localhost:{wire.server.port}/other")
        assert [f"localhost:{wire.server.port}"] == list(hosts.pipelines())


def test_statuses_are_retried_before_the_first_byte(wire: Wire) -> None:
    """As in plain calls."""
    wire.server.play("/", answer(503), answer(429), answer(200, b"there"))
    client = wire.client(retry(3))
    with client.stream("GET", "/") as response:
        assert (200, b"there") == (response.status_code, response.read())
    assert [1, 1, 1] == [request.connection for request in wire.server.seen()]


@pytest.mark.parametrize("body", [b"", b"why", LONG], ids=["empty", "short", "long"])
@pytest.mark.parametrize("way", ["read", "chunks", "raw"])
def test_a_failing_response_is_readable(wire: Wire, body: bytes, way: str) -> None:
    """Whole, however long it is."""
    wire.server.play("/", answer(503, body))
    client = wire.client(retry(2))
    with client.stream("GET", "/") as response:
        assert 503 == response.status_code
        assert body == (response.read() if way == "read" else b"".join(getattr(response, way)()))
        assert not unprocessed(response.own)
    assert (2, 0) == (wire.server.hits(), client.busy())


def test_long_failing_responses_are_closed_when_they_are_discarded(wire: Wire) -> None:
    """Those between, and the last where nobody reads it."""
    wire.server.play("/", answer(503, LONG * 40), answer(503, LONG * 40), answer())
    client = wire.client(retry(3), limits=wire.lib.Limits(max_connections=1))
    with client.stream("GET", "/") as response:
        assert b"fine" == response.read()
    wire.server.play("/", answer(503, LONG * 40))
    with client.stream("GET", "/") as response:
        assert 503 == response.status_code
    assert 0 == client.busy()
    wire.server.until_open(0)


def test_responses_are_discarded_by_result_too(wire: Wire) -> None:
    """`Retry(on_result=...)` may refuse an answer whose body is still being read: it gives back its connection."""
    wire.server.play("/", answer(404, LONG * 40), answer(200, b"there"))
    refused: list[Any] = []

    def refuse(response: Any) -> bool:
        if response.status_code == 404:
            refused.append(response)
        return response.status_code == 404

    again = Retry(on=transient, on_result=refuse, backoff=0)
    client = wire.client(again, limits=wire.lib.Limits(max_connections=1), timeout=wire.lib.Timeout(5, pool=0.3))
    with client.stream("GET", "/") as response:
        assert (200, b"there") == (response.status_code, response.read())
    assert 0 == client.busy()


def test_a_stream_that_is_left_early(wire: Wire) -> None:
    """Its connection is closed, since the rest is unread."""
    wire.server.play("/", trickle(head(200, 999), times=999))
    client = wire.client(retry(2))
    with client.stream("GET", "/") as response:
        assert b"x" == next(response.chunks())
    assert (0, 0) == (client.busy(), len(client.pool().connections))
    wire.server.until_open(0)


def test_a_stream_that_nobody_reads(wire: Wire) -> None:
    """Likewise; one that was short is all there already."""
    client = wire.client(retry(2))
    wire.server.play("/long", trickle(head(200, 999), times=999))
    with client.stream("GET", "/long"):
        pass
    wire.server.until_open(0)
    wire.server.play("/empty", answer(200, b""))
    for _ in range(2):
        with client.stream("GET", "/empty"):
            pass
    assert 0 == client.busy()
    wire.server.until_open(1)


def test_a_stream_that_is_read_to_its_end_gives_its_connection_back(wire: Wire) -> None:
    """The next call uses it."""
    wire.server.play("/", chunked(b"one", b"two"))
    client = wire.client(retry(2))
    for _ in range(3):
        with client.stream("GET", "/") as response:
            assert b"onetwo" == b"".join(response.chunks())
    assert [1, 1, 1] == [request.connection for request in wire.server.seen()]


def test_a_stream_may_be_closed_twice(wire: Wire) -> None:
    """And not read any more then."""
    client = wire.client(retry(2))
    wire.server.play("/", trickle(head(200, 999), times=999))
    with client.stream("GET", "/") as response:
        response.close()
        response.close()
        with pytest.raises((wire.lib.StreamClosed, wire.lib.StreamConsumed)):
            response.read()
    assert 0 == client.busy()


def test_a_stream_can_be_read_once(wire: Wire) -> None:
    """As without protection."""
    client = wire.client(retry(2))
    with client.stream("GET", "/") as response:
        assert b"fine" == b"".join(response.raw())
        with pytest.raises(wire.lib.StreamConsumed):
            list(response.raw())


def test_a_stream_knows_its_figures(wire: Wire) -> None:
    """Elapsed time and bytes so far, as without protection."""
    client = wire.client(retry(2))
    with client.stream("GET", "/") as response:
        assert b"fine" == response.read()
        assert (4, True) == (response.own.num_bytes_downloaded, response.own.elapsed.total_seconds() > 0)


def test_sending_by_hand_with_stream(wire: Wire) -> None:
    """`send(request, stream=True)` is a stream too."""
    wire.server.play("/", reset(head() + b"half"))
    client = wire.client(retry(3))
    response = client.send(client.own.build_request("GET", "/"), stream=True)
    assert 200 == response.status_code
    with pytest.raises(wire.lib.TransportError):
        response.read() if wire.sync else wire.run(response.aread())
    assert (1, 0) == (wire.server.hits(), client.busy())


def test_an_upgraded_connection_is_left_alone(wire: Wire) -> None:
    """After 101 there is no first byte to wait for: it may be the client's turn to speak."""

    async def echo(line: Any) -> bool:
        await line.head(101, {"Upgrade": "echo", "Connection": "Upgrade"})
        await line.send((await line.reader.readexactly(4))[::-1])
        return False

    wire.server.play("/", echo)
    client = wire.client(retry(2), CircuitBreaker(failures=1), Timeout(5))
    with client.stream("GET", "/", headers={"Upgrade": "echo", "Connection": "Upgrade"}) as response:
        assert 101 == response.status_code
        line = response.own.extensions["network_stream"]
        if wire.sync:
            line.write(b"abcd", 5)
            assert b"dcba" == line.read(10, 5)
        else:
            wire.run(line.write(b"abcd", 5))
            assert b"dcba" == wire.run(line.read(10, 5))


def test_a_stream_closed_by_another_task(awire: Wire) -> None:
    """Closing raises nothing; who reads is woken with the client's own error, or an end."""
    awire.server.play("/", stall(head() + b"half"))
    client = awire.client(retry(2))

    async def main() -> list[bytes]:
        got = []

        async def read() -> None:
            async for piece in response.aiter_bytes():
                got.append(piece)

        async with client.own.stream("GET", "/") as response:
            reader = asyncio.create_task(read())
            await until(lambda: got)
            await asyncio.sleep(0.01)
            try:
                await response.aclose()
            finally:
                await asyncio.wait([reader])
                failure = reader.exception()
        assert failure is None or isinstance(failure, awire.lib.TransportError)
        return got

    assert [b"half"] == awire.run(main())
    assert 0 == client.busy()


def test_a_stream_closed_by_another_thread(swire: Wire) -> None:
    """Closing raises nothing, as without protection."""
    swire.server.play("/", later(0, trickle(head(200, 99) + b"half", every=0.05, times=4)))
    client = swire.client(retry(2), timeout=swire.reading(1))
    with client.stream("GET", "/") as response:
        begun = threading.Event()

        def read() -> None:
            try:
                for _ in response.chunks():
                    begun.set()
            except Exception as error:
                raised.append(error)

        raised: list[Exception] = []
        thread = threading.Thread(target=read)
        thread.start()
        assert begun.wait(5)
        try:
            response.close()
        finally:
            thread.join()
    assert all(isinstance(error, swire.lib.TransportError) for error in raised)


def test_pipelines_of_a_stream_and_of_a_call_are_one(wire: Wire) -> None:
    """The same state for both."""
    breaker = CircuitBreaker(failures=2, open_for=60)
    guard: Pipeline = unbounded(breaker)
    client = wire.client(guard)
    wire.server.play("/", answer(503))
    client.get("/")
    with client.stream("GET", "/") as response:
        response.read()
    assert "open" == breaker.state
