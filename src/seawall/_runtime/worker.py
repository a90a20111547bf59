"""One worker: its identity, what it says of itself, and how that is written down."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

from seawall._runtime import files
from seawall._runtime.complaints import complain, mended
from seawall._runtime.directory import Directory
from seawall._runtime.jsontext import to_json
from seawall._runtime.locks import Sign

Collect: TypeAlias = Callable[[], Any]

_PATIENCE: Final = 5.0
"""Seconds that one snapshot waits for another that is being collected."""


class Contributions:
    """What the parts of the product have to say, by section."""

    def __init__(self) -> None:
        self._collects: dict[str, Collect] = {}
        self._last: dict[str, str] = {}

    def add(self, section: str, collect: Collect) -> None:
        """Adds a part, or replaces it."""
        self._collects[section] = collect

    def forget(self) -> None:
        """Forgets what was said before, as a forked child must: that was said by its parent."""
        self._last.clear()

    def text(self) -> str:
        """Asks every part, and returns all as a JSON object. One that fails is quoted from the last time."""
        for section, collect in list(self._collects.items()):
            try:
                self._last[section] = to_json(collect())
                mended(_failed(section))
            except Exception as error:
                complain(_failed(section), error)
        return "{" + ",".join(f"{json.dumps(section)}:{text}" for section, text in self._last.items()) + "}"


def _failed(section: str) -> str:
    return f"section {section!r} of the snapshot could not be collected"


class Worker:
    """This process as one of a service's workers.

    Its snapshots are collected and written in turn, under a lock that no call through a pipeline ever takes: otherwise
    an older reading could replace a newer one, and sums would fall.
    """

    def __init__(self, service: str, directory: Directory | None, contributions: Contributions) -> None:
        self.pid: Final = os.getpid()
        self.id: Final = f"{self.pid}-{time.time_ns()}"
        self.revision = 0
        """Of the control file that this worker acts by."""
        self._started = time.time()
        self._service = service
        self._directory = directory
        self._contributions = contributions
        self._sign: Sign | None = None
        self._over = False
        self._writing = threading.RLock()

    def write(self, *, last: bool = False) -> None:
        """Writes the snapshot as of now. Raises OSError where it cannot be written.

        Args:
            last: whether this worker stops in good order, and it is the last one.
        """
        with self._turn():
            if self._over:
                return  # somebody is still reading while it stops
            if self._directory is None:
                raise FileNotFoundError("there is no place for a runtime directory")
            self._directory.make()
            if self._sign is None or not self._sign.is_up():
                self._take_down()
                self._sign = Sign(self._directory.sign(self.id))
            files.replace(self._directory.snapshot(self.id), self._text(last=last))

    def snapshot(self) -> dict[str, Any]:
        """Returns the snapshot as of now, from memory, as the others would read it. Raises TimeoutError."""
        with self._turn():
            content: dict[str, Any] = json.loads(self._text())
            return content

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._writing.acquire(timeout=_PATIENCE):
            raise TimeoutError(f"a part of the snapshot has been busy for {_PATIENCE:g} s")
        try:
            yield
        finally:
            self._writing.release()

    def _text(self, *, last: bool = False) -> str:
        facts = {
            "id": self.id,
            "pid": self.pid,
            "service": self._service,
            "started": self._started,
            "written": time.time(),
            "control": self.revision,
            "ended": last,
        }
        return f'{to_json(facts)[:-1]},"sections":{self._contributions.text()}}}'

    def end(self) -> None:
        """Takes down the sign of life, for good: the others fold in what was written last. Raises TimeoutError."""
        with self._turn():
            self._over = True
            self._take_down()

    def _take_down(self) -> None:
        if self._sign is not None:
            self._sign.take_down()
            self._sign = None
