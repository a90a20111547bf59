"""Request bodies: the same each time, or not sent again."""

import io
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seawall import CallTimeoutError, Retried, RetryStopped, Timeout
from seawall.integrations.httpx import unprocessed
from seawall.testing import Recorder
from tests.integrations.httpx.driver import Wire, counted, counter, retry
from tests.integrations.httpx.server import answer, half, reset, stall

BIG = bytes(range(256)) * 1024
REPEATABLE: dict[str, Callable[[Any], dict[str, Any]]] = {
    "none": lambda file: {},
    "bytes": lambda file: {"content": b"\0bytes\xff"},
    "text": lambda file: {"content": "Grüße"},
    "json": lambda file: {"json": {"a": [1, 2, "ü"]}},
    "form": lambda file: {"data": {"a": "1", "b": ["2", "3"]}},
    "multipart bytes": lambda file: {
        "data": {"a": "1"},
        "files": {"f": ("n", b"bytes"), "g": ("m", io.BytesIO(b"io"))},
    },
    "multipart file": lambda file: {"files": {"f": ("n", file)}},
    "big": lambda file: {"content": BIG},
}


@pytest.mark.parametrize(
    ("kind", "failure"),
    [*((kind, failure) for kind in REPEATABLE for failure in ("503", "reset", "half")), ("multipart file", "stall")],
)
def test_a_body_is_the_same_each_time(wire: Wire, tmp_path: Path, kind: str, failure: str) -> None:
    """Files within multipart are rewound."""
    fails = {"503": answer(503), "reset": reset(), "half": half(), "stall": stall()}[failure]
    wire.server.play("/", fails, fails, answer())
    (tmp_path / "file").write_bytes(BIG)
    client = wire.client(retry(3), timeout=wire.reading(0.1 if failure == "stall" else 5))
    with (tmp_path / "file").open("rb") as file:
        assert 200 == client.request("PUT", "/", **REPEATABLE[kind](file)).status_code
    first, second, third = [(request.headers, request.body) for request in wire.server.seen()]
    assert first == second == third
    assert (kind == "none") == (first[1] == b"")
    assert ("multipart file" in kind) == (len(first[1]) > len(BIG))


def pieces(wire: Wire) -> Any:
    """A generator."""

    def give() -> Iterator[bytes]:
        yield b"one "
        yield b"two"

    async def agive() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    return give() if wire.sync else agive()


class AsyncPieces:
    """An iterator that is no generator: a second iteration goes on where the first one ended."""

    def __init__(self) -> None:
        self._items = iter([b"one ", b"two"])

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self  # type: ignore[return-value]

    async def __anext__(self) -> bytes:
        for item in self._items:
            return item
        raise StopAsyncIteration


class AsyncFile:
    """What the clients take for an async file: it goes on where it was read to."""

    def __init__(self) -> None:
        self._file = io.BytesIO(b"one two")

    async def aread(self, size: int = -1) -> bytes:
        """Reads on."""
        return self._file.read(size)

    def __aiter__(self) -> AsyncIterator[bytes]:
        raise NotImplementedError("it is read")


class Pipe:
    """A file within multipart that cannot be rewound."""

    def __init__(self) -> None:
        self._file = io.BytesIO(b"one two")

    def read(self, size: int = -1) -> bytes:
        """Reads on."""
        return self._file.read(size)


ONCE: dict[str, Callable[[Wire], dict[str, Any]]] = {
    "generator": lambda wire: {"content": pieces(wire)},
    "iterator": lambda wire: {"content": iter([b"one ", b"two"]) if wire.sync else AsyncPieces()},
    "file": lambda wire: {"content": io.BytesIO(b"one two") if wire.sync else AsyncFile()},
    "multipart pipe": lambda wire: {"files": {"f": ("n", Pipe())}},
}
KEY = {"Idempotency-Key": "k"}


def sent_in(wire: Wire) -> list[int]:
    """Returns, for each request, how often the text is in it."""
    return [request.body.count(b"one two") for request in wire.server.seen()]


