"""`python -m tests.servers [postgresql] [redis] [rabbitmq]`: runs servers, all without names, until interrupted."""

import signal
import sys
import threading
from contextlib import ExitStack

from tests.servers import PostgreSQL, RabbitMQ, Redis

KINDS: dict[str, type[PostgreSQL | Redis | RabbitMQ]] = {kind.name: kind for kind in (PostgreSQL, Redis, RabbitMQ)}


def main(names: list[str]) -> int:
    """Runs servers; returns the exit code."""
    wrong = [name for name in names if name not in KINDS]
    if wrong:
        print(f"tests.servers: there is no {wrong[0]!r}; choose among {', '.join(KINDS)}", file=sys.stderr)
        return 2
    enough = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: enough.set())
    with ExitStack() as stack:
        for name in names or KINDS:
            server = stack.enter_context(KINDS[name]())
            print(f"{name}: {server.url}", flush=True)
        print("ready; Ctrl-C stops and removes them", flush=True)
        enough.wait()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except FileNotFoundError as missing:
        sys.exit(f"tests.servers: {missing}")
