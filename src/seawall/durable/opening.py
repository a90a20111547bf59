"""Stores by URL: from a file on this host to a server, by changing one line of a configuration."""

from __future__ import annotations

from typing import Any, Final, Protocol

from seawall._core import schemes
from seawall._core.nearest import nearest
from seawall.durable.store import Store, StoreError

_EXTRAS: Final = {"sqlalchemy": "sql", "asyncpg": "sql", "psycopg": "sql", "greenlet": "sql", "redis": "redis"}
_AS_IN: Final = "use one as in sqlite:///shop.db, postgresql://user@host/database or redis://host:6379/0"


class OpenedStore(Store, Protocol):
    """A store that was opened here, and so is to be closed here."""

    def close(self) -> None:
        """Finishes what was begun, and lets go of files and connections. Not for a store on an async engine."""
        ...

    async def aclose(self) -> None:
        """Finishes what was begun, and lets go of files and connections, without blocking the event loop."""
        ...


def open_store(url: str, **options: Any) -> OpenedStore:
    """Returns the store that a URL names. Nothing is connected or made before it is used.

    - `sqlite:///shop.db`, `sqlite:////var/lib/shop/shop.db`: an `EmbeddedStore` in a file, relative or absolute;
      the options are its arguments.
    - `postgresql://`, `postgresql+psycopg://`: an `SqlStore` on a sync engine of its own, for both colours;
      `postgresql+asyncpg://`, `postgresql+psycopg_async://`: one on an async engine, for async code in one event loop.
      The options are those of the engine. Its tables are made by `seawall db upgrade`, or `upgrade(store)`.
    - `redis://`, `rediss://`, `unix://`: a `RedisStore`, which holds claims, locks and counters; the options are those
      of the client.

    `close()` or `aclose()` of the store lets go of what was opened here.

    Args:
        url: where it is.
        **options: as above.

    Raises:
        StoreError: the URL is of no kind that is known, or a library is missing (it says which extra has it).
        TypeError: an option that there is not.
    """
    if not isinstance(url, str):
        raise TypeError(f"url={url!r} is no text; {_AS_IN}")
    scheme, colon, _ = url.partition("://")
    if scheme not in schemes.STORES or not colon:
        raise StoreError(_unknown(scheme if colon else ""))
    try:
        store: OpenedStore = schemes.load(schemes.STORES[scheme])(url, **options)
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in _EXTRAS:
            raise
        raise StoreError(f"{scheme}:// needs {library}: pip install seawall[{_EXTRAS[library]}]") from error
    return store


def _unknown(scheme: str) -> str:
    """Returns what is wrong with a URL, without showing it: there may be a password in it."""
    if not scheme:
        return f"the URL of a store has no scheme; {_AS_IN}"
    near = nearest(scheme, list(schemes.STORES))
    meant = f"did you mean {near}://?" if near else _AS_IN
    return f"{scheme}:// is no kind of store; {meant}"
