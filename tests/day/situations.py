"""How each reason comes about: one row for each, all staged side by side around one worker (`stage.py`).

Every situation has a paper wallet and a strategy of its own, good but for what the row changes, and one signal that
is to meet its reason. A reason without a row here fails the suite by its name.

Statements know `%(strategy)s`, `%(paper)s`, `%(signal)s` and `%(wallet)s`, the wallet that the strategy trades with.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final

from worker.orders.reasons import SkipReason
from worker.sandbox.exchange.fault_catalogue import FaultName
from worker.sandbox.exchange.modes import Mode

MAX_AGE_S: Final = 3600
MIN_EDGE: Final = "0.02"
_OLD_S: Final = 600  # not fresh any more


class Purse(Enum):
    """The wallets of the worker. A claim that waits, or a closed door, keeps all orders of its wallet waiting."""

    MAIN = 0
    BLIND = 1  # its balance is never news
    ONE = 2
    TWO = 3
    THREE = 4
    FOUR = 5
    FIVE = 6
    DAY = 7  # of those who trade all day (`traffic.py`)


class Venue(Enum):
    """The markets of the exchange. All but the unknown one are quoted at 0.48 / 0.50."""

    OPEN = auto()
    OTHER = auto()  # as good
    CLOSED = auto()
    PAUSED = auto()
    SILENT = auto()  # nothing that is asked about it is answered
    UNKNOWN = auto()


class Told(Enum):
    """What must stand beside the reason."""

    NUMBERS = auto()  # the number that failed and the limit it met
    VALUE = auto()
    NOTHING = auto()


@dataclass(frozen=True, slots=True)
class Situation:
    reason: SkipReason
    told: Told = Told.NOTHING
    signal: Mapping[str, Any] = field(default_factory=dict)
    age_s: int = 0
    price: str = "0.50"  # the trader's own
    venue: Venue = Venue.OPEN
    strategy: Mapping[str, Any] = field(default_factory=dict)
    paper_wallet: Mapping[str, Any] = field(default_factory=dict)
    paper: str | None = None  # the paper wallet's id, if it matters
    purse: Purse = Purse.MAIN
    earlier: Mapping[str, Any] | None = None  # a signal in the open market that is executed first
    given: str = ""  # done before the signal is inserted
    along: str = ""  # done in the transaction that inserts it
    meanwhile: str = ""  # done while its claim waits for a lock
    door: Mode | FaultName | None = None  # what the exchange does to the wallet's orders
    door_times: int | None = 1  # how many of them a fault strikes; None: all

    @property
    def strategy_id(self) -> str:
        return f"LT_{self.reason.name}"

    @property
    def ft_wallet_id(self) -> str:
        return f"FT_{self.reason.name}" if self.paper is None else self.paper


R = SkipReason

# An order of the executor before this one, resolved just now.
_HAS_LOST: Final = """
insert into public.lt_orders (
  strategy_id, user_id, ft_wallet_id, source_trade_id, condition_id, token_id, token_label, signal_price,
  signal_size_usd, executed_size_usd, status, outcome, pnl, order_placed_at, resolved_at)
select strategy_id, user_id, ft_wallet_id, 'lost', '0x01', '1', 'Yes', 0.5, 200, 200, 'FILLED', 'LOST', -200,
  now(), now()
