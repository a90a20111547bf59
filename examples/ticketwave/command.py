"""The command line: options, what is printed and logged, how it ends."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
from collections.abc import Sequence

from examples.serving.program import parser_of, run, show, told_to_stop
from examples.ticketwave.control import Control, tell
from examples.ticketwave.policies import Pace
from examples.ticketwave.system import System
from seawall import CircuitChanged, FellBack, Retried, correlation_id, listen

DESCRIPTION = """\
TicketWave, a ticket shop, as five HTTP servers in one process: a gateway for
customers, catalog, booking, and stand-ins for Stripe and PayPal. Everything
starts on free ports of 127.0.0.1; the gateway can be given one. When the line
"listening on http://..." is there, all of them are ready."""

EPILOG = """\
try it, with --port 8000:
  curl 'http://127.0.0.1:8000/api/events?category=comedy&pageSize=3'
  curl http://127.0.0.1:8000/api/bookings -H 'Content-Type: application/json' \\
    -d '{"eventId": "comedy-001", "tickets": 2, "card": "tok_visa"}'
The card tok_declined is declined. comedy-004 has 200 tickets, 10 an order at
most. /openapi.json describes the interface. To see how all this fares while
what it depends on fails: seawall storm examples.ticketwave.storm

SIGTERM and Ctrl-C take no more requests, let those in flight end, and exit
with 0; the same again ends at once (143, 130). Exit code 1: it could not
start."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the servers; returns the exit code."""
    options = _parser().parse_args(arguments)
    _log(options)
    return run("ticketwave", lambda: _serve(options), options.port)


async def _serve(options: argparse.Namespace) -> int:
    stopping = told_to_stop()
    system = System(pace=options.pace, bare=options.bare, port=options.port, proxied=options.control)
    await system.start()
    gc.freeze()  # what is there now stays; collecting through it again and again would hold up requests
    if options.control:
        return await _controlled(system, stopping)
    show(system.urls)
    await stopping.wait()
    await system.drain()
    return 0


async def _controlled(system: System, stopping: asyncio.Event) -> int:
    listen(system.tally, Retried, CircuitChanged, FellBack)
    tell({"listening": dict(system.urls)})
    obeying = asyncio.create_task(Control(system).obey())
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait([obeying, stopped], return_when=asyncio.FIRST_COMPLETED)
    if obeying.done():
        obeying.result()
        logging.disable()  # nobody is there any more for whom anything would have to be finished, or logged
        await system.abandon()
        return 0
    obeying.cancel()
    await system.drain()
    return 0


class _Lines(logging.Formatter):
    """A line for each record, with the correlation id of the request that it belongs to."""

    def format(self, record: logging.LogRecord) -> str:
        record.correlation = correlation_id() or "-"
        return super().format(record)


def _log(options: argparse.Namespace) -> None:
    """Shows seawall's events and our own; requests when asked for; of uvicorn only what went wrong."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines("%(asctime)s %(levelname)-7s %(name)-10s [%(correlation)s] %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    if options.control and not options.verbose:
        logging.disable(logging.WARNING)  # the parent counts, and shows what matters
    logging.getLogger("seawall").setLevel(logging.INFO)
    logging.getLogger("ticketwave").setLevel(logging.DEBUG if options.verbose else logging.INFO)


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("ticketwave", DESCRIPTION, EPILOG)
    add = parser.add_argument
    add("--bare", action="store_true", help="the same application without seawall, to compare with")
    add(
        "--pace",
        type=_pace,
        default=Pace(),
        metavar="W[:B]",
        help="divide waits and time-outs by W, breaks of circuits by B (default: W); default 1",
    )
    add("--verbose", action="store_true", help="log every request too")
    add("--control", action="store_true", help="take orders as JSON lines on standard input; its end ends the program")
    return parser


def _pace(text: str) -> Pace:
    waits, _, breaks = text.partition(":")
    try:
        pace = Pace(float(waits), float(breaks or waits))
    except ValueError:
        pace = Pace(0, 0)
    if not (1e-3 <= pace.waits <= 1e3 and 1e-3 <= pace.breaks <= 1e3):  # not a number fails this too
        raise argparse.ArgumentTypeError(f"{text!r} is no pace; use one or two numbers from 0.001 to 1000, as 30:10")
    return pace
