"""The command line: options, what is printed and logged, how it ends."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
from collections.abc import Sequence

from examples.dhanman.database import usable
from examples.dhanman.system import OTHERS, System
from examples.serving.program import parser_of, run, show, told_to_stop
from seawall.observe import configure_logging

DESCRIPTION = """\
Dhanman: accounting. Invoices with their ledger, a saga for each, payments,
notifications, exchange rates. What belongs to others (payment gateway, rates,
e-mail, SMS, reports) are stand-ins on free ports of 127.0.0.1.
When the line "listening on http://..." is there, all of them are ready."""

EPILOG = """\
try it:
  curl -i http://127.0.0.1:8000/invoices -H 'Content-Type: application/json' \\
    -H 'Idempotency-Key: first' \\
    -d '{"customer_id": "c-1", "amount": "125.00", "currency": "INR"}'
again with the same key: the same answer, and one invoice. Then /ledger,
/common/ledger, /notifications, /invoices/ID/saga; /health, /metrics and /docs.
A stand-in fails to order: curl -X PUT URL/faults -d '{"kind": "error"}'.

DHANMAN_DATABASE says the same as the option, unseen by other users of the
machine; DHANMAN_HEALTH_TOKEN opens the details of /health; DHANMAN_PAYMENTS
(RATES, EMAIL, SMS, REPORTS) is the URL of what takes a stand-in's place: several
processes on one database need the same payment gateway. SIGTERM and Ctrl-C
take no more requests, let those in flight end, and exit with 0; the same again
ends at once. Exit code 1: it could not start."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the servers; returns the exit code."""
    options = _parser().parse_args(arguments)
    configure_logging("text", level=logging.WARNING)
    for name in ("seawall", "dhanman"):
        logging.getLogger(name).setLevel(logging.INFO)
    return run("dhanman", lambda: _serve(options), options.port)


async def _serve(options: argparse.Namespace) -> int:
    stopping = told_to_stop()
    token = os.environ.get("DHANMAN_HEALTH_TOKEN") or None
    elsewhere = {name: url for name in OTHERS if (url := os.environ.get(f"DHANMAN_{name.upper()}"))}
    system = System(
        port=options.port, database=options.database, health_token=token, lease=options.lease, elsewhere=elsewhere
    )
    starting = asyncio.create_task(system.start())
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        return 0  # told to end before it served anybody
    starting.result()
    gc.freeze()  # what is there now stays; collecting through it again and again would hold up requests
    show(system.urls)
    await stopped
    await system.drain()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("dhanman", DESCRIPTION, EPILOG)
    parser.add_argument(
        "--database",
        type=_database,
        default=os.environ.get("DHANMAN_DATABASE"),
        metavar="URL",
        help="sqlite:///FILE or postgresql://...; default: a SQLite file that ends with the program",
    )
    parser.add_argument(
        "--lease",
        type=_seconds,
        default=30.0,
        metavar="S",
        help="seconds after which another process goes on with what a dead one held; default 30",
    )
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.2 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is no lease; use seconds from 0.2 to 3600")
    return seconds


def _database(text: str) -> str:
    try:
        usable(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
