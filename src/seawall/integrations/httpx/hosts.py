"""Which pipeline a request goes through: the client's one, or one for each host."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from seawall._core import arguments
from seawall._core.arguments import Seconds
from seawall._core.clock import Clock
from seawall._core.forks import renew_after_fork
from seawall._core.names import NAMES
from seawall._pipeline.pipeline import Pipeline


class Lane:
    """A pipeline as requests use it: linked once for each colour. `using` requests are under way in it."""

    __slots__ = ("_linked", "_making", "host", "pipeline", "used", "using")

    def __init__(self, host: str, pipeline: Pipeline | None = None) -> None:
        self.host = host
        self.pipeline = pipeline
        self.using = 0
        self.used = 0.0
        self._making = threading.Lock()
        self._linked: dict[Any, Any] = {}

    @property
    def name(self) -> str:
        """What the pipeline is called."""
        return "" if self.pipeline is None else self.pipeline.name

    def through(self, attempt: Any) -> Any:
        """Returns an attempt function, protected."""
        linked = self._linked.get(attempt)
        if linked is None:
            assert self.pipeline is not None
            linked = self._linked[attempt] = self.pipeline(attempt)
        return linked

    def forget(self) -> None:
        """Gives the names up: a breaker's last failure may keep the pipeline alive for a while."""
        if self.pipeline is not None:
            for thing in (self.pipeline, *self.pipeline.strategies):
                NAMES.forget(thing)

    def open(self, make: Callable[[str], Pipeline]) -> None:
        """Makes the pipeline if nobody has. Those who call the same new host at once wait for one another."""
        if self.pipeline is None:
            with self._making:
                if self.pipeline is None:
                    self.pipeline = check_pipeline(make(self.host), f"make({self.host!r})")


def check_pipeline(value: object, what: str) -> Pipeline:
    """Returns a pipeline; raises TypeError for anything else."""
    if not isinstance(value, Pipeline):
        raise TypeError(f"{what} is {value!r}, no pipeline; use Pipeline('name', Retry(...), CircuitBreaker(...), ...)")
    return value


class OneLane:
    """The same pipeline for every request."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._lane = Lane("", pipeline)

    def lend(self, request: Any) -> Lane:
        """Returns the one lane."""
        return self._lane

    def give_back(self, lane: Lane) -> None:
        """Takes a lane back. There is but one."""


class PerHost:
    """A pipeline for each host that a client talks to, so that one host's failures do not open another's circuit.

    Pipelines are made when they are first needed. One that nobody has used for `idle` seconds is let go, and so is the
    one that was not used for longest when there are more than `max_hosts`; never one with a request under way, so there
    may be more for as long as more hosts are being called at once. A host that comes back starts anew.

    Args:
        make: a function of the host ("api.example.com", with ":port" where it is not the usual one) that returns its
            pipeline; called once for each host.
        max_hosts: how many are kept; default 100.
        idle: seconds after which an unused one is let go; default 300.
        clock: where the time comes from; default: the system's monotonic clock.
    """

    def __init__(
        self,
        make: Callable[[str], Pipeline],
        *,
        max_hosts: int = 100,
        idle: Seconds = 300.0,
        clock: Clock | None = None,
    ) -> None:
        if isinstance(make, Pipeline):
            raise TypeError(f"make={make!r} is a pipeline; use a function that makes one for each host")
        self._make = arguments.function("make", make, "a function of the host that returns a Pipeline")
        self.max_hosts = arguments.whole("max_hosts", max_hosts, least=1)
        self.idle = arguments.seconds("idle", idle)
        self._clock = arguments.clock("clock", clock)
        self._lanes: OrderedDict[str, Lane] = OrderedDict()  # the longest unused first
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Gives a forked child a lock of its own."""
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"PerHost({len(self._lanes)} of at most {self.max_hosts} hosts, idle={self.idle:g})"

    def pipelines(self) -> dict[str, Pipeline]:
        """Returns the pipelines of now, by host."""
        with self._lock:
            lanes = list(self._lanes.items())
        return {host: lane.pipeline for host, lane in lanes if lane.pipeline is not None}

    def lend(self, request: Any) -> Lane:
        """Returns the lane for a request's host, which is to be given back."""
        host = request.url.netloc.decode("ascii")
        with self._lock:
            now = self._clock.now()
            gone = self._outdated(host, now)
            lane = self._lanes.get(host)
            if lane is None:
                lane = self._lanes[host] = Lane(host)
            self._lanes.move_to_end(host)
            lane.used = now
            lane.using += 1
        for old in gone:  # outside the lock
            old.forget()
        try:
            lane.open(self._make)
        except BaseException:
            self.give_back(lane)
            raise
        return lane

    def give_back(self, lane: Lane) -> None:
        """Takes a lane back."""
        with self._lock:
            lane.using -= 1
            lane.used = self._clock.now()
            if self._lanes.get(lane.host) is lane:
                self._lanes.move_to_end(lane.host)

    def _outdated(self, wanted: str, now: float) -> list[Lane]:
        """Takes out what is to be let go before a request to `wanted`. The lock is held."""
        room = self.max_hosts - (wanted not in self._lanes)
        gone = []
        for host, lane in list(self._lanes.items()):
            surplus = len(self._lanes) > room
            if not surplus and now - lane.used < self.idle:
                break  # those that follow were used later
            if not lane.using and host != wanted:
                gone.append(self._lanes.pop(host))
        return gone
