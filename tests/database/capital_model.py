"""What a strategy owns, computed from what happened to it: the protocol's words in Python, nothing of the product's SQL.

It keeps every fill with the order and the token that it belongs to, and computes everything anew each time it is asked.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

ZERO = Decimal(0)
_MICRO_USD = Decimal("0.000001")


@dataclass(slots=True)
class BookedFill:
    trade_id: str
    side: str
    price: Decimal
    shares: Decimal
    fee_usd: Decimal
    state: str = "provisional"
    cost_usd: Decimal = ZERO  # of a sale: what its shares had cost on average when it was booked

    @property
    def usd(self) -> Decimal:
        """Paid with the fee, or received without it."""
        value = self.price * self.shares
        return value + self.fee_usd if self.side == "BUY" else value - self.fee_usd


@dataclass(slots=True)
class Sent:
    """One attempt: what it may still cost is held until it is closed."""

    order_id: str
    side: str
    reserve_usd: Decimal
    reserve_shares: Decimal
    fills: list[BookedFill] = field(default_factory=list)
    closed: bool = False

    def standing(self) -> Iterator[BookedFill]:
        return (fill for fill in self.fills if fill.state != "reversed")

    @property
    def held_back_usd(self) -> Decimal:
        return (
            ZERO if self.closed else max(self.reserve_usd - sum((f.usd for f in self.standing()), ZERO), ZERO)
        )


@dataclass(slots=True)
class Order:
    lt_order_id: str
    ft_order_id: str
    token: int
    side: str
    target_usd: Decimal = ZERO  # of a purchase
    attempts: list[Sent] = field(default_factory=list)
    payout: int | None = None  # dollars a share, once it is resolved
    redeemed: bool = False

    def standing(self) -> list[BookedFill]:
        return [fill for attempt in self.attempts for fill in attempt.standing()]

    @property
    def left_usd(self) -> Decimal:
        """What further attempts of a purchase may spend, to the cent below."""
        spent = sum((fill.price * fill.shares for fill in self.standing()), ZERO)
        return (self.target_usd - spent).quantize(Decimal("0.01"), "ROUND_DOWN")

    @property
    def is_alive(self) -> bool:
        return any(not attempt.closed for attempt in self.attempts)

    @property
    def is_settled(self) -> bool:
        return not self.is_alive and all(fill.state == "final" for fill in self.standing())


@dataclass(slots=True)
class Book:
    """One strategy in one mode."""

    initial_usd: Decimal
    cools: bool = True
    awaits_redemption: bool = False
    orders: list[Order] = field(default_factory=list)
    made: dict[str, Decimal] = field(default_factory=dict)  # by what, at the last look
    peak_usd: Decimal = ZERO  # of what was made
    peaks_before: dict[str, Decimal] = field(default_factory=dict)  # the peak before that made anything

    # --- what happens

    def book(self, order: Order, attempt: Sent, fill: BookedFill) -> None:
        if fill.side == "SELL":
            fill.cost_usd = self._average_cost(order.token, fill.shares)
        attempt.fills.append(fill)

    def end(self, order: Order, payout: int) -> None:
        """Purchases and sales of a token end together; purchases alone end one by one."""
        together = self.of_token(order.token) if self._has_sales(order.token) else [order]
        for one in together:
            if one.payout is None and (one.standing() or one.is_alive):
                one.payout = payout

    def returns(self, order: Order) -> None:
        """An order that had come to nothing has a fill after all: its token may have ended meanwhile."""
        payouts = {one.payout for one in self.of_token(order.token)} - {None}
        if payouts and self._has_sales(order.token):
            self.end(order, next(payout for payout in payouts if payout is not None))

    # --- what it comes to

    def of_token(self, token: int) -> list[Order]:
        return [order for order in self.orders if order.token == token]

    def sellable_shares(self, token: int) -> Decimal:
        shares, _ = self._confirmed(token)
        selling = sum(
            (
                max(attempt.reserve_shares - sum((fill.shares for fill in attempt.standing()), ZERO), ZERO)
                for order in self.of_token(token)
                for attempt in order.attempts
                if attempt.side == "SELL" and not attempt.closed and order.payout is None
            ),
            ZERO,
        )
        return shares - selling

    @property
    def locked_usd(self) -> Decimal:
        """What open attempts may still cost, and what was paid for shares that are held."""
        held_back = sum((a.held_back_usd for o in self.orders for a in o.attempts), ZERO)
        paid = sum((self._cost_usd(order) for order in self.orders if order.payout is None), ZERO)
        return held_back + paid

    @property
    def realised_usd(self) -> Decimal:
        sales = sum((f.usd - f.cost_usd for o in self.orders for f in o.standing() if f.side == "SELL"), ZERO)
        ended = sum(
            (self._paid_out(o) - self._cost_usd(o) for o in self.orders if o.payout is not None), ZERO
        )
        return sales + ended

    @property
    def awaiting_usd(self) -> Decimal:
        if not self.awaits_redemption:
            return ZERO
        return sum((self._paid_out(o) for o in self.orders if o.payout == 1 and not o.redeemed), ZERO)

    @property
    def cooldown_usd(self) -> Decimal:
        """Everything that came back, while it cools: a test does not last as long as that takes."""
        if not self.cools:
            return ZERO
        sales = sum((f.usd for o in self.orders for f in o.standing() if f.side == "SELL"), ZERO)
        paid_out = sum((self._paid_out(o) for o in self.orders if o.payout is not None), ZERO)
        return sales + paid_out - self.awaiting_usd

    @property
    def available_usd(self) -> Decimal:
        return self.initial_usd + self.realised_usd - self.locked_usd - self.cooldown_usd - self.awaiting_usd

    def _made_usd(self) -> dict[str, Decimal]:
        """What each sale and each end of an order came to."""
        sales = {
            f.trade_id: f.usd - f.cost_usd
            for o in self.orders
            for a in o.attempts
            for f in a.standing()
            if f.side == "SELL"
        }
        ends = {
            o.lt_order_id: self._paid_out(o) - self._cost_usd(o) for o in self.orders if o.payout is not None
        }
        return sales | ends

    def _look_at_peak(self) -> None:
        """It falls by what is taken back, but not below what stood before that came. A loss takes nothing back."""
        before_usd, made = self.peak_usd, self._made_usd()
        for name, usd in self.made.items():
            taken_back_usd = max(min(usd - made.get(name, ZERO), usd), ZERO)
            self.peak_usd -= min(taken_back_usd, max(self.peak_usd - self.peaks_before.get(name, ZERO), ZERO))
        for name, usd in made.items():
            if usd:
                self.peaks_before.setdefault(name, before_usd)
        self.made = made
        self.peak_usd = max(self.peak_usd, sum(made.values(), ZERO))

    def look(self) -> dict[str, Decimal]:
        """Every number that the product tells, by its name there."""
        self._look_at_peak()
        return {
            "initial_usd": self.initial_usd,
            "realised_usd": self.realised_usd,
            "realised_today_usd": self.realised_usd,
            "locked_usd": self.locked_usd,
            "exposure_usd": self.locked_usd,
            "cooldown_usd": self.cooldown_usd,
            "awaiting_redeem_usd": self.awaiting_usd,
            "available_usd": self.available_usd,
            "peak_equity_usd": self.initial_usd + self.peak_usd,
        }

    def _has_sales(self, token: int) -> bool:
        return any(order.side == "SELL" for order in self.of_token(token))

    def _cost_usd(self, order: Order) -> Decimal:
        return sum((f.usd if f.side == "BUY" else -f.cost_usd for f in order.standing()), ZERO)

    def _paid_out(self, order: Order) -> Decimal:
        shares = sum((f.shares if f.side == "BUY" else -f.shares for f in order.standing()), ZERO)
        return shares * (order.payout or 0)

    def _confirmed(self, token: int) -> tuple[Decimal, Decimal]:
        """Shares that are ours for good and not sold, and what they cost."""
        shares = cost_usd = ZERO
        for order in self.of_token(token):
            if order.payout is not None:
                continue
            for fill in order.standing():
                if fill.side == "SELL":
                    shares, cost_usd = shares - fill.shares, cost_usd - fill.cost_usd
                elif fill.state == "final":
                    shares, cost_usd = shares + fill.shares, cost_usd + fill.usd
        return shares, cost_usd

    def _average_cost(self, token: int, shares: Decimal) -> Decimal:
        held, cost_usd = self._confirmed(token)
        return (
            cost_usd if shares >= held else (cost_usd * shares / held).quantize(_MICRO_USD, "ROUND_HALF_UP")
        )
