"""Sagas at work: started, answered, and driven by a worker."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Self, TypeVar

from seawall._core import arguments
from seawall._core.arguments import Random, Rng, Seconds
from seawall._core.clock import refuse_to_block
from seawall._core.events import LOGGER
from seawall._core.forks import renew_after_fork
from seawall.durable import saga_directing as scripts
from seawall.durable.driving import adrive, drive
from seawall.durable.errors import StepRefusedError, UnknownSagaError
from seawall.durable.events import SagaReplyLate
from seawall.durable.heartbeat import lease_and_heartbeat
from seawall.durable.outbox import Outbox
from seawall.durable.outbox_message import checked_name, new_message_id
from seawall.durable.saga import Saga
from seawall.durable.saga_data import data_text, to_text, words
from seawall.durable.saga_desk import SagaDesk
from seawall.durable.saga_directing import Reply
from seawall.durable.saga_report import SagaReport
from seawall.durable.saga_scripts import kind_of
from seawall.durable.saga_work import Work
from seawall.durable.saga_workers import CHANNEL, TaskWorker, ThreadWorker
from seawall.durable.script import Script
from seawall.durable.store import Store

D = TypeVar("D")


class Sagas(SagaDesk):
    """The sagas of a store: starts them, takes replies, and works at them.

    `async with sagas:` works in this event loop, `with sagas:` on threads. Any number of processes may: each saga has
    one worker at a time, by a lease that it keeps while it works; when a worker dies, another one goes on with what is
    written down, within the lease and 5 seconds. On leaving, running steps are waited for, and what is not finished
    is left to others. Without a worker, `run` works at one saga here and now.

    Args:
        store: where sagas are kept; on SQLite or PostgreSQL.
        sagas: the definitions; several versions of one saga may be among them. None are needed to reply, look and
            decide.
        outbox: through which commands leave, of the same store; needed where a step has one.
        lease: seconds after which a saga whose worker is silent may be taken by another; default 30.
        heartbeat: seconds between renewals of a lease; default 10, at most half of the lease.
        poll: seconds between looks for sagas that are due, besides those when one is woken; default 1.
        concurrency: sagas that one worker works at together; default 10.
        drain: seconds that running steps have on leaving; then async ones are cancelled; default 30.
        rng: the source of jitter; default `random.random`.

    Raises:
        StoreError: the store cannot commit a saga's steps.
    """

    example = "Sagas(store, [checkout])"

    def __init__(
        self,
        store: Store,
        sagas: Iterable[Saga[Any]] = (),
        *,
        outbox: Outbox | None = None,
        lease: Seconds = 30.0,
        heartbeat: Seconds = 10.0,
        poll: Seconds = 1.0,
        concurrency: int = 10,
        drain: Seconds = 30.0,
        rng: Rng | Random | None = None,
    ) -> None:
        super().__init__(store)
        self._sagas = _checked(sagas)
        _check_outbox(store, self._sagas.values(), outbox)
        lasts, every = lease_and_heartbeat(lease, heartbeat)
        self._work = Work(store, self._sagas, outbox, lasts, every, self._hub, arguments.rng("rng", rng))
        self._poll = arguments.seconds("poll", poll)
        self._concurrency = arguments.whole("concurrency", concurrency, least=1)
        self._drain = arguments.seconds("drain", drain, zero=True)
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Forgets the worker, which the parent process has kept."""
        self._worker: ThreadWorker | TaskWorker | None = None

    def __repr__(self) -> str:
        return f"Sagas({self.store.name!r}, {list(self._sagas)})"

    def start(self, name: str, data: Any, *, saga_id: str | None = None, session: Any = None) -> str:
        """Writes a saga down, to be worked at as soon as that is committed; returns its id.

        Starting a saga again under its id, with equal data, changes nothing: so give an id that belongs to the command,
        and repeat the start until it succeeds.

        Args:
            name: of the definition; its highest version is begun.
            data: of the type that the definition says, at most 64 KiB as JSON.
            saga_id: 1 to 500 characters; default: a new UUID of version 7.
            session: of the transaction to which the start belongs: a SQLAlchemy session or connection, or the
                connection that `EmbeddedStore.transact` gives its function. Default: a transaction of its own.

        Raises:
            UnknownSagaError: there is no definition of that name.
            KeyMismatchError: the id is that of another saga.
            TypeError: the data are not such as the definition says, or cannot be stored.
        """
        new = _New.of(self._sagas, name, data, saga_id)
        executor = self.store if session is None else self.store.on(session)
        executor.run(new.script)
        self._wake(session)
        return new.saga_id

    async def astart(self, name: str, data: Any, *, saga_id: str | None = None, session: Any = None) -> str:
        """Writes a saga down; see `start`. The session may be an `AsyncSession` or `AsyncConnection`."""
        new = _New.of(self._sagas, name, data, saga_id)
        executor = self.store if session is None else self.store.on(session)
        await executor.arun(new.script)
        self._wake(session)
        return new.saga_id

    def run(self, saga_id: str) -> SagaReport:
        """Works at a saga on this thread until it ends or has to wait; returns how it stands.

        Raises:
            UnknownSagaError: there is no such saga.
            SagaStateError: its definition is not among those given here.
            InProgressError: a worker has it; `retry_after` is what is left of its lease.
            LeaseLostError: another worker took it, because this one was silent for too long.
        """
        refuse_to_block("run()")
        self._refuse_async("arun()")
        held = drive(self.store, self._work.take(checked_name("saga_id", saga_id)))
        if held is not None:
            self._work.pursue(held, lambda: False)
        return self.show(saga_id)

    async def arun(self, saga_id: str) -> SagaReport:
        """Works at a saga in this task; see `run`. Plain functions among its actions run on threads."""
        held = await adrive(self.store, self._work.take(checked_name("saga_id", saga_id)))
        if held is not None:
            await self._work.apursue(held, lambda: False)
        return await self.ashow(saga_id)

    def reply(
        self,
        saga_id: str,
        step: str,
        *,
        result: Any = None,
        error: BaseException | str | None = None,
        undo: bool = False,
        session: Any = None,
    ) -> bool:
        """Says how the command of a step ended. A reply may come twice.

        Returns whether it was waited for. One that comes too late, because its time was up, say, is recorded with the
        step, and told as `SagaReplyLate`.

        Args:
            saga_id: the header `seawall-saga` of the command.
            step: its header `seawall-step`.
            result: what came of it, as JSON at most 64 KiB.
            error: why it failed; then `result` is not looked at. With a `StepRefusedError` the step surely did nothing,
                and is not undone.
            undo: whether it was the command that undoes the step: its header `seawall-undo` is "true".
            session: as for `start`.

        Raises:
            UnknownSagaError: there is no such saga.
            SagaStateError: it has begun no such step.
        """
        said = _reply(step, result, error, undo)
        executor = self.store if session is None else self.store.on(session)
        checked = checked_name("saga_id", saga_id)
        return self._replied(checked, step, executor.run(partial(scripts.reply, checked, said)), session)

    async def areply(
        self,
        saga_id: str,
        step: str,
        *,
        result: Any = None,
        error: BaseException | str | None = None,
        undo: bool = False,
        session: Any = None,
    ) -> bool:
        """Says how the command of a step ended; see `reply`."""
        said = _reply(step, result, error, undo)
        executor = self.store if session is None else self.store.on(session)
        checked = checked_name("saga_id", saga_id)
        return self._replied(checked, step, await executor.arun(partial(scripts.reply, checked, said)), session)

    def __enter__(self) -> Self:
        self._refuse_async("async with")
        self._refuse_second()
        self._worker = ThreadWorker(self._work, self._poll, self._concurrency)
        return self

    def __exit__(self, *exc: object) -> None:
        worker, self._worker = self._worker, None
        if isinstance(worker, ThreadWorker):
            _report(worker.stop(self._drain), "still run, on threads that nobody waits for")

    async def __aenter__(self) -> Self:
        self._refuse_second()
        self._worker = TaskWorker(self._work, self._poll, self._concurrency)
        return self

    async def __aexit__(self, *exc: object) -> None:
        worker, self._worker = self._worker, None
        if isinstance(worker, TaskWorker):
            _report(await worker.stop(self._drain), "were cancelled, and are left to other workers")

    def _replied(self, saga_id: str, step: str, how: tuple[str, bool], session: Any) -> bool:
        type_, expected = how
        self._wake(session)
        if not expected:
            self._hub.tell(SagaReplyLate(type_, saga_id, step))
        return expected

    def _wake(self, session: Any) -> None:
        if session is None:
            self.store.wake(CHANNEL)
        else:
            self.store.after(session, CHANNEL)

    def _refuse_second(self) -> None:
        if not self._sagas:
            raise RuntimeError(f"these sagas have no definitions to work at; give them, as in {self.example}")
        if self._worker is not None:
            raise RuntimeError("these sagas are being worked at already; make others for a second worker")

    def _refuse_async(self, instead: str) -> None:
        for saga in self._sagas.values():
            for step in saga.steps:
                if step.is_async:
                    raise TypeError(
                        f"step {step.name!r} of saga {saga.name!r} is an async function, and this is a sync worker; "
                        f"use {instead}"
                    )


