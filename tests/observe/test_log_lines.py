"""Log lines: one a record, whatever is in it, with the correlation id and without secrets."""

import asyncio
import copy
import io
import json
import logging
import pickle
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from seawall import CircuitBreaker, correlation
from seawall.observe import JsonFormatter, TextFormatter, configure_logging, correlate_logs, mask_secrets


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Leaves the process's logging as it was."""
    root, factory = logging.getLogger(), logging.getLogRecordFactory()
    handlers, level = list(root.handlers), root.level
    yield
    logging.setLogRecordFactory(factory)
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def lines() -> Callable[[], list[dict[str, Any]]]:
    """Sets up JSON lines; returns the function that reads those written so far."""
    stream = io.StringIO()
    configure_logging("json", stream=stream, level="DEBUG")
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


LOG = logging.getLogger("shop.orders")


class Odd:
    """An object that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


def test_every_line_has_the_id_of_its_request(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """In the block, in the tasks and threads that take its context along; "-" outside; a child logger's as well."""

    async def child() -> None:
        LOG.info("task")
        await asyncio.to_thread(LOG.info, "thread")

    async def main() -> None:
        async with correlation("order-17"):
            await asyncio.gather(child(), child())
        LOG.info("after")

    asyncio.run(main())
    thread = threading.Thread(target=LOG.info, args=("alone",))
    thread.start()
    thread.join()
    seen = sorted((line["message"], line["correlationId"]) for line in lines() if line["logger"] == LOG.name)
    assert [("after", "-"), ("alone", "-"), *[("task", "order-17")] * 2, *[("thread", "order-17")] * 2] == seen


