"""One execution of an idempotent request: its answer is held back until it is kept."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterable
from typing import Any, Final

from seawall._core.events import brief
from seawall.durable.driving import shielded
from seawall.durable.errors import CommitUnknownError, InProgressError, LeaseLostError, OutcomeUnknownError
from seawall.durable.idempotency_claim import Claim
from seawall.durable.store import StoreError
from seawall.web.asgi import ASGIApp, Message, Receive, Scope
from seawall.web.exchange import Exchange
from seawall.web.idempotency_routes import IdempotentRoute
from seawall.web.journal import LOGGER
from seawall.web.request_claim import RequestClaim, holding
from seawall.web.stored_answer import StoredAnswer

_NOTHING_DONE: Final = frozenset((401, 403, 425, 429))
"""Refusals before anything was done, which may be otherwise the next time."""
_TIMED_OUT: Final = 408
_BODIES: Final = ("http.response.body", "http.response.pathsend", "http.response.zerocopysend")
_SETTLING: Final = 20.0
"""Seconds that the transaction of an answer has to end, once the application answers. SQLite gives up earlier."""


class Serving:
    """Runs the application once for a claim, and ends the claim by what it answers, before the client hears of it.

    Args:
        app: the application.
        route: how this route wants it.
        key: the client's.
        claim: on the request.
        also: further headers that are kept.
        exchange: with the client.
    """

    def __init__(
        self, app: ASGIApp, route: IdempotentRoute, key: str, claim: Claim, also: frozenset[bytes], exchange: Exchange
    ) -> None:
        self._app = app
        self._route = route
        self._claim = claim
        self._keeping = claim.keeping()
        self._also = also
        self._exchange = exchange
        self._request = RequestClaim(key, claim, also)
        self._held: list[Message] = []
        self._size = 0
        self._over = asyncio.Event()  # the response has been handed on, or is being
        self._muted = False  # whether what the application still says is for nobody
        self._trouble: Exception | None = None

    async def run(self, scope: Scope, body: bytes, receive: Receive) -> None:
        """Serves the request; an exception of the application is answered here, as any other answer of it.

        Raises LeaseLostError where the claim is another's by now, StoreError where the store does not say how the
        answer's transaction ended, and what the application raises after its answer.
        """
        _without_files(scope)
        try:
            with holding(self._request):
                async with self._keeping:
                    await self._app(scope, _Again(body, receive, self._over), self._capture)
            if not self._over.is_set():
                raise RuntimeError("the application returned without a whole response")
        except Exception as error:
            if not await self._answered_by(error):
                raise
        except BaseException as error:
            await self._cut(f"cut short by {type(error).__name__}")
            raise
        finally:
            self._over.set()

    async def _capture(self, message: Message) -> None:
        if self._muted:
            return
        kind = message["type"]
        if self._over.is_set() or (kind != "http.response.start" and kind not in _BODIES):
            await self._exchange.send(message)
            return
        self._held.append(message)
        if kind == "http.response.start":
            return
        self._size += len(message.get("body", b""))
        if kind != "http.response.body" or self._size > self._route.max_body:
            await self._let_go()
        elif not message.get("more_body", False):
            start, *parts = self._held
            await self._answer(start, b"".join(part.get("body", b"") for part in parts))

    async def _answer(self, start: Message, body: bytes) -> None:
        """The response is whole: ends the claim by it, and hands it on."""
        instead = self._exchange.instead_of(start)
        if instead is not None:
            start, body = instead[0], instead[1]["body"]
        own = StoredAnswer.of(start["status"], start.get("headers", ()), body, self._also)
        try:
            stored = await self._end_by(own)
        except (LeaseLostError, StoreError) as error:
            # Told after the application has ended: a framework would take it for its handler's own, in mid-response.
            kind = LeaseLostError if isinstance(error, LeaseLostError) else StoreError
            self._trouble, self._muted = kind(str(error)), True
            raise
        await self._hand_on((start, {"type": "http.response.body", "body": body}), stored)

    async def _hand_on(self, messages: Iterable[Message], stored: StoredAnswer | None) -> None:
        self._over.set()
        self._held.clear()
        self._exchange.final = True
        for message in messages if stored is None else stored.messages(replayed=False):
            await self._exchange.send(message)

    async def _let_go(self) -> None:
        """The response is a file, or too large to be kept: it is handed on as it comes."""
        stored = await self._settled()
        if stored is not None:
            self._muted = True
            await self._hand_on((), stored)
            return
        LOGGER.error(
            "the answer to an idempotent request is a file, or larger than %d bytes, and cannot be kept: its repeats "
            "are refused as of unknown outcome; answer with a link to it, or raise max_body of the route",
            self._route.max_body,
        )
        await self._surely(self._claim.amark_unknown("its answer was too large to be kept"))
        self._over.set()
        held, self._held = self._held, []
        for message in held:
            await self._exchange.send(message)

    async def _end_by(self, own: StoredAnswer) -> StoredAnswer | None:
        """Ends the claim by what was answered; returns what is to be answered in its place, if anything.

        Raises LeaseLostError where the claim is another's by now: then this answer is none. Raises StoreError where
        nobody says whether the answer that the handler committed is the one that counts.
        """
        stored = await self._settled()
        if stored is not None:
            return stored
        status, raised = own.status, self._exchange.raised if self._exchange.ours else None
        if _is(raised, OutcomeUnknownError):
            await self._surely(self._doubt(f"answered {status}", raised))
        elif status in _NOTHING_DONE or _is(raised, InProgressError):
            await self._surely(self._claim.arelease(f"answered {status}"))
        elif status < 500 and status != _TIMED_OUT:
            self._look_at_effect(status)
            await self._surely(self._claim.acomplete(own))
        elif self._route.server_errors == "replay":
            await self._surely(self._claim.acomplete(own))
        else:
            await self._surely(self._doubt(f"answered {status}", raised))
        return None

    def _look_at_effect(self, status: int) -> None:
        if self._route.transactional and status < 400:
            LOGGER.warning(
                "an idempotent request was answered %d, and current_request_claim().answer() was not committed: effect "
                "and answer were not committed together",
                status,
            )

    async def _settled(self) -> StoredAnswer | None:
        """Returns the answer that the handler has committed together with its effect; None where there is none.

        Raises LeaseLostError, and StoreError where the transaction does not end.
        """
        if self._request.answered is None:
            return None
        try:
            async with asyncio.timeout(_SETTLING):
                settled = await self._claim.asettle()
        except TimeoutError:
            raise StoreError(
                f"the transaction that holds the answer to this request did not end within {_SETTLING:g} s after the "
                "handler: commit it before you return; a session from FastAPI's Depends is committed in time with "
                'Depends(..., scope="function")'
            ) from None
        return None if settled is None else settled.value

    def _doubt(self, said: str, raised: type[BaseException] | None = None) -> Awaitable[Any]:
        """Gives the claim back where nothing of the request can have stayed, else says that nobody knows."""
        if raised is not None:
            said += f" after {raised.__name__}"
        if self._route.transactional:
            if _is(raised, CommitUnknownError) and self._request.answered is None:
                return self._claim.amark_unknown(said)
            return self._claim.arelease(said)  # what the transaction had done was rolled back with it
        if self._route.server_errors == "release":
            return self._claim.arelease(said)
        return self._claim.amark_unknown(said)

    async def _answered_by(self, error: Exception) -> bool:
        """Makes what the application raised its answer; returns whether it is, and that the exception is over with.

        It is not where the application had answered already, and where the claim is not ours any more.
        """
        if self._trouble is not None:
            return await self._in_trouble()
        overtaken = isinstance(error, LeaseLostError) and self._keeping.lost and self._request.answered is None
        if self._over.is_set() or overtaken:
            return False
        start, body = self._exchange.messages(self._exchange.judge(error), error)
        self._exchange.ours = True
        await self._answer(start, body["body"])
        return True

    async def _in_trouble(self) -> bool:
        """The end of the claim failed: looks once more, now that the application is done with its transaction."""
        trouble, self._trouble = self._trouble, None
        try:
            if isinstance(trouble, StoreError):
                with contextlib.suppress(LeaseLostError, StoreError):
                    stored = await self._settled()
                    if stored is not None:
                        await self._hand_on((), stored)
                        return True
                    await self._surely(self._doubt(str(trouble)))
            raise trouble from None  # type: ignore[misc] # it is there
        finally:
            del trouble  # or it would hold this frame, and this frame it

    async def _cut(self, said: str) -> None:
        """The task was cancelled, or the process told to stop, in the middle of the application."""
        if self._over.is_set() or self._claim.ended in ("done", "failed", "unknown"):
            return
        try:
            await shielded(self._leave(said))
        except Exception as error:
            LOGGER.error("the end of an idempotent request could not be kept: %s", brief(error))

    async def _leave(self, said: str) -> None:
        if await self._settled() is None:
            await self._doubt(said)

    async def _surely(self, ending: Awaitable[Any]) -> None:
        """Ends the claim. Where the store is away, the answer is given all the same: it is true, if not kept."""
        try:
            await ending
        except LeaseLostError:
            raise
        except Exception as error:
            LOGGER.error("the end of an idempotent request could not be kept: %s", brief(error))


def _is(raised: type[BaseException] | None, kind: type[BaseException]) -> bool:
    return raised is not None and issubclass(raised, kind)


def _without_files(scope: Scope) -> None:
    """Has a framework send the bytes of a file, which can be kept, in place of its path."""
    extensions = scope.get("extensions")
    if extensions:
        scope["extensions"] = {name: value for name, value in extensions.items() if name not in _BODIES}


class _Again:
    """Gives the body that was read; that the client went away is told after the answer only."""

    __slots__ = ("_body", "_over", "_receive")

    def __init__(self, body: bytes, receive: Receive, over: asyncio.Event) -> None:
        self._body: bytes | None = body
        self._receive = receive
        self._over = over

    async def __call__(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._over.wait()
        return await self._receive()
