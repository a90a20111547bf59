"""Texts that were not made for others to read, on their way into a log."""

from __future__ import annotations

from seawall._core.masking import mask_secrets


def one_line(text: str, limit: int = 300) -> str:
    """Returns `text` without secrets and on one line, so that it cannot forge a second one; cut at `limit`."""
    line = mask_secrets(text[: 8 * limit])  # before it is cut: half a password is one too
    if not line.isprintable():
        line = "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in line)
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


def told(error: BaseException) -> str:
    """Returns an exception's class and text on one line without secrets, also of one whose `__str__` raises."""
    try:
        text = str(error)
    except Exception:
        text = "its text cannot be made"
    return one_line(f"{type(error).__name__}: {text}")
