"""One signal's story on a page: the same lines that `polycopy-worker explain` prints, for each strategy a card."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from nicegui import ui
from rich.text import Text

from worker.errors import WorkerError
from worker.verbs.explain import Pair, Story
from worker.verbs.words import Columns, Labelled, Part, said
from worker.web.dashboard.frame import badge, panel, still_reads
from worker.web.dashboard.look import Look
from worker.web.dashboard.office import Visitor
from worker.web.dashboard.words import story_address

# The number that failed, what it met, and what would have passed: what somebody opens this page for.
_TELLING: Final = frozenset({"why", "failed", "limit", "would pass", "to pass"})


class StoryPanel:
    """`asked`: an id of the signal, of its order or of the exchange's, or how it begins."""

    def __init__(self, look: Look, visitor: Visitor, asked: str) -> None:
        self._look = look
        self._visitor = visitor
        self._asked = asked
        self._shown: dict[str, Any] | None = None
        self._complaint = ui.label().classes("text-negative text-sm")
        self._complaint.set_visibility(False)
        self._room = ui.column().classes("w-full gap-2 sm:gap-4")

    async def show(self) -> None:
        """As it stands; drawn anew only where something changed."""
        if not still_reads(self._visitor):
            return
        try:
            story = await self._look.story(self._asked)
        except WorkerError as error:
            self._complaint.set_text(f"The story cannot be read at the moment: {error}")
            self._complaint.set_visibility(True)
            return
        self._complaint.set_visibility(False)
        told = story.as_json() | {"now": None}
        if told != self._shown:
            self._shown = told
            self._room.clear()
            with self._room:
                _story(story)


def _story(story: Story) -> None:
    if not story.found:
        with panel("Not found"):
            _parts(story.lines())
            for one in story.ft_order_ids:
                ui.link(one, story_address(one)).classes("text-sm")
        return
    title = said((story.signal or {}).get("market_title") or "Signal")
    with panel(title, about="times in UTC", marker="signal"):
        _parts(_until_blank(story.lines()))
    for pair in story.pairs:
        _pair(pair)


def _pair(pair: Pair) -> None:
    with panel(f"{pair.strategy_id} ({pair.mode})", about=said(pair.told.get("reason")), marker="story"):
        with ui.row().classes("items-center gap-2"):
            badge(pair.state)
            if order := pair.told.get("order"):
                badge(said(order.get("status")))
        _parts(list(pair.lines())[1:])  # the first line is the heading above


def _parts(parts: Iterable[Part]) -> None:
    """Labelled values under each other; tables in between."""
    grid: ui.element | None = None
    for part in parts:
        if isinstance(part, Labelled):
            if grid is None:
                grid = ui.element("div").classes(
                    "w-full grid grid-cols-[5.5rem_1fr] sm:grid-cols-[8rem_1fr] gap-x-3 gap-y-1"
                )
            with grid:
                telling = "font-medium" if part.label in _TELLING else ""
                ui.label(part.label).classes(f"text-sm muted {telling}")
                ui.label(part.value).classes(f"text-sm break-words min-w-0 {telling}")
            continue
        grid = None
        if isinstance(part, Columns):
            table_of(part)
        elif part.plain.strip():
            ui.label(part.plain.strip()).classes("text-sm break-all")


def table_of(told: Columns) -> ui.table:
    """A table as the command prints it; two of its rows may begin alike, or be the same."""
    heading, *rows = told.rows
    columns = [
        {"name": str(n), "label": title, "field": str(n), "align": "right" if n in told.right else "left"}
        for n, title in enumerate(heading)
    ]
    cells = [
        {"key": number, **{str(n): cell for n, cell in enumerate(row)}} for number, row in enumerate(rows)
    ]
    return ui.table(rows=cells, columns=columns, row_key="key").classes("max-w-full").props("dense flat")


def _until_blank(parts: Iterator[Part]) -> Iterator[Part]:
    for part in parts:
        if isinstance(part, Text) and not part.plain:
            return
        yield part
