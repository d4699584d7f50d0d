"""Each reason as it stands in the ledger: what failed, its limit, what was seen, and what must be told of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from worker.orders.reasons import SkipReason, Stage
from worker.orders.states import STATES


@dataclass(frozen=True, slots=True)
class No:
    """`failed`, `would_pass`: words of what must be told of it. `advice`: of what would have let it through."""

    value: str = ""
    limit: str = ""
    would_pass: str = ""
    advice: str = ""
    snapshot: Mapping[str, str] = field(default_factory=dict)
    failed: str = ""  # where it is not the value


R = SkipReason
_STALE = {"base_price": "0.50", "slippage": "0.03"}
_SMALL = {"raise_to_usd": "2.60", "raise_refused": "max_position_size 2.00"}

NUMBERED: Final[Mapping[SkipReason, No]] = {
    R.BAD_PRICE: No("1", "above 0, below 1", "above 0, below 1"),
    R.BAD_SIZE: No("0", "above 0 USD", "above 0 USD"),
    R.BREAKER_ACTIVE: No("21.5", "20.00", "below 20.00 %", "arm --strategy"),
    R.SIGNAL_TOO_OLD: No("90000 s", "86400 s", "at most 86400 s", "signal.max_age_s at least 90000 s"),
    R.SIGNAL_STALE: No(
        "0.53",
        "0.51",
        "at most 0.51",
        "slippage_tolerance_pct at least 6, was 3: the offer was 600 bps",
        _STALE,
    ),
    R.BELOW_MIN_SIZE: No(
        "4.5 shares", "5 shares", "at least 5 shares", "max_position_size_usd at least 2.60", _SMALL
    ),
    R.SELL_NO_POSITION: No("12", "5", "at most 5 shares", "holds"),
    R.POSITION_UNSETTLED: No("12 shares", "5", "at most 5 shares", "holds"),
    R.PRICE_OUT_OF_BAND: No("0.0040", "0.01..0.99", "0.01 to 0.99"),
    R.NO_TICK_ROOM: No("33.4 %", "20 %", "at most 20 %", "price.min_tick_max_pct at least 33.4 %"),
    R.EDGE_TOO_SMALL: No(
        "0.01", "0.03", "at least 0.03 USD", "a trader_win_rate of at least 0.57", {"win_rate": "0.55"}
    ),
    R.PRICE_MOVED: No(
        "0.40", "0.45", "at least 0.45", "dead_market_max_drift_pct at least 20", {"base_price": "0.50"}
    ),
    R.ABOVE_MAX_ORDER_SIZE: No("10.00", "5", "at most 5 USD", "max_order_size_usd at least 10.00 USD"),
    R.MAX_POSITION_SIZE: No("10.00", "5", "at most 5 USD", "max_position_size_usd at least 10.00 USD"),
    R.MAX_TOTAL_EXPOSURE: No("10.00", "5", "at most 5 USD", "max_total_exposure_usd at least 10.00 USD"),
    R.DAILY_BUDGET: No("10.00", "5", "at most 5 USD", "daily_budget_usd at least 10.00 USD"),
    R.DAILY_LOSS_LIMIT: No("10.00", "5", "below 5 USD", "max_daily_loss_usd above 10.00 USD"),
    R.DRAWDOWN_BREAKER: No("21.50", "20.00", "below 20.00 %", "circuit_breaker_loss_pct above 21.50 %"),
    R.MAX_CONSECUTIVE_LOSSES: No("3", "3", "below 3", "max_consecutive_losses above 3"),
    R.MAX_OPEN_POSITIONS: No("4", "3", "at most 3", "max_open_positions at least 4"),
    R.MAX_ORDERS_PER_MINUTE: No("4", "3", "at most 3", "max_orders_per_minute at least 4"),
    R.INSUFFICIENT_CAPITAL: No("10.00", "5.00", "at most 5.00 USD", "available capital at least 10.00 USD"),
    R.WALLET_INSUFFICIENT_BALANCE: No(
        "10.00", "5.00", "at most 5.00 USD", "spendable balance at least 10.00 USD"
    ),
    R.WALLET_BALANCE_UNKNOWN: No("2026-11-23T00:00:00+00:00", "60", "a balance seen at most 60 s before"),
}

STATED: Final[Mapping[SkipReason, No]] = {
    R.UNKNOWN_SIDE: No("HOLD", "BUY or SELL", "BUY or SELL"),
    R.FT_NOT_OPEN: No("WON", "OPEN", "OPEN"),
    R.TOKEN_LABEL_MISMATCH: No("Perhaps", "Yes | No", "Yes | No", "token_label"),
    R.WALLET_MISMATCH: No("0xaa", "0xbb", "0xbb"),
    R.SIGNAL_CHANGED: No(
        '{"entry_price": "0.6"}',
        '{"size": "5", "entry_price": "0.5"}',
        "entry_price 0.5",
        "anew",
        failed="entry_price 0.6",
    ),
    R.STRATEGY_CHANGED: No(
        '{"order_type": "FOK"}', '{"order_type": "FAK"}', "order_type FAK", "anew", failed="order_type FOK"
    ),
    R.KILL_SWITCH: No(
        "global", "wrong prices", "not latched", "polycopy-worker arm", failed="latched global (wrong prices)"
    ),
    R.STRATEGY_PAUSED: No(
        "global", "upgrade", "none", "polycopy-worker resume", failed="set global (upgrade)"
    ),
    R.STRATEGY_INVALID: No(
        "order_type is 'MARKET'", "", "settings that can be traded by", "polycopy-worker check"
    ),
    R.INPUT_MISSING: No("trader_win_rate", "KELLY", "a number there", "its trader_win_rate"),
    R.EDGE_UNKNOWN: No("trader_win_rate", "0.02", "leaves 0.02 USD a share", "unknown_edge"),
    R.LEASE_LOST: No(
        "worker-b 3", "2026-11-23T00:00:00+00:00", "the worker that decides", "worker that holds the wallet"
    ),
    R.MARKET_CLOSED: No("0x77", "", "open", failed="closed: 0x77"),
    R.EXCHANGE_RESTARTING: No(
        "service not ready",
        "",
        "open to orders",
        "The exchange has to open",
        failed="closed to orders: service",
    ),
}


def no_of(reason: SkipReason) -> No:
    """What the ledger holds of the reason; one without a row here comes without numbers."""
    no = NUMBERED.get(reason) or STATED.get(reason)
    return no or No(
        failed=STATES[reason].met.partition(" {")[0].rstrip(":"),
        would_pass=STATES[reason].passes,
        advice="The exchange has to open" if reason.stage is Stage.VENUE and reason not in _MENDED else "",
    )


_MENDED: Final = frozenset({R.CREDENTIALS_REFUSED, R.GEOBLOCKED})
