"""One service, any number of worker processes: each speaks for all of them, and all obey one file."""

from __future__ import annotations

import atexit
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

from seawall._core import arguments
from seawall._core.events import LOGGER
from seawall._runtime import directory as places
from seawall._runtime import files, locks, retired
from seawall._runtime.complaints import speak
from seawall._runtime.control import Control, Section, Update
from seawall._runtime.directory import Directory
from seawall._runtime.orders import Apply, Orders
from seawall._runtime.retired import Retired
from seawall._runtime.snapshots import load
from seawall._runtime.sums import Sections
from seawall._runtime.worker import Collect, Contributions, Worker

PERIOD: Final = 1.0
"""Seconds between two snapshots."""
SHARE: Final = 0.05
"""Of the time may be spent on snapshots in the background: where one takes long, the next one comes later."""
WATCH: Final = 0.5
"""Seconds between two looks at the control file."""
SWEEP: Final = 5.0
"""Seconds between two searches for dead workers."""
_PATIENCE: Final = 1.0
"""Seconds that a reader waits for the lock; without it, it reads all the same and folds nothing."""
_JOIN: Final = 5.0
"""Seconds that `stop` waits for the background thread, which may hang in somebody's function."""
_NAME_LENGTH: Final = 80


@dataclass(frozen=True, slots=True)
class Gathering:
    """All workers of a service at one moment, and the sums of those that have died.

    Attributes:
        workers: the snapshots of those that live, the oldest worker first.
        retired: the counters of the dead, by section: `{section: {name: {series: amount}}}`.
    """

    workers: list[dict[str, Any]] = field(default_factory=list)
    retired: Sections = field(default_factory=dict)


