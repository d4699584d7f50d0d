"""One whole answer of each endpoint, as the API's document shows it."""

from typing import Any, Final

_NOW: Final = "2026-11-23T04:05:06+00:00"
_BEGINS: Final = "2026-11-22T04:05:06+00:00"
_WINDOW: Final = {"since": _BEGINS, "seconds": 86400}
_SIGNAL: Final = "89320a8b-5c00-4356-beef-36ef8217513b"

_SAMPLE: Final = {
    "ft_order_id": _SIGNAL, "market": "Will it rain in Lisbon on Sunday?", "order_time": "2026-11-22T20:00:00+00:00",
    "inserted_at": "2026-11-22T20:01:30+00:00", "price": "0.5015", "size_usd": "6.00", "hours_before_sync": 4,
    "state": "skipped", "reason": "price_moved", "value": "0.61", "limit": "0.51",
}  # fmt: skip

EXECUTION_AUDIT: Final[dict[str, Any]] = {
    "timestamp": _NOW, "mode": "live", "window": _WINDOW,
    "summary": {
        "total_ft_orders": 4, "already_executed": 3, "too_old": 0, "eligible": 0, "skipped": 1, "missed": 0, "holds": True,
    },
    "execution_rate": "75%", "skip_reasons": {"price_moved": 1},
    "strategies": [{
        "strategy_id": "LT_VALUE", "mode": "live", "ft_wallet_id": "FT_VALUE", "last_sync_time": "2026-11-23T00:00:00+00:00",
        "total_ft_orders": 4, "already_executed": 3,
        "breakdown": {"too_old": 0, "already_executed": 3, "eligible": 0, "skipped": 1},
        "skip_reasons": {"price_moved": 1}, "sample_skipped": [_SAMPLE], "sample_eligible": [],
    }],
    "recommendations": [{
        "priority": "HIGH",
        "issue": "1 of 4 signals were skipped as price_moved: The market has left the signal's price behind. The newest: "
        "best price offered: 0.61 failed, at least 0.51 would have passed.",
        "solution": "The guard is the paper wallet's: dead_market_guard.",
        "action": f"polycopy-worker explain {_SIGNAL}", "sql": None,
    }],
}  # fmt: skip

DIAGNOSTIC: Final[dict[str, Any]] = {
    "timestamp": _NOW, "mode": "live", "window": _WINDOW,
    "summary": {"total": 1, "passed": 0, "warnings": 0, "failed": 1},
    "health": "CRITICAL",
    "results": [{
        "category": "Worker", "status": "FAIL",
        "message": "No worker holds a lease: start polycopy-worker run, or look why it has stopped.",
        "details": {"leases": [], "without": ["LT_VALUE"]},
    }],
    "recommended_actions": [
        "LT_VALUE: it is active, and no worker trades for its wallet -> start polycopy-worker run, or look why it has stopped"
    ],
}  # fmt: skip

_ORDER: Final = {
    "lt_order_id": "5a0d2a3e-8d0e-4a3c-9f64-0a3e8e3f2b11", "ft_order_id": _SIGNAL, "strategy_id": "LT_VALUE",
    "order_id": "0x60f91d090b52ffdabed058d77f9d8c9fe33e090a051856c649e73bd2454c017f", "mode": "live", "order_type": "FAK",
    "side": "BUY", "market_title": "Will it rain in Lisbon on Sunday?", "token_label": "Yes", "status": "FILLED",
    "outcome": "OPEN", "state": "matched", "attempts": 1, "limit_price": "0.51", "signal_price": "0.50",
    "signal_size_usd": "6.00", "executed_price": "0.50", "executed_size_usd": "6.00", "shares_bought": "12",
    "fill_rate": "1.0000", "slippage_bps": 0, "execution_latency_ms": 21, "order_placed_at": _NOW, "first_fill_at": _NOW,
    "fully_filled_at": _NOW, "created_at": _NOW, "pending_s": None, "why": None, "pnl": None,
}  # fmt: skip

RECENT_ACTIVITY: Final[dict[str, Any]] = {
    "timestamp": _NOW, "window": _WINDOW, "orders": [_ORDER], "more": False,
}  # fmt: skip

STRATEGY_ORDERS: Final[dict[str, Any]] = {
    "timestamp": _NOW,
    "strategy": {
        "strategy_id": "LT_VALUE", "display_name": "Value", "ft_wallet_id": "FT_VALUE", "is_active": True,
        "is_paused": False, "shadow_mode": False, "order_type": "FAK",
    },
    "open_orders": [_ORDER], "pending_orders": [], "failed_orders": [], "closed_orders": [], "more": False,
    "stats": {
        "attempts": 1, "total_trades": 1, "filled": 1, "partial": 0, "failed": 0, "pending": 0, "open_positions": 1,
        "closed_positions": 0, "won": 0, "lost": 0, "win_rate": None, "realized_pnl": "0.00", "unrealized_pnl": None,
        "total_pnl": None, "avg_trade_size": "6.00", "total_signal_usd": "6.00", "total_executed_usd": "6.00",
        "fill_rate_pct": "100.00", "dollar_fill_rate_pct": "100.00", "avg_fill_rate": "1.0000",
        "avg_slippage_pct": "0.000", "max_slippage_pct": "0.000", "avg_latency_ms": "21.0",
    },
}  # fmt: skip

EXECUTION: Final[dict[str, Any]] = {
    "success": True, "complete": True, "executed_at": _NOW, "strategies_processed": 1, "total_executed": 1, "total_sells": 0,
    "total_errors": 0, "undecided": 0, "cooldown_released": 0, "daily_reset_count": 0,
    "results": {
        "LT_VALUE": {"executed": 1, "skipped": 2, "deferred": 0, "errors": 0, "reasons": {"price_moved": 2}},
    },
}  # fmt: skip

TURNED: Final[dict[str, Any]] = {
    "action": "pause", "scope": "strategy:LT_VALUE", "modes": ["paper", "live"], "changed": True, "stands": None, "armed": [],
    "breakers": [],
    "strategies": [{
        "strategy_id": "LT_VALUE", "mode": "live", "standing": "paused", "is_paused": False, "breaker_active": False,
        "switches": [{
            "scope": "strategy:LT_VALUE", "action": "pause", "reason": "too many losses", "actor": "night shift",
        }],
        "worker": "trader-1-9f3a2c",
    }],
}  # fmt: skip
