"""Where a configuration comes from: a file or a dictionary, with values that the environment replaces."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Final

from seawall._config.problems import PolicyError, Problem

PREFIX: Final = "SEAWALL_POLICIES__"


class Source:
    """One configuration, with the place that each of its values is from.

    Args:
        given: the path of a TOML file, or what such a file would hold.
        environ: variables that replace single values: SEAWALL_POLICIES__RATES__RETRY__MAX_ATTEMPTS=2.
    """

    def __init__(self, given: str | os.PathLike[str] | Mapping[str, Any], environ: Mapping[str, str]) -> None:
        self.path = None if isinstance(given, Mapping) else os.fspath(given)
        self._given = given
        self._environ = environ
        self._origins: dict[tuple[str, ...], str] = {}

    @property
    def name(self) -> str:
        """What the source is called in problems."""
        return "the dictionary" if self.path is None else self.path

    def origin(self, key: tuple[str, ...]) -> str:
        """Returns the file, or the environment variable, that a value is from."""
        return next(
            (self._origins[key[:end]] for end in range(len(key), 0, -1) if key[:end] in self._origins), self.name
        )

    def read(self) -> dict[str, Any]:
        """Returns the configuration as of now. Raises PolicyError where it cannot be read."""
        tree = _copy(self._given) if isinstance(self._given, Mapping) else self._parsed()
        self._origins.clear()
        problems = [problem for name in sorted(self._environ) for problem in self._override(tree, name)]
        if problems:
            raise PolicyError(problems)
        return tree

    def _parsed(self) -> dict[str, Any]:
        import tomllib  # 5 ms that are spent where there is a file

        assert self.path is not None
        try:
            with open(self.path, "rb") as file:
                return tomllib.load(file)
        except OSError as error:
            reason = error.strerror or str(error)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            reason = f"no TOML: {error}"
        raise PolicyError([Problem(self.name, "the file", "unreadable", reason)])

    def _override(self, tree: dict[str, Any], name: str) -> list[Problem]:
        if not name.startswith(PREFIX):
            return []
        parts = name.removeprefix(PREFIX).split("__")
        place, key = tree.setdefault("policies", {}), ["policies"]
        for number, part in enumerate(parts):
            known = {_as_variable(each): each for each in place} if isinstance(place, dict) else {}
            last = number == len(parts) - 1
            if part not in known and not (last and number > 1):
                there = ", ".join(sorted(known)) or "nothing"
                reason = f"{part} is not in {'.'.join(key)}, where there is {there}"
                return [Problem(name, ".".join(key), repr(self._environ[name]), reason)]
            found = known.get(part, part.lower())
            key.append(found)
            if last:
                place[found] = _value(self._environ[name])
                self._origins[tuple(key)] = name
            else:
                place = place[found]
        return []


def _copy(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in given.items()}


def _as_variable(key: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", key.upper())


def _value(text: str) -> Any:
    """Reads a variable as TOML would; what is none is a text."""
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
