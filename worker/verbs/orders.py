"""Orders in a table, the newest first: all, those that may still trade, or those that came to nothing, with why."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from rich.text import Text

from worker.database.reports import OrderChoice, Reports
from worker.database.values import Row, flag_of, rows_of, text_of
from worker.orders.terms import Mode, StrategyId
from worker.verbs.names import known_strategy
from worker.verbs.words import NOTHING, Part, columns, day_and_time, line, price, said, seconds, usd

_TITLE_MOST = 32
_ID_DIGITS = 8


@dataclass(frozen=True, slots=True)
class OrderList:
    """`answer`: of `lt_order_list`, asked in this mode."""

    answer: Row
    orders: tuple[Row, ...]
    mode: Mode

    @classmethod
    def of(cls, answer: Row, mode: Mode) -> Self:
        """Raises SchemaError."""
        return cls(answer, tuple(rows_of(answer, "orders")), mode)

    def as_json(self) -> dict[str, Any]:
        return dict(self.answer)

    def lines(self) -> Iterator[Part]:
        if not self.orders:
            yield line(
                "empty", f"No such orders in {self.mode} mode in this time; --since 7d looks further back."
            )
            return
        heading = (
            "placed (UTC)",
            "strategy",
            "signal",
            "order",
            "market",
            "bet",
            "filled",
            "price or limit",
            "status",
            "pending",
        )
        yield columns([heading, *map(_cells, self.orders)], right=(5, 6, 7, 9), indent=0)
        for one in self.orders:
            if one.get("why"):
                yield line(said(one.get("ft_order_id"))[:_ID_DIGITS], said(one.get("why")))
        if flag_of(self.answer, "more"):
            yield Text("There are more: --limit, --strategy.", style="dim")


async def read_orders(
    reports: Reports,
    which: OrderChoice,
    since: timedelta | datetime,
    strategy_id: StrategyId | None = None,
    *,
    limit: int,
) -> OrderList:
    """Raises what `Reports` raises, and `UsageError` for a strategy that never was."""
    only = await known_strategy(reports, strategy_id)
    return OrderList.of(await reports.orders(which, since, strategy_id=only, limit=limit), reports.mode)


def _cells(order: Row) -> tuple[str, ...]:
    return (
        day_and_time(order.get("created_at")),
        text_of(order, "strategy_id"),
        said(order.get("ft_order_id"))[:_ID_DIGITS],
        f"{said(order.get('order_type'))} {said(order.get('side'))} {said(order.get('token_label'))}",
        said(order.get("market_title"))[:_TITLE_MOST],
        NOTHING if order.get("side") == "SELL" else usd(order.get("signal_size_usd")),
        usd(order.get("executed_size_usd")),
        price(order.get("executed_price") or order.get("limit_price")),
        text_of(order, "status"),
        seconds(order.get("pending_s")),
    )
