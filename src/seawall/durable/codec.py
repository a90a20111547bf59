"""Values as bytes and back: JSON, with exact forms for what JSON lacks. Never pickle."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, Protocol, TypeAlias
from uuid import UUID

from seawall._core import arguments
from seawall._core.errors import SeawallError

TAG: Final = "$"
"""The key that marks an object that stands for something else; an object that has it itself is written as pairs."""
LARGEST: Final = 1 << 20
"""Bytes that a stored result may have: 1 MiB."""
KNOWN: Final = (
    "None, bool, int, float, str, list, dict, tuple, set, frozenset, bytes, Decimal, UUID, date, datetime, time and "
    "timedelta"
)


class CodecError(SeawallError, TypeError):
    """A value cannot be stored or be part of a key, or what is stored cannot be read."""


class Codec(Protocol):
    """How results are stored. `name` is written beside each, so that no other codec reads it by mistake."""

    @property
    def name(self) -> str:
        """What its results are marked with, such as "json"."""
        ...

    def dumps(self, value: Any) -> bytes:
        """Returns a value as bytes. Raises CodecError for one that cannot be stored."""
        ...

    def loads(self, stored: bytes) -> Any:
        """Returns the value again, equal to what was stored."""
        ...


class JsonCodec:
    """Stores results as JSON, so that they come back equal and of their own type.

    It takes None, bool, int, float, str, list, dict, tuple, set, frozenset, bytes, Decimal, UUID, date, datetime, time
    and timedelta, to any depth. A value of a class below one of these comes back as one of these. Any other type is
    refused, with the place where it stands.

    Args:
        largest: bytes that a value may take; default 1 MiB.
    """

    name = "json"

    def __init__(self, *, largest: int = LARGEST) -> None:
        self._largest = arguments.whole("largest", largest, least=1)

    def __repr__(self) -> str:
        return f"JsonCodec(largest={self._largest})"

    def dumps(self, value: Any) -> bytes:
        """Returns a value as JSON. Raises CodecError for a type that is not listed, and for one that is too large."""
        stored = dump(EXACT.plain(value, "the result"))
        if len(stored) > self._largest:
            raise CodecError(
                f"the result takes {len(stored)} bytes, and at most {self._largest} are stored; "
                "keep it elsewhere, and return where it is"
            )
        return stored

    def loads(self, stored: bytes) -> Any:
        """Returns the value that `dumps` was given. Raises CodecError for what it did not write."""
        try:
            return json.loads(stored, object_hook=_revived)
        except (ValueError, KeyError, ArithmeticError) as error:
            raise CodecError(f"what is stored is no value of this codec: {error}") from error


_AS_IT_IS: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_SORTED: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False, sort_keys=True).encode


def dump(plain: Any, *, ordered: bool = False) -> bytes:
    """Returns JSON without blanks, its keys as they are or in order. Raises CodecError."""
    try:
        return (_SORTED if ordered else _AS_IT_IS)(plain).encode("ascii")
    except ValueError as error:  # a whole number of thousands of digits
        raise CodecError(f"this cannot be written: {error}") from None


def tagged(kind: str, value: Any) -> dict[str, Any]:
    """Returns the object that stands for something that JSON lacks."""
    return {TAG: kind, "v": value}


Written: TypeAlias = Callable[[Any, str], Any]
"""Returns a value of one type in plain JSON; it is told where the value stands."""


class Forms:
    """In what form values of each type are written. `use` is said of those that have none."""

    def __init__(self, use: str, table: Mapping[type, Written]) -> None:
        self._use = use
        self._table = dict(table)
        self._table |= {list: self._list, dict: self._dict}

    def plain(self, value: Any, where: str) -> Any:
        """Returns a value in terms of JSON alone. Raises CodecError for what has no form, and says where it stands."""
        try:
            return self.within(value, where)
        except RecursionError:
            raise CodecError(f"{where} is nested too deeply, or within itself") from None

    def within(self, value: Any, where: str) -> Any:
        """Returns a value that is part of another."""
        kind = type(value)
        if kind is str or kind is int or kind is bool or value is None:
            return value
        for base in kind.__mro__:
            written = self._table.get(base)
            if written is not None:
                return written(value, where)
        raise CodecError(f"{where} is of type {kind.__qualname__}, {self._use}")

    def _list(self, value: list[Any], where: str) -> Any:
        return [self.within(each, f"{where}[{index}]") for index, each in enumerate(value)]

    def _dict(self, value: dict[Any, Any], where: str) -> Any:
        if TAG in value or not all(type(key) is str for key in value):
            return self._table[Mapping](value, where)
        return {key: self.within(each, f"{where}[{key!r}]") for key, each in value.items()}


def _float(value: float, where: str) -> Any:
    return float(value) if math.isfinite(value) else tagged("float", str(float(value)))


def _pairs(value: dict[Any, Any], where: str) -> Any:
    return tagged(
        "dict",
        [
            [EXACT.within(key, f"a key of {where}"), EXACT.within(each, f"{where}[{key!r}]")]
            for key, each in value.items()
        ],
    )


def _many(kind: str) -> Written:
    return lambda value, where: tagged(
        kind, [EXACT.within(each, f"{where}[{index}]") for index, each in enumerate(value)]
    )


def _text(kind: str, write: Callable[[Any], str]) -> Written:
    return lambda value, where: tagged(kind, write(value))


TEXTS: Final[dict[type, Written]] = {
    str: lambda value, where: str.__str__(value),
    int: lambda value, where: int(value),
    bytes: _text("bytes", lambda value: base64.b64encode(value).decode("ascii")),
    UUID: _text("uuid", str),
    date: _text("date", date.isoformat),
    time: _text("time", time.isoformat),
    timedelta: lambda value, where: tagged("timedelta", [value.days, value.seconds, value.microseconds]),
}
"""Forms that are the same in stored results and in keys."""

EXACT: Final = Forms(
    f"which is not stored; use {KNOWN}; of other objects what dataclasses.asdict() or model_dump() give",
    {
        **TEXTS,
        float: _float,
        Mapping: _pairs,
        tuple: _many("tuple"),
        set: _many("set"),
        frozenset: _many("frozenset"),
        Decimal: _text("decimal", str),
        datetime: _text("datetime", datetime.isoformat),
    },
)
"""Forms from which a value comes back as it was."""

_REVIVE: Final[dict[str, Callable[[Any], Any]]] = {
    "float": float,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "dict": dict,
    "bytes": base64.b64decode,
    "decimal": Decimal,
    "uuid": UUID,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": lambda parts: timedelta(*parts),
}


def _revived(value: dict[str, Any]) -> Any:
    kind = value.get(TAG)
    if kind is None:
        return value
    revive = _REVIVE.get(kind)
    if revive is None:
        raise CodecError(f"a stored value of kind {kind!r} is unknown: a newer version wrote it")
    return revive(value["v"])
