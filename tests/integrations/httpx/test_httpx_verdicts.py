"""What errors say: the matchers `network`, `timed_out`, `transient`, and what `unprocessed` makes of a call's end."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from seawall import (
    BulkheadFullError,
    CallTimeoutError,
    CircuitBreaker,
    CircuitIsolatedError,
    CircuitOpenError,
    DeadlineExceededError,
    RateLimitedError,
    Retried,
)
from seawall.integrations.httpx import StatusError, network, timed_out, transient, unprocessed
from tests.integrations.httpx.driver import LIBRARIES, Wire, retry
from tests.integrations.httpx.server import answer, half, port_of_nobody, reset, stall

NETWORK = {"NetworkError", "ReadError", "WriteError", "ConnectError", "CloseError", "RemoteProtocolError", "ProxyError"}
TIMELY = {"TimeoutException", "ConnectTimeout", "ReadTimeout", "WriteTimeout"}
PASSING = {"PoolTimeout"}
UNSENT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol"}
NEEDED = NETWORK | TIMELY | PASSING | UNSENT | {"HTTPStatusError", "LocalProtocolError", "DecodingError", "InvalidURL"}


def errors_of(library: str) -> Iterator[Any]:
    """Gives one of each error class that a library has."""
    module: Any = __import__(library)
    request = module.Request("GET", "http://host/")
    for name, kind in vars(module).items():
        if isinstance(kind, type) and issubclass(kind, Exception):
            if issubclass(kind, module.HTTPStatusError):
                yield name, kind("text", request=request, response=module.Response(503, request=request))
            else:
                try:
                    yield name, kind("text")
                except TypeError:
                    yield name, kind()


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_error_of_the_libraries(library: str) -> None:
    """Network failures, time-outs, a full pool; all else is nobody's failure."""
    errors = dict(errors_of(library))
    assert NEEDED <= set(errors)
    for name, error in errors.items():
        told = network(error), timed_out(error), transient(error), unprocessed(error)
        passing = name in NETWORK | TIMELY | PASSING
        assert (name, (name in NETWORK, name in TIMELY, passing, name in UNSENT)) == (name, told)


def subclass(library: str, name: str) -> Any:
    """Returns an error of a class derived from one of the library's."""
    return type("Own", (getattr(__import__(library), name),), {})("text")


@pytest.mark.parametrize("library", LIBRARIES)
def test_classes_derived_from_the_libraries(library: str) -> None:
    """Count as what they are derived from."""
    assert network(subclass(library, "ReadError"))
    assert timed_out(subclass(library, "ReadTimeout"))
    assert unprocessed(subclass(library, "ConnectError"))
    assert not transient(subclass(library, "LocalProtocolError"))


OURS: list[tuple[BaseException, tuple[bool, bool, bool, bool]]] = [
    (StatusError(503, "host"), (False, False, True, False)),
    (StatusError(429, "host"), (False, False, True, False)),
    (CallTimeoutError("t", 1.0), (False, True, True, False)),
    (CallTimeoutError("t", 1.0, True), (False, False, False, False)),
    (DeadlineExceededError("t"), (False, False, False, True)),
    (CircuitOpenError("b", 1.0), (False, False, False, True)),
    (CircuitIsolatedError("b"), (False, False, False, True)),
    (BulkheadFullError("b"), (False, False, False, True)),
    (RateLimitedError("b", 1.0), (False, False, False, True)),
    (ConnectionError(), (True, False, True, False)),
    (ConnectionRefusedError(), (True, False, True, True)),
    (ConnectionResetError(), (True, False, True, False)),
    (BrokenPipeError(), (True, False, True, False)),
    (TimeoutError(), (False, True, True, False)),
    (OSError("disk"), (False, False, False, False)),
    (ValueError(), (False, False, False, False)),
    (Exception(), (False, False, False, False)),
    (KeyboardInterrupt(), (False, False, False, False)),
    (asyncio.CancelledError(), (False, False, False, False)),
]


@pytest.mark.parametrize(("error", "expected"), OURS, ids=lambda value: type(value).__name__)
def test_errors_of_python_and_of_ours(error: BaseException, expected: tuple[bool, ...]) -> None:
    """The matchers know the built-in kin too; a rejection and a deadline never count."""
    assert expected == (network(error), timed_out(error), transient(error), unprocessed(error))


NOTHING_LOADED = """
import sys
before = set(sys.modules)
from seawall.integrations.httpx import network, protect, timed_out, transient, unprocessed
third = {name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names) - {"seawall"}
assert not third, third
assert transient(ConnectionError()) and network(ConnectionError()) and not timed_out(ConnectionError())
assert timed_out(TimeoutError()) and not transient(ValueError()) and unprocessed(ConnectionRefusedError())
assert not set(sys.modules) & {"httpx", "httpx2", "httpcore", "httpcore2", "anyio", "h11", "certifi"}
import httpx2
assert network(httpx2.ReadError("x")) and timed_out(httpx2.ReadTimeout("x")) and unprocessed(httpx2.ConnectError("x"))
assert "httpx" not in sys.modules
import httpx
assert network(httpx.ReadError("x")) and network(httpx2.ReadError("x")) and not network(httpx.ReadTimeout("x"))
print("fine")
"""