@pytest.mark.parametrize("kind", ONCE)
@pytest.mark.parametrize("failure", ["503", "429"])
def test_a_consumed_body_is_not_replayed_after_a_status(wire: Wire, kind: str, failure: str) -> None:
    """The caller has the first response, and the event says why."""
    wire.server.play("/", answer(int(failure)), answer())
    with Recorder(RetryStopped) as events:
        response = wire.client(retry(3)).request("PUT", "/", headers=KEY, **ONCE[kind](wire))
    assert (int(failure), [1]) == (response.status_code, sent_in(wire))
    assert ["unsafe"] == [event.reason for event in events.of(RetryStopped)]
    assert (failure == "429") == unprocessed(response)


@pytest.mark.parametrize("kind", ONCE)
@pytest.mark.parametrize("behaviour", [reset, half, stall])
def test_a_consumed_body_is_not_replayed_after_an_error(wire: Wire, kind: str, behaviour: Any) -> None:
    """Resets, half answers, the client's own time-outs."""
    wire.server.play("/", behaviour(), answer())
    with pytest.raises(wire.lib.TransportError):
        wire.client(retry(3), timeout=wire.reading(0.06)).request("PUT", "/", headers=KEY, **ONCE[kind](wire))
    assert [1] == sent_in(wire)


@pytest.mark.parametrize("kind", ONCE)
def test_a_consumed_body_is_not_replayed_after_a_time_out(wire: Wire, kind: str) -> None:
    """Also where a Timeout cut the attempt, by cancelling it or by shortening the client's time-outs."""
    wire.server.play("/", stall(), answer())
    with pytest.raises(CallTimeoutError):
        wire.client(retry(3), Timeout(0.08)).request("PUT", "/", headers=KEY, **ONCE[kind](wire))
    assert [1] == sent_in(wire)


@pytest.mark.parametrize("kind", ONCE)
def test_a_body_that_was_not_touched_is_sent_after_a_refusal(wire: Wire, kind: str) -> None:
    """Whatever it is, and whatever the method: nobody has read it yet."""
    guard = retry(3)
    guard.listen(lambda event: wire.server.resume(), Retried)
    wire.server.pause()
    assert 200 == wire.client(guard).post("/", **ONCE[kind](wire)).status_code
    assert [1] == sent_in(wire)


@pytest.mark.parametrize("kind", ["generator", "file"])
def test_a_body_is_read_whole_where_the_caller_did_so(wire: Wire, kind: str) -> None:
    """After `request.read()` it is in memory, and sent each time."""
    client = wire.client(retry(3))
    request = client.own.build_request("PUT", "/", **ONCE[kind](wire))
    request.read() if wire.sync else wire.run(request.aread())
    wire.server.play("/", answer(503), answer())
    assert 200 == client.send(request).status_code
    assert [1, 1] == sent_in(wire)


def test_a_body_that_fails_itself(wire: Wire) -> None:
    """The caller's mistake: not retried, counted by nobody, and no connection is left busy."""

    def give() -> Iterator[bytes]:
        yield b"one"
        raise LookupError("of the caller's")

    async def agive() -> AsyncIterator[bytes]:
        yield b"one"
        raise LookupError("of the caller's")

    breaker = counter()
    client = wire.client(retry(3), breaker)
    with pytest.raises(LookupError, match="of the caller's"):
        client.post("/", content=give() if wire.sync else agive())
    assert ((0, 0), 0) == (counted(breaker), client.busy())


def test_a_body_of_the_wrong_length(wire: Wire) -> None:
    """A mistake of the caller's, which the libraries let out as it is: neither retried nor counted."""
    breaker = counter()
    client = wire.client(retry(3), breaker)
    with Recorder(Retried) as events, pytest.raises(Exception, match="Too little data"):
        client.post("/", content=pieces(wire), headers={"Content-Length": "100"})
    assert ((0, 0), [], 0) == (counted(breaker), events.events, client.busy())
