"""What a relay holds, and what it does next: decisions, written once for threads and tasks. Nothing here waits."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from seawall._core.backoff import Backoff
from seawall._core.clock import DEFAULT_CLOCK
from seawall._core.events import Hub, brief
from seawall.durable.driving import Call, Flow
from seawall.durable.events import LeaseLost, OutboxFailed, OutboxSent, OutboxStuck, RelayStalled
from seawall.durable.outbox_message import OutboxMessage
from seawall.durable.relay_rules import Lane, NotNowError, Report, Rules
from seawall.durable.relay_scripts import Answer, Claim, Holding, turn
from seawall.durable.script import Script

LINGER: Final = 0.05
"""Seconds for which what was sent may wait for more of it, to be written down together."""
PAUSE: Final = 1.0
"""Seconds without claims where the pipeline refuses, and does not say for how long."""
STALL: Final = Backoff.exponential(0.2, cap=5.0, jitter="equal")
"""Between tries to reach the store."""


@dataclass(slots=True, eq=False)
class Plan:
    """One transaction: what it writes down and claims, and which reports and leases it settles."""

    holdings: dict[str, Holding]
    claim: Claim | None
    reports: list[Report]
    keeps: bool
    keeping: list[Lane]
    lease: float
    began: float

    def script(self) -> Callable[[], Script[Answer]]:
        """Returns the script of the transaction, to be run as often as needed."""
        return partial(turn, list(self.holdings.values()), self.claim, self.lease)


class Desk:
    """The state of one relay at work. Lanes report to it from any thread; all else is asked by one coordinator.

    `ring` has the coordinator look again. With `once` it claims once, and is finished when all of that is settled.
    """

    def __init__(self, rules: Rules, hub: Hub, ring: Callable[[], None], *, once: bool = False) -> None:
        self.sent = 0
        self._stopping = self._cancelling = self._giving_up = False
        self._rules, self._hub, self._ring, self._once = rules, hub, ring, once
        self._reports: deque[Report] = deque()
        self._unsettled: list[Report] = []
        self._since = 0.0  # the oldest unsettled report
        self._lanes: set[Lane] = set()  # until their end has been written down
        self._at_work = 0
        self._held = 0
        self._woken = True
        self._look_at = self._quiet_until = self._stalled_until = self._kept_at = 0.0
        self._stalls = 0
        self._after, self._free = "", True
        self._claimed = False

    # what others tell, on any thread

    def wake(self) -> None:
        """Hears that there may be something to claim."""
        self._woken = True
        self._ring()

    def stop(self) -> None:
        """Hears that nothing is to be claimed or begun any more."""
        self._stopping = True
        self._ring()

    def cancel(self) -> None:
        """Hears that what is at work is about to be cancelled: that is no failure of `send`."""
        self._stopping = self._cancelling = True

    def give_up(self) -> None:
        """Hears that what is still at work is left behind; its leases run out by themselves."""
        self._stopping = self._giving_up = True
        self._ring()

    def work(self, lane: Lane, deliver: Callable[[OutboxMessage], Any]) -> Flow[None]:
        """Sends what a lane holds, in order, up to the first message that fails; reports each, and the end."""
        try:
            for row in lane.rows:
                if self._stopping or not lane.stands() or DEFAULT_CLOCK.now() < self._quiet_until:
                    return
                try:
                    yield Call("outbox.send", deliver, (row.message,))
                except NotNowError as error:
                    self._hold(PAUSE if error.seconds is None else error.seconds)
                    return
                except (Exception, SystemExit, asyncio.CancelledError) as error:
                    if isinstance(error, asyncio.CancelledError) and self._cancelling:
                        raise
                    self._tell(Report(lane, row, self._rules.judge(row.message, error)))
                    return
                self._tell(Report(lane, row))
        finally:
            self._tell(Report(lane))

    def _hold(self, seconds: float) -> None:
        self._quiet_until = max(self._quiet_until, DEFAULT_CLOCK.now() + seconds)

    def _tell(self, report: Report) -> None:
        self._reports.append(report)
        self._ring()

    def drop(self, lane: Lane) -> None:
        """Hears that nobody can work on a lane: it is given back, and nothing is claimed for a moment."""
        self._hold(PAUSE)
        self._tell(Report(lane))

    # what the coordinator asks

    def due_in(self) -> float | None:
        """Returns the seconds until the next transaction is due; 0: it is due now; None: all is finished."""
        self._collect()
        now = DEFAULT_CLOCK.now()
        if not self._lanes and not self._unsettled and (self._stopping or (self._once and self._claimed)):
            return None
        if now < self._stalled_until:
            return self._stalled_until - now
        times = [self._claim_at()] if self._may_claim() and self._room() >= max(1, self._rules.batch // 2) else []
        if self._lanes:
            times.append(self._kept_at + self._rules.heartbeat)
        if self._unsettled:
            times.append(self._settle_at())
        return max(0.0, min(times, default=now + self._rules.poll) - now)

    def plan(self) -> Plan:
        """Returns the transaction that is due now."""
        self._collect()
        now = DEFAULT_CLOCK.now()
        plan = Plan(
            {}, None, list(self._unsettled), now >= self._kept_at + self._rules.heartbeat, [], self._rules.lease, now
        )
        for report in plan.reports:
            holding = plan.holdings.setdefault(report.lane.owner, Holding(report.lane.owner))
            _enter(report, holding)
        if plan.keeps:
            plan.keeping = [lane for lane in self._lanes if not lane.lost]
        for lane in plan.keeping:
            holding = plan.holdings.setdefault(lane.owner, Holding(lane.owner))
            if lane.key is None:
                holding.keep_free.append(lane.rows[0].id)
            else:
                holding.keep_keys[lane.key] = None
        if self._may_claim() and self._room() >= 1 and now >= self._quiet_until:
            self._woken = False  # before we look: who wakes us from now on has us look again
            limit = min(self._rules.batch, self._room())
            plan.claim = Claim(uuid.uuid4().hex, limit, -(-limit // 2) if self._free else limit, self._after)
        return plan

    def settle(self, plan: Plan, answer: Answer) -> list[Lane]:
        """Takes over what a transaction did; returns the lanes that are to begin."""
        del self._unsettled[: len(plan.reports)]
        self._since, self._stalls = plan.began, 0
        for lane in plan.keeping:
            if lane.mark in answer.kept:
                lane.until = plan.began + plan.lease
            else:
                self._lose(lane)
        if plan.keeps or not self._lanes:
            self._kept_at = plan.began
        if plan.claim is not None:
            self._look_at = plan.began if answer.more else plan.began + self._rules.poll
        for report in plan.reports:
            self._settled(report, answer)
        return [] if plan.claim is None else self._begun(plan, plan.claim.owner, answer)

    def _begun(self, plan: Plan, owner: str, answer: Answer) -> list[Lane]:
        self._claimed = True
        self._after, self._free = answer.after, answer.free
        begun = [Lane(owner, rows, plan.began + plan.lease) for rows in answer.runs]
        self._lanes.update(begun)
        self._at_work += len(begun)
        self._held += sum(len(lane.rows) for lane in begun)
        return begun

    def stall(self, error: Exception) -> None:
        """Hears that a transaction failed. What it was to do is done by the next one."""
        self._stalls += 1
        self._woken = True
        delay = STALL.delay(self._stalls, None, self._rules.rng)
        self._stalled_until = DEFAULT_CLOCK.now() + delay
        self._hub.tell(RelayStalled(self._hub.name, delay, brief(error)))

    def _collect(self) -> None:
        while self._reports:
            report = self._reports.popleft()
            if report.lane not in self._lanes:
                continue
            if not self._unsettled:
                self._since = DEFAULT_CLOCK.now()
            self._unsettled.append(report)
            if report.row is None:
                self._at_work -= 1
            else:
                report.lane.left.discard(report.row.id)
        if self._giving_up:
            self._lanes &= {report.lane for report in self._unsettled if report.row is None}
            self._at_work = 0

    def _settle_at(self) -> float:
        """Returns when what was told is written down: soon, and at once where waiting gains nothing."""
        if not self._at_work or self._stopping:
            return 0.0
        if self._once:
            return self._kept_at + self._rules.heartbeat
        starving = self._at_work < self._rules.in_flight and self._claim_at() <= DEFAULT_CLOCK.now()
        return 0.0 if starving or len(self._unsettled) >= self._rules.batch // 2 else self._since + LINGER

    def _may_claim(self) -> bool:
        return not self._stopping and not (self._once and self._claimed)

    def _claim_at(self) -> float:
        return max(self._quiet_until, 0.0 if self._woken else self._look_at)

    def _room(self) -> int:
        """Returns how many messages may be claimed besides those that are held."""
        return (0 if self._once else self._rules.in_flight) + self._rules.batch - self._held

    def _settled(self, report: Report, answer: Answer) -> None:
        lane, row, failure = report
        if row is None:
            self._lanes.discard(lane)
            self._held -= len(lane.left)
            return
        self._held -= 1
        if row.id not in answer.written:
            self._lose(lane)
            return
        message, name = row.message, self._hub.name
        if failure is None:
            self.sent += 1
            age = DEFAULT_CLOCK.wall() - message.created_at
            self._hub.tell(OutboxSent(name, message.message_id, message.destination, max(0.0, age)))
            return
        self._look_at = min(self._look_at, DEFAULT_CLOCK.now() + failure.delay)
        if failure.attempts == message.attempts:
            return  # rejected: the strategy that did it has told
        about = (name, message.message_id, message.destination)
        if failure.stuck:
            self._hub.tell(OutboxStuck(*about, message.ordering_key, failure.attempts, failure.error))
        else:
            self._hub.tell(OutboxFailed(*about, failure.attempts, failure.delay, failure.error))

    def _lose(self, lane: Lane) -> None:
        if not lane.lost:
            lane.lost = True
            reason = "another relay has taken over, or somebody dropped it; it may have been sent twice"
            self._hub.tell(LeaseLost(str(lane), reason))


def _enter(report: Report, holding: Holding) -> None:
    lane, row, failure = report
    if lane.key is not None:
        holding.keep_keys[lane.key] = None
    if row is None:
        if lane.key is None:
            holding.give_back += lane.left
        else:
            holding.give_back_keys.append(lane.key)
    elif failure is None:
        holding.sent.append(row.id)
    else:
        holding.failed.setdefault(failure, []).append(row.id)
