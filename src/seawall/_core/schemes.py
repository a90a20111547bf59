"""Imports by name: the one place where a text decides what is loaded."""

from __future__ import annotations

from typing import Any, Final

from seawall._core.errors import SeawallError
from seawall._core.nearest import nearest

STORES: Final = {
    "sqlite": "seawall.durable.embedded:open_url",
    **dict.fromkeys(
        ("postgresql", "postgresql+psycopg", "postgresql+psycopg_async", "postgresql+asyncpg"),
        "seawall.integrations.sqlalchemy.opening:open_url",
    ),
    **dict.fromkeys(("redis", "rediss", "unix"), "seawall.integrations.redis.opening:open_url"),
}
"""Stores of `seawall.durable` by the scheme of a URL: the function that opens one."""


class UnknownReferenceError(SeawallError):
    """A reference names no module or no attribute that there is."""


def load(reference: str, *, attribute: str = "scenario") -> Any:
    """Returns what a reference names, importing its module where that has not been done yet.

    Args:
        reference: "package.module:attribute", or "package.module" for the attribute that is usually meant.
        attribute: that attribute; default "scenario".

    Raises:
        UnknownReferenceError: the reference is not of that form, or there is no such module or attribute. What the
            module itself raises when it is imported, such as for another one that it lacks, is raised as it is.
    """
    wanted = f"use a module, such as 'shop.storm', or 'shop.storm:{attribute}' for one attribute of it"
    if not isinstance(reference, str):
        raise TypeError(f"reference={reference!r} is not a text; {wanted}")
    module_name, colon, chosen = reference.partition(":")
    name = chosen if colon else attribute
    if not all(part.isidentifier() for part in (*module_name.split("."), name)):
        raise UnknownReferenceError(f"{reference!r} names no module; {wanted}{_as_module(module_name)}")
    module = _module(module_name)
    try:
        return getattr(module, name)
    except AttributeError:
        instead = _instead(module, name)
        raise UnknownReferenceError(f"module {module_name!r} has no attribute {name!r}; {instead}") from None


def _module(name: str) -> Any:
    try:
        import importlib

        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name != missing and not name.startswith(f"{missing}."):
            raise  # the module is there, and lacks another one
        package = missing.rpartition(".")[0]
        where = f"in {package!r}" if package else "in the folders of sys.path"
        raise UnknownReferenceError(
            f"there is no module {missing!r} {where}; use one that can be imported{_as_module(name)}"
        ) from None


def _as_module(path: str) -> str:
    """Returns a hint for who gave the path of a file."""
    dotted = path.removesuffix(".py").strip("./").replace("/", ".")
    return f" (did you mean {dotted!r}?)" if path != dotted and dotted else ""


def _instead(module: Any, name: str) -> str:
    names = [known for known in vars(module) if not known.startswith("_")]
    near = nearest(name, names)
    if near is not None:
        return f"did you mean {near!r}?"
    return f"it has {', '.join(sorted(names)[:10])}" if names else "it has none at all"
