"""Fixtures of the tests of observe."""

from weakref import WeakValueDictionary

import pytest

from seawall._core.names import NAMES


@pytest.fixture(autouse=True)
def _nobody_else_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide what other tests have left alive: with hundreds of names, instruments add up the rest as `other`."""
    monkeypatch.setattr(NAMES, "_listed", WeakValueDictionary())
