"""The switchboard: switches set at run time, in this process or in all workers of a service."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol

from seawall._core import arguments
from seawall._core.arguments import Seconds
from seawall._core.clock import DEFAULT_CLOCK
from seawall._core.events import Hub, Listener
from seawall._core.forks import renew_after_fork
from seawall._core.switch import SWITCHES, Source, Switch, key_of
from seawall._registry import set_switches
from seawall.degrade.events import SwitchChanged
from seawall.degrade.following import FLAGS, Following

SECTION: Final = "switches"
HOUR: Final = 3600.0


class Workers(Protocol):
    """What is asked of the workers of a service; `Runtime` is such."""

    def obey(self, section: str, apply: Callable[[dict[str, Any]], object]) -> None:
        """Calls `apply` with a section of the control file, at the start and whenever it is another one."""
        ...

    def change(
        self, section: str, update: Callable[[dict[str, Any]], dict[str, Any]], *, actor: str, reason: str
    ) -> dict[str, Any]:
        """Changes a section of the control file, for all workers; returns its new content."""
        ...


class Switchboard:
    """Turns patterns and policies on and off, or on for a share of the calls, while calls are in flight.

    A switch is called by a pattern ("retry"), a policy ("@payments": all patterns of the pipeline of that name), or
    both ("retry@payments"). What is off leaves the call as it was without it; what it knows (a breaker's window, a
    limit's bookings) stays for when it is on again. Calls in flight end as they began. No call asks a switch: a change
    links pipelines anew, so the usual call pays nothing.

    Four sources may say something, and the first one that does wins: the environment
    (`SEAWALL_SWITCHES="retry=off, breaker@payments=50%"`), run time (this board), remote flags (`follow`), code
    (`default`).

    Args:
        workers: the runtime of a service, so that a change reaches all of its workers within 2 s, is written to its
            audit log, and outlives a worker; default: this process alone, where a change is logged.
    """

    def __init__(self, workers: Workers | None = None) -> None:
        self._workers = workers
        self._hub = Hub("switches")
        self._entries: dict[str, Any] = {}
        self._timer: threading.Timer | None = None
        self._changing = threading.RLock()
        self._following = Following(workers)
        renew_after_fork(self)
        if workers is not None:
            workers.obey(SECTION, self._obey)
            workers.obey(FLAGS, self._following.remember)

    def after_fork(self) -> None:
        """Makes the locks anew, and the timer, which stayed with the parent process."""
        self._changing = threading.RLock()
        self._following.after_fork()
        self._timer = None
        if self._workers is None:
            self._expire_in_time()

    def __iter__(self) -> Iterator[Switch]:
        """Gives every switch that is set, in the order in which the sources are asked."""
        return iter(list(SWITCHES))

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tells `listener` of every `SwitchChanged`; returns the function that stops it."""
        return self._hub.listen(listener, (SwitchChanged,))

    def share(self, name: str) -> float:
        """Returns the share of calls for which something is in force now: 1 is on, 0 is off."""
        pattern, policy = key_of(name)
        return SWITCHES.share(pattern or "", policy or "")

    def off(self, name: str, *, actor: str, reason: str, lasts: Seconds | None = HOUR) -> Switch:
        """Turns a pattern or policy off.

        Args:
            name: what: "retry", "@payments" or "retry@payments".
            actor: who does it.
            reason: why.
            lasts: seconds after which it ends by itself; None: never; default an hour.
        """
        return self.set(name, 0.0, actor=actor, reason=reason, lasts=lasts)

    def on(self, name: str, *, actor: str, reason: str, lasts: Seconds | None = HOUR) -> Switch | None:
        """Turns it on again: takes back what was set at run time; where code or a flag has it off, that is overruled.

        Arguments as in `off`. Returns the switch that overrules, or None where none is needed.
        """
        key_of(name)
        self._change(name, None, actor, reason)
        if self.share(name) >= 1:
            return None
        return self.set(name, 1.0, actor=actor, reason=reason, lasts=lasts)

    def set(self, name: str, share: float, *, actor: str, reason: str, lasts: Seconds | None = HOUR) -> Switch:
        """Lets a share of the calls through it, 0 to 1, chosen call by call at random. Other arguments as in `off`."""
        key_of(name)
        share = arguments.number("share", share, least=0, most=1)
        until = None if lasts is None else DEFAULT_CLOCK.wall() + arguments.seconds("lasts", lasts)
        entry = {"share": share, "actor": actor, "reason": reason, "until": until}
        self._change(name, entry, actor, reason)
        return _switch(name, entry)

    def follow(
        self,
        flags: Iterable[tuple[str, float | None]],
        *,
        actor: str = "remote flags",
        reason: str = "a flag says so",
    ) -> None:
        """Takes over all that remote flags say, to be called again whenever that may be something else.

        What is not named any more says nothing. Each worker of a service follows flags by itself; what has changed is
        in force first, and then written to the audit log, by the first worker that hears of it. `RemoteFlags` of
        `seawall.integrations.openfeature` calls this.

        Args:
            flags: pairs of a switch's name and a share of the calls, 0 to 1; None: it could not be had, and what flags
                said last holds; in a worker that has not heard of any yet, what the others heard last.
            actor: who says so, such as "openfeature:flagd".
            reason: why, for the audit log.
        """
        said = self._following.heard(flags)
        self._put("remote", [Switch(*key_of(name), share, "remote", actor, reason) for name, share in said.items()])
        self._following.note(actor, reason)

    def default(self, name: str, share: float, *, reason: str = "") -> None:
        """Says in code what holds while nobody else says anything: a roll-out that begins with a tenth of the calls."""
        kept = [switch for switch in SWITCHES if switch.source == "code" and switch.name != name]
        self._put("code", [*kept, Switch(*key_of(name), _checked(share), "code", "code", reason)])

    def _change(self, name: str, entry: dict[str, Any] | None, actor: str, reason: str) -> None:
        for argument, value in (("actor", actor), ("reason", reason)):
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"{argument}={value!r} says nothing; say who does it, and why")

        def update(entries: dict[str, Any]) -> dict[str, Any]:
            rest = {other: value for other, value in entries.items() if other != name}
            return rest if entry is None else {**rest, name: entry}

        if self._workers is not None:
            self._obey(self._workers.change(SECTION, update, actor=actor, reason=reason))
        else:
            with self._changing:
                self._entries = update(self._living())
            self._obey(self._entries)

    def _obey(self, entries: dict[str, Any]) -> None:
        """Puts in force what is set at run time."""
        switches = []
        for name, entry in entries.items():
            try:
                switches.append(_switch(name, entry))
            except (ValueError, TypeError, KeyError, AttributeError):
                continue  # of a newer release, say: what is understood counts
        self._put("runtime", switches)
        if self._workers is None:
            self._expire_in_time()

    def _put(self, source: Source, switches: list[Switch]) -> None:
        with self._changing:
            before = {switch.name: switch for switch in SWITCHES if switch.source == source}
            after = {switch.name: switch for switch in switches}
            if before == after:
                return
            set_switches(source, switches)
        for name in sorted({*before, *after}):
            old, new = before.get(name), after.get(name)
            if (old and old.share) != (new and new.share):
                said = new or old
                assert said is not None
                self._hub.tell(_changed(name, old, new, said))

    def _living(self) -> dict[str, Any]:
        now = DEFAULT_CLOCK.wall()
        return {name: entry for name, entry in self._entries.items() if entry["until"] is None or entry["until"] > now}

    def _expire_in_time(self) -> None:
        """Ends what has an end, in this process alone; workers of a service see to that themselves."""
        with self._changing:
            if self._timer is not None:
                self._timer.cancel()
            ends = [entry["until"] for entry in self._entries.values() if entry["until"] is not None]
            self._timer = None
            if ends:
                self._timer = threading.Timer(max(0.0, min(ends) - DEFAULT_CLOCK.wall()) + 0.01, self._expire)
                self._timer.daemon = True
                self._timer.start()

    def _expire(self) -> None:
        with self._changing:
            self._entries = self._living()
        self._obey(self._entries)


def _switch(name: str, entry: dict[str, Any]) -> Switch:
    return Switch(
        *key_of(name),
        _checked(entry["share"]),
        "runtime",
        str(entry.get("actor", "")),
        str(entry.get("reason", "")),
        entry.get("until"),
    )


def _checked(share: float) -> float:
    return arguments.number("share", share, least=0, most=1)


def _changed(name: str, old: Switch | None, new: Switch | None, said: Switch) -> SwitchChanged:
    before, after = (1.0 if switch is None else switch.share for switch in (old, new))
    reason = said.reason if new is not None else "it has ended"
    return SwitchChanged(name, before, after, said.source, said.actor if new is not None else "", reason)
