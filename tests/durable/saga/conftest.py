"""What the tests of sagas share."""

from collections.abc import Iterator

import pytest

from seawall.durable.embedded import EmbeddedStore
from seawall.testing import FakeClock
from tests.durable.saga.witness import Colour, Witness


@pytest.fixture
def store() -> Iterator[EmbeddedStore]:
    """A store of this test alone."""
    store = EmbeddedStore.in_memory()
    yield store
    store.close()


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    """Time that moves when something waits."""
    with FakeClock() as clock:
        yield clock


@pytest.fixture(params=["sync", "async"])
def witness(request: pytest.FixtureRequest) -> Witness:
    """A witness of each colour."""
    colour: Colour = request.param
    return Witness(colour)