def test_nothing_is_imported() -> None:
    """The adapter loads no third-party module; libraries loaded later are known then."""
    done = subprocess.run([sys.executable, "-c", NOTHING_LOADED], capture_output=True, text=True, check=False)
    assert ("fine\n", "") == (done.stdout, done.stderr)


SERIES: dict[str, tuple[list[Any], bool]] = {
    "200": ([answer()], False),
    "404": ([answer(404)], False),
    "429": ([answer(429)], True),
    "429 429": ([answer(429), answer(429)], True),
    "503 429": ([answer(503), answer(429)], False),
    "429 503": ([answer(429), answer(503)], False),
    "429 200": ([answer(429), answer()], False),
    "reset 429": ([reset(), answer(429)], False),
    "half 429": ([half(), answer(429)], False),
    "stall 429": ([stall(), answer(429)], False),
    "429 reset": ([answer(429), reset()], False),
}


@pytest.mark.parametrize("series", SERIES)
def test_every_attempt_of_a_call_is_taken_into_account(wire: Wire, series: str) -> None:
    """Sure is only what every one of them proves."""
    behaviours, sure = SERIES[series]
    wire.server.play("/", *behaviours)
    client = wire.client(retry(len(behaviours)), timeout=wire.reading(0.1 if "stall" in series else 5))
    try:
        end = client.get("/")
    except wire.lib.TransportError as error:
        end = error
    assert (sure, len(behaviours)) == (unprocessed(end), wire.server.hits())


@pytest.mark.parametrize("first", ["nothing", "429", "stall", "503"])
def test_a_refusal_at_the_end(wire: Wire, first: str) -> None:
    """Sure only where what came before it was sure as well."""
    guard = retry(2)
    guard.listen(lambda event: wire.server.pause(), Retried)
    behaviours = {"429": answer(429), "stall": stall(), "503": answer(503)}
    if first == "nothing":
        wire.server.pause()
    else:
        wire.server.play("/", behaviours[first])
    client = wire.client(guard, timeout=wire.reading(0.1 if first == "stall" else 5))
    with pytest.raises(wire.lib.ConnectError) as caught:
        client.get("/")
    assert (first in ("nothing", "429")) == unprocessed(caught.value)


@pytest.mark.parametrize(("first", "sure"), [("nothing", True), ("429", True), ("503", False)])
def test_a_rejection_at_the_end(wire: Wire, first: str, sure: bool) -> None:
    """An open circuit proves nothing about the attempts before it opened."""
    breaker = CircuitBreaker(failures=1)
    guard = retry(2)
    guard.listen(lambda event: holds.append(breaker.isolate()), Retried)
    client = wire.client(guard, breaker if first != "503" else CircuitBreaker(failures=1, open_for=60))
    holds = [breaker.isolate()] if first == "nothing" else []
    wire.server.play("/", answer(int(first)) if first != "nothing" else answer())
    with pytest.raises((CircuitOpenError, CircuitIsolatedError)) as caught:
        client.get("/")
    assert (sure, 0 if first == "nothing" else 1) == (unprocessed(caught.value), wire.server.hits())


def test_the_error_of_raise_for_status(wire: Wire) -> None:
    """Says what its response says."""
    client = wire.client(retry(2))
    for behaviours, sure in ([answer(429)], True), ([answer(503)], False), ([answer(503), answer(429)], False):
        wire.server.play("/", *behaviours)
        with pytest.raises(wire.lib.HTTPStatusError) as caught:
            client.get("/").raise_for_status()
        assert sure == unprocessed(caught.value)


def test_an_unprotected_client(wire: Wire) -> None:
    """Its responses and errors are of one attempt."""
    client = wire.bare(timeout=wire.reading(0.1))
    wire.server.play("/429", answer(429))
    wire.server.play("/503", answer(503))
    wire.server.play("/stall", stall())
    assert (True, False, False) == tuple(unprocessed(client.get(path)) for path in ("/429", "/503", "/"))
    with pytest.raises(wire.lib.ReadTimeout) as caught:
        client.get("/stall")
    assert not unprocessed(caught.value)
    with pytest.raises(wire.lib.ConnectError) as refused:
        client.get(f"http://127.0.0.1:{port_of_nobody()}/")
    assert unprocessed(refused.value)
    with pytest.raises(wire.lib.HTTPStatusError) as status:
        client.get("/429").raise_for_status()
    assert unprocessed(status.value)


def test_a_response_made_by_hand(wire: Wire) -> None:
    """Without any request behind it."""
    assert [True, False, False] == [unprocessed(wire.lib.Response(status)) for status in (429, 503, 200)]
