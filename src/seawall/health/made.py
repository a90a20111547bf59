"""What is made with arguments by name, and says which ones it takes where one is wrong."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from seawall._core import arguments


class Made:
    """The base of what users make: a class that has `__new__` itself would hide what its `__init__` takes."""

    example: ClassVar[str]
    """A right way to make one, for errors."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Raises TypeError for unknown and missing arguments, with what would be right."""
        arguments.check_names(cls, kwargs, len(args), cls.example)
        return super().__new__(cls)
