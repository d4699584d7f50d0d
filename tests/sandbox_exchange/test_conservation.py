"""Over any sequence of orders: no dollar and no share appears or disappears, and the book is never crossed."""

from dataclasses import dataclass
from decimal import Decimal
from itertools import cycle

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.exchange_clients import Trader
from worker.sandbox.exchange.accounts import ESCROW, HOUSE, USD, asset_of
from worker.sandbox.exchange.clock import ManualClock
from worker.sandbox.exchange.engine import Exchange
from worker.sandbox.exchange.handling import BY_THE_RULES, Handling, Insertion
from worker.sandbox.exchange.markets import Market, synthetic_market
from worker.sandbox.exchange.orders import OrderType, Side
from worker.sandbox.exchange.refusals import RefusedError
from worker.sandbox.exchange.trades import Fate
from worker.sandbox.exchange.units import MICRO, notional
from worker.sandbox.exchange.venue import Venue

DEPOSIT = 200


@dataclass(frozen=True)
class Step:
    """One thing that happens: an order of one of three traders, or something the venue does."""

    kind: str
    who: int
    token: int
    side: Side
    cents: int
    hundredths: int


steps = st.builds(
    Step,
    kind=st.sampled_from(
        ["limit", "limit", "limit", "market", "market", "fok", "cancel", "level", "print", "time"]
    ),
    who=st.integers(0, 2),
    token=st.integers(0, 1),
    side=st.sampled_from(list(Side)),
    cents=st.integers(42, 58),
    hundredths=st.integers(500, 4_000),
)


def perform(step: Step, venue: Venue, traders: list[Trader], market: Market) -> None:
    trader, token = traders[step.who], market.tokens[step.token]
    price = str(Decimal(step.cents) / 100)
    size = str(Decimal(step.hundredths) / 100)
    try:
        match step.kind:
            case "limit":
                trader.limit(token, step.side, price, size)
            case "market" | "fok":
                order_type = OrderType.FAK if step.kind == "market" else OrderType.FOK
                send = trader.buy if step.side is Side.BUY else trader.sell
                send(token, size, price, order_type=order_type)
            case "cancel":
                owner = trader.credentials.key
                venue.engine.cancel([o.id for o in venue.engine.open_orders(owner)][:2], owner)
            case "level":
                venue.quote(token, step.side, price, size)
            case "print":
                venue.house.trade(token, step.side, step.cents * 100, step.hundredths * 10_000)
            case _:
                venue.advance(step.hundredths / 10_000)
    except RefusedError:
        pass  # refusals must leave everything as it was: that is what the checks look at


def check_conservation(venue: Venue, market: Market) -> None:
    accounts = venue.engine.accounts
    deposited = (3 * DEPOSIT + 2 * DEPOSIT) * MICRO
    assert accounts.total(USD) == deposited
    sets = accounts.holding(ESCROW, USD).balance
    assert [accounts.total(asset_of(token)) for token in market.tokens] == [sets, sets]


def check_accounts(venue: Venue, traders: list[Trader], market: Market) -> None:
    """Nobody but the house is overdrawn, and what is held is exactly what rests."""
    for trader in traders:
        for asset in (USD, *(asset_of(token) for token in market.tokens)):
            holding = venue.engine.accounts.holding(trader.address, asset)
            assert min(holding.available, holding.in_orders, holding.in_matches) >= 0
        resting = venue.engine.open_orders(trader.credentials.key)
        held = sum(
            notional(o.terms.shares, o.limit) - notional(o.filled_shares, o.limit)
            for o in resting
            if o.side is Side.BUY
        )
        assert venue.engine.accounts.holding(trader.address, USD).in_orders == held


def check_book_is_open(venue: Venue, market: Market) -> None:
    """Bids and asks do not meet."""
    book = venue.engine.books[market.condition]
    bid, ask = book.bids.best(), book.asks.best()
    assert bid is None or ask is None or bid < ask


def check_levels(venue: Venue, market: Market) -> None:
    book = venue.engine.books[market.condition]
    for ladder in (book.bids, book.asks):
        for _, level in ladder.best_first():
            assert level.total == sum(order.remaining for order in level.orders.values()) > 0


def check_orders(venue: Venue) -> None:
    """What an order was filled is what its trades say, and never worse than its limit."""
    for order in venue.engine.orders.values():
        taken = [t for t in venue.engine.trades.values() if t.taker.id == order.id]
        made = [f for t in venue.engine.trades.values() for f in t.fills if f.maker.id == order.id]
        assert order.filled_shares == sum(t.shares for t in taken) + sum(f.shares for f in made)
        if order.side is Side.BUY:
            assert all(t.price <= order.limit for t in taken)
            if order.terms.budget_usd is not None:
                assert sum(t.usd for t in taken) <= order.terms.budget_usd
        else:
            assert all(t.price >= order.limit for t in taken)


HANDLINGS = [BY_THE_RULES, *(Handling(insertion=insertion, rests=True) for insertion in Insertion)]


@settings(max_examples=60, deadline=None)
@given(
    sequence=st.lists(steps, min_size=10, max_size=40),
    fates=st.lists(st.sampled_from(list(Fate)), min_size=1, max_size=5),
    handlings=st.one_of(
        st.just([BY_THE_RULES]), st.lists(st.sampled_from(HANDLINGS), min_size=1, max_size=5)
    ),
)
def test_money_and_shares_are_conserved_whatever_is_traded(
    sequence: list[Step], fates: list[Fate], handlings: list[Handling]
) -> None:
    market = synthetic_market("Conserved")
    venue = Venue(Exchange([market], clock=ManualClock()))
    traders = [Trader(venue, number, usd=DEPOSIT) for number in range(3)]
    venue.engine.settlement.fate_of = lambda trade: fates[trade.shares % len(fates)]
    for trader, token in zip(traders, market.tokens, strict=False):
        venue.backoffice.fund_shares(trader.address, token, DEPOSIT * MICRO)
    for step, handling in zip(sequence, cycle(handlings), strict=False):
        for trader in traders:
            trader.handling = handling
        perform(step, venue, traders, market)
        check_conservation(venue, market)
        check_accounts(venue, traders, market)
        if handlings == [BY_THE_RULES]:
            check_book_is_open(venue, market)
        check_levels(venue, market)
        check_orders(venue)
    venue.advance(60)
    check_conservation(venue, market)
    assert venue.engine.accounts.holding(HOUSE, USD).in_orders == 0
