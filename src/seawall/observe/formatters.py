"""Log records as lines: JSON for machines, text for people. Neither shows a password, and neither ever raises."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final

from seawall.observe.plain import plain, text_of

_LONGEST_TRACE: Final = 100_000
"""Characters of a traceback that are shown."""
_OWN: Final = frozenset(
    {
        *vars(logging.makeLogRecord({})),
        "asctime",
        "color_message",  # uvicorn's, the message once more with colours
        "correlation_id",
        "message",
        "taskName",
    }
)
"""What every record has; everything else was given as `extra`."""


class JsonFormatter(logging.Formatter):
    """Each record as one line of JSON, in UTC.

    `{"time", "level", "logger", "message", "correlationId", "exception", "stack", ...}`: exception and stack where
    there are any, and beside them the fields given as `extra`, as far as JSON can hold them, else as text. Passwords
    and tokens are masked everywhere. A record that cannot be formatted is shown as far as it can be.

    Args:
        fields: further fields of every record, such as `{"service": "booking"}`.
    """

    def __init__(self, fields: dict[str, Any] | None = None) -> None:
        super().__init__()
        self._fields = plain(fields or {})

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line, without its end."""
        try:
            line = self._line(record)
        except Exception as error:  # a record of a class of its own, say
            line = {"level": "ERROR", "logger": "seawall", "message": f"a log record could not be formatted: {error!r}"}
        return json.dumps(line, ensure_ascii=True, separators=(",", ":"))

    def _line(self, record: logging.LogRecord) -> dict[str, Any]:
        line: dict[str, Any] = {
            "time": _instant(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": message_of(record),
            "correlationId": str(getattr(record, "correlation_id", "-")),
            **self._fields,
        }
        trace = trace_of(self, record)
        if trace:
            line["exception"] = trace
        if record.stack_info:
            line["stack"] = text_of(str(record.stack_info), _LONGEST_TRACE)
        for name, value in extras_of(record).items():
            line.setdefault(name, value)
        return line


class TextFormatter(logging.Formatter):
    """Each record as a line for people: time, level, correlation id, logger, message, and what was given as `extra`.

    A traceback follows on lines of its own. Passwords and tokens are masked. It never raises.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Returns the text, without its end."""
        when = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        correlation = getattr(record, "correlation_id", "-")
        extras = "".join(f" {name}={_short(value)}" for name, value in extras_of(record).items())
        message = message_of(record).replace("\n", "\n    ")  # so that no part of it looks like a line of its own
        line = f"{when} {record.levelname:<8} [{correlation}] {record.name}: {message}{extras}"
        stack = text_of(str(record.stack_info), _LONGEST_TRACE) if record.stack_info else ""
        return "\n".join(part for part in (line, trace_of(self, record), stack) if part)


def message_of(record: logging.LogRecord) -> str:
    """Returns a record's message, masked; where its arguments do not fit, the message and them as they are."""
    try:
        return text_of(record.getMessage())
    except Exception:
        return f"{plain(record.msg)} (with the arguments {plain(record.args)})"


def trace_of(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """Returns a record's traceback, masked; empty where there is none. One that another formatter has made serves."""
    try:
        info = record.exc_info
        if not record.exc_text and isinstance(info, tuple) and info[0] is not None:
            record.exc_text = formatter.formatException(info)
        return text_of(record.exc_text or "", _LONGEST_TRACE)
    except Exception as error:
        return f"<traceback that cannot be shown: {type(error).__name__}>"


def extras_of(record: logging.LogRecord) -> dict[str, Any]:
    """Returns what was given as `extra`, as JSON can hold it."""
    return plain({name: value for name, value in vars(record).items() if name not in _OWN})  # type: ignore[no-any-return]


def _short(value: Any) -> str:
    return value if isinstance(value, str) and value.isprintable() and " " not in value else json.dumps(value)


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
