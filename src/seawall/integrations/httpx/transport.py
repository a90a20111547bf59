"""The adapter: sends the requests of a client through a pipeline."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any, TypeVar, cast

from seawall._core.context import AnotherCall
from seawall._pipeline.pipeline import Pipeline
from seawall.integrations.httpx.bodies import FIRST_BYTE, aread, read
from seawall.integrations.httpx.bounds import beginning
from seawall.integrations.httpx.exchange import READ_AT_ONCE, Exchange
from seawall.integrations.httpx.hosts import OneLane, PerHost, check_pipeline

T = TypeVar("T")


def protect(client: T, pipeline: Pipeline | PerHost) -> T:
    """Sends every request of a client, or of a transport, through a pipeline.

    Inside the pipeline network failures, time-outs and the statuses 5xx, 408 and 429 (as `StatusError`) are failures;
    the caller still gets the last response itself. POST and PATCH are made again only with an `Idempotency-Key` header,
    or after a failure that proves that the request was not processed. `Retry-After` is honoured by `Retry`. A response
    is governed to its end; with `client.stream(...)`, until the first byte of its body.

    The time left (`deadline`, `Timeout`) goes with a request as `X-Request-Timeout`, in seconds, and bounds a sync
    client's own time-outs; the id of `correlation` goes as `X-Correlation-Id`. Rejections and time-outs of seawall come
    out as errors that are also the library's own `TransportError` and `TimeoutException`.

    Args:
        client: a client of httpx2 or httpx 0.28, sync or async, which is changed in place; or a transport, which is
            not: it does not know whether its response is streamed, so each is governed until its first byte.
        pipeline: the pipeline, or a `PerHost`.

    Returns the client, or a new transport around the one given. Raises TypeError for anything else, and where a
    strategy cannot serve this client; ValueError for what is protected already.
    """
    lanes = pipeline if isinstance(pipeline, PerHost) else OneLane(check_pipeline(pipeline, "pipeline"))
    if _Protected in (type(client), type(getattr(client, "_transport", None))):
        raise ValueError(f"{client!r} is protected already; put all strategies into one pipeline")
    if _has(client, "handle_request") or _has(client, "handle_async_request"):
        return cast(T, _Protected(client, lanes))
    if not (_has(client, "_transport") and _has(client, "_mounts") and _has(client, "send")):
        raise TypeError(f"{client!r} is no client or transport of httpx2 or httpx, such as httpx2.AsyncClient()")
    _protect_client(client, lanes)
    return client


def _has(thing: object, name: str) -> bool:
    return hasattr(thing, name) and not isinstance(thing, type)


def _protect_client(client: Any, lanes: OneLane | PerHost) -> None:
    """Puts the adapter around each transport, and lets requests say whether their response is wanted whole."""
    attempt, saying = (_aattempt, _asaying) if hasattr(client, "aclose") else (_attempt, _saying)
    if isinstance(lanes, OneLane):
        lanes.lend(None).through(attempt)  # a strategy may refuse this colour
    wrapped = {id(inner): _Protected(inner, lanes) for inner in (client._transport, *client._mounts.values()) if inner}
    client._transport = wrapped[id(client._transport)]
    client._mounts = {pattern: inner and wrapped[id(inner)] for pattern, inner in client._mounts.items()}
    client.send = saying(_unbound(client))


def _unbound(client: Any) -> Callable[..., Any]:
    """Returns `client.send` without a reference to the client, which is to hold it."""
    send: Callable[..., Any] = client.send
    if not isinstance(send, MethodType):
        return send  # somebody else has put it there
    function, itself = send.__func__, weakref.ref(client)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(itself(), *args, **kwargs)

    return call


def _saying(send: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(send)
    def say(request: Any, *, stream: bool = False, **how: Any) -> Any:
        token = READ_AT_ONCE.set(not stream)
        try:
            return send(request, stream=stream, **how)
        finally:
            READ_AT_ONCE.reset(token)

    return say


def _asaying(send: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(send)
    async def say(request: Any, *, stream: bool = False, **how: Any) -> Any:
        token = READ_AT_ONCE.set(not stream)
        try:
            return await send(request, stream=stream, **how)
        finally:
            READ_AT_ONCE.reset(token)

    return say


class _Protected:
    """A transport around another one, for both colours."""

    def __init__(self, inner: Any, lanes: OneLane | PerHost) -> None:
        self._inner = inner
        self._lanes = lanes

    def __repr__(self) -> str:
        return f"<{self._inner!r}, protected>"

    def handle_request(self, request: Any) -> Any:
        """Sends one request."""
        lane = self._lanes.lend(request)
        exchange = Exchange(request, lane.name)
        try:
            with exchange:
                return exchange.settle(lane.through(_attempt)(self._inner, exchange))
        except Exception as error:
            return exchange.instead_of(error)
        finally:
            self._lanes.give_back(lane)
            _close(exchange.leftovers(), or_else=exchange.given())

    async def handle_async_request(self, request: Any) -> Any:
        """Sends one request."""
        lane = self._lanes.lend(request)
        exchange = Exchange(request, lane.name)
        try:
            with exchange:
                return exchange.settle(await lane.through(_aattempt)(self._inner, exchange))
        except Exception as error:
            return exchange.instead_of(error)
        finally:
            self._lanes.give_back(lane)
            await _aclose(exchange.leftovers(), or_else=exchange.given())

    def close(self) -> None:
        """Closes the transport inside."""
        self._inner.close()

    async def aclose(self) -> None:
        """Closes the transport inside."""
        await self._inner.aclose()

    def __enter__(self) -> _Protected:
        self._inner.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._inner.__exit__(*exc)

    async def __aenter__(self) -> _Protected:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self._inner.__aexit__(*exc)


def _attempt(inner: Any, exchange: Exchange) -> Any:
    """Makes one attempt; the pipeline is around it."""
    _close(exchange.replaced())
    exchange.begin()
    exchange.bound()
    try:
        with AnotherCall():
            response = inner.handle_request(exchange.request)
        most = exchange.interesting(response)
        bounds = exchange.unbound() if most <= FIRST_BYTE else None
        try:
            if most:
                with beginning(response, bounds):
                    read(response, exchange.library, most, exchange.check_time)
        except BaseException:
            response.stream.close()
            raise
    except Exception as error:
        exchange.failed(error)
        raise
    return exchange.answered(response)


async def _aattempt(inner: Any, exchange: Exchange) -> Any:
    """Makes one attempt; the pipeline is around it."""
    await _aclose(exchange.replaced())
    exchange.begin()
    try:
        with AnotherCall():
            response = await inner.handle_async_request(exchange.request)
        most = exchange.interesting(response)
        try:
            if most:
                await aread(response, exchange.library, most)
        except BaseException:
            await response.stream.aclose()
            raise
    except Exception as error:
        exchange.failed(error)
        raise
    return exchange.answered(response)


def _close(responses: list[Any], or_else: Sequence[Any] = ()) -> None:
    """Closes responses, all of them; where that fails, `or_else` too, since nobody will have them."""
    for number, response in enumerate(responses, 1):
        try:
            response.stream.close()
        except BaseException:
            _close([*responses[number:], *or_else])
            raise


async def _aclose(responses: list[Any], or_else: Sequence[Any] = ()) -> None:
    """The async twin of `_close`. It may be cancelled, and closes them all the same."""
    for number, response in enumerate(responses, 1):
        try:
            await response.stream.aclose()
        except BaseException:
            await _aclose([*responses[number:], *or_else])
            raise