class _New:
    """A saga that is about to be started."""

    def __init__(self, saga: Saga[Any], saga_id: str, data: str) -> None:
        self.saga = saga
        self.saga_id = saga_id
        self._data = data

    @staticmethod
    def of(sagas: dict[str, Saga[Any]], name: str, data: Any, saga_id: str | None) -> _New:
        known = [saga for saga in sagas.values() if saga.name == name]
        if not known:
            names = ", ".join(sorted({repr(saga.name) for saga in sagas.values()})) or "none"
            raise UnknownSagaError(f"there is no definition of a saga {name!r}; there are {names}")
        saga = max(known, key=lambda each: each.version)
        new_id = new_message_id() if saga_id is None else checked_name("saga_id", saga_id)
        return _New(saga, new_id, data_text(saga, data))

    def script(self) -> Script[None]:
        saga = self.saga
        return scripts.start(self.saga_id, saga.name, saga.version, self._data, saga.deadline)


def _reply(step: str, result: Any, error: BaseException | str | None, undo: bool) -> Reply:
    checked_name("step", step)
    arguments.flag("undo", undo)
    if error is None:
        return Reply(step, undo, to_text("result", result), None)
    return Reply(step, undo, None, words(error), isinstance(error, StepRefusedError))


def _checked(sagas: Iterable[Saga[Any]]) -> dict[str, Saga[Any]]:
    wanted = f"give a list of them, as in {Sagas.example}"
    if isinstance(sagas, Saga) or not isinstance(sagas, Iterable):
        raise TypeError(f"sagas={sagas!r} is no list; {wanted}")
    known: dict[str, Saga[Any]] = {}
    for saga in sagas:
        if not isinstance(saga, Saga):
            raise TypeError(f"sagas holds {saga!r}, which is no Saga; {wanted}")
        kind = kind_of(saga.name, saga.version)
        if kind in known:
            raise ValueError(f"sagas holds two of the name {saga.name!r} and version {saga.version}; number them anew")
        known[kind] = saga
    return known


def _check_outbox(store: Store, sagas: Iterable[Saga[Any]], outbox: Outbox | None) -> None:
    if outbox is not None and outbox.store is not store:
        raise ValueError("outbox= belongs to another store; commands leave in the commit that begins their step")
    for saga in sagas:
        for step in saga.steps:
            if step.sends and outbox is None:
                raise TypeError(f"step {step.name!r} of saga {saga.name!r} sends a command; give outbox=Outbox(store)")


def _report(count: int, what: str) -> None:
    if count:
        LOGGER.warning("sagas: %d steps did not end in time and %s", count, what)
