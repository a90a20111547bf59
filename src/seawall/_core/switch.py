"""Which strategies are in force: switches by pattern and by policy, from four sources of which the first wins.

A *pattern* is a kind of strategy by its word (retry, breaker, timeout ...), a *policy* the pipeline, or the strategy
alone, by its name. Switches are read when a chain is linked, never in a call: a change links chains anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Source: TypeAlias = Literal["env", "runtime", "remote", "code"]
SOURCES: Final[tuple[Source, ...]] = ("env", "runtime", "remote", "code")
PATTERNS: Final = ("fallback", "retry", "ratelimit", "bulkhead", "breaker", "timeout", "hedge")
VARIABLE: Final = "SEAWALL_SWITCHES"


@dataclass(frozen=True, slots=True)
class Switch:
    """What one source says of a pattern, a policy, or a pattern in a policy.

    Attributes:
        pattern: the word of the strategies that it is about; None: of all.
        policy: the name of the pipeline, or of the strategy alone, that it is about; None: of all.
        share: of the calls, for which they are in force: 1 is on, 0 is off.
        source: who says so: env, runtime, remote or code.
        actor: the person or program that set it.
        reason: why.
        until: seconds since 1970 when it ends by itself; None: never.
    """

    pattern: str | None
    policy: str | None
    share: float
    source: Source
    actor: str = ""
    reason: str = ""
    until: float | None = None

    @property
    def key(self) -> tuple[str | None, str | None]:
        """What it is about."""
        return self.pattern, self.policy

    @property
    def name(self) -> str:
        """What it is about, as a person writes it: retry, retry@payments, @payments."""
        return name_of(self.pattern, self.policy)


def name_of(pattern: str | None, policy: str | None) -> str:
    """Returns the name of a switch: retry, retry@payments, @payments."""
    return (pattern or "") + ("" if policy is None else f"@{policy}")


def key_of(name: str) -> tuple[str | None, str | None]:
    """Returns the pattern and the policy of a switch's name. Raises ValueError for what is none."""
    pattern, at, policy = name.partition("@")
    if not name or (at and not policy) or (pattern and pattern not in PATTERNS):
        raise ValueError(
            f"{name!r} is no switch; use a pattern ({', '.join(PATTERNS)}), a policy as @NAME, or pattern@NAME"
        )
    return pattern or None, policy or None


def share_of(text: str) -> float:
    """Reads how many calls a switch lets through: on, off, or a percentage such as 25%. Raises ValueError."""
    if text in ("on", "off"):
        return float(text == "on")
    digits = text.removesuffix("%")
    if text.endswith("%") and digits.replace(".", "", 1).isdecimal() and float(digits) <= 100:
        return float(digits) / 100
    raise ValueError(f"{text!r} is no setting of a switch; use on, off, or a percentage such as 25%")


def from_environment(text: str) -> list[Switch]:
    """Reads the variable SEAWALL_SWITCHES: "retry=off, breaker@payments=50%". Raises ValueError for what is none."""
    switches = []
    for entry in filter(None, map(str.strip, text.split(","))):
        name, _, setting = (part.strip() for part in entry.partition("="))
        switches.append(Switch(*key_of(name), share_of(setting), "env", "the environment"))
    return switches


class Switches:
    """All switches that are set."""

    __slots__ = ("_by_source",)

    def __init__(self) -> None:
        self._by_source: dict[Source, dict[tuple[str | None, str | None], Switch]] = {each: {} for each in SOURCES}

    def __iter__(self) -> Iterator[Switch]:
        for switches in self._by_source.values():
            yield from switches.values()

    def replace(self, source: Source, switches: list[Switch]) -> None:
        """Makes `switches` all that a source says."""
        self._by_source[source] = {switch.key: switch for switch in switches}

    def of(self, pattern: str, policy: str) -> Switch | None:
        """Returns the switch that decides for a pattern in a policy; None: it is on.

        The first source that says something wins. Within a source the switch of the pattern in the policy wins over the
        other two, and of these the one that lets fewer calls through.
        """
        for switches in self._by_source.values():
            if not switches:
                continue
            exact = switches.get((pattern, policy))
            if exact is not None:
                return exact
            wider = [switches[key] for key in ((pattern, None), (None, policy)) if key in switches]
            if wider:
                return min(wider, key=lambda switch: switch.share)
        return None

    def share(self, pattern: str, policy: str) -> float:
        """Returns the share of calls for which a pattern is in force in a policy."""
        switch = self.of(pattern, policy)
        return 1.0 if switch is None else switch.share


SWITCHES: Final = Switches()
