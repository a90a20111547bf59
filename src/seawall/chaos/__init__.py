"""Storms: the same requests to two ways of running a system while its dependencies fail by a script, side by side."""

from seawall.chaos.measures import Bin, Measures
from seawall.chaos.progress import Progress, VariantProgress
from seawall.chaos.proxy import Proxy
from seawall.chaos.report import write_report
from seawall.chaos.result import Result, VariantResult
from seawall.chaos.scenario import Answer, Conditions, Counts, Fault, Scenario, ScenarioError, Variant
from seawall.chaos.script import FaultPeriod
from seawall.chaos.storm import run

__all__ = [
    "Answer",
    "Bin",
    "Conditions",
    "Counts",
    "Fault",
    "FaultPeriod",
    "Measures",
    "Progress",
    "Proxy",
    "Result",
    "Scenario",
    "ScenarioError",
    "Variant",
    "VariantProgress",
    "VariantResult",
    "run",
    "write_report",
]
