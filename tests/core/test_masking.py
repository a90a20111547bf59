"""Masking: what is written or shown may hold passwords, and what was measured may hold anything."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall._core.masking import (
    LONGEST_DATA,
    LONGEST_TEXT,
    clean,
    describe,
    is_secret_name,
    mask_and_cut,
    mask_secrets,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgres://u:SECRET@h/db", "postgres://u:***@h/db"),
        ("postgresql+asyncpg://app:SEC%40RET@db:5432/x is away", "postgresql+asyncpg://app:***@db:5432/x is away"),
        ("redis://:SECRET@cache:6379/0", "redis://:***@cache:6379/0"),
        ("amqp://u:SEC@RET/x@broker//", "amqp://u:***@broker//"),
        ("https://SECRET@git.example/x", "https://***@git.example/x"),
        ("(http://u:SECRET@a/, http://v:SECRET@b/)", "(http://u:***@a/, http://v:***@b/)"),
        ("password=SECRET host=db", "password=*** host=db"),
        ("PGPASSWORD=SECRET", "PGPASSWORD=***"),
        ("Password = 'SEC RET'; Server=x", "Password = ***; Server=x"),
        ('{"password": "SEC RET", "user": "u"}', '{"password": ***, "user": "u"}'),
        ("{'api_key': 'SECRET', 'n': 1}", "{'api_key': ***, 'n': 1}"),
        ("GET /x?api-key=SECRET&page=2", "GET /x?api-key=***&page=2"),
        ("AccountKey=SECRET==;Endpoint=x", "AccountKey=***;Endpoint=x"),
        ("Authorization: Bearer SECRETSECRET", "Authorization: Bearer ***"),
        ("header 'Basic U0VDUkVU' refused", "header 'Basic ***' refused"),
        ("aws_secret_access_key=SECRET", "aws_secret_access_key=***"),
        ("client_secret => SECRET", "client_secret => ***"),
        ("redis://:123/SECRET@h", "redis://:***@h"),
        ("amqp://" + "SECRET" * 3 + "@broker", "amqp://***@broker"),
        ("amqp://u:" + "SECRET" * 150 + "@broker", "amqp://u:***@broker"),
        (r'{"password": "a\"SECRET", "user": "u"}', '{"password": ***, "user": "u"}'),
        ("token: 'SECRET that is cut", "token: ***"),
    ],
)
@pytest.mark.parametrize("masked", [mask_secrets, mask_and_cut])
def test_secrets_are_hidden(masked: Callable[[str], str], text: str, expected: str) -> None:
    """Passwords in URLs, in fields and in headers give way to stars, and the rest stays readable."""
    assert expected == masked(text)


@pytest.mark.parametrize(
    "text",
    [
        "connect to http://localhost:6379/health failed",
        "http://[::1]:8080/",
        "password authentication failed for user 'app'",
        "mail to ann@example.com",
        "12:30:01 host:5432 is away",
        "GET http://localhost:8000/users/ann@example.org",
        "http://host:80/?to=ann@example.org",
        "amqp://guest@localhost/vhost",
        "the secretary: Ann",
        "",
    ],
)
@pytest.mark.parametrize("masked", [mask_secrets, mask_and_cut])
def test_what_is_no_secret_stays(masked: Callable[[str], str], text: str) -> None:
    """Ports, addresses, users and sentences about passwords are left alone."""
    assert text == masked(text)


def test_only_a_text_for_others_is_cut() -> None:
    """A line of a log keeps its length; what an answer shows has at most 500 characters, whatever it began with."""
    text = "x" * 10_000 + " password=SECRET"
    assert ("x" * 10_000 + " password=***", LONGEST_TEXT) == (mask_secrets(text), len(mask_and_cut(text)))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("password db_password passwordHash PGPASSWORD apiKey x-api-key secret client_secret_id token tokens", True),
        ("Authorization Set-Cookie cookies dsn sig AccountKey credentials signature", True),
        ("passes secretary tokenizer user key author assign description", False),
    ],
)
def test_names_of_secrets(names: str, expected: bool) -> None:
    """A name tells that a secret is below it by any of its words; words that only begin alike say nothing."""
    assert dict.fromkeys(names.split(), expected) == {name: is_secret_name(name) for name in names.split()}


def test_a_secret_is_hidden_before_a_text_is_cut() -> None:
    """A URL that lies across the end of what is shown, or of what is looked at, does not lose its password there."""
    for length in (*range(LONGEST_TEXT - 40, LONGEST_TEXT), *range(3970, 4000)):
        shown = mask_and_cut("x" * length + " postgres://u:SECRETSECRET@h/db")
        assert ("SEC" not in shown, True) == (True, len(shown) <= LONGEST_TEXT)
    for length in range(3950, 4000):  # what is hidden leaves room for what was cut
        assert "SEC" not in mask_and_cut("pwd=" + "x" * length + " postgres://u:SECRETSECRET@h/db")


def test_masking_takes_no_time_that_hurts() -> None:
    """No text makes the patterns go over it again and again."""
    texts = [
        "://" * 100_000,
        "://a:" * 100_000,
        "password" * 100_000,
        "a:b@" * 100_000,
        "=" * 100_000,
        "pwd='" * 100_000,
    ]
    began = time.process_time()
    for text in texts:
        mask_and_cut(text)
        mask_secrets(text[:100_000])

    assert time.process_time() - began < 20.0


def test_a_group_is_described_by_its_first_leaf() -> None:
    """That a task group failed says nothing; what failed in it does."""
    group = ExceptionGroup("unhandled errors", [ExceptionGroup("more", [ConnectionError("away"), ValueError("x")])])

    assert "ConnectionError: away" == describe(group)


def test_an_error_without_a_text_is_described_all_the_same() -> None:
    """An exception whose text raises must not take the monitor with it."""

    class Hostile(Exception):
        def __str__(self) -> str:
            raise RuntimeError("password=SECRET")

    assert ("TimeoutError", "Hostile: (Hostile, whose text could not be had)") == (
        describe(TimeoutError()),
        describe(Hostile()),
    )


def test_data_are_masked_by_value_and_by_name() -> None:
    """Whatever stands under a name like password is hidden; figures are not."""
    data = {
        "url": "redis://:SECRET@h",
        "password": "SECRET",
        "auth": {"api_key": ["SECRET"], "tokens": 5},
        "list": ["pwd=SECRET", 1],
        "Cookie": b"SECRET",
    }

    assert {
        "url": "redis://:***@h",
        "password": "***",
        "auth": {"api_key": "***", "tokens": 5},
        "list": ["pwd=***", 1],
        "Cookie": "***",
    } == clean(data)


def test_data_that_hurt_are_still_data() -> None:
    """Endless, huge, deep, cyclic and hostile values end up as a little JSON."""

    class Hostile(dict[str, Any]):
        def items(self) -> Any:
            raise RuntimeError("SECRET")

    cyclic: dict[str, Any] = {}
    cyclic["self"] = cyclic
    wide = {str(number): "x" * 100 for number in range(100_000)}
    cases: list[Any] = [cyclic, wide, {"n": [list(range(1000))] * 1000}, {"big": 1 << 9999, "nan": float("nan")}]
    cases += [{1: object(), None: {2}}, Hostile(), None]
    for case in cases:
        text = json.dumps(clean(case), allow_nan=False)
        assert (True, False) == (len(text) < 3 * LONGEST_DATA, "SECRET" in text)


LEAVES = st.none() | st.booleans() | st.floats() | st.integers() | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(VALUES)
def test_whatever_is_measured_can_be_sent(value: Any) -> None:
    """Data always come out as JSON that every reader takes."""
    json.loads(json.dumps(clean({"value": value}), allow_nan=False))
