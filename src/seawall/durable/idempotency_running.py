"""Running user code under a claim, in each colour: the lease is kept meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, cast

from seawall._core.chain import kind_of
from seawall.durable.driving import Flow, adrive, drive
from seawall.durable.errors import LeaseLostError, OutcomeUnknownError
from seawall.durable.idempotency_claim import Claim, Replay
from seawall.durable.idempotency_flow import Claiming, failing
from seawall.durable.idempotency_terms import Terms
from seawall.durable.store import RECORDS, StoreError, require

T = TypeVar("T")

WANTED: Final = "end the block with claim.complete(result), or with release() where nothing took place"


def kept(run: Callable[[Claim], T]) -> Callable[[Claim], Callable[[], T]]:
    """Returns what calls a sync function while the lease of its claim is kept.

    Where the lease was lost meanwhile and the function returned, its result counts: whether the claim still stands is
    for the store to say, when it is to be completed.
    """

    def begin(claim: Claim) -> Callable[[], T]:
        def call() -> T:
            returned: list[T] = []
            try:
                with claim.keeping():
                    returned.append(_no_awaitable(run(claim)))
            except LeaseLostError:
                if not returned:
                    raise
            return returned[0]

        return call

    return begin


def _no_awaitable(result: T) -> T:
    if isinstance(result, Awaitable):
        getattr(result, "close", lambda: None)()
        raise TypeError(f"{result!r} would have to be awaited; use the async form, such as acall()")
    return result


def kept_async(run: Callable[[Claim], Any]) -> Callable[[Claim], Callable[[], Awaitable[Any]]]:
    """As `kept`, for a function that returns an awaitable, or a plain value."""

    def begin(claim: Claim) -> Callable[[], Awaitable[Any]]:
        async def call() -> Any:
            returned: list[Any] = []
            try:
                async with claim.keeping():
                    result = run(claim)
                    returned.append(await result if isinstance(result, Awaitable) else result)
            except LeaseLostError:
                if not returned:
                    raise
            return returned[0]

        return call

    return begin


def effects(terms: Terms, places: tuple[Any, ...], options: dict[str, Any], *, sync: bool) -> Callable[[Claim], Any]:
    """Returns what runs a body and stores its result in one transaction.

    `places` is (sessions, body), for a store on the user's engine, or (body,) for an embedded one.
    """
    if len(places) not in (1, 2):
        raise TypeError("transact() takes (key, sessions, body), or (key, body) for an embedded store")
    body, store = places[-1], cast("Any", terms.store)
    if len(places) == 2:
        if not hasattr(store, "transaction"):
            raise StoreError(f"{store.name} has no sessions; give a body of its connection alone: transact(key, body)")
        effect = _sync_effect if sync else _async_effect
        return lambda claim: store.transaction(places[0], effect(terms, claim, body), **options)
    if not hasattr(store, "transact"):
        require(store, RECORDS, "an effect together with its claim")
        raise StoreError(f"{store.name} needs sessions to run a body in: transact(key, sessions, body)")
    if kind_of(body) != "call":
        raise TypeError(
            f"body={body!r} is no plain function, and an embedded store runs it inside its own transaction; use one"
        )
    transact = store.transact if sync else store.atransact
    return lambda claim: transact(_sync_effect(terms, claim, body), **options)


def _sync_effect(terms: Terms, claim: Claim, body: Callable[[Any], T]) -> Callable[[Any], T]:
    def effect(session: Any) -> T:
        result = body(session)
        claim._check(terms.store.on(session).run(claim._completing(result)))
        return result

    return effect


def _async_effect(terms: Terms, claim: Claim, body: Callable[[Any], Awaitable[T]]) -> Callable[[Any], Awaitable[T]]:
    async def effect(session: Any) -> T:
        result = await body(session)
        claim._check(await terms.store.on(session).arun(claim._completing(result)))
        return result

    return effect


class ClaimBlock:
    """A block that executes one operation under its claim; made by `Idempotency.claiming`. For one use."""

    __slots__ = ("_claiming", "_got", "_kept", "_terms")

    def __init__(self, terms: Terms, claiming: Claiming) -> None:
        self._terms = terms
        self._claiming = claiming

    def __enter__(self) -> Claim | Replay:
        self._got = drive(self._terms.store, self._claiming.flow(blocking=True))
        if isinstance(self._got, Claim):
            self._kept = self._got.keeping()
            self._kept.__enter__()
        return self._got

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(self._got, Replay):
            return
        try:
            self._kept.__exit__(kind, error, traceback)
        except LeaseLostError as lost:
            drive(self._terms.store, self._ending(self._got, lost))
            raise
        drive(self._terms.store, self._ending(self._got, error))

    async def __aenter__(self) -> Claim | Replay:
        self._got = await adrive(self._terms.store, self._claiming.flow())
        if isinstance(self._got, Claim):
            self._kept = self._got.keeping()
            await self._kept.__aenter__()
        return self._got

    async def __aexit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(self._got, Replay):
            return
        try:
            await self._kept.__aexit__(kind, error, traceback)
        except LeaseLostError as lost:
            await adrive(self._terms.store, self._ending(self._got, lost))
            raise
        await adrive(self._terms.store, self._ending(self._got, error))

    def _ending(self, claim: Claim, error: BaseException | None) -> Flow[None]:
        """Says how it ended, where the block has not."""
        if error is not None:
            if claim.ended in ("", "joined"):
                yield from failing(self._terms, claim, error)
        elif not claim.ended:
            forgotten = OutcomeUnknownError("its block ended without complete(), release() or mark_unknown()")
            yield from failing(self._terms, claim, forgotten)
            raise RuntimeError(f"nobody said how operation {claim.key!r} ended; {WANTED}")
