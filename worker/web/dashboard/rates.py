"""What became of the signals and the orders, over time: execution rate, fill rate, and how fast the wire was reached."""

from collections.abc import Callable, Sequence
from typing import Final

from nicegui import ui

from worker.database.values import Row, count_of, row_of
from worker.web.dashboard import charts
from worker.web.dashboard.frame import hidden_hint, panel
from worker.web.dashboard.look import Figures

Draw = Callable[[Sequence[Row]], charts.Options]

_EMPTY: Final = "No signal came in this time: choose a longer window above."
_NO_ORDERS: Final = "No order was placed in this time: why signals were skipped stands below."
_NOT_SENT: Final = "No order was sent in this time."


class Series:
    """One chart over time; where nothing happened, a sentence that says so."""

    def __init__(
        self, title: str, marker: str, draw: Draw, *, empty: str, counts: Callable[[Row], int]
    ) -> None:
        self._draw = draw
        self._counts = counts
        self._drawn: charts.Options = {}
        with panel(title, marker=marker) as self._about:
            self._empty = hidden_hint(empty)
            self._chart = ui.echart({}).classes("w-full min-h-64 grow")
            self._chart.set_visibility(False)

    def show(self, figures: Figures) -> None:
        choice = figures.choice
        self._about.set_text(f"{choice.label}, in steps of {choice.window.step_label}, UTC")
        known = any(self._counts(one) for one in figures.series)
        self._empty.set_visibility(not known)
        self._chart.set_visibility(known)
        options = self._draw(figures.series) if known else {}
        if options != self._drawn:
            self._drawn = options
            self._chart.options.clear()
            self._chart.options.update(options)
            self._chart.update()


def execution() -> Series:
    return Series(
        "Signals and execution rate",
        "execution",
        charts.execution_over_time,
        empty=_EMPTY,
        counts=lambda one: count_of(one, "seen"),
    )


def fills() -> Series:
    return Series(
        "Orders and fill rate, of dollars",
        "fills",
        charts.fills_over_time,
        empty=_NO_ORDERS,
        counts=lambda one: count_of(row_of(one, "orders"), "placed"),
    )


def wire() -> Series:
    return Series(
        "Insert to wire",
        "wire",
        charts.wire_over_time,
        empty=_NOT_SENT,
        counts=lambda one: count_of(one, "sent_count"),
    )
