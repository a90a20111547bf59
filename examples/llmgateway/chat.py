"""Answering a chat request while a provider is slow or fails: by the other one, and not by waiting.

A chat request has no effect but its answer (and its price), and every attempt carries the same Idempotency-Key, so it
may be made twice: the policy `chat` starts a second attempt, at the other provider, when the first one is slow, and at
once when it has failed; the first answer wins, the others are cancelled. That holds until the first word has come. From
then on the answer is this provider's, to its end or to an error: two halves of two answers are none.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from examples.llmgateway.failures import ProviderFailedError
from examples.llmgateway.turns import Turns
from examples.llmgateway.upstream import Piece, Question, Reply, Upstream
from examples.llmgateway.wire import ProviderName
from seawall import Pipeline
from seawall.integrations.httpx import StatusError
from seawall.integrations.opentelemetry import Traced


@dataclass(slots=True)
class Route:
    """In which order the providers are asked: the first one, the other, the first one again, and so on."""

    order: tuple[Upstream, ...]
    asked: int = 0

    def next(self) -> Upstream:
        """Returns who is asked next."""
        upstream = self.order[self.asked % len(self.order)]
        self.asked += 1
        return upstream


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole answer, and whose it is."""

    upstream: Upstream
    used_fallback: bool
    reply: Reply


@dataclass(slots=True)
class Opened:
    """A streamed answer whose first piece is there. Close it, whether it was read or not."""

    upstream: Upstream
    used_fallback: bool
    first: Piece
    rest: AsyncGenerator[Piece, None] = field(repr=False)

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """Returns all pieces, the first one included."""
        yield self.first
        async for piece in self.rest:
            yield piece

    async def aclose(self) -> None:
        """Stops the provider."""
        await self.rest.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()


A = TypeVar("A", Answered, Opened)


class Chat:
    """Asks the providers.

    Args:
        upstreams: the providers by name.
        policy: around all attempts of a request.
    """

    def __init__(self, upstreams: Mapping[ProviderName, Upstream], policy: Pipeline) -> None:
        self.upstreams = upstreams
        self._policy = policy
        self._turns = Turns(upstreams)

    @Traced("chat")
    async def complete(self, question: Question, preferred: ProviderName | None) -> Answered:
        """Returns a whole answer. Raises what the last provider that was asked raised."""
        return await self._by_one_of_them(self._complete, question, preferred)

    @Traced("chat stream")
    async def open(self, question: Question, preferred: ProviderName | None) -> Opened:
        """Returns a streamed answer as soon as its first piece is there. Raises as `complete` does."""
        try:
            return await self._by_one_of_them(self._open, question, preferred)
        except StatusError as error:
            raise ProviderFailedError from error

    async def _by_one_of_them(
        self,
        attempt: Callable[[Question, Route], Coroutine[Any, Any, A]],
        question: Question,
        preferred: ProviderName | None,
    ) -> A:
        """Returns what the first attempt to succeed returns; whom the customer prefers is asked first."""
        if preferred is not None:
            return await self._policy.acall(attempt, question, self._route(preferred))
        with self._turns.take() as turn:
            answer = await self._policy.acall(attempt, question, self._route(turn.first))
            turn.answered = answer.upstream.name
            return answer

    def _route(self, first: ProviderName) -> Route:
        others = (each for each in self.upstreams if each != first)
        return Route(tuple(self.upstreams[name] for name in (first, *others)))

    async def _complete(self, question: Question, route: Route) -> Answered:
        """Makes one attempt; the policy is around it."""
        upstream = route.next()
        reply = await upstream.complete(question)
        return Answered(upstream, upstream is not route.order[0], reply)

    async def _open(self, question: Question, route: Route) -> Opened:
        """Makes one attempt to get the first piece; the policy is around it, and closes those that lose."""
        upstream = route.next()
        pieces = upstream.stream(question)
        try:
            first = await anext(pieces)
        except StopAsyncIteration:
            raise ProviderFailedError(code="PROVIDER_NOT_UNDERSTOOD") from None
        except BaseException:
            await pieces.aclose()
            raise
        return Opened(upstream, upstream is not route.order[0], first, pieces)
