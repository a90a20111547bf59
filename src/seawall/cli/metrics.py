"""`seawall metrics`: the figures of all workers together, without asking any of them."""

from __future__ import annotations

from typing import Any

import click

from seawall.cli.printing import show_json
from seawall.cli.service import Service, on_service
from seawall.observe.metrics import Metrics
from seawall.observe.table import ROWS

EPILOG = """\b
Example: seawall metrics --service shop | grep breaker

\b
Exit codes: 0 done, 1 there are no workers, 2 wrong usage.

\b
--json prints metrics: by Prometheus' name the type and the series, each with
labels and value; a histogram's value is an object with buckets (counts by
upper bound, not cumulative) and sum."""


@click.command(epilog=EPILOG)
@on_service
def metrics(service: Service, as_json: bool) -> None:
    """Print the metrics of all workers of a service, in Prometheus' text format.

    They are read from the workers' snapshots, which are a second old at most; no worker is asked.
    """
    service.workers()
    figures = Metrics(service.runtime)
    if as_json:
        show_json({"metrics": _listed(figures)})
    else:
        click.echo(figures.render(), nl=False)


def _listed(metrics: Metrics) -> dict[str, Any]:
    listed = {}
    for name, series in sorted(metrics.figures().items()):
        row = ROWS[name]
        listed[row.prometheus] = {
            "type": "gauge" if row.kind == "state" else row.kind,
            "series": [
                {"labels": dict(zip(row.labels, labels, strict=True)), "value": _value(value, row.buckets)}
                for labels, value in sorted(series.items())
            ],
        }
    return listed


def _value(value: float | list[float], bounds: Any) -> Any:
    if not isinstance(value, list):
        return value
    names = [f"{bound:g}" for bound in bounds] + ["+Inf"]
    return {"buckets": dict(zip(names, value[:-1], strict=True)), "sum": value[-1]}
