"""What schemathesis, which loads this by name, checks of the LLM gateway's answers beside what it does by itself."""

import json
import re
from datetime import datetime
from typing import Any

import schemathesis

KEYS = {"code", "message", "timestamp", "correlationId", "details"}


@schemathesis.check
def errors_have_one_format(context: Any, response: Any, case: Any) -> None:
    """Every answer has one correlation id; every error is in the format of all errors, with that id, and is no 500."""
    (correlation_id,) = response.headers["x-correlation-id"]
    assert re.fullmatch("[A-Za-z0-9._-]{1,128}", correlation_id)
    kind = response.headers.get("content-type", [""])[0].partition(";")[0]
    if response.status_code >= 400:
        assert (500, "application/json") != (response.status_code, kind), "an error that nobody has thought of"
        assert "application/json" == kind
        check_error(response.content, correlation_id)
    elif kind == "text/event-stream":
        *_, last = response.content.decode().strip().split("\n\n")
        event, data = last.split("\n")
        assert event in ("event: done", "event: error"), last
        if event == "event: error":
            check_error(data.removeprefix("data: ").encode(), correlation_id)


def check_error(body: bytes, correlation_id: str) -> None:
    """Raise AssertionError for what is not the format of all errors."""
    error = json.loads(body)["error"]
    assert set(error) == KEYS, error
    assert error["correlationId"] == correlation_id, error
    assert re.fullmatch("[A-Z][A-Z0-9_]*", error["code"]), error
    assert error["message"], error
    assert datetime.fromisoformat(error["timestamp"]).utcoffset() is not None, error
    assert all({"field", "message"} == set(detail) for detail in error["details"]), error
