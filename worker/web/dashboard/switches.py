"""Pause, resume, kill, arm from a page: asked back with what it is about, and done by the command's own functions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from nicegui import ui

from worker.database.controls import ControlAction
from worker.database.reports import Reports
from worker.database.values import text_of
from worker.errors import WorkerError
from worker.orders.terms import StrategyId
from worker.verbs.switches import Order, affected, turn
from worker.web.dashboard.frame import badge
from worker.web.dashboard.office import Visitor

_MEANS: Final = {
    ControlAction.PAUSE: "New signals are skipped as strategy_paused until it is resumed. Open orders go on.",
    ControlAction.RESUME: "New signals trade again, if nothing else holds them.",
    ControlAction.KILL: "Nothing new is sent, and resting orders are taken off the book, until somebody arms again.",
    ControlAction.ARM: "Takes back a kill and a freeze, and arms a breaker that has tripped: what was lost is accepted.",
}
_DANGEROUS: Final = frozenset({ControlAction.KILL, ControlAction.ARM})
_NEED_REASON: Final = frozenset({ControlAction.PAUSE, ControlAction.KILL})
_LOCKED: Final = "Set POLYCOPY_WEB_TOKEN where `polycopy-worker web` runs to act from here."


@dataclass(frozen=True, slots=True)
class Switches:
    """`done`: called when a switch was turned."""

    reports: Reports
    visitor: Visitor
    done: Callable[[], None]

    def button(
        self, action: ControlAction, strategy_id: StrategyId | None = None, *, label: str = ""
    ) -> ui.button:
        """Asks back before it acts; who has not shown the token is asked for that first."""
        colour = "negative" if action is ControlAction.KILL else "primary"
        whom = strategy_id or "everything"
        made = ui.button(label or action.value, on_click=lambda: self._asked(action, strategy_id)).props(
            f'dense no-caps outline color={colour} size=sm padding="2px 10px"'
        )
        made.props["aria-label"] = (
            f"{action.value} {whom}"  # a name is the platform's: it is not to be parsed
        )
        made.mark(f"{action.value}-{whom}").classes("switch")
        if not self.visitor.may_act and not self.visitor.may_sign_in:
            made.disable()
            made.tooltip(_LOCKED)
        return made

    async def _asked(self, action: ControlAction, strategy_id: StrategyId | None) -> None:
        if not self.visitor.may_act:
            ui.navigate.to("/login")
            return
        reason = "" if action in _NEED_REASON else f"{action.value} from the dashboard"
        try:
            about = await affected(self.reports, Order(action, strategy_id, reason=reason or "-"))
        except WorkerError as error:
            ui.notify(str(error), type="negative", position="top")
            return
        with ui.dialog() as dialog, ui.card().classes("panel w-96 max-w-full gap-3"):
            ui.label(f"{action.value.capitalize()} {strategy_id or 'everything'}?").classes(
                "text-lg font-semibold"
            )
            ui.label(_MEANS[action]).classes("text-sm")
            with ui.column().classes("w-full gap-1 max-h-48 overflow-y-auto no-wrap"):
                for one in about:
                    with ui.row().classes("w-full items-center justify-between no-wrap"):
                        ui.label(f"{text_of(one, 'strategy_id')} ({text_of(one, 'mode')})").classes("text-sm")
                        badge(text_of(one, "standing"))
                if not about:
                    ui.label("No strategy is active.").classes("muted text-sm")
            said = (
                ui.input("Reason: whoever finds it later reads it")
                .props("outlined dense autofocus")
                .classes("w-full")
                .mark("reason")
            )
            said.set_visibility(action in _NEED_REASON)

            async def confirmed() -> None:
                why = str(said.value or "").strip() or reason
                if not why:
                    ui.notify("A reason is needed.", type="warning", position="top")
                    return
                dialog.submit(why)

            with ui.row().classes("w-full justify-end"):
                ui.button("Cancel", on_click=dialog.close).props("flat no-caps")
                ui.button(action.value.capitalize(), on_click=confirmed).props(
                    f"no-caps color={'negative' if action in _DANGEROUS else 'primary'}"
                ).mark("confirm")
        why = await dialog
        dialog.delete()
        if why is not None:
            await self._turn(Order(action, strategy_id, reason=str(why)))

    async def _turn(self, order: Order) -> None:
        if not self.visitor.may_act:  # the dialog may have stood open for longer than the session lasts
            ui.navigate.to("/login")
            return
        try:
            turned = await turn(self.reports, order)
        except WorkerError as error:
            ui.notify(str(error), type="negative", position="top")
            return
        told = " ".join(str(getattr(part, "plain", "")) for part in list(turned.lines())[:1])
        ui.notify(told, type="info", position="top")
        self.done()
