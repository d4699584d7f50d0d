"""Why a signal did not become an order: one closed list, from the row that arrived to the exchange's closed door.

Each reason knows the stage that speaks it, the sentence an operator reads, and whether it is final or worth asking
again. The SQL function `lt_claim` answers with these words too. Reasons never carry free text: the number that
failed and the limit that it met stand beside them in a `Skip`.
"""

from enum import Enum, StrEnum, auto
from typing import Self


class Stage(StrEnum):
    """Who says no, in the order in which a signal meets them."""

    SIGNAL = "signal"
    STRATEGY = "strategy"
    AGE = "age"
    SIZE = "size"
    MARKET = "market"
    PRICE = "price"
    LIMITS = "limits"
    WALLET = "wallet"
    CLAIM = "claim"
    VENUE = "venue"


class Backoff(Enum):
    """How soon to ask again; the seconds are settings."""

    QUICK = auto()  # a hiccup, a settlement
    SLOW = auto()  # a closed door


class Expiry(Enum):
    """Until when asking again makes sense, counted from the insert of the signal."""

    FRESH = auto()  # while the signal is fresh
    BACKFILL = auto()  # while the signal may be executed at all


class SkipReason(StrEnum):
    """`final`: written down for good. Otherwise deferred: asked again by `backoff` until `expiry`, then final."""

    stage: Stage
    sentence: str
    backoff: Backoff | None
    expiry: Expiry | None

    def __new__(
        cls,
        word: str,
        stage: Stage = Stage.SIGNAL,
        sentence: str = "",
        backoff: Backoff | None = None,
        expiry: Expiry | None = None,
    ) -> Self:
        member = str.__new__(cls, word)
        member._value_ = word
        member.stage = stage
        member.sentence = sentence
        member.backoff = backoff
        member.expiry = expiry
        return member

    @property
    def final(self) -> bool:
        return self.backoff is None

    # --- the row itself
    MISSING_WALLET = "missing_wallet", Stage.SIGNAL, "The signal names no paper wallet."
    MISSING_MARKET = "missing_market", Stage.SIGNAL, "The signal names no market."
    MISSING_LABEL = "missing_label", Stage.SIGNAL, "The signal names no outcome of its market."
    UNKNOWN_SIDE = "unknown_side", Stage.SIGNAL, "The signal's side is neither BUY nor SELL."
    BAD_PRICE = "bad_price", Stage.SIGNAL, "The signal's price is not a number between 0 and 1."
    BAD_SIZE = "bad_size", Stage.SIGNAL, "The signal's size is not a positive number of dollars."
    BAD_TIME = "bad_time", Stage.SIGNAL, "The signal does not say when it was inserted and traded."
    FT_NOT_OPEN = "ft_not_open", Stage.SIGNAL, "The paper order is no longer open."

    # --- the strategy
    STRATEGY_INVALID = "strategy_invalid", Stage.STRATEGY, "The strategy's settings contradict themselves."
    UNKNOWN_WALLET = (
        "unknown_wallet",
        Stage.STRATEGY,
        "The paper wallet that the strategy follows does not exist.",
    )
    KILL_SWITCH = "kill_switch", Stage.STRATEGY, "Trading was killed by an operator."
    STRATEGY_PAUSED = "strategy_paused", Stage.STRATEGY, "The strategy was paused."
    STRATEGY_INACTIVE = "strategy_inactive", Stage.STRATEGY, "The strategy is not active."
    SHADOW_MODE = "shadow_mode", Stage.STRATEGY, "The strategy only trades on paper."
    BREAKER_ACTIVE = "breaker_active", Stage.STRATEGY, "The circuit breaker tripped and was not armed since."

    # --- age
    SIGNAL_TOO_OLD = "signal_too_old", Stage.AGE, "The signal is older than any signal may be."
    SIGNAL_STALE = (
        "signal_stale",
        Stage.AGE,
        "The signal is not fresh and the book offers no price inside its cap.",
    )

    # --- size
    INPUT_MISSING = (
        "input_missing",
        Stage.SIZE,
        "The signal lacks the number that its bet would rest on.",
    )
    BELOW_MIN_SIZE = (
        "below_min_size",
        Stage.SIZE,
        "The order would be smaller than the exchange accepts, and the limits leave no room to raise it.",
    )
    SELL_NO_POSITION = "sell_no_position", Stage.SIZE, "There is nothing of this outcome to sell."
    POSITION_UNSETTLED = (
        "position_unsettled",
        Stage.SIZE,
        "The shares to be sold are not settled yet.",
        Backoff.QUICK,
        Expiry.BACKFILL,
    )

    # --- the market
    MARKET_NOT_FOUND = (
        "market_not_found",
        Stage.MARKET,
        "The exchange does not know the market.",
        Backoff.QUICK,
        Expiry.FRESH,
    )
    MARKET_CLOSED = "market_closed", Stage.MARKET, "The market is closed."
    MARKET_NOT_READY = (
        "market_not_ready",
        Stage.MARKET,
        "The market is open but does not accept orders now.",
        Backoff.QUICK,
        Expiry.FRESH,
    )
    TOKEN_LABEL_MISMATCH = (
        "token_label_mismatch",
        Stage.MARKET,
        "No single outcome of the market has the signal's label.",
    )

    # --- price
    PRICE_OUT_OF_BAND = (
        "price_out_of_band",
        Stage.PRICE,
        "The signal's price cannot be a price of this market.",
    )
    NO_TICK_ROOM = "no_tick_room", Stage.PRICE, "One tick is too large a step at this price."
    EDGE_TOO_SMALL = (
        "edge_too_small",
        Stage.PRICE,
        "What the trader's win rate promises over price and fees is too little.",
    )
    EDGE_UNKNOWN = (
        "edge_unknown",
        Stage.PRICE,
        "The signal does not say how often the trader wins, and an edge is asked for.",
    )
    PRICE_MOVED = "price_moved", Stage.PRICE, "The market has left the signal's price behind."

    # --- limits over shared state: decided here on a snapshot, in the claim for good
    ABOVE_MAX_ORDER_SIZE = (
        "above_max_order_size",
        Stage.LIMITS,
        "The order could cost more than one order may.",
    )
    MAX_POSITION_SIZE = (
        "max_position_size",
        Stage.LIMITS,
        "The position could cost more than one position may.",
    )
    MAX_TOTAL_EXPOSURE = (
        "max_total_exposure",
        Stage.LIMITS,
        "All positions together could cost more than they may.",
    )
    DAILY_BUDGET = (
        "daily_budget",
        Stage.LIMITS,
        "The strategy could spend more today than its budget.",
    )
    DAILY_LOSS_LIMIT = (
        "daily_loss_limit",
        Stage.LIMITS,
        "The strategy has lost as much today as it may.",
    )
    DRAWDOWN_BREAKER = (
        "drawdown_breaker",
        Stage.LIMITS,
        "So much of the highest equity is lost that the circuit breaker tripped.",
    )
    MAX_CONSECUTIVE_LOSSES = (
        "max_consecutive_losses",
        Stage.LIMITS,
        "The last orders all lost, as many in a row as may.",
    )
    MAX_OPEN_POSITIONS = (
        "max_open_positions",
        Stage.LIMITS,
        "The strategy holds as many positions as it may.",
    )
    MAX_ORDERS_PER_MINUTE = (
        "max_orders_per_minute",
        Stage.LIMITS,
        "The strategy has sent as many orders in the last minute as it may.",
        Backoff.QUICK,
        Expiry.FRESH,
    )
    INSUFFICIENT_CAPITAL = (
        "insufficient_capital",
        Stage.LIMITS,
        "The strategy's available capital is too small.",
    )

    # --- the wallet
    WALLET_NOT_CONFIGURED = (
        "wallet_not_configured",
        Stage.WALLET,
        "This worker has no key for the strategy's wallet.",
    )
    WALLET_MISMATCH = (
        "wallet_mismatch",
        Stage.WALLET,
        "The order was made for another wallet than the strategy's.",
    )
    WALLET_BALANCE_UNKNOWN = (
        "wallet_balance_unknown",
        Stage.WALLET,
        "The wallet's balance was not seen recently.",
        Backoff.QUICK,
        Expiry.BACKFILL,
    )
    WALLET_INSUFFICIENT_BALANCE = (
        "wallet_insufficient_balance",
        Stage.WALLET,
        "The wallet's spendable balance is too small.",
    )

    # --- the claim
    ALREADY_EXECUTED = "already_executed", Stage.CLAIM, "The strategy has already executed this signal."
    DUPLICATE_SIGNAL = "duplicate_signal", Stage.CLAIM, "The same trade arrived before under another id."
    SIGNAL_CHANGED = (
        "signal_changed",
        Stage.CLAIM,
        "The signal changed between the decision and the claim.",
        Backoff.QUICK,
        Expiry.BACKFILL,
    )
    STRATEGY_CHANGED = (
        "strategy_changed",
        Stage.CLAIM,
        "The strategy's settings changed between the decision and the claim.",
        Backoff.QUICK,
        Expiry.BACKFILL,
    )
    LEASE_LOST = (
        "lease_lost",
        Stage.CLAIM,
        "Another worker trades for this wallet now.",
        Backoff.QUICK,
        Expiry.BACKFILL,
    )

    # --- the exchange's door
    EXCHANGE_UNREACHABLE = (
        "exchange_unreachable",
        Stage.VENUE,
        "The exchange does not answer.",
        Backoff.QUICK,
        Expiry.BACKFILL,
    )
    EXCHANGE_RESTARTING = (
        "exchange_restarting",
        Stage.VENUE,
        "The exchange's matching engine is restarting.",
        Backoff.QUICK,
        Expiry.BACKFILL,
    )
    EXCHANGE_POST_ONLY = (
        "exchange_post_only",
        Stage.VENUE,
        "The exchange accepts only resting orders for now.",
        Backoff.SLOW,
        Expiry.BACKFILL,
    )
    EXCHANGE_CANCEL_ONLY = (
        "exchange_cancel_only",
        Stage.VENUE,
        "The exchange accepts only cancels for now.",
        Backoff.SLOW,
        Expiry.BACKFILL,
    )
    EXCHANGE_DISABLED = (
        "exchange_disabled",
        Stage.VENUE,
        "The exchange has switched trading off.",
        Backoff.SLOW,
        Expiry.BACKFILL,
    )
    EXCHANGE_THROTTLED = (
        "exchange_throttled",
        Stage.VENUE,
        "The exchange's budget of orders for the wallet is used up for now.",
        Backoff.QUICK,
        Expiry.BACKFILL,
    )
    GEOBLOCKED = (
        "geoblocked",
        Stage.VENUE,
        "The exchange refuses this machine's place in the world.",
        Backoff.SLOW,
        Expiry.BACKFILL,
    )
    CREDENTIALS_REFUSED = (
        "credentials_refused",
        Stage.VENUE,
        "The exchange refuses the wallet's orders until a human has acted.",
        Backoff.SLOW,
        Expiry.BACKFILL,
    )
