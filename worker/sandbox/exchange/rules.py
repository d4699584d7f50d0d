"""The settings of the simulated venue: every number and every documented either-or in one frozen place.

Defaults follow the production venue; where sources disagree the default is the reading that is less
convenient for a client. Tests shorten the durations.
"""

from dataclasses import dataclass, field

from worker.sandbox.exchange.units import MICRO, Micro


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementDelays:
    """How long a trade stays in each state before the next one, in seconds."""

    to_mined_s: float = 2.0
    to_confirmed_s: float = 3.0
    retry_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """A token bucket: so many requests a second, and so many at once after a pause."""

    per_s: float
    burst: int


STANDARD_ORDERS, STANDARD_CANCELS = Allowance(40, 60), Allowance(80, 120)
"""The venue's lowest tier, per signer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    settlement: SettlementDelays = field(default_factory=SettlementDelays)
    chain_id: int = 137

    auth_skew_s: int = 30
    """L2 and L1 timestamps further away than this are refused (the venue publishes no number)."""
    time_offset_s: int = 0
    """What the venue's clock shows on /time and in authentication, relative to true time."""

    min_marketable_buy_usd: Micro = MICRO
    market_orders_need_min_size: bool = False
    """Whether FAK and FOK must also reach the market's minimum size in shares."""
    strict_market_decimals: bool = True
    """Market orders: taker amount at most four decimals on every tick; otherwise as fine as the tick allows."""
    gtd_min_lead_s: int = 180
    gtd_early_s: int = 60
    """A GTD order dies this long before its stated expiration."""
    max_batch: int = 15
    max_cancel_batch: int = 1000

    remember_killed: bool = False
    """Whether a killed FAK or FOK blocks its own hash. If not, its bytes sent again can execute."""
    fak_buy_size_in_usd: bool = True
    """Whether original_size of a market BUY reports its dollar budget, as observed."""
    missing_order_as_null: bool = False
    """Whether an unknown order is answered 200 `null` (older behaviour) instead of 404."""
    visibility_delay_s: float = 0.0
    trades_visibility_delay_s: float = 0.0
    """How long after acceptance an order, and after the match a trade, stays invisible to REST look-ups."""
    order_allowance: Allowance | None = None
    cancel_allowance: Allowance | None = None
    """The limits of requests per signer; None: not enforced."""
    rate_tier: str = "standard"
    page_size: int = 100
    fee_on: bool = True
