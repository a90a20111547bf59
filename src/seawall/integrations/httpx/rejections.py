"""seawall's errors as the client's own: `except httpx2.TransportError` catches an open circuit too."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from seawall._core.errors import SeawallError
from seawall.integrations.httpx.library import library_of


def as_clients_own(error: SeawallError, request: Any) -> Exception:
    """Returns an error that is both what `error` is and a `TransportError` of the request's library.

    One that is a TimeoutError becomes a `TimeoutException`, never anything more precise: a rejected request has met no
    connection, so it is no `ConnectError`.
    """
    library = library_of(type(request))
    theirs: type[Exception] = library.TransportError
    if isinstance(error, theirs):
        return error  # it has passed another client
    kind = type(error)
    own = _make(kind.__bases__[0] if kind in _made.values() else kind, library, error.args)
    own.__dict__.update(error.__dict__, _request=request)
    own.__cause__, own.__suppress_context__ = error.__cause__, error.__suppress_context__
    return own.with_traceback(error.__traceback__)


def _make(kind: type[SeawallError], library: ModuleType, args: tuple[Any, ...]) -> Exception:
    theirs: type[Exception] = library.TimeoutException if issubclass(kind, TimeoutError) else library.TransportError
    made = _made.get((kind, theirs))
    if made is None:
        said = {"__module__": kind.__module__, "__doc__": kind.__doc__, "__qualname__": kind.__qualname__}
        made = _made[kind, theirs] = type(kind.__name__, (kind, theirs), {**said, "__reduce__": _reduce})
    own = made.__new__(made)
    own.args = args
    return own


_made: dict[tuple[type[Exception], type[Exception]], type[Exception]] = {}


def _reduce(self: Any) -> tuple[Any, ...]:
    """Pickles as the two classes that it is, since its own cannot be found by name; the request stays here."""
    kind, theirs = type(self).__bases__
    state = {name: value for name, value in self.__dict__.items() if name != "_request"}
    return _unpickle, (kind, theirs.__module__.partition(".")[0], self.args, state)


def _unpickle(kind: type[SeawallError], library: str, args: tuple[Any, ...], state: dict[str, Any]) -> Exception:
    module = sys.modules.get(library)
    if module is None:
        own: Exception = kind.__new__(kind)
        own.args = args
    else:
        own = _make(kind, module, args)
        own.__dict__["_request"] = None
    own.__dict__.update(state)
    return own
