"""One flag at one moment: the share of calls that it says, or that it says nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagEvaluationDetails, Reason

from seawall._core.masking import mask_and_cut
from seawall._core.switch import share_of

_SAID: Final = (Reason.STATIC, Reason.TARGETING_MATCH, Reason.SPLIT, Reason.CACHED, Reason.STALE)
"""Reasons of an answer that does not depend on the default."""
_NOBODY: Final = (ErrorCode.PROVIDER_NOT_READY, ErrorCode.PROVIDER_FATAL)
"""Errors that every other flag would have, too."""
_OTHER_TYPE: Final = (ErrorCode.TYPE_MISMATCH, ErrorCode.PARSE_ERROR)
_WANTED: Final = (
    'it must be true, false, a percentage from 0 to 100, a text such as "25%", or an object such as {"percentage": 25}'
)


class FlagError(Exception):
    """A flag could not be had, or says what is no setting of a switch.

    Attributes:
        code: the error's, where the SDK tells one.
        ours: whether the flag was had, and what it says cannot be used.
    """

    def __init__(self, reason: str, code: ErrorCode | None = None, *, ours: bool = False) -> None:
        super().__init__(reason)
        self.code = code
        self.ours = ours

    @property
    def concerns_all(self) -> bool:
        """Whether every other flag would fail in the same way."""
        return self.code in _NOBODY


class _OtherTypeError(Exception):
    """The flag is of another type than the one that it was asked as."""


@dataclass(frozen=True, slots=True)
class _Type:
    """A type of flags: the client's method is `get_{name}_details`. The two defaults tell who follows them."""

    name: str
    on: Any
    off: Any
    share: Callable[[Any], float]


def _percentage(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(value)
    if not 0 <= value <= 100:
        raise ValueError(value)
    return value / 100


def _in_object(value: object) -> float:
    if not isinstance(value, Mapping) or not {"percentage", "enabled"} & set(value):
        raise ValueError(value)
    enabled = value.get("enabled", True)
    if not isinstance(enabled, bool):
        raise ValueError(value)  # noqa: TRY004 - the value of a flag is no argument of anybody's
    return _percentage(value.get("percentage", 100)) if enabled else 0.0


_TYPES: Final = (
    _Type("boolean", True, False, float),
    _Type("float", 100.0, 0.0, _percentage),  # before integer, which might be cut out of 12.5
    _Type("integer", 100, 0, _percentage),
    _Type("string", "on", "off", share_of),
    _Type("object", {"percentage": 100}, {"percentage": 0}, _in_object),
)


class Asking:
    """Asks flags. Their types need not be known: each is found at the first time, and remembered.

    Args:
        client: whom to ask.
        context: what providers may choose by; None: nothing beside the client's own.
    """

    def __init__(self, client: OpenFeatureClient, context: EvaluationContext | None) -> None:
        self._client = client
        self._context = context
        self._types: dict[str, _Type] = {}

    def share(self, key: str) -> float | None:
        """Returns the share of calls that a flag says; None where there is no such flag, or it says nothing.

        Raises FlagError.
        """
        known = self._types.get(key, _TYPES[0])
        for each in (known, *(other for other in _TYPES if other is not known)):
            try:
                said = self._said(key, each)
            except _OtherTypeError:
                continue
            self._types[key] = each
            return said
        raise FlagError(_WANTED, ours=True)

    def _said(self, key: str, kind: _Type) -> float | None:
        details = self._details(key, kind, kind.on)
        if details is None:
            return None
        if details.value == kind.on and details.reason not in _SAID:
            other = self._details(key, kind, kind.off)
            if other is None or other.value == kind.off:
                return None  # it follows the default, and so says nothing: no provider, say, or a flag that is off duty
        try:
            return kind.share(details.value)
        except ValueError:
            raise FlagError(f"it is {mask_and_cut(repr(details.value))}; {_WANTED}", ours=True) from None

    def _details(self, key: str, kind: _Type, default: Any) -> FlagEvaluationDetails[Any] | None:
        """Returns what a provider answers; None: there is no such flag."""
        ask = getattr(self._client, f"get_{kind.name}_details")
        try:
            details: FlagEvaluationDetails[Any] = ask(key, default, self._context)
        except Exception as error:  # of a hook, or of the provider's own name
            raise FlagError(_brief(error)) from None
        code = details.error_code
        if code == ErrorCode.FLAG_NOT_FOUND:
            return None
        if code in _OTHER_TYPE:
            raise _OtherTypeError
        if code is not None or details.reason == Reason.ERROR:
            said = mask_and_cut(f"{code or Reason.ERROR}: {details.error_message or 'no reason is given'}")
            raise FlagError(said, code)
        return details


def _brief(error: Exception) -> str:
    return mask_and_cut(f"{type(error).__name__}: {error}")
