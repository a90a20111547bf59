"""A store in a file, whose clock the test moves: leases end without anybody waiting for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from seawall.durable import EmbeddedStore
from seawall.testing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    """The store's clock alone: what waits in this process waits in real time."""
    return FakeClock()


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[EmbeddedStore]:
    """A store of this test's."""
    with EmbeddedStore(tmp_path / "seawall.db", clock=clock) as made:
        yield made
