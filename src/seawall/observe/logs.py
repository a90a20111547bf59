"""The correlation id in every log record, and logging that shows it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, Final, Literal, TextIO, TypeAlias, get_args

from seawall._core import arguments
from seawall._core.correlation import correlation_id
from seawall.observe.formatters import JsonFormatter, TextFormatter

Format: TypeAlias = Literal["json", "text"]
_FIELD: Final = "correlation_id"
NONE: Final = "-"
"""What a record has outside any correlation."""


def correlate_logs() -> Callable[[], None]:
    """Puts `correlation_id` on every log record of the process from now on; returns the function that ends this.

    It is the id of the block around the log call, "-" outside any. It works for every logger and handler, since it
    changes how records are made (`logging.setLogRecordFactory`) and leaves the present way in place below itself. An id
    that a record has already, from its `extra`, stays. A second call does nothing more.
    """
    make = logging.getLogRecordFactory()
    if isinstance(make, _Factory) and make.active:
        return make.end
    factory = _Factory(make)
    logging.setLogRecordFactory(factory)
    return factory.end


class _Fields(dict[str, Any]):
    """A record's attributes. `extra` may give another correlation id, which logging refuses for what is there."""

    def __contains__(self, name: object) -> bool:
        return name != _FIELD and super().__contains__(name)


class _Factory:
    """Makes records as before, and adds the correlation id."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self._make = make
        self.active = True

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._make(*args, **kwargs)
        if self.active:
            record.__dict__ = _Fields(record.__dict__, **{_FIELD: correlation_id() or NONE})
        return record

    def end(self) -> None:
        """Adds nothing any more; steps out of the way where nobody else has put anything on top."""
        self.active = False
        if logging.getLogRecordFactory() is self:
            logging.setLogRecordFactory(self._make)


def configure_logging(
    format: Format = "json",
    *,
    level: int | str = logging.INFO,
    stream: TextIO | None = None,
    fields: dict[str, Any] | None = None,
) -> logging.Handler:
    """Lets the root logger write lines with correlation ids, in place of its present handlers; returns its handler.

    Args:
        format: "json" for machines (see `JsonFormatter`), "text" for people.
        level: of the root logger; default INFO.
        stream: where to; default: standard error.
        fields: further fields of every JSON line.
    """
    arguments.choice("format", format, get_args(Format))
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonFormatter(fields) if format == "json" else TextFormatter())
    correlate_logs()
    logging.basicConfig(level=level, handlers=[handler], force=True)
    return handler
