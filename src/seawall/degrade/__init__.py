"""Degrading on purpose: switches for every pattern and policy, at run time."""

from seawall.degrade.events import SwitchChanged
from seawall.degrade.switchboard import Switchboard

__all__ = ["SwitchChanged", "Switchboard"]
