"""Relays that are left, cancelled, or without their store: what was sent is written down, the rest given back."""

import asyncio
import threading
from typing import Any

import pytest

from seawall.durable import OutboxMessage, Relay, RelayStalled, StoreError
from tests.durable.engines import Engine, over
from tests.durable.outbox.gates import NEVER, Flaky, Gate, enter, outside
from tests.durable.outbox.posts import Post, until

EMBEDDED = over("embedded", "embedded-async")


@EMBEDDED
def test_leaving_waits_for_what_is_being_sent(post: Post) -> None:
    """And gives back at once what was not begun: another relay need not wait for any lease."""
    gate = Gate()
    gate.hold(post)
    post.add("k1", "k2", key="k")
    post.add("a", "b", "c")

    relay = post.relay(in_flight=2)

    def inside() -> None:
        until(lambda: gate.waiting == 2)
        assert relay._work is not None
        threading.Thread(target=open_when_left, args=(relay._work.desk,)).start()

    def open_when_left(desk: Any) -> None:
        until(lambda: desk._stopping)
        gate.open()

    enter(post, relay, inside)
    assert 2 == len(post.got)
    assert 3 == len(post.waiting())
    post.sending = lambda: None
    assert 3 == post.pass_()
    assert 5 == len(set(post.got))


@EMBEDDED
def test_leaving_does_not_wait_for_ever(post: Post) -> None:
    """What hangs is cancelled, or left behind on its thread; what was sent beside it is written down."""
    gate = Gate()
    post.add("a")

    def inside() -> None:
        until(lambda: post.got == ["a"])
        gate.hold(post)
        outside(post)("b")
        until(lambda: gate.waiting == 1)

    enter(post, post.relay(drain=0.05, poll=0.02), inside)
    assert (["a"], ["b"]) == (post.got, post.waiting())
    if post.engine.kind.is_async:  # cancelled, and given back
        post.sending = lambda: None
        assert (1, ["a", "b"]) == (post.pass_(), post.got)
    gate.open()


@over("embedded-async")
def test_a_cancelled_pass_writes_down_what_was_sent(engine: Engine, post: Post) -> None:
    """And gives back the rest, which is no failure of theirs."""
    gate = Gate()

    async def send(message: OutboxMessage) -> None:
        if message.body != b"a":
            await gate.apass()
        post.got.append(message.body.decode())

    async def work() -> None:
        task = asyncio.create_task(Relay(post.outbox, send).apass_once())
        await post.until(lambda: gate.waiting and post.got)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    post.add("a", "b", "c")
    engine.awaited(work())
    assert (["a"], ["b", "c"]) == (post.got, post.waiting())
    assert [0, 0] == [message.attempts for message in engine.call(post.outbox, "waiting")]
    assert 2 == post.pass_()


class Slow(Flaky):
    """A store whose answers are held up, once, when it is told to."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.answers = 0

    async def arun(self, script: Any) -> Any:
        """Runs a script, and does not answer the first time."""
        result = await self._store.arun(script)
        self.answers += 1
        if self.answers == 2:  # the first one added a message
            await asyncio.sleep(NEVER)
        return result


@over("embedded-async")
def test_what_was_claimed_by_a_cancelled_transaction_is_given_back(engine: Engine) -> None:
    """It came about, and nobody heard of it: no message waits for the end of that lease."""
    engine.store = Slow(engine.store)
    post = Post(engine)

    async def work() -> None:
        task = asyncio.create_task(post.relay().apass_once())
        await post.until(lambda: engine.store.answers == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    post.add("a", key="k")
    engine.awaited(work())
    assert ([], ["a"]) == (post.got, post.waiting())
    assert (1, ["a"]) == (post.pass_(), post.got)


@over("embedded-async")
def test_a_block_that_is_cancelled_is_left_in_good_order(engine: Engine, post: Post) -> None:
    """Also where that happens again while it waits for what is being sent: then that is cancelled."""
    gate = Gate()
    gate.hold(post)

    async def block() -> None:
        async with post.relay():
            await asyncio.sleep(NEVER)

    async def work() -> None:
        before = asyncio.all_tasks()
        task = asyncio.create_task(block())
        await post.until(lambda: gate.waiting)
        task.cancel()
        await asyncio.sleep(0.05)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert before == asyncio.all_tasks()

    post.add("a")
    engine.awaited(work())
    post.sending = lambda: None
    assert (1, ["a"]) == (post.pass_(), post.got)


@over("embedded-async")
def test_what_cancels_itself_has_failed(engine: Engine, post: Post) -> None:
    """Nobody else cancelled it; the relay goes on."""
    post.add("a", "b")
    post.faults["a"] = asyncio.CancelledError()
    post.pass_()
    (failed,) = engine.call(post.outbox, "waiting")
    assert (["b"], 1, "CancelledError: ") == (post.got, failed.attempts, failed.error)


@EMBEDDED
def test_a_relay_outlives_an_outage_of_its_store(engine: Engine) -> None:
    """It tells, and goes on when the store is back: what was sent meanwhile is written down, and not sent again."""
    engine.store = Flaky(engine.store)
    post, gate = Post(engine), Gate()
    gate.hold(post)
    post.add("a")
    relay, told = post.relay(poll=0.01), []
    relay.listen(told.append, RelayStalled)

    def inside() -> None:
        until(lambda: gate.waiting)
        engine.store.failing = True
        gate.open()
        until(lambda: len(told) >= 2)
        engine.store.failing = False
        outside(post)("b")
        until(lambda: len(post.got) == 2)

    enter(post, relay, inside)
    assert (["a", "b"], []) == (post.got, post.waiting())
    assert told[0].error == "StoreError: the database is gone"
    assert "the store does not answer, next try in 0." in str(told[0])


@EMBEDDED
def test_a_pass_tells_what_the_store_raises(engine: Engine) -> None:
    """It is for scripts, which want to know."""
    engine.store = Flaky(engine.store)
    post = Post(engine)
    engine.store.failing = True
    with pytest.raises(StoreError, match="the database is gone"):
        post.pass_()


@EMBEDDED
def test_nothing_is_left_after_a_block(post: Post) -> None:
    """No thread, no listener."""
    before = threading.active_count()
    post.add("a")
    post.during(post.relay(), lambda: post.got)
    until(lambda: threading.active_count() <= before + 1)  # the store's one thread
    assert not post.engine.store._listeners.get("outbox")


@over("embedded")
def test_a_relay_without_threads_waits_for_some(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has claimed is given back, and claimed anew when there are threads again."""
    post.add("a", "b")
    start, refused = threading.Thread.start, []

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "seawall-crowded" and thread.daemon and len(refused) < 3 and begun:
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        start(thread)

    begun: list[threading.Thread] = []
    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr("seawall.durable.relay_desk.PAUSE", 0.01)
    enter(post, post.relay(name="crowded"), lambda: until(lambda: len(post.got) == 2))
    assert ({"a", "b"}, [], 3) == (set(post.got), post.waiting(), len(refused))


@over("embedded")
def test_a_relay_on_threads_is_not_left_in_an_event_loop(post: Post) -> None:
    """Leaving would wait, and so block the loop."""

    async def work() -> None:
        with post.relay():
            pass

    with pytest.raises(RuntimeError, match="leaving this relay would have to wait"):
        asyncio.run(work())
