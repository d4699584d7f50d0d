"""A table and a chart that are drawn anew only where something changed: a page looks every two seconds."""

from collections.abc import Sequence
from typing import Any, Final

from nicegui import ui

from worker.web.dashboard.charts import Options
from worker.web.dashboard.frame import hidden_hint

Rows = list[dict[str, Any]]

# Quasar's `hidden` wins over every breakpoint, so what a phone leaves out is said the other way round.
_ON_PHONE: Final = "Quasar.Screen.lt.md"
WIDE_ONLY: Final = {"classes": "max-md:hidden one-line", "headerClasses": "max-md:hidden one-line"}


def columns(
    *titles: tuple[str, str], left: Sequence[str] = (), wide: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """`(field, title)` of each column. `left`: words, not numbers; `wide`: left out on a phone."""
    return [
        {
            "name": name,
            "label": title,
            "field": name,
            "align": "left" if name in left else "right",
            **(WIDE_ONLY if name in wide else {}),
        }
        for name, title in titles
    ]


class Table:
    """Rows, each with a `key`; a sentence where there are none. `wraps`: its words go on in a next line.

    `as_list`: has more columns than a phone has room for, and is a list there, each figure under its name.
    """

    def __init__(
        self, heading: list[dict[str, Any]], empty: str, *, wraps: bool = False, as_list: bool = False
    ) -> None:
        self._shown: Rows | None = None
        self._empty = hidden_hint(empty)
        self._table = ui.table(rows=[], columns=heading, row_key="key").classes("w-full")
        self._table.props("dense flat wrap-cells" if wraps else "dense flat")
        if as_list:
            self._table.props[":grid"] = _ON_PHONE
        self._table.set_visibility(False)

    def show(self, rows: Rows) -> None:
        if rows == self._shown:
            return
        self._shown = rows
        self._empty.set_visibility(not rows)
        self._table.set_visibility(bool(rows))
        self._table.rows = rows


class Chart:
    """As tall as what it shows."""

    def __init__(self) -> None:
        self._drawn: Options = {}
        self._chart = ui.echart({}).classes("w-full")

    def show(self, options: Options, height_px: int) -> None:
        """`options` empty: there is nothing to draw, and no room is taken."""
        self._chart.set_visibility(bool(options))
        if options == self._drawn:
            return
        self._drawn = options
        self._chart.style(f"height: {height_px}px")
        self._chart.options.clear()
        self._chart.options.update(options)
        self._chart.update()
