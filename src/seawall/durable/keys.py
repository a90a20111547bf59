"""Keys from content: the same command gives the same key, on every machine and in every version."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from seawall.durable.codec import KNOWN, TAG, TEXTS, CodecError, Forms, dump, tagged

VERSION: Final = "v1:"


def content_key(operation: str, *parts: Any, tenant: str | None = None, namespace: str = "") -> str:
    """Returns a key made of what a command says: "v1:" and a SHA-256 in hexadecimal, 67 characters.

    Equal content gives equal keys: the order of keys and of a set's members does not count, nor whether a sequence
    is a list or a tuple, nor the zone in which an instant is told, nor zeros at the end of a Decimal. An int, a float,
    a Decimal, a bool and a text are never equal to one another.

    Two honest commands that say the same are one to it: the second is answered with the result of the first for as
    long as that is kept. Give it something that tells them apart (an order number, a day) wherever there is one.

    Args:
        operation: what is done, such as "payments.create".
        *parts: what it is done with: the types that a `JsonCodec` stores, but for NaN and infinity.
        tenant: who it is done for; commands of different tenants are never the same, nor the same as of none.
        namespace: a further part that tells operations of the same name apart.

    Raises:
        CodecError: a part is of another type; the message says which one, and where in it.
    """
    for argument, value in (("operation", operation), ("namespace", namespace), ("tenant", tenant or "")):
        if not isinstance(value, str):
            raise TypeError(f"{argument}={value!r} is not a text; use one such as 'payments.create'")
    who = "-" if tenant is None else f"+{tenant}"
    return VERSION + digest(namespace, who, operation, canonical(list(parts)))


def fingerprint_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """Returns what tells the arguments of a call from others: empty where there are none. Raises CodecError."""
    if not args and not kwargs:
        return ""
    return digest(canonical([list(args), dict(kwargs)]))


def canonical(value: Any) -> bytes:
    """Returns the one JSON text of equal values. Raises CodecError for what has none."""
    if isinstance(value, list):
        return dump([CANONICAL.plain(each, f"part {index}") for index, each in enumerate(value)], ordered=True)
    return dump(CANONICAL.plain(value, "the value"), ordered=True)


def digest(*fields: str | bytes) -> str:
    """Returns a SHA-256 over fields, each with its length before it, so that none can pass for part of another."""
    hashed = hashlib.sha256()
    for field in fields:
        data = field.encode("utf-8", "surrogatepass") if isinstance(field, str) else field
        hashed.update(b"%d:" % len(data))
        hashed.update(data)
    return hashed.hexdigest()


def _float(value: float, where: str) -> Any:
    if not math.isfinite(value):
        raise CodecError(f"{where} is {value}, which is not equal to itself or to any amount; use a finite number")
    return float(value) + 0.0  # no negative zero


def _decimal(value: Decimal, where: str) -> Any:
    if not value.is_finite():
        raise CodecError(f"{where} is {value}, which is not equal to itself or to any amount; use a finite number")
    sign, digits, exponent = value.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    bare = text.rstrip("0")
    if not bare:
        return tagged("decimal", "0")
    assert isinstance(exponent, int)
    return tagged("decimal", f"{'-' if sign else ''}{bare}E{exponent + len(text) - len(bare)}")


def _datetime(value: datetime, where: str) -> Any:
    if value.tzinfo is None:
        return tagged("datetime", value.isoformat())
    return tagged("instant", value.astimezone(UTC).isoformat())


def _keys(value: Mapping[Any, Any], where: str) -> Any:
    for key in value:
        if not isinstance(key, str):
            raise CodecError(f"{where} has the key {key!r}, a {type(key).__qualname__}; use texts as keys")
    same = {str.__str__(key): CANONICAL.within(each, f"{where}[{key!r}]") for key, each in value.items()}
    return tagged("dict", sorted(map(list, same.items()))) if TAG in same else same


def _sequence(value: tuple[Any, ...], where: str) -> Any:
    return [CANONICAL.within(each, f"{where}[{index}]") for index, each in enumerate(value)]


def _set(value: set[Any] | frozenset[Any], where: str) -> Any:
    return tagged(
        "set",
        sorted(dump(CANONICAL.within(each, f"{where}[{each!r}]"), ordered=True).decode("ascii") for each in value),
    )


CANONICAL: Final = Forms(
    f"which has no canonical form; use {KNOWN}; of other objects what tells two of them apart",
    {
        **TEXTS,
        float: _float,
        Mapping: _keys,
        tuple: _sequence,
        set: _set,
        frozenset: _set,
        Decimal: _decimal,
        datetime: _datetime,
    },
)
"""Forms in which equal values are the same text."""
