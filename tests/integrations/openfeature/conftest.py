"""What the tests of flags share: an SDK without providers, and switches as they were."""

from collections.abc import Iterator
from weakref import WeakValueDictionary

import pytest
from openfeature import api

from seawall._core.names import NAMES
from seawall._core.switch import SOURCES, SWITCHES
from seawall._registry import set_switches


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hide pipelines that other tests have left, and leave neither switches nor providers."""
    monkeypatch.setattr(NAMES, "_listed", WeakValueDictionary())
    before = {source: [switch for switch in SWITCHES if switch.source == source] for source in SOURCES}
    yield
    api.shutdown()
    for source, switches in before.items():
        set_switches(source, switches)
