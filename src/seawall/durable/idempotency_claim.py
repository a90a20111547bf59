"""A claim in the hands of its holder, and the terms on which claims are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar

from seawall._core.clock import DEFAULT_CLOCK
from seawall.durable.claims import Done, Held, note_of
from seawall.durable.claims_verbs import Complete, Doubt, Fence, Release, Renew
from seawall.durable.driving import Flow, adrive, drive, surely
from seawall.durable.errors import LeaseLostError
from seawall.durable.events import OperationEnded, OperationUnknown
from seawall.durable.heartbeat import Keeping, keeping
from seawall.durable.idempotency_terms import Terms
from seawall.durable.script import Executor
from seawall.durable.store import RECORDS, require

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Replay:
    """The operation was done before, and this is what it returned."""

    value: Any


@dataclass(frozen=True, slots=True)
class OperationOutcome(Generic[T]):
    """What an operation returned, and whether that is the stored result of an earlier execution."""

    value: T
    replayed: bool


class _Word:
    """A word that a `reconcile` function answers with."""

    def __init__(self, word: str) -> None:
        self._word = word

    def __repr__(self) -> str:
        return self._word


NOT_DONE: Final = _Word("NOT_DONE")
"""The operation surely did not take place, and will not: it may run again."""
STILL_UNKNOWN: Final = _Word("STILL_UNKNOWN")
"""Nobody can tell yet."""


class Claim:
    """An operation that is ours: nobody else runs it while the lease holds, and none that was overtaken ends it.

    `Idempotency.claim` makes it. The lease lasts for so many seconds and no longer: run the operation inside
    `with claim.keeping():` (or `async with`), or call `heartbeat()`. Then say how it ended, by exactly one of
    `complete`, `release` and `mark_unknown`; of a claim about which nothing is said the lease runs out.

    Attributes:
        key: the operation's key.
        over: whether it was taken over from a holder whose lease had run out, who may have done a part of it.
        transactional: whether its result is to commit with its effect, so that a lost holder has left nothing behind.
        ended: what was said of its end: "done", "failed", "unknown", "joined" (its result is part of the user's
            transaction), or nothing yet.
    """

    __slots__ = ("_held", "_kept", "_since", "_terms", "ended", "over", "transactional")

    def __init__(self, terms: Terms, held: Held, since: float, over: bool, transactional: bool) -> None:
        self._terms = terms
        self._since = since
        self._kept: Keeping | None = None
        self._held = held
        self.over = over
        self.transactional = transactional
        self.ended: Literal["", "done", "joined", "failed", "unknown"] = ""

    def __repr__(self) -> str:
        return f"Claim({self._terms.namespace!r}, {self.key!r}, epoch={self.epoch}, ended={self.ended!r})"

    @property
    def key(self) -> str:
        """The operation's key."""
        return self._held.key

    @property
    def epoch(self) -> int:
        """How many holders the claim has had, this one included: a fencing token."""
        return self._held.epoch

    def keeping(self) -> Keeping:
        """Returns what keeps the lease around a block (`with` or `async with`), and tells it when the lease is lost.

        See `Keeping`: an async block is cut short with LeaseLostError, a sync one gets it at its end. From `complete`,
        `release` or `mark_unknown` on nothing is kept any more.
        """
        terms = self._terms
        self._kept = keeping(
            terms.store,
            Renew(self._held, terms.lease),
            every=terms.heartbeat,
            lease=terms.lease,
            name=f"operation {self.key!r} of {terms.namespace!r}",
            since=self._since,
        )
        return self._kept

    def _keep_no_more(self) -> None:
        if self._kept is not None:
            self._kept.end()

    def complete(self, result: Any, *, session: Any = None) -> None:
        """Stores the result: from now on, repeats get it.

        Args:
            result: what the namespace's codec stores.
            session: the user's session or connection, whose transaction then holds effect and result together; it must
                be rolled back where this raises. Default: a transaction of its own.

        Raises:
            CodecError: the result cannot be stored; nothing was.
            LeaseLostError: somebody else took over; nothing was stored.
        """
        completing = surely("idempotency.complete", self._completing(result))
        self._completed(drive(self._executor(session), completing), joined=session is not None)

    async def acomplete(self, result: Any, *, session: Any = None) -> None:
        """As `complete`."""
        completing = surely("idempotency.complete", self._completing(result))
        self._completed(await adrive(self._executor(session), completing), joined=session is not None)

    def _completing(self, result: Any) -> Complete:
        """Returns the script that stores a result. Raises CodecError."""
        terms = self._terms
        script = Complete(self._held, terms.codec.dumps(result), terms.codec.name, terms.ttl)
        self._keep_no_more()
        return script

    def release(self, note: str = "") -> bool:
        """Gives the claim back, since nothing took place: the next one with the key runs.

        Returns whether it was still ours. `note` is shown to operators for an hour.
        """
        return drive(self._terms.store, self._releasing(note))

    async def arelease(self, note: str = "") -> bool:
        """As `release`."""
        return await adrive(self._terms.store, self._releasing(note))

    def _releasing(self, note: str) -> Flow[bool]:
        """Gives it back, as a flow."""
        self._keep_no_more()
        kept = yield from surely("idempotency.release", Release(self._held, note_of(note)))
        if kept:
            self._end("failed")
        return bool(kept)

    def mark_unknown(self, note: str) -> bool:
        """Says that it may or may not have taken place: repeats are refused until it is settled.

        Returns whether the claim was still ours. `note` says why, for operators.
        """
        return drive(self._terms.store, self._doubting(note))

    async def amark_unknown(self, note: str) -> bool:
        """As `mark_unknown`."""
        return await adrive(self._terms.store, self._doubting(note))

    def _doubting(self, note: str) -> Flow[bool]:
        """Says that nobody knows, as a flow."""
        self._keep_no_more()
        kept = yield from surely("idempotency.unknown", Doubt(self._held, note_of(note)))
        if kept:
            self.ended = "unknown"
            self._terms.tell(OperationUnknown, self.key, note)
        return bool(kept)

    def heartbeat(self) -> None:
        """Puts the end of the lease forward once. Raises LeaseLostError where it is lost."""
        since = DEFAULT_CLOCK.now()
        self._renewed(self._terms.store.run(Renew(self._held, self._terms.lease)), since)

    async def aheartbeat(self) -> None:
        """As `heartbeat`."""
        since = DEFAULT_CLOCK.now()
        self._renewed(await self._terms.store.arun(Renew(self._held, self._terms.lease)), since)

    def settle(self) -> Replay | None:
        """After `CommitUnknownError` of a transaction in which `complete` was called: finds out how it ended.

        It waits until that transaction has ended on the server. A `Replay`: it was committed. None: it was not and
        cannot be any more; the claim is still ours, and the work may be done again.

        Raises:
            LeaseLostError: somebody else took over.
            StoreError: the store does not say; then the claim is taken over after its lease, when it is safe.
        """
        return drive(self._terms.store, self._settling())

    async def asettle(self) -> Replay | None:
        """As `settle`."""
        return await adrive(self._terms.store, self._settling())

    def _settling(self) -> Flow[Replay | None]:
        """Finds out, as a flow."""
        end = yield from surely("idempotency.settle", Fence(self._held, self._terms.lease))
        if end is None:
            raise self._lost()
        if isinstance(end, Done):
            self._end("done")
            return Replay(self._terms.read(end))
        self._since = DEFAULT_CLOCK.now()
        self._held = Held(self._held.namespace, self._held.key, self._held.owner, end)
        return None

    def _executor(self, session: Any) -> Executor:
        if session is None:
            return self._terms.store
        require(self._terms.store, RECORDS, f"{self._terms.namespace!r}: a result that commits with its effect")
        return self._terms.store.on(session)

    def _completed(self, kept: bool, *, joined: bool = False) -> None:
        """Takes note of what the script of `completing` said. Raises LeaseLostError."""
        self._check(kept)
        if joined:
            self.ended = "joined"
        else:
            self._end("done")

    def _check(self, kept: bool) -> None:
        """Raises LeaseLostError where a script said that the claim was lost."""
        if not kept:
            raise self._lost()

    def _lost(self) -> LeaseLostError:
        return LeaseLostError(
            f"{self._terms.namespace!r}: the claim on {self.key!r} was lost: somebody else took over, or settled it"
        )

    def _end(self, state: Literal["done", "failed"]) -> None:
        self.ended = state
        self._terms.tell(OperationEnded, self.key, state)

    def _renewed(self, kept: bool, since: float) -> None:
        self._check(kept)
        self._since = since
