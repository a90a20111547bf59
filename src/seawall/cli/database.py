"""The store that a command speaks to, by URL."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import click

from seawall._core.errors import SeawallError
from seawall.cli.printing import show_json
from seawall.durable.opening import OpenedStore, open_store
from seawall.durable.script import Script
from seawall.durable.store import StoreError

T = TypeVar("T")

ASYNC: Final = ("postgresql+asyncpg://", "postgresql+psycopg_async://")
FILE: Final = "sqlite:///"


def on_store(*, makes: bool = False) -> Callable[[Callable[..., int | None]], Callable[..., Any]]:
    """Gives a command the options that name a store, and calls it with `store` and `as_json`.

    The store is used by its sync methods, whatever its driver is, and closed at the end. What the command returns is
    its exit code; None is 0. An error of seawall's is told on stderr, as a JSON object on stdout too where JSON is
    wanted, and is exit code 1.

    Args:
        makes: whether a file that is missing may be made; else it is an error, since its name is probably wrong.
    """

    def decorate(function: Callable[..., int | None]) -> Callable[..., Any]:
        @click.option(
            "--database", "url", envvar="SEAWALL_DATABASE", show_envvar=True, metavar="URL",
            help="The store: sqlite:///shop.db, postgresql://user@host/database, redis://host:6379/0.",
        )  # fmt: skip
        @click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else, to stdout.")
        @functools.wraps(function)
        def command(*arguments: Any, url: str | None, as_json: bool, **options: Any) -> None:
            if not url:
                raise click.UsageError("Say which store: --database URL, or the variable SEAWALL_DATABASE.")
            try:
                store = _opened(url, makes)
                try:
                    code = function(*arguments, store=store, as_json=as_json, **options)
                finally:
                    store.close()
            except SeawallError as error:
                if as_json:
                    show_json({"error": str(error)})
                raise click.ClickException(str(error)) from error
            click.get_current_context().exit(code or 0)

        return command

    return decorate


def _opened(url: str, makes: bool) -> OpenedStore:
    path = url.removeprefix(FILE)
    if url.startswith(FILE) and path and not makes and not os.path.exists(path):
        raise StoreError(f"there is no file {path!r}; `seawall db upgrade` makes one")
    store = open_store(url)
    return cast(OpenedStore, _Blocking(store)) if url.startswith(ASYNC) else store


class _Blocking:
    """A store on an async driver, used by its sync methods in an event loop of its own."""

    def __init__(self, store: OpenedStore) -> None:
        self._store = store
        self._runner = asyncio.Runner()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def run(self, script: Callable[[], Script[T]]) -> T:
        return self._runner.run(self._store.arun(script))

    def close(self) -> None:
        try:
            self._runner.run(self._store.aclose())
        finally:
            self._runner.close()
