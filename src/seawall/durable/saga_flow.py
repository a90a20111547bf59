"""Driving a saga: decide, do, write down, until it ends, waits, or its worker stops."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from seawall._core.arguments import Rng
from seawall._core.events import Event, brief
from seawall.durable import saga_scripts as scripts
from seawall.durable.driving import Call, Flow, Pause, Transact
from seawall.durable.errors import StepRefusedError
from seawall.durable.events import (
    SagaBlocked,
    SagaCompensating,
    SagaEnded,
    SagaStepFailed,
    SagaStuck,
)
from seawall.durable.outbox import Outbox
from seawall.durable.outbox_scripts import Addition
from seawall.durable.saga import Later, Saga, Step, StepContext
from seawall.durable.saga_data import data_of, from_text, to_text, words
from seawall.durable.saga_deciding import (
    Act,
    Block,
    Compensate,
    End,
    Record,
    Refusal,
    Row,
    Wait,
    begun,
    decide,
    done,
    failed,
    given_up,
    later,
)
from seawall.durable.saga_rows import COMPENSATING, DONE, STUCK, UNDONE, Change, Claim, Progress, StepRow, key_of

Ending: TypeAlias = Callable[[StepRow], Row]
"""What becomes of a step's row when an attempt has ended."""

SHORT: Final = 1.0
"""Seconds of a wait for which a saga is not put aside: its worker waits instead."""
AGAIN: Final = 30.0
"""Seconds after which a blocked saga is looked at again."""


class Caller(Protocol):
    """Calls what a step does, in one colour, through the step's pipeline."""

    def __call__(self, step: Step[Any], fn: Callable[..., Any], context: StepContext[Any], left: float | None) -> Any:
        """Returns what `fn` returned, or in the async colour something to be awaited for it."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a pursuit needs from its worker."""

    call: Caller
    tell: Callable[[Event], None]
    stopping: Callable[[], bool]
    outbox: Outbox | None
    rng: Rng


