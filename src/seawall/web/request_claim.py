"""The claim on an idempotent request, as its handler sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from seawall.durable.idempotency_claim import Claim
from seawall.web.stored_answer import StoredAnswer, parts_of

_current: ContextVar[RequestClaim | None] = ContextVar("seawall_request_claim", default=None)


class RequestClaim:
    """What the handler of an idempotent request commits its answer by, together with its effect.

    ::

        claim = current_request_claim()
        async with sessions.begin() as session:
            session.add(invoice)
            await claim.aanswer(JSONResponse({"id": invoice.id}, status_code=201), session=session)

    The stored answer is what the client gets, to the byte, whatever the handler returns afterwards: from this process,
    or, where it dies after the commit, from the one that a repeat reaches.

    Attributes:
        key: the `Idempotency-Key`, for handing on to other services.
        over: whether an earlier holder died with this request; what it did outside the transaction may have happened.
    """

    __slots__ = ("_also", "_claim", "answered", "key")

    def __init__(self, key: str, claim: Claim, also: frozenset[bytes]) -> None:
        self.key = key
        self._claim = claim
        self._also = also
        self.answered: StoredAnswer | None = None

    def __repr__(self) -> str:
        return f"RequestClaim({self.key!r})"

    @property
    def over(self) -> bool:
        """Whether an earlier holder died with this request."""
        return self._claim.over

    def answer(
        self,
        response: Any = None,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        body: bytes | str = b"",
        session: Any,
    ) -> None:
        """Stores the answer in the transaction of `session`. Called again, as when it is retried, the last one counts.

        Args:
            response: a whole response with status_code, headers and body, such as Starlette's JSONResponse.
            status: of the answer, where there is no response; default 200.
            headers: likewise; default none.
            body: likewise; default empty.
            session: the session or connection whose transaction holds the effect.

        Raises:
            LeaseLostError: another process has taken this request over; the transaction must be rolled back.
            TypeError: the response is a streaming one, or none.
        """
        stored = StoredAnswer.of(*parts_of(response, status, headers, body), self._also)
        self._claim.complete(stored, session=session)
        self.answered = stored

    async def aanswer(
        self,
        response: Any = None,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        body: bytes | str = b"",
        session: Any,
    ) -> None:
        """As `answer`, for an async session."""
        stored = StoredAnswer.of(*parts_of(response, status, headers, body), self._also)
        await self._claim.acomplete(stored, session=session)
        self.answered = stored


def current_request_claim() -> RequestClaim:
    """Returns the claim on the request that is being served.

    Raises LookupError where it carries no key on an idempotent route.
    """
    claim = _current.get()
    if claim is None:
        raise LookupError(
            "this request has no claim: its route is not among those of IdempotentRequests, or its key is not required "
            "and not there"
        )
    return claim


@contextmanager
def holding(claim: RequestClaim | None) -> Iterator[None]:
    """Makes a claim the current one inside the block; or none."""
    token = _current.set(claim)
    try:
        yield
    finally:
        _current.reset(token)
