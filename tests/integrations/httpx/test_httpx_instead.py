"""Hedges and fallbacks inside a protected client: a second request beside the first, and other answers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from seawall import CircuitBreaker, Fallback, FellBack, Hedge, Hedged, Retry, Timeout
from seawall.integrations.httpx import StatusError, protect, transient, unprocessed
from seawall.testing import Recorder
from tests.integrations.httpx.driver import Wire, counted, counter, retry, unbounded
from tests.integrations.httpx.server import answer, half, head, later, port_of_nobody, stall

KEY = {"Idempotency-Key": "k"}


def test_a_slow_get_is_hedged(awire: Wire) -> None:
    """The quick answer wins; the loser's connection is closed, not leaked."""
    awire.server.play("/", stall(), answer(200, b"quick"))
    client = awire.client(Hedge(0.05))
    with Recorder(Hedged) as events:
        assert b"quick" == client.get("/").content
    assert (["slow"], 2, 0) == ([event.reason for event in events.of(Hedged)], awire.server.hits(), client.busy())
    awire.server.until_open(1)


@pytest.mark.parametrize(("headers", "hits"), [({}, 1), (KEY, 2)], ids=["no key", "key"])
def test_a_slow_post_is_hedged_with_a_key_only(awire: Wire, headers: dict[str, str], hits: int) -> None:
    """Without one it is made once, however slow."""
    awire.server.play("/", later(0.15, answer(200, b"slow")), answer(200, b"quick"))
    client = awire.client(Hedge(0.03))
    response = client.post("/", json={"a": 1}, headers=headers)
    assert (b"slow" if hits == 1 else b"quick", hits) == (response.content, awire.server.hits())
    sent = [(each.headers.get("idempotency-key"), each.body) for each in awire.server.seen()]
    assert {(headers.get("Idempotency-Key"), b'{"a":1}')} == set(sent)
    assert 0 == client.busy()


def test_a_post_is_not_hedged_after_a_failure_either(awire: Wire) -> None:
    """Even where the failure says that it was not processed: that is what a Retry is for."""
    awire.server.play("/", answer(503), answer())
    assert (503, 1) == (awire.client(Hedge(60)).post("/").status_code, awire.server.hits())


