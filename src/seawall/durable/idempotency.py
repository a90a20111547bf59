"""Idempotency: an operation under a key happens once; its repeats get what it returned."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, CO_ITERABLE_COROUTINE
from types import FunctionType
from typing import Any, Final, TypeVar, overload

from seawall._core import arguments
from seawall._core.arguments import Matcher, Seconds
from seawall._core.chain import IN_WORDS, check_callable, kind_of, name_of
from seawall._core.events import Event, Listener
from seawall.durable.claims import ClaimRecord
from seawall.durable.claims_verbs import ListUnknown, Look
from seawall.durable.codec import Codec, CodecError
from seawall.durable.driving import Flow, adrive, drive
from seawall.durable.events import OperationSettled
from seawall.durable.idempotency_claim import NOT_DONE, Claim, OperationOutcome, Replay
from seawall.durable.idempotency_flow import Claiming, calling, settling, transacting
from seawall.durable.idempotency_running import ClaimBlock, effects, kept, kept_async
from seawall.durable.idempotency_terms import Takeover, terms_of, text
from seawall.durable.keys import fingerprint_of
from seawall.durable.store import Store

T = TypeVar("T")

DAY: Final = 86400.0
NO_PLAIN: Final = CO_ASYNC_GENERATOR | CO_COROUTINE | CO_GENERATOR | CO_ITERABLE_COROUTINE


class Idempotency:
    """Makes operations happen once: each has a key, and the first call with it executes; the others get its result.

    What is guaranteed, while the store keeps what it was given:

    - Of any number of calls with one key, from any threads, tasks and processes, at most one executes at a time.
    - Once an execution has returned, no other starts until `ttl` seconds later; repeats get the stored result.
    - An execution that raised is given back: the next call executes.
    - Where the process dies in the middle, or the outcome is not known for another reason, the operation becomes
      *unknown* when its lease runs out: repeats raise OutcomeUnknownError until somebody settles it (`resolve`,
      `seawall idempotency resolve`, `reconcile`). With `takeover="rerun"` the next call executes it again.
    - `transact` commits effect and result together: such an operation is never unknown, and its effect happens once.

    An effect outside the store's database happens at least once with `takeover="rerun"`, else at most once for each
    settling: hand it the key, so that whoever has the effect can tell a repeat.

    After a failure that does not say whether something took place, the outcome is unknown as well: CommitUnknownError,
    OutcomeUnknownError, time-outs (`CallTimeoutError`), connections that broke (reset, aborted, broken pipe), a lost
    lease; and where the execution was cancelled in its middle, or the process told to stop.

    Args:
        store: where claims are kept: SQLite, PostgreSQL or Redis.
        namespace: what tells these keys from those of other operations, such as "payments"; also the name in events.
        ttl: seconds for which a result is kept; default a day.
        lease: seconds that a claim lasts without a heartbeat; default 30.
        heartbeat: seconds between heartbeats while an operation is executed; default 10.
        takeover: "unknown" (default), or "rerun" for operations that may be executed again after a part of them was.
        reconcile: a function of the key, asked when a repeat finds the outcome unknown: it returns the result, NOT_DONE
            where the operation surely did not take place and will not, or STILL_UNKNOWN. Default: nobody is asked.
        wait: seconds for which a repeat looks again, every 0.1 s, while an equal operation is in flight; default 0.
        unknown_on: further failures (a class, several, or a function of the exception) that leave the outcome unknown.
        codec: how results are stored; default `JsonCodec()`.
    """

    def __init__(
        self,
        store: Store,
        namespace: str,
        *,
        ttl: Seconds = DAY,
        lease: Seconds = 30.0,
        heartbeat: Seconds = 10.0,
        takeover: Takeover = "unknown",
        reconcile: Callable[[str], Any] | None = None,
        wait: Seconds = 0.0,
        unknown_on: Matcher = (),
        codec: Codec | None = None,
    ) -> None:
        self._terms = terms_of(store, namespace, ttl, lease, heartbeat, takeover, reconcile, wait, unknown_on, codec)

    def __repr__(self) -> str:
        return f"Idempotency({self._terms.store.name}, {self.namespace!r})"

    @property
    def namespace(self) -> str:
        """What tells these keys from those of other operations."""
        return self._terms.namespace

    def listen(self, listener: Listener, *types: type[Event]) -> Callable[[], None]:
        """Tells `listener` of the events of these operations; returns the function that stops it."""
        return self._terms.hub.listen(listener, types)

    def call(self, key: str, fn: Callable[..., T], /, *args: Any, fingerprint: str | None = None, **kwargs: Any) -> T:
        """Executes `fn(*args, **kwargs)` once under `key`, and returns its result or the stored one.

        Args:
            key: the operation's.
            fn: a plain function. Its result must be one that the codec stores.
            *args: what it is called with.
            **kwargs: what it is called with by name.
            fingerprint: what tells this request from another with the same key by mistake; "" asks for no such check.
                Default: made of the arguments, which must then be of the types of `content_key`.

        Raises:
            InProgressError: an equal operation is in flight, and was for all of `wait`. `retry_after` says when to ask.
            KeyMismatchError: the key was used for another request; nothing was executed.
            OutcomeUnknownError: an earlier execution may or may not have taken place; nothing was executed.
            LeaseLostError: the execution was overtaken; its result was not stored.
            CodecError: an argument has no fingerprint, and nothing was executed; or the result cannot be stored, and
                the outcome is unknown to others.
            StoreError: the store could not do it.
            Exception: what `fn` raises, as it is.
        """
        return self.call_outcome(key, fn, *args, fingerprint=fingerprint, **kwargs).value

    async def acall(
        self, key: str, fn: Callable[..., Awaitable[T]], /, *args: Any, fingerprint: str | None = None, **kwargs: Any
    ) -> T:
        """As `call`, for an async function. Cancelled in the middle of it, the outcome is unknown."""
        value: T = (await adrive(self._terms.store, self._acalling(key, fn, fingerprint, args, kwargs))).value
        return value

    def call_outcome(
        self, key: str, fn: Callable[..., T], /, *args: Any, fingerprint: str | None = None, **kwargs: Any
    ) -> OperationOutcome[T]:
        """As `call`; returns the result together with whether it was replayed."""
        _check_kind(fn, ("call",), "acall")
        claiming = self._claiming(key, _fingerprint(fingerprint, args, kwargs)).flow(blocking=True)
        run = kept(lambda claim: fn(*args, **kwargs))
        return drive(self._terms.store, calling(claiming, self._terms, run))

    async def acall_outcome(
        self, key: str, fn: Callable[..., Awaitable[T]], /, *args: Any, fingerprint: str | None = None, **kwargs: Any
    ) -> OperationOutcome[T]:
        """As `acall`; returns the result together with whether it was replayed."""
        return await adrive(self._terms.store, self._acalling(key, fn, fingerprint, args, kwargs))

    def _acalling(
        self, key: str, fn: Callable[..., Any], fingerprint: str | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Flow[OperationOutcome[Any]]:
        _check_kind(fn, ("acall", "call"), "call")
        claiming = self._claiming(key, _fingerprint(fingerprint, args, kwargs)).flow()
        return calling(claiming, self._terms, kept_async(lambda claim: fn(*args, **kwargs)))

    @overload
    def transact(
        self, key: str, body: Callable[[sqlite3.Connection], T], /, *, fingerprint: str = "", **options: Any
    ) -> T: ...
    @overload
    def transact(
        self, key: str, sessions: Any, body: Callable[[Any], T], /, *, fingerprint: str = "", **options: Any
    ) -> T: ...
    def transact(self, key: str, /, *places: Any, fingerprint: str = "", **options: Any) -> Any:
        """Executes a body whose effect and result commit in one transaction: the effect happens once, whatever crashes.

        `transact(key, sessions, body)` runs `body(session)` by `run_transaction`, for a store on the user's engine;
        `transact(key, body)` runs `body(connection)` in the file of an embedded store, for at most a second.

        A claim whose process died is taken over after its lease: what was not committed is gone, and what was is
        done. Of a COMMIT whose end the client did not learn, the claim tells how it ended; a transaction that was not
        committed is run again. The body may run several times, and nothing of it counts but what it commits.

        Args:
            key: the operation's.
            *places: where it runs, and the body, which returns a result that the codec stores.
            fingerprint: what tells this request from another with the same key by mistake; default: no such check.
            **options: those of `run_transaction`, or of the embedded store's `transact`.

        Raises:
            CommitUnknownError: the store could not even be asked how the COMMIT ended; a repeat finds out.
            Exception: as `call`, but that no outcome is unknown.
        """
        run = kept(effects(self._terms, places, options, sync=True))
        claiming = self._claiming(key, fingerprint, True).flow(blocking=True)
        return drive(self._terms.store, transacting(claiming, self._terms, run)).value

    @overload
    async def atransact(
        self, key: str, body: Callable[[sqlite3.Connection], T], /, *, fingerprint: str = "", **options: Any
    ) -> T: ...
    @overload
    async def atransact(
        self, key: str, sessions: Any, body: Callable[[Any], Awaitable[T]], /, *, fingerprint: str = "", **options: Any
    ) -> T: ...
    async def atransact(self, key: str, /, *places: Any, fingerprint: str = "", **options: Any) -> Any:
        """As `transact`, for an async body; that of an embedded store is a plain function all the same."""
        run = kept_async(effects(self._terms, places, options, sync=False))
        claiming = self._claiming(key, fingerprint, True).flow()
        outcome = await adrive(self._terms.store, transacting(claiming, self._terms, run))
        return outcome.value

    def claim(
        self, key: str, fingerprint: str = "", *, transactional: bool = False, wait: Seconds | None = None
    ) -> Claim | Replay:
        """Claims a key, for who wants to execute and end the operation by hand.

        Args:
            key: the operation's.
            fingerprint: what tells this request from another with the same key by mistake; default: no such check.
            transactional: whether the result will be completed in the transaction of the effect
                (`claim.complete(result, session=...)`): then the claim may be taken over after its lease.
            wait: in place of that of all operations, in seconds.

        Returns:
            A `Claim` to be executed, or a `Replay` with the result of an earlier execution.

        Raises:
            InProgressError, KeyMismatchError, OutcomeUnknownError, StoreError: as `call`.
        """
        return drive(self._terms.store, self._claiming(key, fingerprint, transactional, wait).flow(blocking=True))

    async def aclaim(
        self, key: str, fingerprint: str = "", *, transactional: bool = False, wait: Seconds | None = None
    ) -> Claim | Replay:
        """As `claim`. Cancelled, it leaves no claim behind."""
        return await adrive(self._terms.store, self._claiming(key, fingerprint, transactional, wait).flow())

    def claiming(
        self, key: str, fingerprint: str = "", *, transactional: bool = False, wait: Seconds | None = None
    ) -> ClaimBlock:
        """Returns a block, for `with` or `async with`, that claims a key and keeps the lease.

        It gives a `Claim` or a `Replay`, as `claim` does. A block that raises gives the claim back, or leaves it
        unknown, by the rules of this class. One that ends without a word on the end of its claim leaves it unknown, and
        RuntimeError is raised. Arguments and errors are those of `claim`.
        """
        return ClaimBlock(self._terms, self._claiming(key, fingerprint, transactional, wait))

    def show(self, key: str) -> ClaimRecord | None:
        """Returns the claim on a key as it is stored, or None. Looking changes nothing."""
        return self._terms.store.run(Look(self.namespace, text("key", key)))

    async def ashow(self, key: str) -> ClaimRecord | None:
        """As `show`."""
        return await self._terms.store.arun(Look(self.namespace, text("key", key)))

    def unknown(self, limit: int = 100) -> list[ClaimRecord]:
        """Returns operations whose outcome is unknown, oldest first; of a store on Redis, StoreError.

        Those are among them whose lease has run out and that nobody has asked for since.
        """
        return self._terms.store.run(ListUnknown(self.namespace, arguments.whole("limit", limit, least=1)))

    async def aunknown(self, limit: int = 100) -> list[ClaimRecord]:
        """As `unknown`."""
        return await self._terms.store.arun(ListUnknown(self.namespace, arguments.whole("limit", limit, least=1)))

    def resolve(self, key: str, result: Any, *, note: str = "resolved by hand") -> bool:
        """Settles an operation of unknown outcome.

        Args:
            key: the operation's.
            result: what repeats get from now on; or NOT_DONE, for one that surely did not take place and will not: the
                next call executes it.
            note: who says so, and how it is known.

        Returns whether there was anything to settle: False where it is done, given back, in flight or was never begun.
        Raises CodecError and StoreError.
        """
        found = self._terms.store.run(settling(self._terms, text("key", key), result, note))
        return self._resolved(key, result, found, note)

    async def aresolve(self, key: str, result: Any, *, note: str = "resolved by hand") -> bool:
        """As `resolve`."""
        found = await self._terms.store.arun(settling(self._terms, text("key", key), result, note))
        return self._resolved(key, result, found, note)

    def _resolved(self, key: str, result: Any, found: bool, note: str) -> bool:
        if found:
            self._terms.tell(OperationSettled, key, "failed" if result is NOT_DONE else "done", note)
        return found

    def _claiming(
        self, key: str, fingerprint: str, transactional: bool = False, wait: Seconds | None = None
    ) -> Claiming:
        if fingerprint != "":
            text("fingerprint", fingerprint)
        longest = self._terms.wait if wait is None else arguments.seconds("wait", wait, zero=True)
        return Claiming(self._terms, text("key", key), fingerprint, transactional=transactional, wait=longest)


def _fingerprint(given: str | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    if given is not None:
        return given
    try:
        return fingerprint_of(args, kwargs)
    except CodecError as error:
        raise CodecError(f'the arguments make no fingerprint: {error}; or give fingerprint= ("": no check)') from None


def _check_kind(fn: Any, kinds: tuple[str, ...], other: str) -> None:
    if type(fn) is FunctionType:
        flags = fn.__code__.co_flags & NO_PLAIN
        if not flags or (flags == CO_COROUTINE and "acall" in kinds):
            return  # as most are: no need for a closer look, which takes a while
    check_callable(fn)
    kind = kind_of(fn)
    if kind not in kinds:
        instead = f"use {other}()" if kind in ("call", "acall") else "its result cannot be stored"
        raise TypeError(f"{name_of(fn)} is {IN_WORDS[kind]}; {instead}")
