"""Answers that break: a plain call is governed to the end of its response, a stream until its first byte."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from seawall import CallTimeoutError, Timeout
from seawall.integrations.httpx import network, unprocessed
from tests.integrations.httpx.driver import Wire, counted, counter, retry
from tests.integrations.httpx.server import answer, chunked, half, hang_up, head, port_of_nobody, reset, stall

GARBAGE = b"this is no HTTP\r\n\r\n"
NO_BYTE: dict[str, Callable[[], Any]] = {
    "reset": reset,
    "hang up": hang_up,
    "reset in the head": lambda: reset(b"HTTP/1.1 200 Sa"),
    "reset after the head": lambda: reset(head()),
    "closed in the head": lambda: answer_raw(b"HTTP/1.1 200 Sa"),
    "no body at all": lambda: half(b""),
    "garbage": lambda: answer_raw(GARBAGE),
    "a bad length": lambda: answer_raw(b"HTTP/1.1 200 Said\r\nContent-Length: some\r\n\r\nfine"),
    "two lengths": lambda: answer_raw(b"HTTP/1.1 200 Said\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nfine"),
    "a bad first chunk": lambda: chunked(end=b"zz\r\n"),
}
"""What breaks before the first byte of a body."""

SOME_BYTES: dict[str, Callable[[], Any]] = {
    "half": half,
    "one byte short": lambda: half(b"x" * 19),
    "reset in the body": lambda: reset(head() + b"half"),
    "a bad chunk": lambda: chunked(b"half", pause=0.02, end=b"zz\r\n"),
    "an unfinished chunk": lambda: chunked(b"half", end=b"9\r\nunfin"),
    "no last chunk": lambda: chunked(b"half", b"more", end=b""),
}
"""What breaks after it."""


def answer_raw(data: bytes) -> Any:
    """Sends bytes as they are, and closes."""

    async def behave(line: Any) -> bool:
        await line.send(data)
        return False

    return behave


BROKEN = {**NO_BYTE, **SOME_BYTES}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_plain_call_is_retried(wire: Wire, kind: str) -> None:
    """Whatever broke: the network failed, the caller has a whole answer."""
    wire.server.play("/", BROKEN[kind](), answer(200, b"whole"))
    breaker = counter()
    client = wire.client(retry(2), breaker)
    assert (b"whole", 2) == (client.get("/").content, wire.server.hits())
    assert ((2, 1), 0) == (counted(breaker), client.busy())


@pytest.mark.parametrize("kind", BROKEN)
def test_a_plain_call_that_keeps_breaking(wire: Wire, kind: str) -> None:
    """Raises the client's own error, with its request, after as many attempts as there may be."""
    wire.server.play("/", BROKEN[kind]())
    client = wire.client(retry(2))
    with pytest.raises(wire.lib.TransportError) as caught:
        client.get("/")
    assert (True, False, "/") == (
        network(caught.value),
        unprocessed(caught.value),
        caught.value.request.url.path,
    )
    assert type(caught.value).__module__.startswith("http")
    assert (2, 0) == (wire.server.hits(), client.busy())


@pytest.mark.parametrize("kind", NO_BYTE)
def test_a_stream_is_retried_before_its_first_byte(wire: Wire, kind: str) -> None:
    """Nobody has seen anything of it yet."""
    wire.server.play("/", NO_BYTE[kind](), answer(200, b"whole"))
    breaker = counter()
    client = wire.client(retry(2), breaker)
    with client.stream("GET", "/") as response:
        assert (200, b"whole") == (response.status_code, response.read())
    assert (2, (2, 1), 0) == (wire.server.hits(), counted(breaker), client.busy())


@pytest.mark.parametrize("kind", SOME_BYTES)
def test_a_stream_is_not_retried_after_its_first_byte(wire: Wire, kind: str) -> None:
    """What broke surfaces to who reads, once; the call counts as a success."""
    wire.server.play("/", SOME_BYTES[kind](), answer())
    breaker = counter()
    client = wire.client(retry(3), breaker)
    with client.stream("GET", "/") as response:
        items = response.chunks()
        got = [next(items)]
        with pytest.raises(wire.lib.TransportError) as caught:
            got.extend(items)
    assert b"".join(got)[:4] in (b"half", b"xxxx")
    assert (True, "/") == (network(caught.value), caught.value.request.url.path)
    assert (1, (1, 0), 0) == (wire.server.hits(), counted(breaker), client.busy())


STALLS = {"nothing": b"", "in the head": b"HTTP/1.1 200 Sa", "after the head": head(), "half": head() + b"half"}