def test_a_body_that_can_be_read_once_is_not_hedged(awire: Wire) -> None:
    """Two attempts would share it."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    awire.server.play("/", later(0.1, answer()))
    assert 200 == awire.client(Hedge(0.02)).request("PUT", "/", content=pieces()).status_code
    assert [b"one two"] == [request.body for request in awire.server.seen()]


def test_attempts_beside_each_other_do_not_share_a_file(awire: Wire, tmp_path: Any) -> None:
    """A file in a multipart body has one position: each attempt sends it whole, or there is but one."""
    content = b"".join(b"%09d\n" % number for number in range(300_000))
    (tmp_path / "file").write_bytes(content)
    awire.server.play("/", later(0.05, answer()))
    client = awire.client(Hedge(0))
    with (tmp_path / "file").open("rb") as file:
        assert 200 == client.request("PUT", "/", files={"f": ("n", file)}).status_code
    assert all(content in request.body for request in awire.server.seen())
    assert awire.server.hits() >= 1


@pytest.mark.parametrize("first", ["503", "half", "refused"])
def test_a_failed_attempt_is_hedged_at_once(awire: Wire, first: str) -> None:
    """Whatever failed."""
    awire.server.play("/", half() if first == "half" else answer(503), answer(200, b"second"))
    client = awire.client(Hedge(60))
    if first == "refused":
        guard = Hedge(60)
        guard.listen(lambda event: awire.server.resume(), Hedged)
        client = awire.client(guard)
        awire.server.play("/", answer(200, b"second"))
        awire.server.pause()
    assert b"second" == client.get("/").content
    assert 0 == client.busy()


def test_when_every_attempt_of_a_hedge_fails(awire: Wire) -> None:
    """The caller has the last response, readable; the others are closed."""
    awire.server.play("/", answer(503, b"one"), answer(500, b"two"), answer(502, b"three"))
    client = awire.client(Hedge(60, max_extra=2))
    response = client.get("/")
    assert (502, b"three", 3, 0) == (response.status_code, response.content, awire.server.hits(), client.busy())


@pytest.mark.parametrize("size", [10, 300_000])
def test_streams_of_attempts_that_answer_at_once(awire: Wire, size: int) -> None:
    """The winner's stays open and whole, the loser's is closed, whichever wins."""
    awire.server.play("/", answer(200, b"x" * size))
    client = awire.client(Hedge(0, max_extra=2))

    async def main() -> None:
        for _ in range(30):
            async with client.own.stream("GET", "/") as response:
                assert size == len(await response.aread())

    awire.run(main())
    assert awire.loses or 0 == client.busy()


def test_the_winners_stream_is_not_closed_by_an_attempt_that_begins_late(awire: Wire) -> None:
    """Two attempts that end within one step of the event loop, over a transport that never waits."""
    closed: list[int] = []

    class Pieces(awire.lib.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, number: int) -> None:
            self.number = number

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"one "
            yield b"two"

        async def aclose(self) -> None:
            closed.append(self.number)

    class AtOnce(awire.lib.AsyncBaseTransport):  # type: ignore[misc]
        made = 0

        async def handle_async_request(self, request: Any) -> Any:
            self.made += 1
            return awire.lib.Response(200, stream=Pieces(self.made))

    transport = AtOnce()
    client = awire.client(unbounded(Hedge(0)), transport=transport)
    for _ in range(20):
        with client.stream("GET", "/") as response:
            assert b"one two" == response.read()
    assert set(range(1, transport.made + 1)) == set(closed)


def test_a_hedge_and_a_retry(awire: Wire) -> None:
    """Each attempt of the retry is a race."""
    awire.server.play("/", *[answer(503)] * 4, answer(200, b"fifth"))
    client = awire.client(retry(3), Hedge(60), CircuitBreaker(failures=100))
    assert (b"fifth", 5, 0) == (client.get("/").content, awire.server.hits(), client.busy())


def test_a_loser_counts_nowhere(awire: Wire) -> None:
    """It was cancelled: the breaker inside has one success."""
    awire.server.play("/", stall(), answer())
    breaker = counter()
    assert 200 == awire.client(Hedge(0.03), breaker, Timeout(20)).get("/").status_code
    assert (1, 0) == counted(breaker)


def test_a_hedge_cannot_serve_a_sync_client(swire: Wire) -> None:
    """It is refused at once, and the client is as it was."""
    with pytest.raises(TypeError, match="is a Hedge, which serves async functions only"):
        swire.client(Hedge(0.05))
    client = swire._clients[-1]
    assert 200 == client.get("/").status_code
    assert not hasattr(client.own._transport, "_inner")


def source(wire: Wire, fn: Any) -> Any:
    """Returns a function as a source of the wire's colour."""

    async def asource(failure: Exception) -> Any:
        await asyncio.sleep(0)
        return fn(failure)

    return fn if wire.sync else asource


def test_a_fallback_inside_gives_a_response(wire: Wire) -> None:
    """A value, or what a function makes of the failure."""
    wire.server.play("/", answer(503))
    constant = wire.client(Fallback(wire.lib.Response(200, json={"cached": True}), on=transient))
    assert {"cached": True} == constant.get("/").json()

    def make(failure: Exception) -> Any:
        assert isinstance(failure, StatusError)
        return wire.lib.Response(200, text=f"instead of {failure.status}")

    client = wire.client(Fallback(source(wire, make), on=transient))
    request = client.own.build_request("GET", "/")
    with Recorder(FellBack) as events:
        response = client.send(request)
    assert (200, "instead of 503", request, 1) == (
        response.status_code,
        response.text,
        response.request,
        len(events.events),
    )
    with client.stream("GET", "/") as streamed:
        assert b"instead of 503" == streamed.read()
    assert 0 == client.busy()


