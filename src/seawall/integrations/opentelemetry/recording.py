"""How a failure is written onto a span, without the passwords in it."""

from __future__ import annotations

import traceback

from opentelemetry.trace import Span, Status, StatusCode

from seawall._core.events import brief
from seawall._core.masking import mask_secrets


def record(span: Span, error: BaseException, *, status: bool) -> None:
    """Records an exception on a span, with its traceback; `status`: and makes the span's status an error."""
    span.record_exception(
        error,
        attributes={
            "exception.message": text_of(error),
            "exception.stacktrace": mask_secrets("".join(_trace(error))),
        },
    )
    if status:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(Status(StatusCode.ERROR, mask_secrets(brief(error))))


def text_of(error: BaseException) -> str:
    """Returns an exception's text, masked."""
    try:
        return mask_secrets(str(error))
    except Exception:
        return f"<{type(error).__name__} whose text cannot be had>"


def _trace(error: BaseException) -> list[str]:
    try:
        return traceback.format_exception(error)
    except Exception:
        return [type(error).__name__]
