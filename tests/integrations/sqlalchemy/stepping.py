"""A task whose caller is cancelled at a chosen one of its suspensions."""

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any


class Stepped(Coroutine[Any, Any, Any]):
    """What a transaction's task does; the caller is cancelled at its `cancel_at`-th suspension, or as that ends."""

    def __init__(self, inner: Coroutine[Any, Any, Any], caller: asyncio.Task[Any], cancel_at: int, way: str) -> None:
        self._inner, self._caller, self._cancel_at, self._way = inner, caller, cancel_at, way
        self.suspensions = 0

    def send(self, value: Any) -> Any:
        """Goes on to the next suspension."""
        return self._suspended(self._inner.send(value))

    def throw(self, *error: Any) -> Any:
        """Goes on with an exception."""
        return self._suspended(self._inner.throw(*error))

    def close(self) -> None:
        """Closes the task's coroutine."""
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()

    def _suspended(self, future: Any) -> Any:
        self.suspensions += 1
        if self.suspensions == self._cancel_at:
            if self._way == "suspended" or future is None:
                self._caller.get_loop().call_soon(self._caller.cancel)
            else:
                future.add_done_callback(lambda done: self._caller.cancel())
        return future
