"""How an operation is made to happen once: claiming, executing, ending, as flows for both colours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from seawall._core.chain import kind_of
from seawall._core.clock import DEFAULT_CLOCK, refuse_to_block
from seawall._core.deadline import remaining
from seawall._core.events import LOGGER, brief
from seawall.durable.claims import Answer, Done, Held, Mismatch, New, Running, Unknown, new_owner, note_of
from seawall.durable.claims_verbs import Release, Settle, Take
from seawall.durable.driving import Call, Flow, Pause, surely
from seawall.durable.errors import (
    CommitUnknownError,
    InProgressError,
    KeyMismatchError,
    LeaseLostError,
    OutcomeUnknownError,
)
from seawall.durable.events import (
    OperationInProgress,
    OperationMismatched,
    OperationReplayed,
    OperationSettled,
    OperationStarted,
    OperationTakenOver,
    OperationUnknown,
)
from seawall.durable.idempotency_claim import NOT_DONE, STILL_UNKNOWN, Claim, OperationOutcome, Replay
from seawall.durable.idempotency_terms import Terms
from seawall.durable.store import StoreError

LOOK_AGAIN: Final = 0.1
"""Seconds between two looks at an equal operation in flight (requirement I1)."""
RUNS: Final = 3
"""Times that a transaction is tried whose connection was lost in COMMIT, and that surely did not commit."""


class Claiming:
    """Claims one key, under a fresh owner.

    Args:
        terms: those of the namespace.
        key, fingerprint: of the operation.
        transactional: whether the result commits with the effect, so that a lost holder has left nothing behind.
        wait: seconds to look again for while an equal operation is in flight.
    """

    def __init__(self, terms: Terms, key: str, fingerprint: str, *, transactional: bool, wait: float) -> None:
        takeover = transactional or terms.takeover == "rerun"
        owner, kind = new_owner(), terms.codec.name
        self._take = Take(terms.namespace, key, fingerprint, owner, terms.lease, terms.ttl, takeover, kind)
        self._terms = terms
        self._key = key
        self._transactional = transactional
        self._wait = wait
        self._since = 0.0

    def flow(self, *, blocking: bool = False) -> Flow[Claim | Replay]:
        """Claims the key, or finds the result of an earlier execution. `blocking`: waiting would block a thread.

        Raises InProgressError, KeyMismatchError, OutcomeUnknownError, and what the store raises.
        """
        end = DEFAULT_CLOCK.now() + self._wait
        while True:
            self._since = DEFAULT_CLOCK.now()
            answer: Answer = yield from self._taking()
            match answer:
                case New(epoch=epoch, over=over):
                    return self._claim(epoch, over)
                case Done():
                    value = self._terms.read(answer)
                    self._terms.tell(OperationReplayed, self._key)
                    return Replay(value)
                case Mismatch():
                    self._terms.tell(OperationMismatched, self._key)
                    raise KeyMismatchError(
                        f"{self._terms.namespace!r}: the key {self._key!r} was used before for another request; "
                        "use a new key for each operation"
                    )
                case Running():
                    yield from self._waiting(answer, end, blocking)
                case Unknown():
                    yield from self._reconciling(answer, blocking)

    def _taking(self) -> Flow[Answer]:
        """A claim during which the caller is cancelled may have come about: it is given back, since nothing ran."""
        take = self._take
        try:
            return (yield from surely("idempotency.claim", take))
        except (Exception, GeneratorExit):
            raise
        except BaseException:
            held = Held(take.namespace, take.key, take.owner, 0)
            try:
                yield from surely("idempotency.release", Release(held, "cancelled before it began"))
            except Exception as error:
                LOGGER.warning("%r: a claim on %r stays for its lease: %s", take.namespace, take.key, brief(error))
            raise

    def _claim(self, epoch: int, over: bool) -> Claim:
        take = self._take
        if over:
            self._terms.tell(OperationTakenOver, self._key)
        self._terms.tell(OperationStarted, self._key)
        held = Held(take.namespace, take.key, take.owner, epoch)
        return Claim(self._terms, held, self._since, over, self._transactional)

    def _waiting(self, running: Running, end: float, blocking: bool) -> Flow[None]:
        now, left = DEFAULT_CLOCK.now(), remaining()
        until = end if left is None else min(end, now + left)
        if now >= until:
            self._terms.tell(OperationInProgress, self._key)
            soon = max(1.0, min(running.age, running.left))
            raise self._terms.hub.refuse(InProgressError(self._terms.namespace, soon))
        if blocking:
            refuse_to_block(f"an equal operation of {self._terms.namespace!r} is in flight, and its repeat")
        yield Pause("idempotency.wait", min(LOOK_AGAIN, until - now))

    def _reconciling(self, unknown: Unknown, blocking: bool) -> Flow[None]:
        """Asks the user's function what took place, and settles the claim; raises where nobody can tell."""
        terms = self._terms
        if unknown.fresh:
            terms.tell(OperationUnknown, self._key, unknown.note)
        if terms.reconcile is None:
            raise self._unknown(unknown)
        if blocking and kind_of(terms.reconcile) == "acall":
            raise TypeError(f"reconcile={terms.reconcile!r} is async, and this call is not; use the async form (acall)")
        try:
            found = yield Call("idempotency.reconcile", terms.reconcile, (self._key,))
        except Exception as error:
            raise self._unknown(unknown) from error
        if found is STILL_UNKNOWN:
            raise self._unknown(unknown)
        settled = yield from surely("idempotency.settle", settling(terms, self._key, found, "reconcile", unknown.owner))
        if settled:
            state = "failed" if found is NOT_DONE else "done"
            terms.tell(OperationSettled, self._key, state, "reconcile")

    def _unknown(self, unknown: Unknown) -> OutcomeUnknownError:
        return OutcomeUnknownError(
            f"{self._terms.namespace!r}: whether the operation {self._key!r} took place is not known ({unknown.note}); "
            f"it is not repeated until that is settled (`seawall idempotency resolve`, or reconcile=)"
        )


