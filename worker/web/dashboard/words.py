"""How the pages say things: the colour of a word, and the row that an order or a no is on the tape.

Figures are said by `worker.verbs.words`, as the command says them; here is only what a screen adds.
"""

from typing import Any, Final
from urllib.parse import quote

from worker.database.values import Row
from worker.verbs.words import NOTHING, clock_time, percent, said, usd

# Quasar's names: a badge of each reads well on light and dark.
_COLOURS: Final = {
    "FILLED": "green-7", "executed": "green-7", "ok": "green-7", "trading": "green-7",
    "PARTIAL": "teal-6", "PENDING": "blue-7", "deferred": "indigo-5", "undecided": "purple-5",
    "skipped": "amber-9", "paused": "amber-9", "degraded": "amber-9", "other_mode": "amber-9",
    "CANCELLED": "blue-grey-6", "inactive": "blue-grey-6", "out_of_scope": "blue-grey-6",
    "REJECTED": "red-7", "LOST": "red-9", "killed": "red-7", "frozen": "red-7", "breaker": "red-7", "no_worker": "red-7",
    "down": "red-7",
}  # fmt: skip


def colour(word: object) -> str:
    """The colour of a status, a state or a standing."""
    return _COLOURS.get(str(word), "grey-7")


def story_address(asked: object) -> str:
    """The page of one signal; an id is the platform's, and may be any text."""
    return f"/signal/{quote(str(asked), safe='')}"


def order_row(order: Row) -> dict[str, Any]:
    """An order as a line of the tape."""
    status = said(order.get("status"))
    bet = "" if order.get("side") == "SELL" else f" {usd(order.get('signal_size_usd'))}"
    what = f"{said(order.get('order_type'))} {said(order.get('side'))}{bet}"
    if order.get("executed_price") is None:
        detail = said(order.get("why")) if order.get("why") else f"limit {said(order.get('limit_price'))}"
    else:
        slippage = order.get("slippage_bps")
        detail = f"{usd(order.get('executed_size_usd'))} at {said(order.get('executed_price'))}" + (
            "" if slippage is None else f", {slippage:+} bps"
        )
    if status == "PARTIAL":
        detail = f"{percent(order.get('fill_rate'))} filled, {detail}"
    return _line(
        order,
        status,
        at=order.get("created_at"),
        what=what,
        detail=detail,
    ) | {"latency": NOTHING if (ms := order.get("execution_latency_ms")) is None else f"{ms} ms"}


def no_row(event: Row) -> dict[str, Any]:
    """A signal that was skipped or put off, as a line of the tape."""
    numbers = (
        f": {said(event.get('value'))}, limit {said(event.get('limit'))}"
        if event.get("value") and event.get("limit")
        else ""
    )
    what = f"{said(event.get('side'))} at {said(event.get('entry_price'))}"
    return _line(
        event,
        said(event.get("state")),
        at=event.get("at"),
        what=what,
        detail=f"{said(event.get('reason'))}{numbers}",
    ) | {"latency": NOTHING}


def fill_sentence(event: Row) -> str:
    """What a toast says of a fill."""
    return (
        f"{said(event.get('strategy_id'))}: {said(event.get('side'))} {said(event.get('shares'))} "
        f"{said(event.get('token_label'))} at {said(event.get('price'))} - {said(event.get('market_title'))}"
    )


def _line(row: Row, status: str, *, at: object, what: str, detail: str) -> dict[str, Any]:
    return {
        "key": f"{row.get('strategy_id')} {row.get('mode')} {row.get('ft_order_id')}",
        "at": str(at),
        "time": clock_time(at).partition(".")[0],
        "status": status,
        "colour": colour(status),
        "strategy": said(row.get("strategy_id")),
        "mode": said(row.get("mode")),
        "market": f"{said(row.get('token_label'))} - {said(row.get('market_title'))}",
        "what": what,
        "detail": detail,
        "href": story_address(row.get("ft_order_id")),
    }
