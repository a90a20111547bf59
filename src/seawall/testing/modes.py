"""Ways of running a service's tests in which retries do not get in the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from seawall._core.retry_run import MODE


@contextmanager
def no_retries() -> Iterator[None]:
    """Within it no failure is retried, in any thread: each call makes one attempt, and its failure is passed on."""
    with _mode(retrying=False):
        yield


@contextmanager
def instant() -> Iterator[None]:
    """Within it retries do not wait: as many attempts as ever, with delays of 0, in every thread."""
    with _mode(waiting=False):
        yield


@contextmanager
def _mode(retrying: bool = True, waiting: bool = True) -> Iterator[None]:
    old = MODE.retrying, MODE.waiting
    MODE.retrying, MODE.waiting = MODE.retrying and retrying, MODE.waiting and waiting
    try:
        yield
    finally:
        MODE.retrying, MODE.waiting = old
