"""The dashboard's first page: what is chosen at the top, everything else below, each part looking by itself."""

import structlog
from nicegui import ui

from worker.database.values import text_of
from worker.errors import WorkerError
from worker.verbs.standing import Standing
from worker.web.dashboard.breakdown import LatencyPanel, OrderTypesPanel, ReasonsPanel, StrategyRatesPanel
from worker.web.dashboard.frame import column, still_reads
from worker.web.dashboard.header import Header
from worker.web.dashboard.headline import Headline
from worker.web.dashboard.look import Choice, complaint
from worker.web.dashboard.needs import NeedsPanel
from worker.web.dashboard.office import Office, Visitor
from worker.web.dashboard.orders import OrdersPanel
from worker.web.dashboard.rates import execution, fills, wire
from worker.web.dashboard.strategies import StrategiesPanel
from worker.web.dashboard.switches import Switches

log = structlog.get_logger(__name__)

_LAST_GROWS = "max-xl:contents [&>*:last-child]:grow"


class Board:
    """One viewer's page."""

    def __init__(self, office: Office, visitor: Visitor, choice: Choice) -> None:
        self._office = office
        self._visitor = visitor
        self._choice = choice
        self._version = -1
        self._looking = False
        self._header = Header(visitor, choice, self._choose)
        with column():
            self._reading = ui.label("Reading the figures ...").classes("muted text-sm")
            self._complaint = ui.label().classes("text-negative text-sm").mark("complaint")
            self._complaint.set_visibility(False)
            self._headline = Headline()
            with ui.element("div").classes("w-full grid grid-cols-1 xl:grid-cols-3 gap-2 sm:gap-4"):
                with _stack("max-xl:contents xl:col-span-2 [&>*:first-child]:grow"):
                    self._orders = OrdersPanel(office.tape, lambda: self._choice)
                    # Where all stands in one column, what needs somebody comes before it.
                    with ui.element("div").classes(
                        "w-full grid grid-cols-1 md:grid-cols-2 gap-2 sm:gap-4 max-xl:order-1"
                    ):
                        self._execution, self._fills = execution(), fills()
                with _stack(_LAST_GROWS):
                    self._needs = NeedsPanel()
                    self._strategies = StrategiesPanel(Switches(office.reports, visitor, self._turned))
            with ui.element("div").classes("w-full grid grid-cols-1 lg:grid-cols-2 gap-2 sm:gap-4"):
                self._reasons, self._wire = ReasonsPanel(), wire()
            self._latency, self._by_strategy, self._by_type = (
                LatencyPanel(),
                StrategyRatesPanel(),
                OrderTypesPanel(),
            )
        ui.timer(office.hear_every_s, self._hear)
        ui.timer(office.look_every_s, self._look)

    def _hear(self) -> None:
        if not still_reads(self._visitor):
            return
        version = self._office.tape.watch()
        if version != self._version:
            self._version = version
            self._orders.show()
            self._orders.toast()

    async def _look(self) -> None:
        """What is not older than a few seconds is not read anew: `Look` sees to that, for all viewers together."""
        if self._looking or not still_reads(self._visitor):
            return
        self._looking = True
        try:
            standing = await self._office.look.standing()
            figures = await self._office.look.figures(choice := self._choice)
        except WorkerError as error:
            self._complaint.set_text(complaint(error))
            self._complaint.set_visibility(True)
            return
        finally:
            self._looking = False
            self._reading.set_visibility(False)
        failure = self._office.tape.failure
        self._complaint.set_text(failure and f"The live orders cannot be read at the moment: {failure}")
        self._complaint.set_visibility(bool(failure))
        self._show_standing(standing)
        if choice != self._choice:
            return  # chosen anew meanwhile: that look is under way
        self._headline.show_figures(figures)
        for panel in (self._execution, self._fills, self._wire, self._reasons, self._latency):
            panel.show(figures)
        self._by_strategy.show(figures)
        self._by_type.show(figures)

    def _show_standing(self, standing: Standing) -> None:
        names = [text_of(one, "strategy_id") for one in standing.strategies]
        self._header.show(standing, names)
        self._headline.show_standing(standing)
        self._needs.show(standing)
        self._strategies.show(standing)

    async def _choose(self, choice: Choice) -> None:
        if not still_reads(self._visitor):
            return
        self._choice = choice
        ui.navigate.history.replace(choice.address)  # so that a reload shows the same
        self._orders.show()
        await self._look()

    def _turned(self) -> None:
        self._office.look.forget()
        ui.timer(0, self._look, once=True)


def _stack(more: str) -> ui.element:
    """Panels under each other; one of them grows, so that all reach as far down as their neighbours."""
    return ui.element("div").classes(f"flex flex-col gap-2 sm:gap-4 min-w-0 {more}")
