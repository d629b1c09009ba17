"""Predicted against measured memory as a table."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from corral.planner.accuracy import TERMS, Row, Summary


def show(summary: Summary) -> None:
    """Print it."""
    table = Table("Line", "Model", *(f"{term} MiB" for term in TERMS), "Total, %")
    for column in table.columns[2:]:
        column.justify = "right"
    for row in summary.rows:
        error = row.error_pct("total")
        table.add_row(
            str(row.line), row.model, *(_pair(row, term) for term in TERMS), "" if error is None else f"{error:+.2f}"
        )
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(table)
    console.print(
        f"Totals, predicted against measured: {summary.mean_abs_pct:.2f} % off on average, {summary.worst_pct:.2f} % "
        f"at worst; at worst {summary.worst_under_mib:.1f} MiB too low where all terms are known.",
        soft_wrap=True,
    )


def _pair(row: Row, term: str) -> str:
    if term not in row.measured:
        return ""
    predicted = f"{row.predicted[term]:.2f}" if term in row.predicted else "?"
    return f"{predicted} / {row.measured[term]:g}"