def settling(terms: Terms, key: str, found: Any, note: str, of: str = "") -> Settle:
    """Returns the script that ends what is unknown: by a result, or by NOT_DONE. Raises CodecError."""
    done = found is not NOT_DONE
    return Settle(
        terms.namespace,
        key,
        new_owner(),
        of,
        "done" if done else "failed",
        terms.codec.dumps(found) if done else None,
        terms.codec.name if done else "",
        note_of(note),
        terms.ttl,
    )


def calling(
    claiming: Flow[Claim | Replay], terms: Terms, run: Callable[[Claim], Callable[[], Any]]
) -> Flow[OperationOutcome[Any]]:
    """Executes an operation under its claim, or gives its stored result. `run` makes the call that keeps the lease."""
    got = yield from claiming
    if isinstance(got, Replay):
        return OperationOutcome(got.value, True)
    try:
        value = yield Call("idempotency.call", run(got))
    except BaseException as error:
        yield from failing(terms, got, error)
        raise
    yield from ending(terms, got, value)
    return OperationOutcome(value, False)


def ending(terms: Terms, claim: Claim, value: Any) -> Flow[None]:
    """Stores what an operation returned. Raises CodecError, LeaseLostError, and what the store raises."""
    try:
        completing = claim._completing(value)
    except Exception as error:
        yield from _noting(claim, terms.takeover == "unknown", f"it took place, but its result is not stored: {error}")
        raise
    try:
        kept = yield from surely("idempotency.complete", completing)
    except Exception as error:
        error.add_note(f"The operation {claim.key!r} took place, but that could not be stored.")
        raise
    claim._completed(kept)


def failing(terms: Terms, claim: Claim, error: BaseException) -> Flow[None]:
    """Gives a claim back after a failure, or says that nobody knows what took place."""
    if isinstance(error, GeneratorExit):
        return  # nobody runs this any more
    doubtful = not claim.transactional and terms.doubtful(error)
    yield from _noting(claim, doubtful, brief(error))


def _noting(claim: Claim, doubtful: bool, note: str) -> Flow[None]:
    try:
        yield from claim._doubting(note) if doubtful else claim._releasing(note)
    except Exception as error:
        LOGGER.warning("a claim on %r stays as it is until its lease runs out: %s", claim.key, brief(error))


def transacting(
    claiming: Flow[Claim | Replay], terms: Terms, begin: Callable[[Claim], Callable[[], Any]]
) -> Flow[OperationOutcome[Any]]:
    """Executes an operation whose effect and result commit together; `begin` makes the call that does both."""
    got = yield from claiming
    if isinstance(got, Replay):
        return OperationOutcome(got.value, True)
    for _ in range(RUNS):
        try:
            value = yield Call("idempotency.transact", begin(got))
        except CommitUnknownError as error:
            settled = yield from _settled(got, error)
            if settled is not None:
                return OperationOutcome(settled.value, False)
        except BaseException as error:
            yield from failing(terms, got, error)
            raise
        else:
            got._completed(True)
            return OperationOutcome(value, False)
    yield from _noting(got, False, "its connection was lost in COMMIT")
    raise StoreError(
        f"{terms.namespace!r}: the connection was lost in COMMIT {RUNS} times for {got.key!r}; nothing was committed"
    )


def _settled(claim: Claim, doubt: CommitUnknownError) -> Flow[Replay | None]:
    """Finds out how a transaction ended whose COMMIT did not say; raises its error where the store does not tell."""
    try:
        return (yield from claim._settling())
    except LeaseLostError:
        raise
    except Exception as error:
        doubt.add_note(
            f"Looking at the claim failed: {brief(error)}. It is taken over after its lease, when it is safe."
        )
    raise doubt
