"""What tests of services need: time that is driven, events that are kept, crashes that are planned."""

from seawall._core.crash import point
from seawall.testing.clock import FakeClock
from seawall.testing.crash import Crash, CrashReport, CrashRunner
from seawall.testing.modes import instant, no_retries
from seawall.testing.recorder import Recorder

__all__ = ["Crash", "CrashReport", "CrashRunner", "FakeClock", "Recorder", "instant", "no_retries", "point"]