class Pursuit:
    """One worker's work at one saga that it has claimed."""

    def __init__(self, saga: Saga[Any], claim: Claim, around: Surroundings) -> None:
        self._saga = saga
        self._claim = claim
        self._around = around
        self._data: Any = None

    @property
    def _progress(self) -> Progress:
        return self._claim.progress

    def flow(self) -> Flow[None]:
        """Goes on until the saga has been let go of. What it raises leaves the saga to be taken over.

        An end from outside, a cancellation say, lets go of it first: the step that it cut is attempted again.
        """
        try:
            yield from self._pursue()
        except (Exception, GeneratorExit):
            raise
        except BaseException:
            with contextlib.suppress(Exception):  # then its lease ends, and that is all
                yield from self._let_go()
            raise

    def _pursue(self) -> Flow[None]:
        try:
            self._data = data_of(self._saga, self._progress.data)
        except (TypeError, ValueError) as error:
            reason = f"its data do not fit the definition at hand: {words(error)}"
            while not (yield from self._block(reason)):
                pass
            return
        while True:
            if self._around.stopping():
                yield from self._let_go()
                return
            if (yield from self._step()):
                return

    def _step(self) -> Flow[bool]:
        """Makes one move; returns whether the saga has been let go of."""
        match decide(self._saga, self._progress):
            case Act(step, undo):
                yield from self._act(step, undo)
            case Record(step, undo, error):
                yield from self._fail(step, undo, error)
            case Compensate(step_name, reason):
                yield from self._turn(step_name, reason)
            case Wait(until):
                return (yield from self._wait(until))
            case End(state):
                return (yield from self._end(state))
            case Block(reason):
                return (yield from self._block(reason))
        return False

    # one attempt

    def _act(self, step: Step[Any], undo: bool) -> Flow[None]:
        progress = self._progress
        old = progress.steps.get(step.name)
        row = begun(step, self._saga.steps.index(step), old, undo=undo)
        attempt = 1 if old is None else 1 + (old.undo_attempts if undo else old.attempts)
        context = self._context(step, attempt)
        command = step.undo_command if undo else step.command
        if command is not None:
            yield from self._send(step, undo, row, command, context)
            return
        if not (yield from self._write("saga.begin_undo" if undo else "saga.begin_step", row)):
            return
        fn = step.compensate if undo else step.action
        bounded = step.kind == "compensatable" and not undo and progress.deadline is not None
        left = max(0.0, progress.deadline - progress.now) if bounded and progress.deadline is not None else None
        ended = yield from self._call(step, undo, fn, context, left)
        if isinstance(ended, str):
            yield from self._fail(step, undo, ended)
        else:
            yield from self._record(step, undo, ended)

    def _call(
        self, step: Step[Any], undo: bool, fn: Any, context: StepContext[Any], left: float | None
    ) -> Flow[str | Ending]:
        """Calls what a step does; returns what that makes of its row, or the failure in words."""
        try:
            value = yield Call("saga.undo" if undo else "saga.act", self._around.call, (step, fn, context, left))
            if isinstance(value, Later):
                raise value
            answer = None if undo else to_text(f"the result of step {step.name!r}", value)
        except Later as asked:
            seconds = asked.retry_after or 0.0
            return lambda row: later(row, seconds)
        except StepRefusedError as error:
            return Refusal(words(error))
        except Exception as error:
            return words(error)
        state = UNDONE if undo else DONE
        return lambda row: done(row, state, answer)

    def _send(
        self, step: Step[Any], undo: bool, row: Row, command: Callable[..., Any], context: StepContext[Any]
    ) -> Flow[None]:
        """Sends a command in the commit that begins the step; one that cannot be made fails the step."""
        try:
            message = self._message(step, undo, command(context), context)
        except Exception as error:
            told = words(error)
        else:
            yield from self._write("saga.send_undo" if undo else "saga.send_step", row, message=message)
            return
        rng = self._around.rng
        fails = lambda now: failed(step, row(now), told, undo=undo, rng=rng)(now)  # noqa: E731
        if (yield from self._write("saga.end_undo" if undo else "saga.end_step", fails)):
            self._tell_failure(step, undo, told)

    def _message(self, step: Step[Any], undo: bool, made: Any, context: StepContext[Any]) -> Addition:
        wanted = "return (destination, body) or (destination, body, ordering key)"
        if not isinstance(made, tuple) or len(made) not in (2, 3):
            raise TypeError(f"the command of step {step.name!r} returned {brief(made)}; {wanted}")
        if self._around.outbox is None:
            raise RuntimeError("these sagas have no outbox")  # refused at construction
        headers = {
            "seawall-saga": context.saga_id,
            "seawall-step": step.name,
            "seawall-undo": "true" if undo else "false",
            "seawall-key": context.key,
        }
        destination, body, *key = made
        return self._around.outbox.prepare(destination, body, headers=headers, ordering_key=key[0] if key else None)

    def _context(self, step: Step[Any], attempt: int) -> StepContext[Any]:
        rows = self._progress.steps.values()
        results = {row.name: from_text(row.answer) for row in rows if row.answer is not None}
        saga_id = self._progress.saga_id
        return StepContext(saga_id, step.name, self._data, results, key_of(saga_id, step.name), attempt)

    def _fail(self, step: Step[Any], undo: bool, error: str) -> Flow[None]:
        rng = self._around.rng
        if (yield from self._record(step, undo, lambda row: failed(step, row, error, undo=undo, rng=rng))):
            self._tell_failure(step, undo, error)

    def _tell_failure(self, step: Step[Any], undo: bool, error: str) -> None:
        row, now = self._progress.steps[step.name], self._progress.now
        again_in = None if row.wake_at is None else row.wake_at - now
        attempt = row.undo_attempts if undo else row.attempts
        told = SagaStepFailed(self._saga.name, self._progress.saga_id, step.name, undo, attempt, error, again_in)
        self._around.tell(told)

    # moves of the saga

    def _turn(self, step: str | None, reason: str) -> Flow[None]:
        why = reason if step is None else f"step {step!r} failed: {reason}"
        if (yield from self._write("saga.compensate", state=COMPENSATING, error=why)):
            self._around.tell(SagaCompensating(self._saga.name, self._progress.saga_id, step, why))

    def _wait(self, until: float | None) -> Flow[bool]:
        seconds = None if until is None else until - self._progress.now
        if seconds is not None and seconds <= SHORT:
            yield Pause("saga.pause", seconds)
            yield from self._reload()
            return False
        return (yield from self._leave("saga.wait", until))

    def _end(self, state: str) -> Flow[bool]:
        if state == STUCK:
            steps = given_up(self._progress)
            if not (yield from self._leave("saga.stick", None, state=STUCK)):
                return False
            self._around.tell(SagaStuck(self._saga.name, self._progress.saga_id, steps))
            return True
        change = Change(state, self._progress.error)
        if not (yield from self._release("saga.end", lambda: scripts.end(self._claim, change))):
            return False
        seconds = self._progress.now - self._progress.created_at
        self._around.tell(SagaEnded(self._saga.name, self._progress.saga_id, state, seconds))
        return True

    def _block(self, reason: str) -> Flow[bool]:
        progress = self._progress
        if not (yield from self._leave("saga.block", progress.now + AGAIN, blocked=reason)):
            return False
        self._around.tell(SagaBlocked(self._saga.name, progress.saga_id, progress.version, reason))
        return True

    # writing

    def _write(
        self,
        name: str,
        row: Row | None = None,
        *,
        state: str | None = None,
        error: str | None = None,
        message: Addition | None = None,
    ) -> Flow[bool]:
        """Writes a change; False: somebody else wrote meanwhile, and what there is now has been read anew."""
        progress = self._progress
        change = Change(state or progress.state, error or progress.error, row, message)
        written = yield Transact(name, lambda: scripts.keep(self._claim, change))
        if written is None:
            yield from self._reload()
            return False
        self._claim.progress = written
        if message is not None and self._around.outbox is not None:
            self._around.outbox.announce()
        return True

    def _record(self, step: Step[Any], undo: bool, make: Ending) -> Flow[bool]:
        """Writes how an attempt ended: once more where somebody wrote meanwhile, if it still matters then."""
        expected = self._progress.steps[step.name].state
        while (row := self._progress.steps[step.name]).state == expected:
            if (yield from self._write("saga.end_undo" if undo else "saga.end_step", make(row))):
                return True
        return False

    def _let_go(self) -> Flow[None]:
        while not (yield from self._leave("saga.release", self._progress.now)):
            pass

    def _leave(
        self, name: str, until: float | None, *, state: str | None = None, blocked: str | None = None
    ) -> Flow[bool]:
        change = Change(state or self._progress.state, self._progress.error)
        return (yield from self._release(name, lambda: scripts.leave(self._claim, change, until, blocked)))

    def _release(self, name: str, script: Callable[[], Any]) -> Flow[bool]:
        """Writes and lets go. The heartbeat is told before, so that it does not take the lease for lost."""
        self._claim.letting_go = True
        written = yield Transact(name, script)
        if written is None:
            self._claim.letting_go = False
            yield from self._reload()
            return False
        self._claim.progress = written
        return True

    def _reload(self) -> Flow[None]:
        self._claim.progress = yield Transact("saga.reload", lambda: scripts.load(self._claim))
