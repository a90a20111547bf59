"""What somebody may have meant."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Returns the known word that is most like `word`; None where none is like it."""
    import difflib  # 4 ms that only a mistake needs

    return next(iter(difflib.get_close_matches(word, list(known), n=1)), None)