class Runtime:
    """The runtime directory of a service, as one of its workers sees it.

    After `start` this process is a worker: it writes a snapshot every second and obeys the control file within half a
    second, on one background thread, and again so in every forked child. Without `start` it can read and change, and
    is no worker itself; so does a command line.

    The directory is `SEAWALL_RUNTIME_DIR`, else one by user and service in `XDG_RUNTIME_DIR` or the temporary
    directory, of mode 0700; one that is somebody else's, or open to the writing of others, is refused. Where it cannot
    be used (a read-only file system, no permission, a full disk) one warning is logged, and the process speaks for
    itself alone until it can.

    Sums never fall while any worker lives: those of a dead one are kept, however it died, and also for the next one
    after a crash of all. Only when the last worker stops, and all before it have stopped in good order, they are
    forgotten: the service has ended, and starts at zero when it is started anew.

    Args:
        service: the name that all workers of the service share; default "app".
        path: the directory; default: as above.
    """

    def __init__(self, service: str = "app", *, path: str | Path | None = None) -> None:
        wanted = f"a text of 1 to {_NAME_LENGTH} characters, such as 'booking'"
        if not isinstance(service, str):
            raise TypeError(f"service={service!r} is no name; use {wanted}")
        if not 1 <= len(service) <= _NAME_LENGTH:
            raise ValueError(f"service={service!r} has {len(service)} characters; use {wanted}")
        self.service = service
        self._problem: str | None = None
        self._directory = self._find(path)
        self._control = Control(self._directory)
        self._contributions = Contributions()
        self._orders = Orders(self._control)
        self._worker: Worker | None = None
        self._thread: threading.Thread | None = None
        self._lifecycle = threading.RLock()
        self._stopping, self._wake = threading.Event(), threading.Event()

    def _find(self, path: str | Path | None) -> Directory | None:
        try:
            return Directory(places.find(self.service) if path is None else Path(path).absolute())
        except OSError as error:
            self._alone(error)
            return None

    def __repr__(self) -> str:
        return f"Runtime({self.service!r}, path={str(self.path)!r})"

    @property
    def path(self) -> Path | None:
        """Where the directory is, whether it can be used or not; None where there is no place for one."""
        return None if self._directory is None else self._directory.path

    @property
    def worker(self) -> str | None:
        """The id of this process among the workers, its process id and start; None before `start`."""
        return None if self._worker is None else self._worker.id

    def contribute(self, section: str, collect: Collect) -> None:
        """Puts what `collect()` returns into every snapshot from now on, as a section of it.

        It is called on any thread, one call at a time, must not block, and returns what JSON can hold. Where it raises,
        that is logged once and the section stays as it was. What it lists under the key `counters`, as
        `{name: {series: number or list of numbers}}`, outlives the worker in `retired`; everything else goes with it.
        """
        self._contributions.add(section, collect)

    def obey(self, section: str, apply: Apply) -> None:
        """Calls `apply` with a section of the control file, at the start and whenever its content is another one.

        The content is an object of entries, empty where nothing is set; an entry that has ended (`until`) is left out.
        `apply` is called by `start`, then on the background thread; it must not block. What it raises is logged.
        """
        self._orders.add(section, apply)
        self._wake.set()

    def start(self) -> None:
        """Makes this process a worker: obeys the control file, writes a snapshot, and goes on so in the background.

        Never fails for want of a directory. A second call does nothing.
        """
        with self._lifecycle:
            if self._worker is None:
                self._begin()
                atexit.register(self.stop)
                _RUNNING.add(self)

    def _begin(self) -> None:
        worker = self._worker = Worker(self.service, self._directory, self._contributions)
        worker.revision = self._orders.follow()
        self.write_now()
        self._stopping, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(worker, self._stopping, self._wake), name="seawall-runtime", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Writes the last snapshot and ceases to be a worker; the sums stay with the others.

        A second call does nothing.
        """
        with self._lifecycle:
            worker, thread = self._worker, self._thread
            if worker is None:
                return
            _RUNNING.discard(self)
            atexit.unregister(self.stop)
            self._stopping.set()
            self._wake.set()
            if thread is not None and thread is not threading.current_thread():
                thread.join(_JOIN)
            self._write(worker, last=True)
            self._worker = self._thread = None
            try:
                worker.end()
            except TimeoutError:
                LOGGER.warning(
                    "a part of the snapshot of %r hangs; the worker counts until its process ends", self.service
                )
            self._leave()

    def _leave(self) -> None:
        """Folds in this worker's own sums; the last one out after a good end of all forgets them.

        Whoever has files after the folding is not in the sums: alive, or dead since. How such a one has ended is not
        known yet, so the sums are left to whoever finds that out, which is itself, if it leaves in good order too.
        """
        directory = self._directory
        if directory is None or not directory.is_safe():
            return
        try:
            with locks.held(directory.lock, _PATIENCE) as ours:
                if ours:
                    sums = retired.fold(directory)
                    if not sums.crashed and not any(directory.listed()):
                        files.remove(directory.retired)
        except OSError as error:
            LOGGER.debug("what this worker leaves is left to the others: %s", error)
        speak()

    def after_fork(self) -> None:
        """Makes a forked child a worker of its own."""
        self._lifecycle = threading.RLock()
        self._contributions.forget()
        self._begin()

    def __enter__(self) -> Runtime:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _run(self, worker: Worker, stopping: threading.Event, wake: threading.Event) -> None:
        due = swept = time.monotonic()
        while not stopping.is_set():
            wake.wait(WATCH)
            wake.clear()
            if stopping.is_set():
                return
            try:
                now = time.monotonic()
                worker.revision = self._orders.follow()
                if now >= due:
                    self.write_now()
                    due = now + max(PERIOD - WATCH / 2, (time.monotonic() - now) / SHARE)
                if now - swept >= SWEEP:
                    swept = now
                    self.sweep()
            except Exception:
                LOGGER.exception("the runtime of %r stumbled and goes on", self.service)

    def write_now(self) -> bool:
        """Writes the snapshot as of now; False where it cannot be written, or this process is no worker."""
        worker = self._worker
        return worker is not None and self._write(worker)

    def _write(self, worker: Worker, *, last: bool = False) -> bool:
        try:
            worker.write(last=last)
        except OSError as error:
            self._alone(error)
            return False
        finally:
            speak()
        if self._problem is not None:
            LOGGER.warning("%s can be used again", self.path)
            self._problem = None
        return True

    def _alone(self, error: OSError) -> None:
        """Warns, once an outage, that this process speaks for itself alone."""
        if self._problem is None:
            self._problem = str(error)
            LOGGER.warning(
                "no runtime directory for %r, so this process speaks for itself alone: %s", self.service, error
            )

    def sweep(self) -> None:
        """Folds in the sums of dead workers, unless somebody else is just at it."""
        directory = self._directory
        if directory is None or not directory.is_safe():
            return
        try:
            with locks.held(directory.lock, 0.0) as ours:
                if ours:
                    retired.fold(directory)
        except OSError as error:
            LOGGER.debug("dead workers are left for later: %s", error)
        speak()

    def gather(self) -> Gathering:
        """Returns all workers and the sums of the dead, this worker's own snapshot written just now.

        What is returned is in the files, so it is not lost when this process is killed the next moment; only where its
        own snapshot cannot be written, that is taken from memory.
        """
        worker, wrote = self._worker, self.write_now()
        gathering = self._read()
        speak()
        if worker is None or wrote:
            return gathering
        try:
            own = worker.snapshot()
        except TimeoutError:
            return gathering
        others = [each for each in gathering.workers if each["id"] != worker.id]
        return Gathering([*others, own], gathering.retired)

    def _read(self) -> Gathering:
        directory = self._directory
        if directory is None or not directory.is_safe():
            return Gathering()
        try:
            with locks.held(directory.lock, _PATIENCE) as ours:
                if ours:
                    return _together(directory, retired.fold(directory))
        except OSError as error:
            LOGGER.debug("reading without the lock: %s", error)
        return _together(directory)

    def workers(self) -> list[dict[str, Any]]:
        """Returns the snapshots of all workers that live, from their files."""
        return self.gather().workers

    def retired(self) -> Sections:
        """Returns the counters of the workers that have died, by section."""
        return self.gather().retired

    def control(self) -> dict[str, Section]:
        """Returns the sections of the control file as of now, without the entries that have ended."""
        document = self._control.read()
        speak()
        return {name: document.section(name) for name in document.sections}

    def change(self, section: str, update: Update, *, actor: str, reason: str) -> Section:
        """Changes a section of the control file, for all workers; returns its new content.

        The change is written down in `audit.log` first, then made at once as a whole, and logged. Every worker obeys
        within half a second. Without a directory it reaches this process alone.

        Args:
            section: its name.
            update: gets the entries that are in force and returns those that shall be. It may be asked again where
                somebody else was faster, and what it raises goes through.
            actor: who makes the change.
            reason: why.

        Raises:
            TimeoutError: the file could not be locked within 5 s.
            OSError: the change could not be written down or made, as on a full disk; then nothing has changed.
        """
        for argument, value in (("section", section), ("actor", actor), ("reason", reason)):
            if not isinstance(value, str) or not value:
                raise TypeError(f"{argument}={value!r} is no text; say {argument}= in words")
        arguments.function("update", update, "a function that returns the new entries")
        if self._directory is not None and not self._directory.is_safe():
            self._make()
        document = self._control.change(section, update, actor, reason)
        self._wake.set()
        return document.section(section)

    def _make(self) -> None:
        """Makes the directory for a change before any worker has."""
        try:
            if self._directory is not None:
                self._directory.make()
        except OSError as error:
            self._alone(error)


def _together(directory: Directory, sums: Retired | None = None) -> Gathering:
    """Returns everyone's snapshots with the sums of the dead: those given, else those that are written down.

    Without the lock, others may be folding meanwhile. So each worker's own file is read first and the sums after it:
    whoever is removed between the two is in the sums by then, with its name, and nobody is missed or counted twice.
    """
    found = {worker: (directory.is_alive(worker), load(directory, worker)) for worker in directory.listed()}
    if sums is None:
        sums = retired.read(directory)
    alive: list[dict[str, Any]] = []
    for worker, (lives, snapshot) in found.items():
        if not lives:
            sums.add(worker, snapshot)
        elif snapshot is not None and worker not in sums.folded:
            alive.append(snapshot)
    return Gathering(alive, sums.sections)


_RUNNING: Final[WeakSet[Runtime]] = WeakSet()


def _begin_in_child() -> None:
    for runtime in list(_RUNNING):
        runtime.after_fork()


if hasattr(os, "register_at_fork"):  # after that of `_core.forks`, imported above: locks are renewed first
    os.register_at_fork(after_in_child=_begin_in_child)
