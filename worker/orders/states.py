"""What stops a signal and is no number: the state that it met, and the state that would have let it through.

Beside the numbers of `passing.py` these make the whole of `SkipReason`: nothing is refused without saying what would not
have been.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from worker.orders.reasons import SkipReason, Stage

R = SkipReason


@dataclass(frozen=True, slots=True)
class State:
    """`thing`: what is in a state. `met`: in which, told with what the ledger holds as value and as limit, or without.
    `passes`: in which it would have been let through; `limit_passes`: in the one that the ledger states as the limit.
    """

    thing: str
    met: str
    passes: str
    limit_passes: bool = False

    def met_with(self, value: str, limit: str) -> str:
        """The state that was met, as it is told. `value`, `limit`: as they stand in `lt_decisions`; any may be empty."""
        if "{" not in self.met:
            return value or self.met
        return self.met.format(value=value, limit=limit).replace(" ()", "").rstrip(": ")

    def passes_with(self, limit: str) -> str:
        return limit if self.limit_passes and limit else self.passes


_DOOR: Final = State("the exchange", "closed to orders: {value}", "open to orders")

STATES: Final[Mapping[SkipReason, State]] = MappingProxyType(
    {
        R.MISSING_WALLET: State("wallet_id", "empty", "the id of a paper wallet"),
        R.MISSING_MARKET: State("condition_id", "empty", "the id of a market"),
        R.MISSING_LABEL: State("token_label", "empty", "the name of an outcome"),
        R.UNKNOWN_SIDE: State("side", "unknown", "BUY or SELL", limit_passes=True),
        R.BAD_TIME: State("created_at and order_time", "missing", "a moment each"),
        R.FT_NOT_OPEN: State("outcome of the paper order", "closed", "OPEN", limit_passes=True),
        R.STRATEGY_INVALID: State(
            "settings of the strategy", "contradictory", "settings that can be traded by"
        ),
        R.UNKNOWN_WALLET: State(
            "paper wallet of the strategy", "no row of ft_wallets: {value}", "a row there"
        ),
        R.KILL_SWITCH: State("kill switch", "latched {value} ({limit})", "not latched"),
        R.STRATEGY_PAUSED: State("pause", "set {value} ({limit})", "none"),
        R.STRATEGY_INACTIVE: State("is_active", "false", "true"),
        R.SHADOW_MODE: State("shadow_mode", "true", "false"),
        R.BREAKER_ACTIVE: State("circuit breaker", "tripped", "a breaker that has not tripped"),
        R.INPUT_MISSING: State("input of the bet", "missing: {value}", "a number there"),
        R.EDGE_UNKNOWN: State("input of the edge", "missing: {value}", "a number there"),
        R.MARKET_NOT_FOUND: State("market", "not listed: {value}", "listed by the exchange"),
        R.MARKET_CLOSED: State("market", "closed: {value}", "open"),
        R.MARKET_NOT_READY: State("market", "takes no orders now: {value}", "takes orders"),
        R.TOKEN_LABEL_MISMATCH: State(
            "token_label", "none of the market's", "an outcome of the market", limit_passes=True
        ),
        R.WALLET_NOT_CONFIGURED: State("key of the wallet", "none: {value}", "one for it"),
        R.WALLET_MISMATCH: State(
            "wallet of the order", "another one", "the strategy's own", limit_passes=True
        ),
        R.ALREADY_EXECUTED: State("order of the strategy for the signal", "there is one", "none"),
        R.DUPLICATE_SIGNAL: State("trade", "executed before: {value}", "not executed before"),
        R.SIGNAL_CHANGED: State(
            "the signal in its table", "changed", "what was decided on", limit_passes=True
        ),
        R.STRATEGY_CHANGED: State(
            "the settings in their tables", "changed", "what was decided by", limit_passes=True
        ),
        R.LEASE_LOST: State(
            "lease of the wallet", "held elsewhere: {value} ({limit})", "held by the worker that decides"
        ),
        R.CREDENTIALS_REFUSED: State("wallet's key at the exchange", "refused: {value}", "accepted"),
        R.GEOBLOCKED: State(
            "worker's place in the world", "refused: {value}", "one that the exchange allows"
        ),
        **dict.fromkeys(
            (
                reason
                for reason in SkipReason
                if reason.stage is Stage.VENUE and reason not in {R.GEOBLOCKED, R.CREDENTIALS_REFUSED}
            ),
            _DOOR,
        ),
    }
)
