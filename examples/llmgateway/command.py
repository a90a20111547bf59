"""The command line: options, what is printed and logged, how it ends."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
from collections.abc import Sequence

from examples.llmgateway.database import usable
from examples.llmgateway.provider import Faults
from examples.llmgateway.system import System
from examples.serving.program import parser_of, run, show, told_to_stop
from seawall.observe import configure_logging

DESCRIPTION = """\
LLM gateway: one API in front of two providers of language models. The
providers, and the list of models, are stand-ins on free ports of 127.0.0.1.
When the line "listening on http://..." is there, all of them are ready."""

EPILOG = """\
try it:
  curl http://127.0.0.1:8000/v1/chat -H 'Content-Type: application/json' \\
    -d '{"messages": [{"role": "user", "content": "Hello"}]}'
  curl -N http://127.0.0.1:8000/v1/chat -H 'Content-Type: application/json' \\
    -d '{"messages": [{"role": "user", "content": "Hello"}], "stream": true}'
/health, /metrics and /docs show how it is and what it can do; /openapi.json is
for programs. python -m examples.llmgateway.load puts it under load.

LLMGATEWAY_DATABASE and LLMGATEWAY_BROKER say the same as the options, unseen
by other users of the machine; LLMGATEWAY_HEALTH_TOKEN opens the details of
/health. SIGTERM and Ctrl-C take no more requests, let those in flight end, and
exit with 0; the same again ends at once. Exit code 1: it could not start."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the servers; returns the exit code."""
    options = _parser().parse_args(arguments)
    configure_logging("text", level=logging.WARNING)
    for name in ("seawall", "llmgateway"):
        logging.getLogger(name).setLevel(logging.INFO)
    for name in ("aio_pika", "aiormq"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # our own lines tell of a broker that is away
    return run("llmgateway", lambda: _serve(options), options.port)


async def _serve(options: argparse.Namespace) -> int:
    stopping = told_to_stop()
    token = os.environ.get("LLMGATEWAY_HEALTH_TOKEN") or None
    system = System(port=options.port, database=options.database, broker=options.broker, health_token=token)
    for number, provider in enumerate(system.providers.values()):
        provider.faults = Faults(options.faults, seed=number)
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
    parser = parser_of("llmgateway", DESCRIPTION, EPILOG)
    add, environ = parser.add_argument, os.environ.get
    add(
        "--database",
        type=_database,
        default=environ("LLMGATEWAY_DATABASE"),
        metavar="URL",
        help="sqlite:///FILE or postgresql://...; default: a SQLite file that ends with the program",
    )
    add(
        "--broker",
        type=_broker,
        default=environ("LLMGATEWAY_BROKER"),
        metavar="URL",
        help="amqp://... of a RabbitMQ; default: a queue in the program",
    )
    add("--faults", type=_share, default=0.0, metavar="S", help="share of requests that providers fail; default 0")
    return parser


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share; use a number from 0 to 1, as 0.1")
    return share


def _database(text: str) -> str:
    try:
        usable(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _broker(text: str) -> str:
    if not text.startswith(("amqp://", "amqps://")):
        raise argparse.ArgumentTypeError("the broker is no URL of RabbitMQ; use amqp://USER@HOST/VHOST")
    return text