def test_a_constant_fallback_serves_many_calls(wire: Wire) -> None:
    """Each caller has a response of its own, for the request that was made."""
    wire.server.play("/one", answer(503))
    wire.server.play("/two", answer(503))
    client = wire.client(Fallback(wire.lib.Response(200, text="cached"), on=transient))
    one, two = client.get("/one"), client.get("/two")
    assert ("cached", "cached") == (one.text, two.text)
    assert ("/one", "/two") == (one.request.url.path, two.request.url.path)


def test_a_fallback_inside_that_gives_something_else(wire: Wire) -> None:
    """Is told what it should give, and where else it may be put."""
    wire.server.play("/", answer(503))
    for value in ("text", None, {"a": 1}):
        client = wire.client(Fallback(value, on=transient))
        wanted = rf"gave {value!r} for a request; .* must be a {wire.lib.__name__}.Response. Put one"
        with pytest.raises(TypeError, match=wanted.replace("{", r"\{").replace("}", r"\}")):
            client.get("/")
        assert 0 == client.busy()


def test_a_retry_within_a_fallback_is_its_own(wire: Wire) -> None:
    """What the fallback calls is not the POST that may not be repeated."""
    tries: list[int] = []
    again = Retry(on=ConnectionError, max_attempts=3, backoff=0)

    def work() -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError
        return wire.lib.Response(200, text="backup")

    async def awork() -> Any:
        return work()

    protected, aprotected = again(work), again(awork)

    async def ask() -> Any:
        return await aprotected()

    wire.server.play("/", answer(503))
    client = wire.client(Fallback(protected if wire.sync else ask, on=transient))
    assert ("backup", 3, 1) == (client.post("/").text, len(tries), wire.server.hits())


def test_a_stream_within_a_fallback_is_a_stream(wire: Wire) -> None:
    """Though the call that it answers for is none: it is not read to its end before anybody sees its beginning."""
    other = wire.bare(transport=protect(wire.transport(), unbounded(retry(1))), timeout=wire.reading(0.2))
    wire.server.play("/", answer(503))
    wire.server.play("/other", stall(head(200, 99) + b"first"))

    def ask() -> Any:
        with other.own.stream("GET", "/other") as response:
            return wire.lib.Response(200, content=next(response.iter_bytes()))

    async def aask() -> Any:
        async with other.own.stream("GET", "/other") as response:
            return wire.lib.Response(200, content=await anext(response.aiter_bytes()))

    client = wire.client(Fallback(ask if wire.sync else aask, on=transient))
    assert b"first" == client.get("/").content


def test_a_retry_within_the_transport_is_its_own(wire: Wire) -> None:
    """What a transport of the caller's calls on its way, such as looking up a host, is not the POST either."""
    tries: list[int] = []
    again = Retry(on=LookupError, max_attempts=3, backoff=0)

    def look_up() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise LookupError

    protected = again(look_up)

    class Looks(wire.lib.BaseTransport, wire.lib.AsyncBaseTransport):  # type: ignore[misc]
        def handle_request(self, request: Any) -> Any:
            protected()
            return wire.lib.Response(200)

        async def handle_async_request(self, request: Any) -> Any:
            return self.handle_request(request)

    client = wire.client(retry(1), transport=Looks())
    assert (200, 3) == (client.post("/").status_code, len(tries))


def test_a_backup_that_may_have_processed_it_is_not_forgotten(wire: Wire) -> None:
    """The first server was not there, the second one timed out: asking a third could do it twice."""
    backup = wire.client(retry(1), timeout=wire.reading(0.1))
    wire.server.play("/", stall(head()))

    async def ask() -> Any:
        return await backup.own.post("/")

    first = Fallback((lambda: backup.own.post("/")) if wire.sync else ask, on=transient)
    client = wire.client(first, base_url=f"http://127.0.0.1:{port_of_nobody()}")
    with pytest.raises(wire.lib.ReadTimeout) as caught:
        client.post("/")
    assert (False, 1) == (unprocessed(caught.value), wire.server.hits())
    wire.server.play("/", answer(503))
    response = client.post("/")
    assert (503, False) == (response.status_code, unprocessed(response))
