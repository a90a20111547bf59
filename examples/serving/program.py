"""A program that serves until it is told to stop: its options, what it prints, how it ends."""

from __future__ import annotations

import argparse
import asyncio
import errno
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from examples.serving.site import HOST, StartError
from seawall.observe import mask_secrets


def run(name: str, serve: Callable[[], Coroutine[Any, Any, int]], port: int) -> int:
    """Runs a program to its end; returns its exit code: 1, with a word on stderr, where it could not start."""
    try:
        return asyncio.run(serve())
    except BrokenPipeError:  # whoever read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, StartError) as error:
        print(f"{name}: {_in_words(error, port)}", file=sys.stderr)
        return 1


def told_to_stop() -> asyncio.Event:
    """Returns what SIGTERM and Ctrl-C set from now on; the same again ends the program at once."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()

    def stop() -> None:
        stopping.set()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, os._exit, 128 + each)  # who says it twice does not want to wait

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop)
    return stopping


def show(urls: Mapping[str, str]) -> None:
    """Prints where each service is, and last, on a line of its own, that the gateway is ready."""
    for name, url in urls.items():
        print(f"{name:<10} {url}")
    print(f"listening on {urls['gateway']}", flush=True)


def parser_of(name: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """Returns a parser with the option that every program has."""
    parser = argparse.ArgumentParser(
        prog=f"python -m examples.{name}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=_port, default=0, metavar="P", help="of the gateway; default 0: a free one")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; use a number from 0 to 65535")
    return int(text)


def _in_words(error: Exception, port: int) -> str:
    match getattr(error, "errno", None):
        case errno.EADDRINUSE:
            return f"port {port} on {HOST} is in use already; choose another, or leave --port out for a free one"
        case errno.EACCES:
            return f"port {port} may not be used by you; choose one from 1024 on, or leave --port out for a free one"
        case _:
            return mask_secrets(str(error))
