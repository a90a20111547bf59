"""What a service says of itself: metrics over all its workers, and logs that name the request they are about."""

from seawall._core.masking import mask_secrets
from seawall.observe.formatters import JsonFormatter, TextFormatter
from seawall.observe.instruments import Counter, Gauge, Histogram
from seawall.observe.logs import configure_logging, correlate_logs
from seawall.observe.metrics import Metrics
from seawall.observe.prometheus import CONTENT_TYPE
from seawall.observe.table import TABLE, Row

__all__ = [
    "CONTENT_TYPE",
    "TABLE",
    "Counter",
    "Gauge",
    "Histogram",
    "JsonFormatter",
    "Metrics",
    "Row",
    "TextFormatter",
    "configure_logging",
    "correlate_logs",
    "mask_secrets",
]
