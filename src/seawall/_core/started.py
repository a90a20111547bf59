"""What runs from a start to a stop."""

from __future__ import annotations

from typing import Self


class Started:
    """Runs from `start` to `stop`, or for the length of a `with` or `async with` block."""

    def start(self) -> None:
        """Begins."""
        raise NotImplementedError

    def stop(self) -> None:
        """Ends."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.stop()
