"""GET /api/lt/strategies/{id}/orders and /api/lt/recent-activity: orders in the platform's own shapes.

Each order stands in one of the four lists, and each list has its own length, so that a hundred rejected ones never hide
one that was filled.
"""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.exceptions import HTTPException
from pydantic import Field

from worker.database.reports import OrderChoice
from worker.database.values import flag_of, row_of, rows_of, text_of
from worker.orders.terms import StrategyId
from worker.web import examples
from worker.web.kinds import (
    Amount,
    Answer,
    Asked,
    Moment,
    OnlyStrategy,
    OrderSeconds,
    Share,
    StrategyName,
    Window,
    known,
    shown_as,
    troubles,
)

router = APIRouter()


class Order(Answer):
    """`pending_s`: for how long it may trade already, of one that still may. `why`: what kept it from trading."""

    lt_order_id: str
    ft_order_id: str | None
    strategy_id: Annotated[str, Field(examples=["LT_VALUE"])]
    order_id: Annotated[str | None, Field(description="The exchange's id.")]
    mode: Annotated[str, Field(examples=["live"])]
    order_type: Annotated[str | None, Field(examples=["FAK"])]
    side: Annotated[str, Field(examples=["BUY"])]
    market_title: str | None
    token_label: str | None
    status: Annotated[str, Field(examples=["FILLED"])]
    outcome: Annotated[str, Field(examples=["OPEN"])]
    state: Annotated[str | None, Field(examples=["matched"])]
    attempts: int | None
    limit_price: Amount | None
    signal_price: Amount | None
    signal_size_usd: Amount | None
    executed_price: Amount | None
    executed_size_usd: Amount | None
    shares_bought: Amount | None
    fill_rate: Share | None
    slippage_bps: int | None
    execution_latency_ms: int | None
    order_placed_at: Moment | None
    first_fill_at: Moment | None
    fully_filled_at: Moment | None
    created_at: Moment
    pending_s: Annotated[str | None, Field(examples=["12.3"])]
    why: Annotated[str | None, Field(examples=["no match"])]
    pnl: Amount | None


class OrderStats(Answer):
    """Of all orders of the strategy. `attempts` = pending + failed + open_positions + closed_positions."""

    attempts: int
    total_trades: Annotated[int, Field(description="Orders that traded at all.")]
    filled: int
    partial: int
    failed: int
    pending: int
    open_positions: int
    closed_positions: int
    won: int
    lost: int
    win_rate: Share | None
    realized_pnl: Amount
    unrealized_pnl: Annotated[Amount | None, Field(description="Null: only the market could tell.")]
    total_pnl: Amount | None
    avg_trade_size: Amount | None
    total_signal_usd: Amount
    total_executed_usd: Amount
    fill_rate_pct: Annotated[str | None, Field(description="Orders filled whole.", examples=["62.50"])]
    dollar_fill_rate_pct: Annotated[str | None, Field(examples=["73.10"])]
    avg_fill_rate: Share | None
    avg_slippage_pct: Annotated[str | None, Field(description="The median.", examples=["0.410"])]
    max_slippage_pct: str | None
    avg_latency_ms: Annotated[str | None, Field(examples=["21.4"])]


class StrategyTold(Answer):
    strategy_id: str
    display_name: str | None
    ft_wallet_id: str | None
    is_active: bool
    is_paused: bool
    shadow_mode: bool
    order_type: str | None


class StrategyOrders(Answer):
    """`more`: a list is longer than was asked for."""

    model_config = shown_as(examples.STRATEGY_ORDERS)

    timestamp: Moment
    strategy: StrategyTold
    open_orders: list[Order]
    pending_orders: list[Order]
    failed_orders: list[Order]
    closed_orders: list[Order]
    more: bool
    stats: OrderStats


class RecentActivity(Answer):
    model_config = shown_as(examples.RECENT_ACTIVITY)

    timestamp: Moment
    window: Window
    orders: list[Order]
    more: bool


@router.get("/strategies/{strategy_id}/orders", responses=troubles(404))
async def strategy_orders(
    asked: Asked,
    strategy_id: Annotated[StrategyName, Path()],
    limit: Annotated[int, Query(ge=1, le=500, description="How many of each list at most.")] = 100,
) -> StrategyOrders:
    """Every order of a strategy in one of four lists, each the newest first, and what they come to together."""
    answer = await asked.strategy_orders(StrategyId(strategy_id), limit=limit)
    if answer is None:
        raise HTTPException(404, f"There is no strategy {strategy_id!r:.80}.")
    return StrategyOrders(
        timestamp=text_of(answer, "now"),
        strategy=StrategyTold.model_validate(row_of(answer, "strategy")),
        open_orders=[Order.model_validate(one) for one in rows_of(answer, "open_orders")],
        pending_orders=[Order.model_validate(one) for one in rows_of(answer, "pending_orders")],
        failed_orders=[Order.model_validate(one) for one in rows_of(answer, "failed_orders")],
        closed_orders=[Order.model_validate(one) for one in rows_of(answer, "closed_orders")],
        more=flag_of(answer, "more"),
        stats=OrderStats.model_validate(row_of(answer, "stats")),
    )


@router.get("/recent-activity", responses=troubles(404))
async def recent_activity(
    asked: Asked,
    window_s: OrderSeconds = 86400,
    strategy_id: OnlyStrategy = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> RecentActivity:
    """The newest orders: what a live order feed shows that polls. `/api/lt/feed` pushes the same and more."""
    answer = await asked.orders(
        OrderChoice.ALL,
        timedelta(seconds=window_s),
        strategy_id=await known(asked, strategy_id),
        limit=limit,
    )
    return RecentActivity(
        timestamp=text_of(answer, "now"),
        window=Window(since=text_of(answer, "since"), seconds=window_s),
        orders=[Order.model_validate(one) for one in rows_of(answer, "orders")],
        more=flag_of(answer, "more"),
    )
