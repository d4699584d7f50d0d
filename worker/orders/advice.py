"""What would have let a signal through as it was: a setting, a command, or a wait. One sentence for each reason."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from worker.orders.reasons import SkipReason, Stage

R = SkipReason

_ADVICE: Final[Mapping[SkipReason, str]] = MappingProxyType(
    {
        R.MISSING_WALLET: "The row needs its wallet_id.",
        R.MISSING_MARKET: "The row needs its condition_id.",
        R.MISSING_LABEL: "The row needs its token_label.",
        R.UNKNOWN_SIDE: "The row needs a side that can be traded.",
        R.BAD_PRICE: "The row needs the price that the trader paid, with the paper markup.",
        R.BAD_SIZE: "The row needs the dollars of the paper trade.",
        R.BAD_TIME: "The row needs created_at and order_time.",
        R.FT_NOT_OPEN: "Only what the paper side still holds open is traded.",
        R.STRATEGY_INVALID: "Mend the setting of the strategy that is named; `polycopy-worker check` shows it.",
        R.UNKNOWN_WALLET: "Point the strategy's ft_wallet_id at a row of ft_wallets.",
        R.KILL_SWITCH: "`polycopy-worker arm` for the scope that was killed; signals of before stay skipped.",
        R.STRATEGY_PAUSED: "`polycopy-worker resume` for the scope that was paused; signals of before stay skipped.",
        R.STRATEGY_INACTIVE: "Activate the strategy (is_active = true).",
        R.SHADOW_MODE: "Take shadow_mode from the strategy: what is inserted from then on is traded.",
        R.BREAKER_ACTIVE: "`polycopy-worker arm --strategy ID`, once you have seen what was lost.",
        R.SIGNAL_STALE: "A fresh signal (`signal.fresh_for_s`) is sent without a look at the book.",
        R.EDGE_UNKNOWN: 'The signal needs its trader_win_rate, or set price.unknown_edge = "trade".',
        R.MARKET_NOT_FOUND: "The exchange has to list the market while the signal is fresh.",
        R.MARKET_CLOSED: "Nothing: a closed market takes no orders.",
        R.MARKET_NOT_READY: "The exchange has to accept orders while the signal is fresh.",
        R.TOKEN_LABEL_MISMATCH: "The signal's token_label has to be one of the market's outcomes.",
        R.PRICE_OUT_OF_BAND: "The row's entry_price has to be one that the market can have.",
        R.MAX_CONSECUTIVE_LOSSES: "`polycopy-worker arm --strategy ID --forget-losses` counts anew.",
        R.DRAWDOWN_BREAKER: "`polycopy-worker arm --strategy ID` counts from what is left.",
        R.WALLET_NOT_CONFIGURED: "Add a [[wallets]] block with the strategy's wallet and its key.",
        R.WALLET_MISMATCH: "It is decided for the strategy's own wallet the next time.",
        R.WALLET_BALANCE_UNKNOWN: "The exchange has to tell the wallet's balance again; see the worker's log.",
        R.ALREADY_EXECUTED: "Nothing: it is executed once.",
        R.DUPLICATE_SIGNAL: "Nothing: the trade was executed under its other id.",
        R.SIGNAL_CHANGED: "It is decided anew on what the table says.",
        R.STRATEGY_CHANGED: "It is decided anew by the settings of now.",
        R.LEASE_LOST: "The worker that holds the wallet decides it.",
        R.CREDENTIALS_REFUSED: "Mend the wallet's key or its allowance, then start the worker anew.",
        R.GEOBLOCKED: "Run the worker where the exchange allows trading.",
    }
)
_DOOR: Final = "The exchange has to open before the signal expires; it is asked again by itself."


def advice_for(reason: SkipReason) -> str:
    """'' where its numbers say all."""
    return _ADVICE.get(reason, _DOOR if reason.stage is Stage.VENUE else "")
