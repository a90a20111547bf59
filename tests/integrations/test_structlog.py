"""The processors for structlog: the correlation id in every entry, no password in any."""

import json
from typing import Any

import pytest

from seawall import correlation
from seawall.integrations.structlog import add_correlation_id, mask_secrets

structlog = pytest.importorskip("structlog")


def logger(*processors: Any) -> Any:
    """Returns a logger that keeps its lines in `lines`."""
    lines: list[str] = []
    made = structlog.wrap_logger(
        structlog.PrintLogger(), processors=[*processors, lambda _, __, event: lines.append(json.dumps(event)) or ""]
    )
    return made, lines


def test_every_entry_has_the_id_of_its_request() -> None:
    """In the block its id, outside "-"; one given by hand stays."""
    log, lines = logger(add_correlation_id)
    with correlation("c-1"):
        log.info("in")
        log.info("own", correlation_id="by hand")
    log.info("out")
    assert ["c-1", "by hand", "-"] == [json.loads(line)["correlation_id"] for line in lines]


def test_secrets_are_masked_at_any_depth() -> None:
    """In the event, in bound values, in tracebacks, below telling names; other values stay what they are."""
    log, lines = logger(add_correlation_id, structlog.processors.format_exc_info, mask_secrets)
    log = log.bind(url="redis://:hunter2@cache", amount=5)
    try:
        raise ConnectionError("amqp://u:hunter2@mq")
    except ConnectionError:
        log.exception("see postgres://a:hunter2@db", password="hunter2", deep={"list": ["token=hunter2"]})
    (line,) = lines
    shown = json.loads(line)
    assert "hunter2" not in line
    assert ("see postgres://a:***@db", "redis://:***@cache", 5, "***") == tuple(
        shown[key] for key in ("event", "url", "amount", "password")
    )
    assert "amqp://u:***@mq" in shown["exception"]
    assert {"list": ["token=***"]} == shown["deep"]
