"""The service that a command speaks to: its workers, as they are told by the files of its runtime directory."""

from __future__ import annotations

import functools
import getpass
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import click

from seawall._runtime import directory as places
from seawall._runtime.control import Control
from seawall._runtime.directory import Directory
from seawall._runtime.runtime import Runtime
from seawall.cli.printing import show_json
from seawall.cli.snapshots import Snapshot

Done: TypeAlias = Callable[[list[Snapshot]], bool]

LOOK: Final = 0.05
"""Seconds between two looks at the workers while waiting for them."""
LOGGER: Final = logging.getLogger("seawall")


class Service:
    """The workers of a service on this host, seen from outside.

    Args:
        name: the service's.
        path: its runtime directory; None: the usual one.
        as_json: whether what goes wrong is to be told as JSON too.

    Attributes:
        runtime: the runtime directory; this process is no worker of it.
    """

    def __init__(self, name: str, path: Path | None, *, as_json: bool = False) -> None:
        self._as_json = as_json
        try:
            self.runtime = Runtime(name, path=path)
        except ValueError as error:
            raise click.BadParameter(f"{error}.", param_hint="'--service'") from error
        if self.runtime.path is None:
            raise self.failure("there is no place for a runtime directory; name one with --runtime-dir")
        self._directory = Directory(self.runtime.path)

    @property
    def path(self) -> Path:
        """Where its runtime directory is, or would be."""
        return self._directory.path

    def failure(self, message: str) -> click.ClickException:
        """Returns an error to raise: exit code 1, on stderr, and as a JSON object where JSON is wanted."""
        if self._as_json:
            show_json({"error": message})
        return click.ClickException(message)

    def look(self) -> list[Snapshot]:
        """Returns the workers that live, the oldest first; refuses a directory that is not safe to use."""
        try:
            for folder in (self._directory.path, self._directory.workers):
                if os.path.lexists(folder):
                    places.make(folder)  # that is: checks it
        except OSError as error:
            raise self.failure(str(error)) from error
        return [Snapshot(each) for each in self.runtime.workers()]

    def workers(self) -> list[Snapshot]:
        """Returns the workers that live; fails where there are none."""
        workers = self.look()
        if not workers:
            raise self.failure(self.nobody())
        return workers

    def nobody(self) -> str:
        """Says that there are no workers, and what may be the reason."""
        return (
            f"no workers of {self.runtime.service!r} in {self.path}; "
            "is it the --service, --runtime-dir and user that the service runs with?"
        )

    def wait(self, seconds: float, done: Done) -> tuple[list[Snapshot], float]:
        """Looks at the workers until `done` or the time is over; returns them as seen last, and the seconds it took."""
        began = time.monotonic()
        while True:
            workers = self.look()
            took = time.monotonic() - began
            if done(workers) or took >= seconds:
                return workers, took
            time.sleep(min(LOOK, max(0.0, seconds - took)))

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Makes the directory ready for a change; one that fails is told, one that is made is not logged on stderr."""
        disabled = LOGGER.disabled
        try:
            self._directory.make()
            LOGGER.disabled = True
            yield
        except OSError as error:  # a TimeoutError is one too
            raise self.failure(f"nothing was changed: {error}") from error
        finally:
            LOGGER.disabled = disabled

    def order(self, section: str, key: str, lasts: float, *, actor: str, reason: str) -> int:
        """Tells all workers something that ends by itself; returns the control file's revision that says so."""
        entry = {key: {"until": time.time() + lasts}}
        with self.changing():
            self.runtime.change(section, lambda entries: {**entries, **entry}, actor=actor, reason=reason)
            return Control(self._directory).read().revision


def on_service(function: Callable[..., int | None]) -> Callable[..., Any]:
    """Gives a command the options that name a service, and calls it with `service` and `as_json`.

    What the command returns is its exit code; None is 0.
    """

    @click.option(
        "--service", "service_name", envvar="SEAWALL_SERVICE", default="app", show_default=True, show_envvar=True,
        help="The name of the service.",
    )  # fmt: skip
    @click.option(
        "--runtime-dir", type=click.Path(path_type=Path), envvar="SEAWALL_RUNTIME_DIR", show_envvar=True,
        help="Its runtime directory; the name does not matter then. [default: by user and name]",
    )  # fmt: skip
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else, to stdout.")
    @functools.wraps(function)
    def command(*arguments: Any, service_name: str, runtime_dir: Path | None, as_json: bool, **options: Any) -> None:
        service = Service(service_name, runtime_dir, as_json=as_json)
        click.get_current_context().exit(function(*arguments, service=service, as_json=as_json, **options) or 0)

    return command


def login_name() -> str:
    """Returns who runs the command: the login name, or the user's number where there is no name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return f"user {os.getuid()}" if hasattr(os, "getuid") else "somebody"
