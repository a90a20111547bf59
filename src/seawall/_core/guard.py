"""The drivers that guards share: acquire, call, settle.

Neighbouring guards in the recommended order (rate limit, bulkhead, breaker, time-out) share one frame, since a frame
costs more than what a guard does in it. Each guard is a port here, None where the pipeline has none at this place.
"""

from __future__ import annotations

import sys
from _thread import get_ident
from asyncio import AbstractEventLoop, Task, get_running_loop
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import nullcontext
from functools import partial
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from seawall._core.circuit import Circuit
from seawall._core.leaf import plain
from seawall._core.limit import SyncLimit, TimeLimit
from seawall._core.slots import Slots
from seawall._core.stream import Step, Watch, at_once, opened, relay

if sys.version_info >= (3, 12):
    from asyncio import current_task
else:
    from asyncio.tasks import _current_tasks  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]

    current_task: Callable[[AbstractEventLoop], Task[Any] | None] = _current_tasks.get
    """What `asyncio.current_task` of 3.11 does, without its 150 ns of Python."""

_NO_SLOTS: Final[tuple[deque[None], deque[Any]]] = deque(), deque()
Call: TypeAlias = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


class Limiter(Protocol):
    """What a rate limit offers: to wait for the call's turn, or to raise RateLimitedError."""

    def turn(self) -> None: ...

    async def aturn(self) -> None: ...


class Guards(NamedTuple):
    """The guards that share a frame, outermost first."""

    limiter: Limiter | None = None
    slots: Slots | None = None
    circuit: Circuit | None = None
    limit: TimeLimit | None = None


