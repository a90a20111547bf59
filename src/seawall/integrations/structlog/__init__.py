"""Processors for structlog: the correlation id in every entry, and no passwords in any.

`structlog.configure(processors=[add_correlation_id, ..., mask_secrets, JSONRenderer()])`. structlog itself is not
needed to import this.
"""

from seawall.integrations.structlog.processors import add_correlation_id, mask_secrets

__all__ = ["add_correlation_id", "mask_secrets"]
