"""Files that several processes share: replaced whole or not at all, and read as something that strangers may have left.

Nothing here follows a symbolic link, waits for a pipe, or reads without a bound.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from seawall._core.crash import point
from seawall._runtime.complaints import complain

LONGEST: Final = 16 * 1024 * 1024
"""Bytes of the largest file that is read or written: a snapshot has about 50,000."""

_SAFE: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


def replace(path: Path, text: str) -> None:
    """Makes `text` what a file holds, for whoever reads it: the old content or the new one, never a part.

    The file is its owner's alone (mode 0600). One writer at a time. Raises OSError, and then leaves the old content.
    """
    beside = unfinished(path)
    content = text.encode()
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _SAFE, 0o600)
        try:
            point(f"{path.suffix}: opened")
            while content:
                content = content[os.write(handle, content) :]
        finally:
            os.close(handle)
        point(f"{path.suffix}: written")
        os.replace(beside, path)
    except OSError:
        remove(beside)
        raise


def unfinished(path: Path) -> Path:
    """Returns where the next content of a file is written before it takes the file's place."""
    return path.with_name(f"{path.name}.new")


def append(path: Path, line: str) -> None:
    """Adds a line to a file in one write. Raises OSError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _SAFE, 0o600)
    try:
        os.write(handle, f"{line}\n".encode())
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Removes a file, if it is there and can be removed."""
    try:
        path.unlink()
    except OSError:
        pass


def read(path: Path) -> str | None:
    """Returns a file's text; None where there is no such file, or one that is no plain file of our own or too long."""
    try:
        handle = os.open(path, os.O_RDONLY | _SAFE)
    except FileNotFoundError:
        return None
    except OSError as error:
        complain(f"{path} cannot be read and is left out: {error.strerror}")
        return None
    try:
        facts = os.fstat(handle)
        problem = _problem(facts)
        if problem is not None:
            complain(f"{path} is {problem} and is left out")
            return None
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(LONGEST).decode(errors="replace")
    except OSError as error:
        complain(f"{path} cannot be read and is left out: {error.strerror}")
        return None
    finally:
        os.close(handle)


def _problem(facts: os.stat_result) -> str | None:
    if not stat.S_ISREG(facts.st_mode):
        return "no plain file"
    if hasattr(os, "geteuid") and facts.st_uid != os.geteuid():
        return "not ours"
    return f"longer than {LONGEST} bytes" if facts.st_size > LONGEST else None


def parse(path: Path, text: str | None, check: Callable[[dict[str, Any]], str | None]) -> dict[str, Any] | None:
    """Returns the JSON object that a text is; None, with a complaint, where it is none or `check` finds a problem."""
    if text is None:
        return None
    problem: str | None = "no JSON object"
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, dict):
        problem = check(content)
        if problem is None:
            return content
    complain(f"{path} is left out: it holds {problem}")
    return None
