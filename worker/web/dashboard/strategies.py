"""Each strategy: how it stands, where its money is, and its switches."""

from typing import Final

from nicegui import ui

from worker.database.controls import ControlAction
from worker.database.values import Row, count_of, row_of, rows_of, text_of
from worker.orders.terms import StrategyId
from worker.verbs.standing import Standing
from worker.verbs.words import counted, said, usd
from worker.web.dashboard import charts
from worker.web.dashboard.drawn import Chart
from worker.web.dashboard.frame import badge, hint, panel
from worker.web.dashboard.switches import Switches

_MONEY: Final = (
    ("available", "available_usd"),
    ("locked", "locked_usd"),
    ("cooling down", "cooldown_usd"),
    ("realised", "realised_usd"),
    ("today", "realised_today_usd"),
    ("peak equity", "peak_equity_usd"),
)
_ROW_PX: Final = 30
_LEGEND_PX: Final = 84


class StrategiesPanel:
    """Figures change in place; buttons only where there are others to press, or a click would meet a new one."""

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self._built: object = None
        self._cards: list[_Card] = []
        with panel("Strategies and capital", about="now, US dollars", marker="strategies"):
            self._chart = Chart()
            self._room = ui.column().classes("w-full gap-3 no-wrap")

    def show(self, standing: Standing) -> None:
        strategies = standing.strategies
        drawn = charts.capital(strategies) if strategies else {}
        self._chart.show(drawn, _LEGEND_PX + _ROW_PX * len(strategies))
        of_everything = {
            text_of(one, "action")
            for one in rows_of(standing.answer, "controls")
            if one.get("scope") == "global"
        }
        built = of_everything, [_stands(one) for one in strategies]
        if built != self._built:
            self._built = built
            self._room.clear()
            with self._room:
                self._everything(of_everything)
                self._cards = [_Card(one, self._switches) for one in strategies]
                if not strategies:
                    hint("No strategy is active: set is_active of one in lt_strategies, and it stands here.")
        for card, one in zip(self._cards, strategies, strict=True):
            card.show(one)

    def _everything(self, held: set[str]) -> None:
        with ui.row().classes("w-full items-center gap-2"):
            ui.label("Everything").classes("text-sm font-medium grow")
            if "pause" in held:
                badge("paused")
            if "kill" in held:
                badge("killed")
            self._switches.button(ControlAction.RESUME if "pause" in held else ControlAction.PAUSE)
            self._switches.button(ControlAction.ARM if "kill" in held else ControlAction.KILL)


class _Card:
    def __init__(self, one: Row, switches: Switches) -> None:
        strategy_id = StrategyId(text_of(one, "strategy_id"))
        held = rows_of(one, "switches")
        own = {text_of(s, "action") for s in held if s.get("scope") == f"strategy:{strategy_id}"}
        latched = own & {"kill", "freeze"} or one.get("breaker_active")
        self._money: dict[str, ui.label] = {}
        with ui.column().classes("w-full gap-1 pt-2 border-t border-slate-400/25"):
            with ui.row().classes("w-full items-center gap-2 no-wrap"):
                with ui.column().classes("grow gap-0 min-w-0"):
                    with ui.row().classes("items-center gap-x-2 gap-y-0 min-w-0"):
                        name = f"{strategy_id} ({text_of(one, 'mode')})"
                        ui.label(name).classes("text-sm font-medium break-all")
                        badge(text_of(one, "standing")).mark(f"standing-{strategy_id}")
                    self._open = ui.label().classes("text-xs muted")
                switches.button(ControlAction.RESUME if "pause" in own else ControlAction.PAUSE, strategy_id)
                switches.button(ControlAction.ARM if latched else ControlAction.KILL, strategy_id)
            with ui.element("div").classes("w-full grid grid-cols-3 gap-x-3 gap-y-1"):
                for title, key in _MONEY:
                    with ui.column().classes("gap-0"):
                        ui.label(title).classes("text-xs muted")
                        self._money[key] = ui.label().classes("text-sm")
            for switch in held:
                told = f"{said(switch.get('action'))} by {said(switch.get('actor'))}: {said(switch.get('reason'))}"
                ui.label(told).classes("text-xs muted break-words")

    def show(self, one: Row) -> None:
        orders = count_of(one, "open_orders")
        self._open.set_text(counted(orders, "open order") if orders else "no order is open")
        capital = row_of(one, "capital")
        for key, label in self._money.items():
            label.set_text(usd(capital.get(key)))


def _stands(one: Row) -> tuple[object, ...]:
    """What buttons, badges and switches are made of."""
    return tuple(
        str(one.get(name)) for name in ("strategy_id", "mode", "standing", "switches", "breaker_active")
    )
