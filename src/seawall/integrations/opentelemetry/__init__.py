"""OpenTelemetry: seawall's metrics as its instruments, events and spans of pipelines in its traces.

It needs the API alone (`seawall[otel]`); without an SDK everything here costs next to nothing.
"""

from seawall.integrations.opentelemetry.events import add_events
from seawall.integrations.opentelemetry.metrics import export_metrics
from seawall.integrations.opentelemetry.spans import Traced

__all__ = ["Traced", "add_events", "export_metrics"]
