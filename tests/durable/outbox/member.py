"""A relay to be killed: delivers to a `Receiver`, and tells when it sends, and what happens to its leases."""

import threading
import time

from seawall.durable import Outbox, OutboxMessage, Relay, open_store
from seawall.durable.events import LeaseLost
from tests.durable.outbox.receiver import Receiver


def main(url: str, path: str, pause: str) -> None:
    """Relays, `pause` seconds for each message, until it is killed."""
    receiver = Receiver(path)

    def send(message: OutboxMessage) -> None:
        print("sending", flush=True)
        time.sleep(float(pause))
        receiver.receive(message)

    relay = Relay(Outbox(open_store(url)), send, lease=1, heartbeat=0.3, poll=0.05, in_flight=2, batch=10)
    relay.listen(lambda event: print("lost", flush=True), LeaseLost)
    with relay:
        threading.Event().wait()