def test_a_hundred_concurrent_requests_never_mix(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """Each line names its own request, through any number of awaits."""

    async def request(number: int) -> None:
        async with correlation(f"r{number}"):
            for _ in range(3):
                await asyncio.sleep(0)
                LOG.info("%d", number)

    async def main() -> None:
        await asyncio.gather(*(request(number) for number in range(100)))

    asyncio.run(main())
    assert 300 == sum(line["correlationId"] == f"r{line['message']}" for line in lines())


def test_a_line_is_exactly_this(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """Time in UTC with milliseconds, and what was given as extra beside it."""
    with correlation("c-1"):
        LOG.warning("paid %s", 7, extra={"amount": 12.5, "tags": ("a", "b"), "when": datetime(2026, 1, 2, tzinfo=UTC)})
    (line,) = lines()
    when = datetime.fromisoformat(line.pop("time"))
    assert abs((datetime.now(UTC) - when).total_seconds()) < 60
    assert {
        "level": "WARNING",
        "logger": "shop.orders",
        "message": "paid 7",
        "correlationId": "c-1",
        "amount": 12.5,
        "tags": ["a", "b"],
        "when": "2026-01-02 00:00:00+00:00",
    } == line


def test_an_exception_is_there_once(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """With its cause, in one field of one line, however many handlers there are; not in the message."""
    logging.getLogger().addHandler(logging.StreamHandler(io.StringIO()))
    try:
        try:
            raise ConnectionError("inner")
        except ConnectionError as error:
            raise LookupError("outer") from error
    except LookupError:
        LOG.exception("failed")
    (line,) = lines()
    assert ("failed", 1, 1) == (
        line["message"],
        line["exception"].count("LookupError: outer"),
        line["exception"].count("ConnectionError: inner"),
    )
    assert {"time", "level", "logger", "message", "correlationId", "exception"} == set(line)


SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql+asyncpg://app:{SECRET}@db:5432/shop",
        f"redis://:{SECRET}@cache/0",
        f"amqp://u:{SECRET}@p@ss@host/vhost and more",
        f"http://a:b@x/y then amqp://guest:{SECRET}@mq",
        f"host=db password={SECRET} user=app",
        f'{{"password": "{SECRET}", "user": "app"}}',
        f"api_key='{SECRET} {SECRET}'",
        f"Authorization: Bearer {SECRET}",
        f"token={SECRET}&next=1",
        f"https://host/?access_token={SECRET}#x",
        f"https://{SECRET}{SECRET}{SECRET}@host/repo",
    ],
)
@pytest.mark.parametrize("format", ["json", "text"])
def test_secrets_are_masked_wherever_they_are(text: str, format: Any) -> None:
    """In the message, its arguments, an exception, extras at any depth; and the rest of the text is there."""
    stream = io.StringIO()
    configure_logging(format, stream=stream)
    LOG.warning(text.replace("%", "%%"))
    LOG.warning("see %s", text, extra={"plain": text, "deep": {"list": [text, {text: text}]}, "error": OSError(text)})
    try:
        raise ConnectionError(text)
    except ConnectionError:
        LOG.exception("failed", stack_info=True)
    shown = stream.getvalue()
    assert SECRET not in shown
    assert "***" in shown
    assert shown.count("WARNING") == 2


def test_what_is_no_secret_is_left_alone(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """Ports, mail addresses, users, times and words that only begin alike."""
    for text in (
        "GET http://localhost:8000/users/ann@example.org",
        "amqp://guest@localhost/vhost at 10:30:00",
        "the tokenizer saw 3 passwords",
        "a://b c:d@e",
    ):
        LOG.info("%s", text, extra={"passes": 3, "token": True, "secretary": "Ann"})
        assert (text, 3, True, "Ann") == tuple(lines()[-1][key] for key in ("message", "passes", "token", "secretary"))


def test_fields_with_telling_names_are_masked(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """Whatever they hold."""
    LOG.info("x", extra={"password": "a", "db_password": ["b"], "Authorization": "c", "nested": {"apiKey": "d"}})
    (line,) = lines()
    assert ("***", "***", "***", {"apiKey": "***"}) == tuple(
        line[key] for key in ("password", "db_password", "Authorization", "nested")
    )


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()], ids=["json", "text"])
def test_nothing_that_is_logged_can_break_a_line(formatter: logging.Formatter) -> None:
    """Objects that cannot be shown, circles, depths, surrogates, NaN, huge things, arguments that do not fit."""
    made: list[str] = []
    circle: dict[str, Any] = {}
    circle["circle"] = circle
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    odd = {
        "odd": Odd(),
        "circle": circle,
        "deep": deep,
        "surrogate": "\ud800",
        "nan": float("nan"),
        "huge": "x" * 10**6,
        "long": list(range(10**5)),
        "number": 10**400,
        "bytes": b"\xff",
        "class": Odd,
        "keys": {1: 2, (3, 4): 5, Odd(): 6, None: 7},
        "lines": "a\nb\r\n\u2028c",
        "level": "CRITICAL",
        "correlationId": "forged",
    }
    for message, *arguments in (("%d and %s", "x", Odd()), (Odd(),), ("%s", Odd()), ("%(a)s", {"b": 1}), ({"a": 1},)):
        made.append(
            formatter.format(LOG.makeRecord("a", logging.INFO, "f", 1, message, tuple(arguments), None, extra=odd))
        )
    assert max(map(len, made)) < 40_000
    assert all(text.encode() for text in made)
    if isinstance(formatter, JsonFormatter):
        first = json.loads(made[0])
        assert ("INFO", "-", "nan", "<Odd that cannot be shown>") == tuple(
            first[key] for key in ("level", "correlationId", "nan", "odd")
        )
        assert not any("\n" in text for text in made)


def test_a_record_that_is_broken_itself_is_shown_as_far_as_can_be() -> None:
    """As one that another program has sent."""
    record = logging.makeLogRecord({"created": "yesterday", "msg": None, "args": 7, "exc_info": 3, "levelname": None})
    assert "could not be formatted" in json.loads(JsonFormatter().format(record))["message"]
    record = logging.makeLogRecord({"exc_info": (Odd, Odd(), None), "stack_info": 7, "name": None})
    assert json.loads(JsonFormatter({"service": "shop"}).format(record))["service"] == "shop"
    assert TextFormatter().format(record)


def test_seawalls_own_events_are_told_with_their_fields(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """A breaker that opens: who, from which state to which, after what; the password in it is masked."""
    CircuitBreaker(failures=1, name="bank").acquire().failure(ConnectionError("amqp://u:hunter2@h"))
    (line,) = (line for line in lines() if "seawall_event" in line)
    event = line["seawall_event"]
    assert ("CircuitChanged", "bank", "closed", "open") == tuple(event[key] for key in ("type", "name", "old", "new"))
    assert "ConnectionError: amqp://u:***@h" == event["failure"]
    assert "hunter2" not in json.dumps(line)


def test_text_is_for_people() -> None:
    """Time, level, id, logger, message and extras; no part of a message looks like a line of its own."""
    stream = io.StringIO()
    configure_logging("text", stream=stream)
    with correlation("c-1"):
        LOG.info("first\n12:00:00.000 ERROR [c-2] forged", extra={"amount": 5, "name_": "Ann B"})
    first, second = stream.getvalue().splitlines()
    assert first[12:] == " INFO     [c-1] shop.orders: first"
    assert second == '    12:00:00.000 ERROR [c-2] forged amount=5 name_="Ann B"'


def test_an_id_given_by_hand_wins(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """Python's logging would refuse an extra that a record has already."""
    with correlation("c-1"):
        LOG.info("x", extra={"correlation_id": "by hand"})
        LOG.info("x")
    assert ["by hand", "c-1"] == [line["correlationId"] for line in lines()]


def test_records_can_be_copied_and_sent() -> None:
    """As queue handlers and other processes do it; a format string finds the id, too."""
    correlate_logs()
    with correlation("c-1"):
        record = LOG.makeRecord("a", logging.INFO, "f", 1, "m %s", (1,), None, extra={"own": 2})
    for each in (copy.copy(record), pickle.loads(pickle.dumps(record)), logging.makeLogRecord(record.__dict__)):
        assert ("c-1", 2) == (each.correlation_id, each.own)
        assert "[c-1] m 1" == logging.Formatter("[%(correlation_id)s] %(message)s").format(each)
        assert "[c-1] m 1" == logging.Formatter("[{correlation_id}] {message}", style="{").format(each)


def test_correlating_twice_is_once_and_ends() -> None:
    """A second call adds no layer; after the end, records are as before, also where somebody has put more on top."""
    before = logging.getLogRecordFactory()
    end = correlate_logs()
    first = logging.getLogRecordFactory()
    assert correlate_logs() == end
    assert first is logging.getLogRecordFactory()
    logging.setLogRecordFactory(lambda *args, **kwargs: first(*args, **kwargs))
    end()
    assert not hasattr(LOG.makeRecord("a", logging.INFO, "f", 1, "m", (), None), "correlation_id")
    logging.setLogRecordFactory(before)
    again = correlate_logs()
    again()
    assert before is logging.getLogRecordFactory()


def test_a_format_that_is_unknown_is_refused() -> None:
    """With those that there are."""
    with pytest.raises(ValueError, match="format='xml' is unknown; use one of 'json', 'text'"):
        configure_logging("xml")  # type: ignore[arg-type]


def test_masking_takes_no_longer_for_hostile_texts() -> None:
    """Long texts of what looks like the beginning of a secret: it ends, and soon."""
    for part in ("://", "://a:", "://a@", "password=", "bearer ", "token", "'", '"', "password='"):
        assert mask_secrets(part * (100_000 // len(part)))
