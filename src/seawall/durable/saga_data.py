"""What travels through a saga, as JSON: the data it was started with, and the results of its steps."""

from __future__ import annotations

import dataclasses
from typing import Any, Final, TypeVar

from seawall._core.events import brief
from seawall.durable.codec import EXACT, CodecError, JsonCodec, dump
from seawall.durable.saga import Saga

D = TypeVar("D")

LARGEST: Final = 64 * 1024
"""Bytes of a saga's data, and of a step's result, as JSON."""
_CODEC: Final = JsonCodec()


def data_text(saga: Saga[D], data: D) -> str:
    """Returns a saga's data as they are stored.

    Raises TypeError where they are not of the type that the saga was defined with, have no stored form, or are larger
    than 64 KiB.
    """
    if not isinstance(data, saga.data):
        raise TypeError(
            f"data={brief(data)} is not what saga {saga.name!r} is started with; use a {saga.data.__qualname__}"
        )
    return to_text("data", _fields(data))


def data_of(saga: Saga[D], text: str) -> D:
    """Returns the data that were stored as `text`. Raises TypeError where they do not fit the definition any more."""
    fields = from_text(text)
    kind: Any = saga.data
    return fields if kind is dict else kind(**fields)  # type: ignore[no-any-return]


def to_text(what: str, value: Any) -> str:
    """Returns a value as it is stored. Raises CodecError, a TypeError, which says of `what` and why it cannot be."""
    stored = dump(EXACT.plain(value, what))
    if len(stored) > LARGEST:
        raise CodecError(
            f"{what} takes {len(stored)} bytes as JSON, and at most {LARGEST} are stored; keep it elsewhere"
        )
    return stored.decode("ascii")


def from_text(text: str | None) -> Any:
    """Returns what was stored as `text`."""
    return None if text is None else _CODEC.loads(text.encode())


def words(failure: BaseException | str) -> str:
    """Returns a failure as a text of at most 200 characters that any database can hold."""
    text = failure if isinstance(failure, str) else brief(failure)
    return text[:200].encode("utf-8", "replace").decode().replace("\0", " ")


def _fields(data: Any) -> Any:
    if not dataclasses.is_dataclass(data):
        return data
    return {field.name: getattr(data, field.name) for field in dataclasses.fields(data) if field.init}