@pytest.mark.parametrize(
    ("place", "limit"), [*((place, "Timeout") for place in STALLS), ("nothing", "client"), ("half", "client")]
)
def test_a_plain_call_that_stalls_is_retried(wire: Wire, place: str, limit: str) -> None:
    """Before, in and after the head, cut by a Timeout or by the client's own time-outs."""
    wire.server.play("/", stall(STALLS[place]), answer(200, b"whole"))
    breaker = counter()
    guards = [Timeout(0.12)] if limit == "Timeout" else []
    client = wire.client(retry(2), breaker, *guards, timeout=wire.reading(5 if guards else 0.12))
    assert (b"whole", 2) == (client.get("/").content, wire.server.hits())
    assert ((2, 1), 0) == (counted(breaker), client.busy())


@pytest.mark.parametrize("sent", [b"", head()], ids=["before the head", "before the body"])
def test_a_stream_that_stalls_before_its_first_byte(wire: Wire, sent: bytes) -> None:
    """Is cut by the Timeout, long before the client would do so, and retried; the error is ours and the client's."""
    wire.server.play("/", stall(sent), answer(200, b"whole"))
    client = wire.client(retry(2), Timeout(0.12), timeout=wire.reading(3))
    begun = time.monotonic()
    with client.stream("GET", "/") as response:
        assert b"whole" == response.read()
    wire.server.play("/", stall(sent))
    with pytest.raises(CallTimeoutError) as caught, client.stream("GET", "/"):
        pytest.fail("there is nothing to read")
    assert isinstance(caught.value, wire.lib.TimeoutException)
    assert (4, 0) == (wire.server.hits(), client.busy())
    assert time.monotonic() - begun < 2.9


def test_more_than_was_announced(wire: Wire) -> None:
    """The surplus is no part of the answer, nor of the next one."""
    wire.server.play("/", answer(200, b"fine and more", length=4), answer(200, b"next"))
    client = wire.client(retry(2))
    assert b"fine" == client.get("/").content
    assert b"next" == client.get("/").content
    assert 0 == client.busy()


def test_more_than_nothing(wire: Wire) -> None:
    """A 204 with a body after it: the answer is empty, the next one right."""
    wire.server.play("/", answer_raw(b"HTTP/1.1 204 Said\r\n\r\nsurplus"), answer(200, b"next"))
    client = wire.client(retry(2))
    assert (204, b"") == ((response := client.get("/")).status_code, response.content)
    assert b"next" == client.get("/").content


def test_a_body_until_the_connection_closes(wire: Wire) -> None:
    """Without a length the end of the connection is the end of the body."""
    wire.server.play("/", answer_raw(b"HTTP/1.1 200 Said\r\n\r\nall there is"))
    client = wire.client(retry(2))
    assert (b"all there is", 1) == (client.get("/").content, wire.server.hits())


def test_a_connection_that_was_closed_while_idle(wire: Wire) -> None:
    """Is not used again, so nothing fails at all."""
    wire.server.play("/", answer(close=True))
    client = wire.client(retry(1))
    assert [200, 200] == [client.get("/").status_code for _ in range(2)]
    assert [1, 2] == [request.connection for request in wire.server.seen()]


def test_a_connection_closed_just_as_the_next_request_comes(wire: Wire) -> None:
    """The request goes out anew, on another one."""
    wire.server.play("/", answer(), hang_up(), answer())
    client = wire.client(retry(2))
    assert [200, 200] == [client.get("/").status_code for _ in range(2)]
    assert [1, 1, 2] == [request.connection for request in wire.server.seen()]


def test_nobody_there(wire: Wire) -> None:
    """ConnectError, as without protection; the breaker counts it."""
    breaker = counter()
    client = wire.client(retry(2), breaker, base_url=f"http://127.0.0.1:{port_of_nobody()}")
    with pytest.raises(wire.lib.ConnectError) as caught:
        client.get("/")
    assert (True, (2, 2)) == (unprocessed(caught.value), counted(breaker))
    assert any("gave up after attempt 2" in note for note in caught.value.__notes__)


def test_a_full_connection_pool_counts_nowhere(wire: Wire) -> None:
    """It is retried, and says nothing about the server."""
    wire.server.play("/slow", stall(head(200, 99) + b"x"))
    breaker = counter()
    limits = wire.lib.Limits(max_connections=1)
    client = wire.client(retry(2), breaker, limits=limits, timeout=wire.lib.Timeout(5, pool=0.05))
    with client.stream("GET", "/slow") as response:
        assert 200 == response.status_code
        with pytest.raises(wire.lib.PoolTimeout) as caught:
            client.get("/")
    assert (True, (1, 0)) == (unprocessed(caught.value), counted(breaker))
    assert any("gave up after attempt 2" in note for note in caught.value.__notes__)
    assert (0, 200) == (client.busy(), client.get("/").status_code)


def test_an_unknown_protocol(wire: Wire) -> None:
    """Our own mistake: neither retried nor counted, and certainly not processed."""
    breaker = counter()
    client = wire.client(retry(3), breaker)
    with pytest.raises(wire.lib.UnsupportedProtocol) as caught:
        client.get("ftp://127.0.0.1/")
    assert ((0, 0), True) == (counted(breaker), unprocessed(caught.value))
    assert not hasattr(caught.value, "__notes__")
