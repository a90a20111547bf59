"""What each worker says of itself, as the others read it."""

from __future__ import annotations

from typing import Any

from seawall._runtime import files
from seawall._runtime.directory import Directory


def load(directory: Directory, worker: str) -> dict[str, Any] | None:
    """Returns a worker's snapshot; None where there is none to be read."""
    path = directory.snapshot(worker)

    def problem(content: dict[str, Any]) -> str | None:
        if content.get("id") != worker:
            return f"the snapshot of another worker, {content.get('id')!r:.40}"
        return None if isinstance(content.get("sections"), dict) else "no sections"

    return files.parse(path, files.read(path), problem)
