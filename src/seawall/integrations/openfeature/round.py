"""One round of asking: every flag once, and what came of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Final

from openfeature.client import OpenFeatureClient
from openfeature.exception import ErrorCode
from openfeature.provider import ProviderStatus

from seawall.integrations.openfeature.asking import Asking, FlagError

_ENOUGH: Final = 3
"""Flags that a provider fails to answer, and none that it answers, until the rest is not asked."""


class Round:
    """Asks for flags, one after the other.

    Args:
        client: whose provider is asked.
        asking: asks it for one flag.
        keys: the flags' keys by switch.

    Attributes:
        provider: its name.
        said: pairs of switch and share; None: it could not be had.
        failed: the reasons by the keys of those flags.
        answers: whether the provider answers at all.
        ready: whether it has begun to.
        well: whether it says itself that it is well.
        hung: whether it was found to hang over a question; what it said before that is old.
    """

    def __init__(self, client: OpenFeatureClient, asking: Asking, keys: Mapping[str, str]) -> None:
        self._client = client
        self._asking = asking
        self._keys = keys
        self._asked = time.monotonic()
        self.provider = "a provider"
        self.said: list[tuple[str, float | None]] = []
        self.failed: dict[str, str] = {}
        self.answers = self.ready = self.well = True
        self.hung = False

    @property
    def waited(self) -> float:
        """Seconds since the last question was put."""
        return time.monotonic() - self._asked

    def run(self, stopping: threading.Event) -> None:
        """Asks for all flags, or until it is told to stop."""
        self.provider = self._client.provider.get_metadata().name
        unanswered, self.answers, given_up = 0, not self._keys, False
        for switch, key in self._keys.items():
            if given_up or stopping.is_set():
                self.said.append((switch, None))
                continue
            self._asked = time.monotonic()
            try:
                share = self._asking.share(key)
            except FlagError as error:
                self._fails(switch, key, error)
                unanswered += not error.ours
                self.answers = self.answers or error.ours
                given_up = error.concerns_all or (unanswered >= _ENOUGH and not self.answers)
            else:
                self.answers = True
                if share is not None:
                    self.said.append((switch, share))
        self.well = self._client.get_provider_status() in (ProviderStatus.READY, ProviderStatus.NOT_READY)

    def _fails(self, switch: str, key: str, error: FlagError) -> None:
        self.said.append((switch, None))
        self.failed[key] = str(error)
        self.ready = self.ready and error.code is not ErrorCode.PROVIDER_NOT_READY