from public.lt_strategies where strategy_id = %(strategy)s"""

THE_ROW = (
    Situation(R.MISSING_WALLET, Told.VALUE, paper=""),
    Situation(R.MISSING_MARKET, Told.VALUE, {"condition_id": None}),
    Situation(R.MISSING_LABEL, Told.VALUE, {"token_label": " "}),
    Situation(R.UNKNOWN_SIDE, Told.NUMBERS, {"side": "HOLD"}),
    Situation(R.BAD_PRICE, Told.NUMBERS, {"entry_price": "1"}),
    Situation(R.BAD_SIZE, Told.NUMBERS, {"size": "0"}),
    Situation(R.BAD_TIME, Told.VALUE, {"order_time": "infinity"}),
    Situation(R.FT_NOT_OPEN, Told.NUMBERS, {"outcome": "WON"}),
)

THE_STRATEGY = (
    Situation(
        R.STRATEGY_INVALID,
        Told.VALUE,
        strategy={"order_type": "MARKET"},
    ),
    Situation(R.UNKNOWN_WALLET, Told.VALUE),  # its paper wallet is taken away before the worker starts
    Situation(
        R.KILL_SWITCH,
        given="""select public.lt_control(jsonb_build_object(
                   'scope', 'strategy:' || %(strategy)s, 'action', 'kill', 'reason', 'staged', 'actor', 'test'))""",
    ),
    Situation(R.STRATEGY_PAUSED, strategy={"is_paused": True}),
    Situation(
        R.STRATEGY_INACTIVE,
        age_s=1,  # inserted while it was active
        along="update public.lt_strategies set is_active = false where strategy_id = %(strategy)s",
    ),
    Situation(
        R.SHADOW_MODE,
        age_s=1,  # inserted for money, and then there was to be none
        along="update public.lt_strategies set shadow_mode = true where strategy_id = %(strategy)s",
    ),
    Situation(R.BREAKER_ACTIVE, strategy={"circuit_breaker_active": True}),
)

AGE_AND_SIZE = (
    Situation(R.SIGNAL_TOO_OLD, Told.NUMBERS, age_s=2 * MAX_AGE_S),
    Situation(R.SIGNAL_STALE, Told.NUMBERS, age_s=_OLD_S, price="0.40"),
    Situation(
        R.INPUT_MISSING, Told.NUMBERS, {"trader_win_rate": None}, paper_wallet={"allocation_method": "KELLY"}
    ),
    Situation(
        R.BELOW_MIN_SIZE, Told.NUMBERS, strategy={"order_type": "GTC", "max_order_size_usd": 1}
    ),  # five shares cost more
    Situation(R.SELL_NO_POSITION, Told.VALUE, {"side": "SELL"}),
    Situation(R.POSITION_UNSETTLED, Told.VALUE, {"side": "SELL"}, earlier={}),  # no trade ever settles here
)

THE_MARKET = (
    Situation(R.MARKET_NOT_FOUND, Told.VALUE, venue=Venue.UNKNOWN),
    Situation(R.MARKET_CLOSED, Told.VALUE, venue=Venue.CLOSED),
    Situation(R.MARKET_NOT_READY, Told.VALUE, venue=Venue.PAUSED),
    Situation(R.TOKEN_LABEL_MISMATCH, Told.NUMBERS, {"token_label": "Perhaps"}),
    Situation(R.PRICE_OUT_OF_BAND, Told.NUMBERS, {"entry_price": "0.9999"}),
    Situation(R.NO_TICK_ROOM, Told.NUMBERS, price="0.02"),
    Situation(R.EDGE_TOO_SMALL, Told.NUMBERS, {"trader_win_rate": "0.51"}),
    Situation(R.EDGE_UNKNOWN, Told.NUMBERS, {"trader_win_rate": None}),
    Situation(
        R.PRICE_MOVED,
        Told.NUMBERS,
        age_s=_OLD_S,
        price="0.80",
        paper_wallet={"dead_market_max_drift_pct": 10},
    ),
)

THE_LIMITS = (
    Situation(
        R.ABOVE_MAX_ORDER_SIZE,
        Told.NUMBERS,
        purse=Purse.TWO,
        meanwhile="update public.lt_strategies set max_order_size_usd = 2 where strategy_id = %(strategy)s",
    ),
    Situation(R.MAX_POSITION_SIZE, Told.NUMBERS, strategy={"max_position_size_usd": 5}),
    Situation(R.MAX_TOTAL_EXPOSURE, Told.NUMBERS, strategy={"max_total_exposure_usd": 5}),
    Situation(R.DAILY_BUDGET, Told.NUMBERS, strategy={"daily_budget_usd": 5}),
    Situation(R.DAILY_LOSS_LIMIT, Told.NUMBERS, strategy={"max_daily_loss_usd": 50}, given=_HAS_LOST),
    Situation(R.DRAWDOWN_BREAKER, Told.NUMBERS, strategy={"circuit_breaker_loss_pct": 10}, given=_HAS_LOST),
    Situation(
        R.MAX_CONSECUTIVE_LOSSES, Told.NUMBERS, strategy={"max_consecutive_losses": 1}, given=_HAS_LOST
    ),
    Situation(
        R.MAX_OPEN_POSITIONS, Told.NUMBERS, venue=Venue.OTHER, strategy={"max_open_positions": 1}, earlier={}
    ),
    Situation(R.MAX_ORDERS_PER_MINUTE, Told.NUMBERS, strategy={"max_orders_per_minute": 1}, earlier={}),
    Situation(R.INSUFFICIENT_CAPITAL, Told.NUMBERS, strategy={"initial_capital": "0.50"}),
)

THE_WALLET = (
    Situation(R.WALLET_NOT_CONFIGURED, Told.VALUE, strategy={"wallet_address": "0x" + "99" * 20}),
    Situation(
        R.WALLET_MISMATCH,
        Told.NUMBERS,
        purse=Purse.THREE,
        meanwhile="update public.lt_strategies set wallet_address = '0x' || repeat('88', 20) where strategy_id = %(strategy)s",
    ),
    Situation(R.WALLET_BALANCE_UNKNOWN, Told.NUMBERS, purse=Purse.BLIND),
    Situation(
        R.WALLET_INSUFFICIENT_BALANCE,
        Told.NUMBERS,
        strategy={"initial_capital": 500_000, "max_order_size_usd": 500_000},
        paper_wallet={"bet_size": 500_000, "max_bet": 500_000},
    ),
)

THE_CLAIM = (
    Situation(
        R.ALREADY_EXECUTED,
        Told.VALUE,
        given="""insert into public.lt_orders (
                   strategy_id, user_id, ft_order_id, ft_wallet_id, source_trade_id, condition_id, token_id,
                   token_label, signal_price, signal_size_usd, order_id)
                 select strategy_id, user_id, %(signal)s, ft_wallet_id, 'of the old executor', '0x01', '1',
                   'Yes', 0.5, 10, '0xold' from public.lt_strategies where strategy_id = %(strategy)s""",
    ),
    Situation(
        R.DUPLICATE_SIGNAL,
        Told.VALUE,
        {"source_trade_id": "agg-one-trade"},
        earlier={"source_trade_id": "0x" + "77" * 32},
    ),
    Situation(
        R.SIGNAL_CHANGED,
        Told.NUMBERS,
        purse=Purse.FOUR,
        meanwhile="update public.ft_orders set entry_price = 0.9999 where order_id = %(signal)s",
    ),
    Situation(
        R.STRATEGY_CHANGED,
        Told.NUMBERS,
        purse=Purse.FIVE,
        # By the new settings it is refused for good: it must not stand before a door later.
        meanwhile="""update public.lt_strategies set slippage_tolerance_pct = 1, max_position_size_usd = 5
                     where strategy_id = %(strategy)s""",
    ),
    Situation(
        R.LEASE_LOST,
        Told.NUMBERS,
        purse=Purse.ONE,
        meanwhile="""update public.lt_leases set worker = 'another', fence = fence + 1,
                       expires_at = clock_timestamp() + interval '1 hour' where wallet_address = %(wallet)s""",
    ),
)

# In this order: a fault strikes whoever comes first, so nobody else may be knocking.
THE_DOOR = (
    Situation(R.EXCHANGE_UNREACHABLE, Told.VALUE, venue=Venue.SILENT),
    Situation(R.CREDENTIALS_REFUSED, Told.VALUE, purse=Purse.TWO, door=FaultName.UNAUTHORIZED),
    Situation(R.GEOBLOCKED, Told.VALUE, purse=Purse.THREE, door=FaultName.CLOUDFLARE_BLOCK),
    Situation(R.EXCHANGE_RESTARTING, Told.VALUE, purse=Purse.FOUR, door=Mode.RESTARTING),
    Situation(R.EXCHANGE_POST_ONLY, Told.VALUE, purse=Purse.FIVE, door=Mode.POST_ONLY),
    Situation(R.EXCHANGE_CANCEL_ONLY, Told.VALUE, purse=Purse.MAIN, door=Mode.CANCEL_ONLY),
    Situation(R.EXCHANGE_DISABLED, Told.VALUE, purse=Purse.MAIN, door=Mode.DISABLED),
    # The last one: it strikes everybody from then on.
    Situation(
        R.EXCHANGE_THROTTLED, Told.VALUE, purse=Purse.MAIN, door=FaultName.RATE_LIMITED, door_times=None
    ),
)

SITUATIONS: Final = (
    *THE_ROW,
    *THE_STRATEGY,
    *AGE_AND_SIZE,
    *THE_MARKET,
    *THE_LIMITS,
    *THE_WALLET,
    *THE_CLAIM,
    *THE_DOOR,
)
