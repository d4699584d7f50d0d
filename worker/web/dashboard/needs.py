"""What nobody but a human can mend, with what to type."""

from nicegui import ui

from worker.database.values import Row
from worker.verbs.standing import Standing
from worker.verbs.words import said, since
from worker.web.dashboard.frame import hint, panel


class NeedsPanel:
    def __init__(self) -> None:
        self._shown: tuple[Row, ...] | None = None
        with panel("Needs a human", about="now", marker="needs"):
            self._list = ui.column().classes("w-full gap-3 max-h-[34rem] overflow-y-auto no-wrap")

    def show(self, standing: Standing) -> None:
        if standing.needs_human == self._shown:
            return
        self._shown = standing.needs_human
        self._list.clear()
        with self._list:
            if not standing.needs_human:
                hint(
                    "Nothing needs you: no order of unknown outcome, no switch latched, no strategy without a worker."
                )
            for one in standing.needs_human:
                _need(one, standing.answer.get("now"))


def _need(one: Row, now: object) -> None:
    with ui.column().classes("w-full gap-0 border-l-4 border-red-600 pl-3"):
        with ui.row().classes("w-full items-baseline justify-between gap-2"):
            ui.label(said(one.get("what")).replace("_", " ")).classes("text-sm font-semibold")
            if one.get("since"):
                ui.label(since(one.get("since"), now)).classes("text-xs muted")
        ui.label(said(one.get("thing"))).classes("text-xs muted break-all")
        ui.label(said(one.get("why"))).classes("text-sm break-words")
        ui.label(said(one.get("fix"))).classes("text-xs font-mono break-all")
