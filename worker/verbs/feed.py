"""Decisions and fills as they happen: one line each, told once, in whatever order the database commits them.

Each look carries the cursor of the look before (`lt_feed`): what that one could not see is new. No clock is involved.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import timedelta

from rich.text import Text

from worker.database.reports import Reports
from worker.database.values import Row, text_of
from worker.orders.terms import StrategyId
from worker.verbs.words import moment, price, said, shares, styled

_HEADING = ("time (UTC)", "strategy", "signal", "what", "trade", "detail", "market")
_TIME, _ID_DIGITS, _WHAT, _TRADE, _DETAIL, _TITLE_MOST = 12, 8, 12, 24, 40, 40
_LABEL_MOST = 10
_GAP = "  "


async def follow(
    reports: Reports,
    *,
    back: timedelta,
    strategy_id: StrategyId | None,
    every_s: float | None,
) -> AsyncIterator[Row]:
    """Events since `back` ago, then as they happen, looking every `every_s` seconds; None: no further than now.

    Raises what `Reports` raises.
    """
    cursor: Row | None = None
    while True:
        page = await reports.feed(cursor, back=back, strategy_id=strategy_id)
        cursor = page.cursor
        for event in page.events:
            yield event
        if page.more:
            continue
        if every_s is None:
            return
        await asyncio.sleep(every_s)


class Sheet:
    """Events as lines under one heading, each column as wide as what it usually holds; a new day is said in between.

    `strategies`: all names that there are, so that nothing shifts while it runs.
    """

    def __init__(self, strategies: Iterable[str]) -> None:
        strategy = max(map(len, (*strategies, _HEADING[1])))
        self._widths = (_TIME, strategy, _ID_DIGITS, _WHAT, _TRADE, _DETAIL, 0)
        self._day = ""

    @property
    def is_empty(self) -> bool:
        return not self._day

    def heading(self) -> Text:
        return self._row(*(Text(word, style="dim") for word in _HEADING))

    def lines(self, event: Row) -> Iterator[Text]:
        """One event for a person, under its day (UTC)."""
        day, _, time = moment(event.get("at")).removesuffix("Z").partition(" ")
        if day != self._day:
            self._day = day
            yield Text(f"{day}, UTC", style="dim")
        what, detail = _told(event)
        label = _cut(said(event.get("token_label")), _LABEL_MOST)
        trade = f"{said(event.get('side'))} {label} @ {price(event.get('entry_price'))}"
        yield self._row(
            Text(time),
            Text(text_of(event, "strategy_id"), style="bold"),
            Text(said(event.get("ft_order_id"))[:_ID_DIGITS]),
            what,
            Text(trade),
            Text(detail),
            Text(said(event.get("market_title"))[:_TITLE_MOST]),
        )

    def _row(self, *cells: Text) -> Text:
        for cell, width in zip(cells, self._widths, strict=True):
            cell.pad_right(max(width - len(cell), 0))
        told = Text(_GAP).join(cells)
        told.rstrip()
        return told


def _cut(text: str, most: int) -> str:
    """What does not fit is told by `explain`."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _told(event: Row) -> tuple[Text, str]:
    """What happened, in a word, and its numbers."""
    match text_of(event, "event"):
        case "order.decided":
            state, reason = text_of(event, "state"), text_of(event, "reason")
            if reason == state:
                return styled(state), ""
            numbers = (
                f" ({said(event.get('value'))}, limit {said(event.get('limit'))})"
                if event.get("value")
                else ""
            )
            return styled(state), f"{reason}{numbers}"
        case "order.closed":
            return Text(text_of(event, "state"), style="yellow"), _cut(str(event.get("note") or ""), _DETAIL)
        case kind:
            amount = f"{shares(event.get('shares'))} at {price(event.get('price'))}"
            return Text(kind, style="green"), f"{amount}, {said(event.get('state'))}"
