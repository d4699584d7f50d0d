"""How the pages say things: the colour of a word, and the row that an order or a no is on the tape.

Figures are said by `worker.verbs.words`, as the command says them; here is only what a screen adds.
"""

from typing import Any, Final
from urllib.parse import quote

from worker.database.values import Row
from worker.verbs.words import NOTHING, clock_time, percent, price, said, took, usd

_AMBER: Final = "amber-7"
# Quasar's names: white words stand out from each, on light and dark; amber takes dark ones.
_COLOURS: Final = {
    "FILLED": "green-9", "executed": "green-9", "ok": "green-9", "trading": "green-9",
    "PARTIAL": "teal-8", "PENDING": "blue-8", "deferred": "indigo-6", "undecided": "purple-6",
    "skipped": _AMBER, "paused": _AMBER, "degraded": _AMBER, "other_mode": _AMBER,
    "CANCELLED": "blue-grey-7", "inactive": "blue-grey-7", "out_of_scope": "blue-grey-7",
    "REJECTED": "red-8", "LOST": "red-9", "killed": "red-8", "frozen": "red-8", "breaker": "red-8", "no_worker": "red-8",
    "down": "red-8",
}  # fmt: skip


def colour(word: object) -> str:
    """The colour of a status, a state or a standing."""
    return _COLOURS.get(str(word), "grey-7")


def ink(word: object) -> str:
    """The colour of the word on its badge."""
    return "grey-10" if colour(word) == _AMBER else "white"


def story_address(asked: object) -> str:
    """The page of one signal; an id is the platform's, and may be any text."""
    return f"/signal/{quote(str(asked), safe='')}"


def order_row(order: Row) -> dict[str, Any]:
    """An order as a line of the tape."""
    status = said(order.get("status"))
    bet = "" if order.get("side") == "SELL" else f" {usd(order.get('signal_size_usd'))}"
    what = f"{said(order.get('order_type'))} {said(order.get('side'))}{bet}"
    if order.get("executed_price") is None:
        detail = said(order.get("why")) if order.get("why") else f"limit {price(order.get('limit_price'))}"
    else:
        slippage = order.get("slippage_bps")
        detail = f"{usd(order.get('executed_size_usd'))} at {price(order.get('executed_price'))}" + (
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
    ) | {"latency": took(order.get("execution_latency_ms"))}


def no_row(event: Row) -> dict[str, Any]:
    """A signal that was skipped or put off, as a line of the tape."""
    numbers = (
        f": {said(event.get('value'))}, limit {said(event.get('limit'))}"
        if event.get("value") and event.get("limit")
        else ""
    )
    what = f"{said(event.get('side'))} at {price(event.get('entry_price'))}"
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
        "ink": ink(status),
        "strategy": said(row.get("strategy_id")),
        "mode": said(row.get("mode")),
        "market": f"{said(row.get('token_label'))} - {said(row.get('market_title'))}",
        "what": what,
        "detail": detail,
        "href": story_address(row.get("ft_order_id")),
    }
