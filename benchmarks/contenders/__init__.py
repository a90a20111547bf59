"""The rows of the table, by family, in the order of the budgets."""

from __future__ import annotations

import re

from benchmarks.contenders import breaker, embedded, five, footprint, guards, http, postgresql, retry, scale, web
from benchmarks.rows import Row

ROWS: list[Row] = [
    *retry.ROWS,
    *breaker.ROWS,
    *guards.ROWS,
    *five.ROWS,
    *http.ROWS,
    *web.ROWS,
    *footprint.ROWS,
    *scale.ROWS,
    *embedded.ROWS,
    *postgresql.ROWS,
]


def chosen(pattern: str) -> list[Row]:
    """Returns the rows whose key or title a regular expression is found in. Raises re.error for what is none."""
    wanted = re.compile(pattern, re.IGNORECASE)
    return [row for row in ROWS if wanted.search(row.key) or wanted.search(row.title)]
