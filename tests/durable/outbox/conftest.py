"""What the tests of outboxes share."""

from collections.abc import Iterator

import pytest

from seawall.testing import FakeClock
from tests.durable.engines import Engine
from tests.durable.outbox.posts import Post


@pytest.fixture
def post(engine: Engine) -> Post:
    """An outbox on each engine; `over(...)` chooses others."""
    return Post(engine)


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    """Time that moves when everything waits, and not while a thread is at work."""
    with FakeClock(grace=5.0) as clock:
        yield clock