def guard_call(guards: Guards, inner: Call) -> Call:
    """Links guards around a sync call."""
    limiter, slots, circuit = guards.limiter, guards.slots, guards.circuit
    free, waiting = (slots.free, slots.waiting) if slots is not None else _NO_SLOTS
    if guards.limit is not None:
        inner = _limited_call(guards.limit, inner)

    direct = inner is plain  # the function itself comes next: a frame less

    def call(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if limiter is not None:
            limiter.turn()
        if slots is not None:
            if waiting:
                slots.queue()
            else:
                try:
                    free.pop()
                except IndexError:
                    slots.queue()
        try:
            if circuit is None:
                return fn(*args, **kwargs) if direct else inner(fn, args, kwargs)
            state = circuit.state
            permit = state.permit
            if permit is None:
                now = circuit.clock.now()
                if state.until > now:
                    raise state.refusal(now)
                permit = state.admit()
            try:
                result = fn(*args, **kwargs) if direct else inner(fn, args, kwargs)
            except BaseException as error:
                permit.failed(error)
                raise
            if permit.in_a_row:
                permit.failures = 0
            else:
                permit.succeeded(result)
            return result
        finally:
            if slots is not None:
                free.append(None)
                if waiting:
                    slots.hand_over()

    return call


def _limited_call(limit: TimeLimit, inner: Call) -> Call:
    def call(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with SyncLimit(limit):
            return inner(fn, args, kwargs)

    return call


def guard_acall(guards: Guards, inner: Call) -> Call:
    """Links guards around an async call."""
    limiter, slots, circuit, limit = guards.limiter, guards.slots, guards.circuit, guards.limit
    free, waiting = (slots.free, slots.waiting) if slots is not None else _NO_SLOTS

    direct = inner is plain  # the function itself comes next: a call less

    async def call(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if limiter is not None:
            await limiter.aturn()
        if slots is not None:
            if waiting:
                await slots.aqueue()
            else:
                try:
                    free.pop()
                except IndexError:
                    await slots.aqueue()
        try:
            if circuit is None:
                permit = None
            else:
                state = circuit.state
                permit = state.permit
                if permit is None:
                    now = circuit.clock.now()
                    if state.until > now:
                        raise state.refusal(now)  # raised here: each frame on the way costs a rejection 100 ns
                    permit = state.admit()
            try:
                if limit is None:
                    result = await (fn(*args, **kwargs) if direct else inner(fn, args, kwargs))
                else:
                    lane = lanes.last()
                    if lane is None or lane.loop._thread_id != get_ident():
                        lane = lanes.of(get_running_loop())  # not asked first: a system call on 3.11
                    until = lane.until
                    task = current_task(lane.loop)
                    if task is None:
                        raise RuntimeError("a time-out needs a task to cancel; run the call in one")
                    end = clock.now() + seconds
                    if until.setdefault(task, end) is not end:
                        result = await inner(fn, args, kwargs)  # one as long is around us already, and ends first
                    else:
                        if not lane.armed:
                            lane.arm(seconds)
                        cancelling = task.cancelling()
                        try:
                            result = await (fn(*args, **kwargs) if direct else inner(fn, args, kwargs))
                        except BaseException as error:
                            if until.pop(task, None) is None and limit.ends(task, cancelling, error):
                                raise limit.timed_out() from error
                            raise
                        if until.pop(task, None) is None:
                            limit.ends(task, cancelling, None)
            except BaseException as error:
                if permit is not None:
                    permit.failed(error)
                raise
            if permit is not None:
                if permit.in_a_row:
                    permit.failures = 0
                else:
                    permit.succeeded(result)
            return result
        finally:
            if slots is not None:
                free.append(None)
                if waiting:
                    slots.hand_over()

    if limit is not None:
        lanes, clock, seconds = limit.lanes, limit.clock, limit.seconds
    return call


def guard_stream(guards: Guards, inner: Call) -> Call:
    """Links guards around a generator. A slot is held until the stream is closed; the time limit is the caller's."""
    limiter, slots, circuit = guards.limiter, guards.slots, guards.circuit

    def stream(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Generator[Any, Any, Any]:
        if limiter is not None:
            limiter.turn()
        if slots is not None:
            slots.take()
        try:
            with StreamPermit(circuit) as watch:
                return (yield from open_stream(fn, args, kwargs).resume(watch, around))
        finally:
            if slots is not None:
                slots.give()

    limit = guards.limit
    around = nullcontext if limit is None else lambda: SyncLimit(limit)
    open_stream = opened(inner, around)
    return stream


class StreamPermit(Watch):
    """A breaker's permit for a whole stream: a consumer that stops or fails after an item has had its answer."""

    __slots__ = ("_circuit", "_permit")

    def __init__(self, circuit: Circuit | None) -> None:
        super().__init__()
        self._circuit = circuit

    def __enter__(self) -> StreamPermit:
        self._permit = None if self._circuit is None else self._circuit.admit()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        thrown, self.thrown = self.thrown, None
        if self._permit is None:
            return
        if isinstance(error, RuntimeError) and isinstance(thrown, StopIteration | StopAsyncIteration):
            error = error.__cause__  # what Python makes of these when they leave a generator
        if error is None or error is thrown or (isinstance(error, GeneratorExit) and self.begun):
            self._permit.success()
        else:
            self._permit.failed(error)


def guard_astream(guards: Guards, inner: Call) -> Call:
    """Links guards around an async generator. The time limit holds for each item, only while the producer runs."""
    step = at_once if guards.limit is None else _limited_step(guards.limit)

    def stream(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncGenerator[Any, None]:
        watch = StreamPermit(guards.circuit)
        return relay(_GuardedStream(guards, watch, partial(inner, fn, args, kwargs)), watch, step)

    return stream


class _GuardedStream:
    """An async generator that is entered under guards: acquires when it is entered, settles when it is left.

    A class, since `contextlib.asynccontextmanager` writes on the exceptions that pass, which not all of them bear.
    """

    __slots__ = ("_guards", "_items", "_open", "_watch")

    def __init__(self, guards: Guards, watch: StreamPermit, opening: Callable[[], Any]) -> None:
        self._guards = guards
        self._watch = watch
        self._open = opening

    async def __aenter__(self) -> Any:
        slots = self._guards.slots
        if self._guards.limiter is not None:
            await self._guards.limiter.aturn()
        if slots is not None:
            await slots.atake()
        try:
            self._watch.__enter__()
        except BaseException:
            if slots is not None:
                slots.give()
            raise
        self._items = self._open()
        return self._items

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            await self._items.aclose()
        finally:
            self._watch.__exit__(kind, error, traceback)
            if self._guards.slots is not None:
                self._guards.slots.give()


def _limited_step(limit: TimeLimit) -> Step:
    call = guard_acall(Guards(limit=limit), lambda fn, args, kwargs: fn())
    return lambda make: call(make, (), {})


def link_guards(kind: str, guards: Guards, inner: Call) -> Call:
    """Links guards around a call of any kind."""
    link = {"call": guard_call, "acall": guard_acall, "stream": guard_stream, "astream": guard_astream}[kind]
    return link(guards, inner)
