"""Providers: the SDK's own, with flags to set, and one that fails and hangs as it is told."""

import itertools
import threading
from collections.abc import Mapping
from typing import Any

from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import AbstractProvider, Metadata
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

NUMBERS = itertools.count()
PATIENCE = 20.0


def in_memory(flags: Mapping[str, Any]) -> InMemoryProvider:
    """Returns the SDK's provider with such flags."""
    return InMemoryProvider({key: InMemoryFlag("it", {"it": value}) for key, value in flags.items()})


def client_of(provider: AbstractProvider, *, ready: bool = True) -> OpenFeatureClient:
    """Returns a client of a provider, in a domain of its own."""
    domain = f"domain {next(NUMBERS)}"
    (api.set_provider_and_wait if ready else api.set_provider)(provider, domain)
    return api.get_client(domain)


class Told(AbstractProvider):
    """A provider of flags that can be set, and that fails or hangs as it is told.

    Attributes:
        flags: by key.
        error: what is raised in the place of an answer.
        hanging: while it is cleared, no answer comes; nor does the start end.
        asked: the keys, in order.
        threads: the names of the threads that asked.
    """

    def __init__(self, flags: Mapping[str, Any] | None = None) -> None:
        self.flags = dict(flags or {})
        self.error: Exception | None = None
        self.hanging = threading.Event()
        self.hanging.set()
        self.asked: list[str] = []
        self.threads: set[str] = set()
        self.answered = threading.Event()

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Begins, as soon as nothing hangs."""
        self.hanging.wait(PATIENCE)

    def get_metadata(self) -> Metadata:
        """Returns its name."""
        return Metadata("told")

    def changed(self) -> None:
        """Says that flags have changed."""
        self.emit_provider_configuration_changed(ProviderEventDetails())

    def _resolve(self, key: str, default: Any) -> FlagResolutionDetails[Any]:
        self.asked.append(key)
        self.threads.add(threading.current_thread().name)
        found = self.flags.get(key)
        self.hanging.wait(PATIENCE)
        if self.error is not None:
            raise type(self.error)(*self.error.args)
        self.answered.set()
        if isinstance(found, Reason):
            return FlagResolutionDetails(default, reason=found)
        if isinstance(found, ErrorCode):
            return FlagResolutionDetails(default, error_code=found, error_message="password=SECRET")
        if found is None:
            return FlagResolutionDetails(default, error_code=ErrorCode.FLAG_NOT_FOUND)
        return FlagResolutionDetails(found, reason=Reason.TARGETING_MATCH)

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """Answers."""
        return self._resolve(flag_key, default_value)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """Answers."""
        return self._resolve(flag_key, default_value)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """Answers."""
        return self._resolve(flag_key, default_value)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """Answers."""
        return self._resolve(flag_key, default_value)

    def resolve_object_details(
        self, flag_key: str, default_value: Any, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[Any]:
        """Answers."""
        return self._resolve(flag_key, default_value)
