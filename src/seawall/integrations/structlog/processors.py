"""The processors: functions of logger, method name and event dict, as structlog calls them."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from seawall._core.correlation import correlation_id
from seawall._core.masking import HIDDEN, is_secret_name
from seawall.observe.logs import NONE
from seawall.observe.plain import plain


def add_correlation_id(logger: Any, method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Adds `correlation_id`, "-" outside any correlation; one that is given stays."""
    event_dict.setdefault("correlation_id", correlation_id() or NONE)
    return event_dict


def mask_secrets(logger: Any, method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Masks passwords and tokens in the entry, in texts and below names such as `password`, at any depth.

    To be put last before the renderer, behind what formats exceptions. What is neither text nor collection stays the
    object that it is.
    """
    for name, value in event_dict.items():
        if is_secret_name(name) and not isinstance(value, bool | int | float | None):
            event_dict[name] = HIDDEN
        elif isinstance(value, str | list | tuple | set | frozenset | dict | BaseException):
            event_dict[name] = plain(value)
    return event_dict
