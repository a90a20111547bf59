"""Sagas as they are defined: steps in order, each with what undoes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, get_args, overload

from seawall._core import arguments
from seawall._core.arguments import Seconds
from seawall._core.backoff import Backoff
from seawall._core.chain import kind_of
from seawall._core.errors import RejectedError
from seawall._core.names import check_name
from seawall._pipeline.pipeline import Pipeline

D = TypeVar("D")

Kind: TypeAlias = Literal["compensatable", "pivot", "retriable"]
Message: TypeAlias = tuple[str, Any] | tuple[str, Any, str | None]
"""What a command step sends: destination, body, and an ordering key where the order matters."""

BACKOFF: Final = Backoff.exponential(1, cap=300, jitter="equal")
UNDO_BACKOFF: Final = Backoff.exponential(10, cap=600, jitter="equal")
DAY: Final = 86400.0


class Later(RejectedError):
    """An action returns or raises it to say: not yet, call me again in so many seconds. It is no failure.

    The saga is put aside for that long, without a worker. Strategies treat it as they do a rejection: neither success
    nor failure.

    Args:
        seconds: from now on; default a minute.
    """

    reason = "asked to be called again later"

    def __init__(self, seconds: Seconds = 60.0) -> None:
        self.args = ("the step", arguments.seconds("seconds", seconds, zero=True))

    def __reduce__(self) -> tuple[type[Later], tuple[float | None]]:
        return Later, (self.retry_after,)


@dataclasses.dataclass(frozen=True, slots=True)
class StepContext(Generic[D]):
    """What an action, and what undoes it, is told.

    Attributes:
        saga_id: the saga.
        step: the name of the step.
        data: what the saga was started with.
        results: what earlier steps returned, by name; when a step is undone, what it and later ones returned, too.
        key: the idempotency key of this step, the same for every attempt, its undoing included: give it to whatever
            has the effect, so that a repeat has none, and what arrives after its own undoing is refused there.
        attempt: which call this is, from 1 on; counted anew for the undoing.
    """

    saga_id: str
    step: str
    data: D
    results: Mapping[str, Any]
    key: str
    attempt: int


class Step(Generic[D]):
    """One step of a saga: an action, or a command to another service, and what undoes it.

    That a step was started is written down before it acts. So an action is called at least once, with the same key
    each time, and a compensation must accept that its action never happened. Where that is sure, the action raises
    `StepRefusedError`: then the step is not undone.

    Args:
        name: unique in its saga; part of the idempotency key.
        action: called with a `StepContext`, a plain or an async function; what it returns is kept as the step's result
            and must be such as JSON can hold, at most 64 KiB. Returns or raises `Later` to be called again.
        command: instead of an action: a plain function of the context, without effects, that returns what is sent
            through the outbox in the commit that starts the step: (destination, body) or (destination, body, ordering
            key). The step ends when `Sagas.reply` is called.
        compensate: undoes the action; called like it.
        undo_command: undoes by a command, which is answered by `Sagas.reply(..., undo=True)`.
        kind: "compensatable" (default): may fail, and is undone when a later step does. "pivot": may fail; once it is
            done, the saga only goes forward. "retriable": never given up, and nothing can fail after it.
        pipeline: around each call of the action and of what undoes it.
        backoff: how long to wait before a failed retriable step is tried again; default 1 s, doubled up to 5 min.
        undo_backoff: the same for the undoing; default 10 s, doubled up to 10 min.
        undo_for: seconds after its begin at which a failing undoing is given up, and the saga gets stuck; default a
            day.
        timeout: seconds to wait for the reply to a command; then the step has failed with an outcome that is not known,
            or a retriable one or an undoing is sent again. Default: for ever. An action is bounded by its pipeline.
    """

    example = "Step('charge', charge, compensate=refund)"

    def __init__(
        self,
        name: str,
        action: Callable[[StepContext[D]], Any] | None = None,
        *,
        command: Callable[[StepContext[D]], Message] | None = None,
        compensate: Callable[[StepContext[D]], Any] | None = None,
        undo_command: Callable[[StepContext[D]], Message] | None = None,
        kind: Kind = "compensatable",
        pipeline: Pipeline | None = None,
        backoff: Backoff = BACKOFF,
        undo_backoff: Backoff = UNDO_BACKOFF,
        undo_for: Seconds = DAY,
        timeout: Seconds | None = None,
    ) -> None:
        check_name(name)
        self.name = name
        self.kind: Kind = arguments.choice("kind", kind, get_args(Kind))
        if (action is None) == (command is None):
            raise TypeError(f"step {name!r} needs an action or a command, one of the two, as in {self.example}")
        if compensate is not None and undo_command is not None:
            raise TypeError(f"step {name!r} has both compensate= and undo_command=; use one of them")
        if kind == "retriable" and (compensate or undo_command):
            raise ValueError(f"step {name!r} is retriable, and never undone; leave out what undoes it")
        self.action = None if action is None else _function("action", action)
        self.command = None if command is None else _plain("command", command)
        self.compensate = None if compensate is None else _function("compensate", compensate)
        self.undo_command = None if undo_command is None else _plain("undo_command", undo_command)
        if pipeline is not None and not isinstance(pipeline, Pipeline):
            raise TypeError(f"pipeline={pipeline!r} is no Pipeline; use one such as Pipeline('payments', Retry())")
        self.pipeline = pipeline
        self.backoff = _backoff("backoff", backoff)
        self.undo_backoff = _backoff("undo_backoff", undo_backoff)
        self.undo_for = arguments.seconds("undo_for", undo_for, infinite=True)
        if timeout is not None and command is None and undo_command is None:
            raise ValueError(
                f"timeout={timeout!r} is for commands; bound an action by pipeline=Pipeline(..., Timeout())"
            )
        self.timeout = None if timeout is None else arguments.seconds("timeout", timeout)

    def __repr__(self) -> str:
        return f"Step({self.name!r}, kind={self.kind!r})"

    @property
    def undoable(self) -> bool:
        """Whether there is something that undoes it."""
        return self.compensate is not None or self.undo_command is not None

    @property
    def is_async(self) -> bool:
        """Whether it can be run by an async worker only."""
        return any(fn is not None and kind_of(fn) == "acall" for fn in (self.action, self.compensate))

    @property
    def sends(self) -> bool:
        """Whether it needs an outbox."""
        return self.command is not None or self.undo_command is not None


class Saga(Generic[D]):
    """Steps that together happen, or are undone, whatever crashes.

    Compensatable steps come first, then at most one pivot, then retriable ones. When a compensatable step or the pivot
    fails, everything that was started is undone in reverse order, that step included.

    A saga in flight goes on with the definition of the version it was started with. After a change of names, order or
    meaning of steps give a new version, and keep the old one beside it until the last saga of it has ended.

    Args:
        name: unique in the store.
        steps: in order.
        version: a whole number from 1 on; default 1.
        data: what a saga is started with: a dataclass of plain fields, or dict (the default).
        deadline: seconds after its start at which a saga that has not yet begun its pivot, or its first retriable
            step, is compensated; also the deadline around the actions of compensatable steps. Default: none.
    """

    example = "Saga('checkout', Step('charge', charge, compensate=refund), Step('ship', ship, kind='retriable'))"

    @overload
    def __init__(
        self: Saga[dict[str, Any]],
        name: str,
        *steps: Step[dict[str, Any]],
        version: int = ...,
        deadline: Seconds | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self, name: str, *steps: Step[D], version: int = ..., data: type[D], deadline: Seconds | None = ...
    ) -> None: ...
    def __init__(
        self,
        name: str,
        *steps: Step[Any],
        version: int = 1,
        data: type[Any] = dict,
        deadline: Seconds | None = None,
    ) -> None:
        check_name(name)
        if data is not dict and not (isinstance(data, type) and dataclasses.is_dataclass(data)):
            raise TypeError(f"data={data!r} is neither a dataclass nor dict; use one of them")
        self.name = name
        self.version = arguments.whole("version", version, least=1)
        self.data: type[D] = data  # type: ignore[assignment] # the overloads say which
        self.deadline = None if deadline is None else arguments.seconds("deadline", deadline)
        self.steps: tuple[Step[D], ...] = _checked(name, steps)

    def __repr__(self) -> str:
        return f"Saga({self.name!r}, {', '.join(repr(step.name) for step in self.steps)}, version={self.version})"


def _checked(name: str, steps: tuple[Step[Any], ...]) -> tuple[Step[Any], ...]:
    if not steps:
        raise TypeError(f"saga {name!r} has no steps; use it as in {Saga.example}")
    seen: set[str] = set()
    forward = False
    for step in steps:
        if not isinstance(step, Step):
            raise TypeError(f"saga {name!r} holds {step!r}, which is no Step; use it as in {Saga.example}")
        if step.name in seen:
            raise ValueError(f"saga {name!r} has two steps {step.name!r}; give each a name of its own")
        if forward and step.kind != "retriable":
            raise ValueError(
                f"step {step.name!r} of saga {name!r} is {step.kind}, and comes after one that is not undone any more; "
                "put it before the pivot, or make it retriable"
            )
        forward = forward or step.kind != "compensatable"
        seen.add(step.name)
    return steps


def _function(argument: str, fn: Any) -> Any:
    arguments.function(argument, fn, "a plain or an async function of the context")
    if kind_of(fn) not in ("call", "acall"):
        raise TypeError(f"{argument}={fn!r} is a generator; use a plain or an async function of the context")
    return fn


def _plain(argument: str, fn: Any) -> Any:
    arguments.function(argument, fn, "a plain function of the context")
    if kind_of(fn) != "call":
        raise TypeError(f"{argument}={fn!r} is no plain function; it only says what is sent, and does nothing itself")
    return fn


def _backoff(argument: str, value: Backoff) -> Backoff:
    if not isinstance(value, Backoff):
        raise TypeError(f"{argument}={value!r} is no Backoff; use one such as Backoff.exponential(1, cap=300)")
    return value
