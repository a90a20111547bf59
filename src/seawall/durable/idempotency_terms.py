"""The terms on which the claims of one namespace are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

from seawall._core import arguments
from seawall._core.arguments import Matcher, Seconds
from seawall._core.errors import RejectedError
from seawall._core.events import EVERYWHERE, LOGGER, Hub
from seawall._core.outcome import asker
from seawall.durable.claims import Done
from seawall.durable.codec import Codec, CodecError, JsonCodec
from seawall.durable.errors import CommitUnknownError, LeaseLostError, OutcomeUnknownError
from seawall.durable.heartbeat import lease_and_heartbeat
from seawall.durable.store import Store

LONGEST_KEY: Final = 1024
Takeover: TypeAlias = Literal["unknown", "rerun"]
"""What becomes of a claim whose lease ran out: nobody knows and nobody repeats it, or the next one runs it again."""

DOUBTFUL: Final = (
    CommitUnknownError,
    OutcomeUnknownError,
    LeaseLostError,
    TimeoutError,  # CallTimeoutError among them
    ConnectionResetError,
    ConnectionAbortedError,
    BrokenPipeError,
)
"""Failures after which nobody knows whether something took place (docs/effects.md)."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What claims of one namespace have in common."""

    store: Store
    hub: Hub
    codec: Codec
    ttl: float
    lease: float
    heartbeat: float
    takeover: Takeover
    wait: float
    reconcile: Callable[[str], Any] | None
    doubtful: Callable[[BaseException], bool]

    @property
    def namespace(self) -> str:
        """What tells these keys from those of others."""
        return self.hub.name

    def tell(self, kind: Any, *values: Any) -> None:
        """Makes an event and tells it, where anybody listens or logs."""
        if self.hub.listeners or EVERYWHERE or LOGGER.isEnabledFor(kind.level):
            self.hub.tell(kind(self.namespace, *values))

    def read(self, done: Done) -> Any:
        """Returns a stored result. Raises CodecError where another codec wrote it."""
        if done.result_type != self.codec.name:
            raise CodecError(
                f"{self.namespace!r}: the stored result was written by the codec {done.result_type!r}, and this one is "
                f"{self.codec.name!r}; keep a codec for as long as its results, or use another namespace"
            )
        return self.codec.loads(done.result)


def terms_of(
    store: Any, namespace: Any, ttl: Seconds, lease: Seconds, heartbeat: Seconds, takeover: Takeover, reconcile: Any,
    wait: Seconds, unknown_on: Matcher, codec: Any,
) -> Terms:  # fmt: skip
    """Returns the terms, checked; arguments are those of `Idempotency`. Raises TypeError and ValueError."""
    lasts, every = lease_and_heartbeat(lease, heartbeat)
    if reconcile is not None:
        arguments.function("reconcile", reconcile, "a function of the key")
    return Terms(
        _store(store),
        Hub(text("namespace", namespace)),
        _codec(codec),
        ttl=arguments.seconds("ttl", ttl),
        lease=lasts,
        heartbeat=every,
        takeover=arguments.choice("takeover", takeover, get_args(Takeover)),
        wait=arguments.seconds("wait", wait, zero=True),
        reconcile=reconcile,
        doubtful=_doubtful(takeover, arguments.matcher("unknown_on", unknown_on)),
    )


def _store(store: Any) -> Store:
    if not callable(getattr(store, "run", None)) or not callable(getattr(store, "arun", None)):
        raise TypeError(f"store={store!r} is no store; use one such as open_store('sqlite:///app.db')")
    return store  # type: ignore[no-any-return]


def _codec(codec: Any) -> Codec:
    if codec is None:
        return JsonCodec()
    if not all(hasattr(codec, part) for part in ("name", "dumps", "loads")):
        raise TypeError(f"codec={codec!r} is no codec; it needs name, dumps(value) and loads(stored)")
    return codec  # type: ignore[no-any-return]


def text(argument: str, value: Any) -> str:
    """Returns a text that every store can keep."""
    wanted = "use a text such as 'payments'"
    if not isinstance(value, str):
        raise TypeError(f"{argument}={value!r} is not a text; {wanted}")
    if not value or len(value) > LONGEST_KEY:
        raise ValueError(f"{argument}={value[:50]!r} is empty, or longer than {LONGEST_KEY} characters; {wanted}")
    if "\0" in value or (not value.isascii() and any("\ud800" <= each <= "\udfff" for each in value)):
        raise ValueError(f"{argument}={value!r} holds a NUL or half a character; {wanted}")
    return value


def _doubtful(takeover: Takeover, also: Matcher) -> Callable[[BaseException], bool]:
    """Returns what says whether nobody knows what took place, after an execution ended with an exception."""
    asked = asker(also)

    def doubtful(error: BaseException) -> bool:
        if takeover == "rerun":
            return False
        if isinstance(error, BaseExceptionGroup):
            return any(map(doubtful, error.exceptions))
        if not isinstance(error, Exception) or asked(error):
            return True
        return isinstance(error, DOUBTFUL) and not isinstance(error, RejectedError)

    return doubtful
