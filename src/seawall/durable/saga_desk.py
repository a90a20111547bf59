"""Looking at sagas, and deciding about those that cannot go on by themselves: no definitions are needed for that."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, get_args

from seawall._core import arguments
from seawall._core.events import Event, Hub, Listener
from seawall.durable import saga_directing as scripts
from seawall.durable.events import SagaEnded
from seawall.durable.outbox_message import checked_name
from seawall.durable.saga_report import SagaReport, SagaState
from seawall.durable.saga_rows import RESOLVED
from seawall.durable.saga_workers import CHANNEL
from seawall.durable.script import Script
from seawall.durable.store import RECORDS, Store, require


class SagaDesk:
    """What operators, and `Sagas`, can do with the sagas of a store."""

    def __init__(self, store: Store) -> None:
        require(store, RECORDS, "sagas")
        self.store = store
        self._hub = Hub("sagas")

    def listen(self, listener: Listener, *types: type[Event]) -> Callable[[], None]:
        """Tells `listener` of what happens here, of the given events or of all. Returns the function that stops it.

        They are `SagaStarted`, `SagaStepFailed`, `SagaCompensating`, `SagaEnded`, `SagaStuck`, `SagaBlocked`,
        `SagaTakenOver`, `SagaInterrupted` and `SagaReplyLate`: told by the process in which it happened, after it
        was written down; a crash in between loses the event.
        """
        return self._hub.listen(listener, types)

    def show(self, saga_id: str) -> SagaReport:
        """Returns a saga with its steps. Raises UnknownSagaError."""
        return self.store.run(_showing(saga_id))

    async def ashow(self, saga_id: str) -> SagaReport:
        """Returns a saga with its steps; see `show`."""
        return await self.store.arun(_showing(saga_id))

    def list(
        self, *, state: SagaState | None = None, name: str | None = None, limit: int = 100
    ) -> tuple[SagaReport, ...]:
        """Returns sagas without their steps, the youngest first.

        Args:
            state: only those in this state, such as "stuck"; default: all.
            name: only those of this type; default: all.
            limit: at most so many; default 100.
        """
        return self.store.run(_listing(state, name, limit))

    async def alist(
        self, *, state: SagaState | None = None, name: str | None = None, limit: int = 100
    ) -> tuple[SagaReport, ...]:
        """Returns sagas without their steps; see `list`."""
        return await self.store.arun(_listing(state, name, limit))

    def retry(self, saga_id: str) -> None:
        """Has whatever waits or was given up tried again at once, with all its time before it.

        A stuck saga goes on with its undoing; a command that is not answered is sent again. Raises UnknownSagaError,
        and SagaStateError where the saga has ended.
        """
        self.store.run(partial(scripts.retry, checked_name("saga_id", saga_id)))
        self.store.wake(CHANNEL)

    async def aretry(self, saga_id: str) -> None:
        """Has whatever waits or was given up tried again at once; see `retry`."""
        await self.store.arun(partial(scripts.retry, checked_name("saga_id", saga_id)))
        self.store.wake(CHANNEL)

    def skip(self, saga_id: str, step: str, note: str) -> None:
        """Passes over the undoing of a step, or a retriable step that does not succeed: somebody saw to it otherwise.

        Args:
            saga_id: the saga.
            step: the name of the step.
            note: who says so, and why; shown with the step.

        Raises:
            UnknownSagaError: there is no such saga.
            SagaStateError: the saga has ended, or the step is none that could be skipped now.
        """
        self.store.run(_skipping(saga_id, step, note))
        self.store.wake(CHANNEL)

    async def askip(self, saga_id: str, step: str, note: str) -> None:
        """Passes over a step; see `skip`."""
        await self.store.arun(_skipping(saga_id, step, note))
        self.store.wake(CHANNEL)

    def resolve(self, saga_id: str, note: str) -> None:
        """Ends a saga as it is: somebody put everything in order by hand. A worker that has it loses it.

        Args:
            saga_id: the saga.
            note: who says so, and what was done; shown with the saga.

        Raises:
            UnknownSagaError: there is no such saga.
            SagaStateError: it has ended.
        """
        self._tell_resolved(saga_id, self.store.run(_resolving(saga_id, note)))

    async def aresolve(self, saga_id: str, note: str) -> None:
        """Ends a saga as it is; see `resolve`."""
        self._tell_resolved(saga_id, await self.store.arun(_resolving(saga_id, note)))

    def _tell_resolved(self, saga_id: str, resolved: tuple[str, float] | None) -> None:
        if resolved is not None:
            type_, age = resolved
            self._hub.tell(SagaEnded(type_, saga_id, RESOLVED, age))


def _showing(saga_id: str) -> Callable[[], Script[SagaReport]]:
    return partial(scripts.show, checked_name("saga_id", saga_id))


def _listing(state: SagaState | None, name: str | None, limit: int) -> Callable[[], Script[tuple[SagaReport, ...]]]:
    if state is not None:
        arguments.choice("state", state, get_args(SagaState))
    type_ = "" if name is None else checked_name("name", name)
    return partial(scripts.listed, state or "", type_, arguments.whole("limit", limit, least=1))


def _skipping(saga_id: str, step: str, note: str) -> Callable[[], Script[None]]:
    return partial(scripts.skip, checked_name("saga_id", saga_id), checked_name("step", step), _noted(note))


def _resolving(saga_id: str, note: str) -> Callable[[], Script[Any]]:
    return partial(scripts.resolve, checked_name("saga_id", saga_id), _noted(note))


def _noted(note: str) -> str:
    if not isinstance(note, str) or not note.strip():
        raise ValueError(f"note={note!r} says nothing; say who decided, and why")
    return checked_name("note", note.strip())
