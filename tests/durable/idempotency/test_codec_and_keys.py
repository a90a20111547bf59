"""What is stored comes back as it was; equal content makes equal keys, and other content others."""

import enum
import json
import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.durable import CodecError, JsonCodec, content_key

CODEC = JsonCodec()
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.datetimes(timezones=st.none() | st.just(UTC))
)
HASHABLE = SCALARS | st.tuples(SCALARS, SCALARS) | st.frozensets(SCALARS, max_size=2)
VALUES = st.recursive(
    HASHABLE,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(HASHABLE, inner, max_size=3),
    max_leaves=6,
)
EAST = timezone(timedelta(hours=5, minutes=30))


class Size(enum.StrEnum):
    SMALL = "small"


class Place(NamedTuple):
    row: int
    seat: str


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of equal types, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(map(same, one, other)).count(False) == 0 and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@given(VALUES)
def test_every_value_comes_back_equal_and_of_its_type(value: Any) -> None:
    """To any depth; also objects that look like our own marks."""
    assert same(value, CODEC.loads(CODEC.dumps(value)))
    marked = {"$": value, "v": "x"}
    assert same(marked, CODEC.loads(CODEC.dumps(marked)))


def test_values_without_number_come_back() -> None:
    """Results may hold what no key may."""
    back = CODEC.loads(CODEC.dumps([float("inf"), -float("inf"), float("nan"), Decimal("NaN")]))

    assert "[inf, -inf, nan, Decimal('NaN')]" == repr(back)


def test_plain_values_are_plain_json() -> None:
    """An operator reads them."""
    value = {"lines": [1.5, None, True], "id": 7}

    assert value == json.loads(CODEC.dumps(value))
    assert ["lines", "id"] == list(CODEC.loads(CODEC.dumps(value)))  # in the order that it was made in


def test_classes_below_the_known_ones_come_back_as_these() -> None:
    """Equal to what they were."""
    back = CODEC.loads(CODEC.dumps([Size.SMALL, Place(1, "a"), {Size.SMALL: 1}]))

    assert ["small", (1, "a"), {"small": 1}] == back
    assert [str, tuple] == [type(each) for each in back[:2]]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), "the result is of type object, which is not stored; use None, bool"),
        ({"a": [1, {2: object()}]}, r"the result\['a'\]\[1\]\[2\] is of type object"),
        ({(1, object()): 1}, r"a key of the result\[1\] is of type object"),
        (print, "builtin_function_or_method"),
        ([10**5000], "cannot be written"),
    ],
)
def test_what_cannot_be_stored_is_said_with_its_place(value: Any, words: str) -> None:
    """Never pickled."""
    with pytest.raises(CodecError, match=words):
        CODEC.dumps(value)


def test_what_holds_itself_is_said() -> None:
    """No endless loop."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(CodecError, match="within itself"):
        CODEC.dumps(endless)
    with pytest.raises(CodecError, match="within itself"):
        content_key("pay", endless)


def test_a_large_value_is_refused_with_its_size() -> None:
    """A mebibyte, unless it was said otherwise."""
    JsonCodec().dumps("x" * ((1 << 20) - 2))
    with pytest.raises(CodecError, match="1048577 bytes, and at most 1048576"):
        JsonCodec().dumps("x" * ((1 << 20) - 1))
    with pytest.raises(ValueError, match="largest=0"):
        JsonCodec(largest=0)


@pytest.mark.parametrize("stored", [b"{", b'{"$": "bytes"}', b'{"$": "uuid", "v": "x"}', b'{"$": "pickle", "v": ""}'])
def test_what_is_no_stored_value_is_said(stored: bytes) -> None:
    """Of a newer version, or damaged."""
    with pytest.raises(CodecError):
        CODEC.loads(stored)


def key(*parts: Any, **options: Any) -> str:
    """Returns the key of a payment."""
    return content_key("pay", *parts, **options)


def test_a_key_is_a_version_and_a_hash() -> None:
    """It is the same on every machine and in every release: this one is pinned."""
    pinned = key({"amount": Decimal("12.50"), "to": ["b", "ü"], "on": date(2026, 1, 2)}, 7, tenant="t")

    assert re.fullmatch(r"v1:[0-9a-f]{64}", pinned)
    assert "v1:9eb90049d130e597059c4fe10d4a8104bde39e97ca69f4193ed79e94ce2c745e" == pinned


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}),
        ((1, [2]), [1, (2,)]),
        ({3, 1, 2}, frozenset([1, 2, 3])),
        (Decimal("10"), Decimal("1E+1")),
        (Decimal("1.50"), Decimal("1.5")),
        (Decimal("-0.0"), Decimal(0)),
        (0.0, -0.0),
        (datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 17, 30, tzinfo=EAST)),
        (Size.SMALL, "small"),
        ({Size.SMALL: 1}, {"small": 1}),
        (Place(1, "a"), [1, "a"]),
    ],
)
def test_equal_content_makes_equal_keys(one: Any, other: Any) -> None:
    """However it is written."""
    assert key(one) == key(other)


DIFFERENT: list[Any] = [
    None, True, False, 0, 1, 2, 1.0, "1", "", b"", b"1", Decimal(1), Decimal("1.01"), Decimal(10), [], [1], [[1]], {},
    {"1": 1}, {"a": None}, set(), {1}, {"$": "decimal", "v": "1E0"}, UUID(int=1), str(UUID(int=1)), date(2026, 1, 1),
    "2026-01-01", datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=EAST), time(1),
    timedelta(1), timedelta(days=1, microseconds=1), 2**70, -1, "ü", "u\u0308",
]  # fmt: skip


def test_other_content_makes_other_keys() -> None:
    """Types tell values apart, too."""
    assert len(DIFFERENT) == len({key(each) for each in DIFFERENT})


def test_parts_cannot_pass_for_one_another() -> None:
    """Nor operation, tenant and namespace: each has its length before it."""
    keys = [
        content_key("pay", "a", "b"), content_key("pay", "ab"), content_key("pay", ["a", "b"]), content_key("pay"),
        content_key("pay", "a", "b", tenant=""), content_key("pay", "a", "b", tenant="t"),
        content_key("pay", "a", "b", namespace="t"), content_key("payt", "a", "b"), content_key("tpay", "a", "b"),
        content_key("pay", "a", "b", tenant="-"),
    ]  # fmt: skip

    assert len(keys) == len(set(keys))


@given(VALUES)
def test_a_key_does_not_change(value: Any) -> None:
    """Twice the same value, twice the same key; what has none says so."""
    try:
        made = key(value)
    except CodecError:
        return
    assert made == key(CODEC.loads(CODEC.dumps(value)))


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (float("nan"), "part 1 is nan"),
        ([float("inf")], r"part 1\[0\] is inf"),
        (Decimal("NaN"), "part 1 is NaN"),
        (object(), "part 1 is of type object, which has no canonical form"),
        ({"a": {1: 2}}, r"part 1\['a'\] has the key 1, a int; use texts"),
    ],
)
def test_what_has_no_canonical_form_is_said_with_its_place(part: Any, words: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(CodecError, match=words):
        key("first", part)


def test_wrong_arguments_are_named() -> None:
    """With what would be right."""
    with pytest.raises(TypeError, match="operation=7 is not a text"):
        content_key(7)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="tenant=7 is not a text"):
        content_key("pay", tenant=7)  # type: ignore[arg-type]
