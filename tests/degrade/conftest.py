"""What the tests of switches share: switches as they were."""

from collections.abc import Iterator

import pytest

from seawall._core.switch import SOURCES, SWITCHES
from seawall._registry import set_switches


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leave no switch behind."""
    before = {source: [switch for switch in SWITCHES if switch.source == source] for source in SOURCES}
    yield
    for source, switches in before.items():
        set_switches(source, switches)
