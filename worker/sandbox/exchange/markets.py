"""A market: two outcome tokens that sum to a dollar, its tick, its fees and its state of trading."""

from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal

from eth_hash.auto import keccak

from worker.sandbox.exchange.hashing import is_position_id
from worker.sandbox.exchange.orders import ConditionId, Side, TokenId
from worker.sandbox.exchange.units import MICRO, PRICE_ONE, Micro, Price, price_of

TICKS = ("0.1", "0.01", "0.005", "0.0025", "0.001", "0.0001")
_RESERVED_TO = 104  # bits of an asset id: those from 40 on are clear where it is a position
_FEE_STEP = Decimal("0.00001")
_DECIMALS = {1000: (1, 3), 100: (2, 4), 50: (3, 5), 25: (4, 6), 10: (3, 5), 1: (4, 6)}


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """The taker's fee: shares x rate x (p(1-p))^exponent, in dollars, to five decimals."""

    rate: Decimal = Decimal("0.05")
    exponent: int = 1

    def fee(self, shares: Micro, price: Price) -> Micro:
        odds = Decimal(price) / PRICE_ONE
        dollars = Decimal(shares) / MICRO * self.rate * (odds * (1 - odds)) ** self.exponent
        return int(dollars.quantize(_FEE_STEP, rounding=ROUND_HALF_EVEN) * MICRO)


@dataclass(slots=True, kw_only=True)
class Market:
    """Fixed terms and live state of one market. `tokens` are (primary, secondary), usually (Yes, No)."""

    condition: ConditionId
    tokens: tuple[TokenId, TokenId]
    question: str
    slug: str
    outcomes: tuple[str, str] = ("Yes", "No")
    tick: Price = 100
    min_size: Micro = 5 * MICRO
    neg_risk: bool = False
    fees: FeeSchedule = field(default_factory=FeeSchedule)
    seconds_delay: float = 0.0
    """Sports: a marketable order is answered `delayed` and matched this much later."""
    taker_hold_s: float = 0.0
    """Crypto up/down (`itode`): a marketable order is held this long before it is matched and answered."""
    accepting_orders: bool = True
    closed: bool = False
    winner: TokenId | None = None
    voided: bool = False
    """Resolved without a winner: half a dollar for each share of either token."""
    last_trade_price: Price | None = None
    """Of the primary token."""

    def __post_init__(self) -> None:
        if self.tick not in _DECIMALS:
            raise ValueError(f"Expected a tick of {', '.join(TICKS)}, was {self.tick} ten-thousandths")

    def index_of(self, token: TokenId) -> int:
        return self.tokens.index(token)

    def outcome_of(self, token: TokenId) -> str:
        return self.outcomes[self.index_of(token)]

    def complement(self, token: TokenId) -> TokenId:
        return self.tokens[1 - self.index_of(token)]

    def in_book(self, token: TokenId, side: Side, price: Price) -> tuple[Side, Price]:
        """The same interest in terms of the primary token: buying No at 0.4 is selling Yes at 0.6."""
        if token == self.tokens[0]:
            return side, price
        return side.opposite, PRICE_ONE - price

    def own_price(self, token: TokenId, book_price: Price) -> Price:
        return book_price if token == self.tokens[0] else PRICE_ONE - book_price

    @property
    def is_position(self) -> bool:
        """Of protocol V2: its tokens are positions, which trade on Exchange V3."""
        return is_position_id(self.tokens[0])

    @property
    def listed_as(self) -> str:
        """What Gamma calls it: one byte shorter than the order book does, where it is of protocol V2."""
        return self.condition[:-2] if self.is_position else self.condition

    @property
    def trading(self) -> bool:
        return self.accepting_orders and not self.closed

    @property
    def resolved(self) -> bool:
        return self.winner is not None or self.voided

    def payout(self, token: TokenId) -> Price:
        """What a share of a resolved market is redeemed for."""
        if self.voided:
            return PRICE_ONE // 2
        return PRICE_ONE if token == self.winner else 0

    @property
    def amount_decimals(self) -> int:
        """How many decimals a limit order's dollars may use on this tick."""
        return _DECIMALS[self.tick][1]

    def close(self) -> None:
        self.closed = True
        self.accepting_orders = False


def _token(condition: bytes, index: int, *, is_position: bool) -> str:
    token = int.from_bytes(keccak(condition + bytes([index])), "big")
    return str(token >> _RESERVED_TO << _RESERVED_TO | index if is_position else token)


def synthetic_market(
    name: str,
    *,
    outcomes: tuple[str, str] = ("Yes", "No"),
    tick: str = "0.01",
    min_size: int = 5,
    neg_risk: bool = False,
    fees: FeeSchedule | None = None,
    seconds_delay: float = 0.0,
    taker_hold_s: float = 0.0,
    tokens: tuple[str, str] | None = None,
    protocol_v2: bool = False,
) -> Market:
    """A market whose ids are a function of its name. `tokens` overrides the two asset ids.

    `protocol_v2`: its condition has 31 bytes and one of padding, its tokens are positions.
    """
    condition = keccak(b"condition:" + name.encode())
    if protocol_v2:
        condition = b"\x01" + condition[:30] + b"\x00"
    primary, secondary = tokens or (
        _token(condition, 0, is_position=protocol_v2),
        _token(condition, 1, is_position=protocol_v2),
    )
    return Market(
        condition=ConditionId("0x" + condition.hex()),
        tokens=(TokenId(primary), TokenId(secondary)),
        question=name,
        slug="-".join("".join(c if c.isalnum() else " " for c in name.lower()).split()),
        outcomes=outcomes,
        tick=price_of(tick),
        min_size=min_size * MICRO,
        neg_risk=neg_risk,
        fees=fees or FeeSchedule(),
        seconds_delay=seconds_delay,
        taker_hold_s=taker_hold_s,
    )
