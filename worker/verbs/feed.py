"""Decisions and fills as they happen: one line each, told once, in whatever order the database commits them.

Each look carries the cursor of the look before (`lt_feed`): what that one could not see is new. No clock is involved.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

from rich.text import Text

from worker.database.reports import Reports
from worker.database.values import Row, text_of
from worker.orders.terms import StrategyId
from worker.verbs.words import clock_time, said, styled

_TITLE_MOST = 40
_ID_DIGITS = 8


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


def event_line(event: Row) -> Text:
    """One event for a person."""
    trade = f"{said(event.get('side'))} {said(event.get('token_label'))} @ {said(event.get('entry_price'))}"
    return Text.assemble(
        f"{clock_time(event.get('at'))}  ",
        (f"{text_of(event, 'strategy_id')}  ", "bold"),
        f"{said(event.get('ft_order_id'))[:_ID_DIGITS]}  ",
        *_told(event),
        f"  {trade}  {said(event.get('market_title'))[:_TITLE_MOST]}",
    )


def _told(event: Row) -> tuple[Text | str, ...]:
    match text_of(event, "event"):
        case "order.decided":
            state, reason = text_of(event, "state"), text_of(event, "reason")
            if reason == state:
                return (styled(state),)
            numbers = (
                f" ({said(event.get('value'))}, limit {said(event.get('limit'))})"
                if event.get("value")
                else ""
            )
            return styled(state), f" {reason}{numbers}"
        case "order.closed":
            return Text(text_of(event, "state"), style="yellow"), f" {said(event.get('note'))}"
        case kind:
            amount = f"{said(event.get('shares'))} shares at {said(event.get('price'))}"
            return Text(kind, style="green"), f" {amount}, {said(event.get('state'))}"
