"""Who obeys which section of the control file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from seawall._core.events import LOGGER
from seawall._runtime.complaints import speak
from seawall._runtime.control import Control, Section

Apply: TypeAlias = "Callable[[Section], object]"


class _Order:
    """One who obeys, and what it was last told."""

    __slots__ = ("apply", "section", "told")

    def __init__(self, section: str, apply: Apply) -> None:
        self.section = section
        self.apply = apply
        self.told: Section | None = None


class Orders:
    """All who obey a control file."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._orders: list[_Order] = []

    def add(self, section: str, apply: Apply) -> None:
        """Adds one who obeys a section."""
        self._orders.append(_Order(section, apply))

    def follow(self) -> int:
        """Tells everyone whose section has another content than before; returns the revision that is in force."""
        document = self._control.look()
        speak()
        for order in list(self._orders):
            content = document.section(order.section)
            if content != order.told:
                order.told = content
                self._tell(order, document.section(order.section))
        return document.revision

    def _tell(self, order: _Order, content: Section) -> None:
        try:
            order.apply(content)
        except Exception:
            LOGGER.exception("%r could not act by section %r of the control file", order.apply, order.section)
