"""What type checkers must make of the outbox, the relay and the inbox. Never run."""

from typing import assert_type

from seawall.durable import EmbeddedStore, Inbox, Outbox, OutboxMessage, Relay

store = EmbeddedStore("shop.db")
outbox = Outbox(store, inject=lambda headers: headers.update({"traceparent": "00-1-1-01"}))
inbox = Inbox(store, "mailer")


def send(message: OutboxMessage) -> None:
    """Is a plain sender."""


async def publish(message: OutboxMessage) -> int:
    """Is an async sender, whose result nobody minds."""
    return len(message.body)


def work() -> None:
    """Is plain code."""
    assert_type(outbox.add("orders", {"id": 7}, ordering_key="order-7"), str)
    outbox.add("orders", b"7", delay=5, headers={"tenant": "acme"})
    outbox.add("orders", object())  # type: ignore[arg-type]
    outbox.add("orders", "7", "order-7")  # type: ignore[call-arg, arg-type]
    assert_type(outbox.waiting(), list[OutboxMessage])
    assert_type(outbox.retry("m1", "m2"), list[str])
    assert_type(outbox.drop("m1", "told by phone"), bool)
    assert_type(Relay(outbox, send).pass_once(), int)
    with Relay(outbox, send, in_flight=10) as relay:
        assert_type(relay, Relay)
    assert_type(store.transact(lambda connection: inbox.first("m1", session=connection)), bool)
    inbox.first("m1")  # type: ignore[call-arg]


async def awork() -> None:
    """Is async code."""
    assert_type(await outbox.aadd("orders", [1, 2]), str)
    assert_type(await outbox.astuck(), list[OutboxMessage])
    assert_type(await Relay(outbox, publish).apass_once(), int)
    async with Relay(outbox, publish) as relay:
        assert_type(relay, Relay)
