"""Which script a verb is, with what keys and arguments, and what its answer means."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from seawall.durable.claims import EXPIRED, FAILED_FOR, Answer, ClaimRecord, New, answer_of
from seawall.durable.claims_verbs import Complete, Doubt, Look, Release, Renew, Settle, Take
from seawall.durable.counters import AddCount, ReadCount
from seawall.durable.locks import FreeLock, Held, RenewLock, TakeLock
from seawall.integrations.redis import scripts


@dataclass(frozen=True, slots=True)
class Request:
    """One run of a script."""

    script: str
    keys: tuple[str, ...]
    args: tuple[str | bytes, ...]
    read: Callable[[Any], Any]

    def command(self) -> tuple[str | bytes | int, ...]:
        """Returns the command that runs a script which the server knows already."""
        return ("EVALSHA", SHA[self.script], len(self.keys), *self.keys, *self.args)

    def whole(self) -> tuple[str | bytes | int, ...]:
        """Returns the command that brings the script along."""
        return ("EVAL", self.script, len(self.keys), *self.keys, *self.args)


def request_of(verb: Any, prefix: str) -> Request | None:
    """Returns how a verb is asked; None for one that this server cannot do."""
    made = _REQUESTS.get(type(verb))
    return None if made is None else made(verb, prefix)


def _claim_key(prefix: str, namespace: str, key: str) -> tuple[str]:
    return (f"{prefix}claim:{len(namespace)}:{namespace}:{key}",)


def _look(verb: Look, prefix: str) -> Request:
    def read(answer: Any) -> ClaimRecord | None:
        record = _record(verb, answer)
        return None if record is None or record.gone else record

    return Request(scripts.LOOK, _claim_key(prefix, verb.namespace, verb.key), (), read)


def _take(verb: Take, prefix: str) -> Request:
    def read(answer: Any) -> Answer:
        if len(answer) == 2:
            return New(int(answer[0]), int(answer[1]) == 1)
        record = _record(verb, answer)
        assert record is not None
        return answer_of(record, verb.fingerprint)

    args = (verb.fingerprint, verb.owner, str(verb.lease), str(verb.ttl), str(int(verb.takeover)))
    more = (EXPIRED, verb.result_type)
    return Request(scripts.TAKE, _claim_key(prefix, verb.namespace, verb.key), (*args, *more), read)


def _renew(verb: Renew, prefix: str) -> Request:
    return _held(scripts.RENEW, verb, prefix, str(verb.held.epoch), str(verb.lease))


def _complete(verb: Complete, prefix: str) -> Request:
    return _held(scripts.COMPLETE, verb, prefix, str(verb.held.epoch), verb.result, verb.result_type, str(verb.ttl))


def _release(verb: Release, prefix: str) -> Request:
    return _held(scripts.RELEASE, verb, prefix, verb.note, str(FAILED_FOR))


def _doubt(verb: Doubt, prefix: str) -> Request:
    return _held(scripts.DOUBT, verb, prefix, str(verb.held.epoch), verb.note)


def _held(script: str, verb: Renew | Complete | Release | Doubt, prefix: str, *args: str | bytes) -> Request:
    held = verb.held
    return Request(script, _claim_key(prefix, held.namespace, held.key), (held.owner, *args), bool)


def _settle(verb: Settle, prefix: str) -> Request:
    result = verb.result if verb.result is not None else b""
    args = (verb.owner, verb.of, verb.state, result, verb.result_type, verb.note, str(verb.ttl))
    return Request(scripts.SETTLE, _claim_key(prefix, verb.namespace, verb.key), args, bool)


def _take_lock(verb: TakeLock, prefix: str) -> Request:
    def read(answer: Any) -> int | Held:
        return int(answer[0]) if len(answer) == 1 else Held(max(0.0, float(answer[2]) - float(answer[1])))

    return Request(scripts.TAKE_LOCK, _lock_key(prefix, verb.name), (verb.owner, str(verb.lease)), read)


def _renew_lock(verb: RenewLock, prefix: str) -> Request:
    return Request(scripts.RENEW_LOCK, _lock_key(prefix, verb.name), (verb.owner, str(verb.lease)), bool)


def _free_lock(verb: FreeLock, prefix: str) -> Request:
    return Request(scripts.FREE_LOCK, _lock_key(prefix, verb.name), (verb.owner,), lambda answer: None)


def _lock_key(prefix: str, name: str) -> tuple[str]:
    return (f"{prefix}lock:{name}",)


def _add_count(verb: AddCount, prefix: str) -> Request:
    (key,) = _count_key(prefix, verb.name)
    ttl = "" if verb.ttl is None else str(verb.ttl)
    return Request(scripts.ADD_COUNT, (key, f"{key}:{verb.mark}"), (str(verb.by), ttl), int)


def _read_count(verb: ReadCount, prefix: str) -> Request:
    return Request(scripts.READ_COUNT, _count_key(prefix, verb.name), (), int)


def _count_key(prefix: str, name: str) -> tuple[str]:
    """Both keys of a counter are in one hash slot: what is in braces decides."""
    slot = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return (f"{prefix}counter:{{{slot}}}:{name}",)


def _record(verb: Look | Take, answer: Any) -> ClaimRecord | None:
    now, state, fingerprint, owner, epoch, takeover, lease_until, result, kind, note, made, changed, expires = answer
    if state is None:
        return None
    time = float(now)
    return ClaimRecord(
        verb.namespace,
        verb.key,
        state.decode(),
        fingerprint.decode(),
        owner.decode(),
        int(epoch),
        takeover == b"1",
        float(lease_until) - time,
        result,
        (kind or b"").decode(),
        (note or b"").decode(),
        max(0.0, time - float(made)),
        max(0.0, time - float(changed)),
        float(expires) - time,
    )


_REQUESTS: Final[dict[type, Callable[[Any, str], Request]]] = {
    Look: _look,
    Take: _take,
    Renew: _renew,
    Complete: _complete,
    Release: _release,
    Doubt: _doubt,
    Settle: _settle,
    TakeLock: _take_lock,
    RenewLock: _renew_lock,
    FreeLock: _free_lock,
    AddCount: _add_count,
    ReadCount: _read_count,
}

SHA: Final = {
    text: hashlib.sha1(text.encode("utf-8"), usedforsecurity=False).hexdigest()
    for name, text in vars(scripts).items()
    if name.isupper() and not name.startswith("_")
}
"""What the server calls each script."""
