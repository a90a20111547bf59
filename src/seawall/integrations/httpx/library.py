"""The client library that an object belongs to, found without importing one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Final
from weakref import WeakKeyDictionary

_NAMES: Final = ("httpx2", "httpx")


_found: WeakKeyDictionary[type, ModuleType] = WeakKeyDictionary()


def library_of(kind: type) -> ModuleType:
    """Returns the module that a request's class is of, or one of its base classes.

    Raises TypeError for a class of neither library.
    """
    library = _found.get(kind)
    if library is not None:
        return library
    for each in kind.__mro__:
        name = each.__module__.partition(".")[0]
        if name in _NAMES:
            library = _found[kind] = sys.modules[name]
            return library
    raise TypeError(f"{kind.__module__}.{kind.__qualname__} is no request of httpx2 or httpx")


def loaded() -> Iterator[ModuleType]:
    """Gives the libraries that somebody has imported, each once, also where one goes by both names."""
    seen = {id(module): module for module in map(sys.modules.get, _NAMES) if module is not None}
    yield from seen.values()


def classes(names: tuple[str, ...]) -> Callable[[], tuple[type[Any], ...]]:
    """Returns a function that gives the error classes of these names in every library that is loaded."""
    known: dict[tuple[int, ...], tuple[type[Any], ...]] = {}

    def find() -> tuple[type[Any], ...]:
        modules = tuple(loaded())
        key = tuple(map(id, modules))
        if key not in known:
            known[key] = tuple(getattr(module, name) for module in modules for name in names)
        return known[key]

    return find
