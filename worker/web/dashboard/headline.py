"""The figures that an operator reads first: does it trade, what becomes of the signals, how fast, what needs a human."""

from dataclasses import dataclass
from typing import Final

from nicegui import ui

from worker.database.values import count_of, flag_of, row_of
from worker.verbs.standing import Standing
from worker.verbs.words import counted, percent, took, usd
from worker.web.dashboard.look import Figures

_TILES: Final = (
    ("executed", "Execution rate"),
    ("filled", "Orders filled"),
    ("dollars", "Dollars filled"),
    ("wire", "Insert to wire"),
    ("open", "Open orders"),
    ("human", "Needs a human"),
)


@dataclass(frozen=True, slots=True)
class _Tile:
    value: ui.label
    beneath: ui.label
    about: ui.label


class Headline:
    """A row of tiles."""

    def __init__(self) -> None:
        with ui.element("div").classes(
            "w-full grid grid-cols-2 sm:grid-cols-3 xl:grid-cols-6 gap-2 sm:gap-4"
        ):
            self._tiles = {name: _tile(name, title) for name, title in _TILES}

    def show_figures(self, figures: Figures) -> None:
        total, window = figures.audit.total, figures.choice.window.label
        orders = row_of(total, "orders")
        seen, placed = count_of(total, "seen"), count_of(orders, "placed")
        missed = count_of(total, "missed")
        holds = flag_of(total, "holds")
        self._tell(
            "executed",
            percent(total.get("executed_share")),
            (f"{count_of(total, 'executed')} of {counted(seen, 'signal')}" if seen else "no signal came")
            + (f", {missed} MISSED" if missed else ""),
            window,
            alarm=not holds,
        )
        self._tell(
            "filled",
            percent(orders.get("filled_share")),
            f"of {counted(placed, 'order')}, whole" if placed else "no order was placed",
            window,
        )
        spent = (
            f"{usd(orders.get('filled_usd'))} of {usd(orders.get('bet_usd'))}"
            if placed
            else "nothing was bet"
        )
        self._tell("dollars", percent(orders.get("fill_rate_usd")), spent, window)
        wire = row_of(figures.audit.answer, "latency_ms").get("insert_to_sent", {})
        slow = f"p50; p99 {took(wire.get('p99_ms'))}" if wire else "no order was sent"
        self._tell("wire", took(wire.get("p50_ms")), slow, window)

    def show_standing(self, standing: Standing) -> None:
        attempts, needs = row_of(standing.answer, "attempts"), len(standing.needs_human)
        unknown = count_of(attempts, "unknown")
        doubt = f"{unknown} of unknown outcome" if unknown else "every outcome is known"
        self._tell("open", str(count_of(attempts, "open")), doubt, "now", alarm=unknown > 0)
        self._tell("human", str(needs), "see the list" if needs else "nothing does", "now", alarm=needs > 0)

    def _tell(self, name: str, value: str, beneath: str, about: str, *, alarm: bool = False) -> None:
        tile = self._tiles[name]
        tile.value.set_text(value)
        tile.beneath.set_text(beneath)
        tile.about.set_text(about)
        tile.value.classes(add="text-negative" if alarm else "", remove="" if alarm else "text-negative")


def _tile(name: str, title: str) -> _Tile:
    with ui.card().classes("panel w-full p-3 gap-0").mark(f"tile-{name}"):
        with ui.row().classes("w-full items-baseline justify-between no-wrap gap-2"):
            ui.label(title).classes("text-xs font-medium")
            about = ui.label().classes("text-xs muted text-right whitespace-nowrap")
        value = ui.label("-").classes("text-2xl font-semibold leading-tight")
        beneath = ui.label().classes("text-xs muted")
    return _Tile(value, beneath, about)
