"""What every order keeps to, whatever the signal, the strategy, the market and the money: `make rules` looks long."""

from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import cache
from itertools import product
from math import ceil, floor

from hypothesis import assume, given
from hypothesis import strategies as st

from tests.orders.builders import NO, NOW, YES, a_capital, a_market, a_signal, a_strategy, ft_wallet_row
from tests.orders.draws import numbers
from worker.exchange.order_id import OrderStruct, exchange_version, order_id
from worker.orders.capital import Capital
from worker.orders.decide import Plan, decide
from worker.orders.holdings import Holdings
from worker.orders.market import Market, Token
from worker.orders.policy import DecisionPolicy
from worker.orders.reasons import SkipReason
from worker.orders.signal import Signal
from worker.orders.skips import Skip
from worker.orders.strategy import AllocationMethod, Strategy
from worker.orders.terms import Mode, OrderType, Side, TokenId
from worker.sandbox.exchange import hashing, markets, orders, units
from worker.sandbox.exchange.rules import Rules
from worker.sandbox.exchange.validation import check_marketable, terms_of

D = Decimal
TICKS = ("0.1", "0.01", "0.005", "0.0025", "0.001", "0.0001")
FEE_RATES = st.sampled_from([D(0), D("0.04"), D("0.05"), D("0.07")]) | numbers(0, "0.1", 4)
MIN_SHARES = st.sampled_from([D(5)]) | numbers(0, 20, 2)
A_V3_TOKEN = TokenId(str(77 << 104 | 5))
TRADER = orders.Address("0x" + "ab" * 20)


@dataclass(frozen=True)
class Case:
    """One judgement. `held`: shares of the outcome, for a SELL."""

    signal: Signal
    strategy: Strategy
    market: Market
    capital: Capital
    policy: DecisionPolicy
    held: Holdings | None
    neg_risk: bool

    def judged(self) -> Plan | Skip:
        return decide(
            self.signal, self.strategy, self.market, None, self.capital, self.policy, NOW, self.held
        )


KINDS = st.sampled_from(
    tuple(
        product(
            TICKS,
            OrderType,
            AllocationMethod,
            (1, 1, 2, 0),
            (True, False),
            (YES, A_V3_TOKEN),
            (D(100), D(20)),
        )
    )
)
SIDES = {sides: st.sampled_from(sides) for sides in ((Side.BUY,), (Side.SELL,), tuple(Side))}
MAX_BETS = numbers(20, 200, 2) | numbers("0.9", 200, 2)
AVAILABLE = numbers(20, 400, 4) | numbers(1, 400, 4)
CEILINGS = st.none() | numbers(20, 200, 2) | numbers(1, 200, 2)  # None: off


@st.composite
def cases(draw: st.DrawFn, *sides: Side) -> Case:
    tick, order_type, method, fee_exponent, neg_risk, token, min_tick_max_pct = draw(KINDS)
    side = draw(SIDES[sides or tuple(Side)])
    market = a_market(
        tick=tick,
        fee_rate=str(draw(FEE_RATES)),
        fee_exponent=fee_exponent,
        min_shares=str(draw(MIN_SHARES)),
    )
    strategy = a_strategy(
        order_type=order_type.value,
        slippage_tolerance_pct=str(draw(numbers(0, 20, 3))),
        min_order_size_usd=str(draw(numbers(0, 3, 2))),
        max_order_size_usd=str(draw(numbers(3, 200, 2))),
        max_position_size_usd=draw(CEILINGS),
        max_total_exposure_usd=draw(CEILINGS),
        daily_budget_usd=draw(CEILINGS),
        ft_wallet=ft_wallet_row(
            bet_size=str(draw(numbers("0.9", 200, 2))),
            min_bet="0.01",
            max_bet=str(draw(MAX_BETS)),
            allocation_method=method.value,
        ),
    )
    return Case(
        signal=a_signal(
            side=side.value,
            entry_price=str(draw(entry_prices(tick))),
            trader_win_rate=str(draw(numbers(0, 1, 4))),
        ),
        strategy=strategy,
        market=replace(
            market,
            tokens=(Token(token, "Yes"), Token(NO, "No")),
            exchange_version=exchange_version(token, neg_risk=neg_risk),
        ),
        capital=a_capital(available=str(draw(AVAILABLE)), exposure=str(draw(numbers(0, 20, 2)))),
        policy=DecisionPolicy(mode=Mode.LIVE, min_tick_max_pct=min_tick_max_pct),
        held=draw(holdings()) if side is Side.SELL else None,
        neg_risk=neg_risk,
    )


@cache
def entry_prices(tick: str) -> st.SearchStrategy[Decimal]:
    """What the paper side stores: a price of the grid with its markup, or an average over several."""
    of_the_grid = st.integers(1, int(1 / D(tick)) - 1).map(lambda step: marked(step * D(tick)))
    return of_the_grid | of_the_grid | of_the_grid | numbers("0.0001", "0.9998", 4)


def marked(price: Decimal) -> Decimal:
    """Kept below the paper side's own cap, of which nothing can be told."""
    return min(D("0.9998"), (price * D("1.003")).quantize(D("0.0001"), ROUND_HALF_UP))


@st.composite
def holdings(draw: st.DrawFn) -> Holdings:
    settled, unsettled = draw(numbers("0.01", 500, 6)), draw(numbers(0, 20, 6))
    paper = draw(numbers(1, 500, 6))
    return Holdings(
        unsold_shares=settled + max(unsettled - 15, D(0)),
        settled_shares=settled,
        buying=False,
        selling=False,
        paper_bought_shares=paper,
        paper_sold_shares=paper * draw(numbers(0, 1, 3)),
    )


@st.composite
def plans(draw: st.DrawFn, *sides: Side) -> tuple[Case, Plan]:
    case = draw(cases(*sides))
    plan = case.judged()
    assume(isinstance(plan, Plan))
    assert isinstance(plan, Plan)
    return case, plan


def limits_of(case: Case) -> list[Decimal]:
    """Every ceiling on what one entry may cost (protocol.md: they bound the reservation)."""
    strategy, capital = case.strategy, case.capital
    ceilings = [strategy.max_order_size_usd, capital.available_usd]
    ceilings += [
        each for each in (strategy.max_position_size_usd, strategy.daily_budget_usd) if each is not None
    ]
    if strategy.max_total_exposure_usd is not None:
        ceilings.append(strategy.max_total_exposure_usd - capital.exposure_usd)
    return ceilings


@given(plans(Side.BUY))
def test_what_an_entry_reserves_is_within_its_bet_and_every_cap(planned: tuple[Case, Plan]) -> None:
    case, plan = planned
    wallet = case.strategy.ft_wallet
    assert wallet is not None
    assert 0 < plan.reservation.usd <= min(plan.bet_usd, *limits_of(case))
    assert plan.bet_usd <= min(case.strategy.max_order_size_usd, case.capital.available_usd)
    assert plan.bet_usd <= max(wallet.max_bet_usd, case.strategy.min_order_size_usd)
    assert plan.bet_usd == plan.bet_usd.quantize(D("0.01"))
    assert plan.reservation.shares == 0


@given(plans(Side.SELL))
def test_an_exit_gives_no_share_that_is_not_settled_and_reserves_no_dollar(
    planned: tuple[Case, Plan],
) -> None:
    case, plan = planned
    assert case.held is not None
    assert 0 < plan.reservation.shares <= case.held.settled_shares <= case.held.unsold_shares
    assert plan.reservation.shares == plan.amounts.shares
    assert plan.reservation.usd == plan.bet_usd == 0
    assert "bet_usd" not in plan.snapshot


@given(plans())
def test_a_limit_is_on_its_tick_and_never_beyond_the_cap(planned: tuple[Case, Plan]) -> None:
    """protocol.md "Price", counted in whole ticks and exact fractions."""
    case, plan = planned
    tick, base, slippage = (
        Fraction(each) for each in (case.market.tick_size, plan.base_price, case.strategy.slippage)
    )
    last = int(1 / tick) - 1
    at, ended = base / tick, Fraction(plan.limit_price) / tick
    assert at.denominator == ended.denominator == 1
    assert 1 <= ended <= last
    granted = slippage > 0 and 100 / at <= Fraction(case.policy.min_tick_max_pct)
    room = 1 if granted else 0
    if plan.side is Side.BUY:
        assert at <= ended <= max(Fraction(floor(at * (1 + slippage))), at + room)
        assert ended > at or not granted or at == last
    else:
        assert at >= ended >= min(Fraction(ceil(at * (1 - slippage))), at - room)
        assert ended < at or not granted or at == 1


def exchange_market(case: Case) -> markets.Market:
    return markets.Market(
        condition=orders.ConditionId(case.market.condition_id),
        tokens=(
            orders.TokenId(case.market.tokens[0].token_id),
            orders.TokenId(case.market.tokens[1].token_id),
        ),
        question="",
        slug="",
        tick=units.price_of(case.market.tick_size),
        min_size=units.micro(case.market.min_order_size_shares),
        neg_risk=case.neg_risk,
        fees=markets.FeeSchedule(case.market.fee_rate, case.market.fee_exponent),
    )


def signed(plan: Plan) -> orders.SignedOrder:
    return orders.SignedOrder(
        salt=1,
        maker=TRADER,
        signer=TRADER,
        token=orders.TokenId(plan.token.token_id),
        maker_amount=plan.amounts.maker_base_units,
        taker_amount=plan.amounts.taker_base_units,
        side=orders.Side(plan.side),
        signature_type=0,
        timestamp_ms=int(NOW.timestamp() * 1000),
        metadata=bytes(32),
        builder=bytes(32),
        expiration_s=0 if plan.expires_at is None else int(plan.expires_at.timestamp()),
        signature=b"",
    )


@given(plans())
def test_the_exchange_accepts_every_order_and_understands_it_as_it_was_planned(
    planned: tuple[Case, Plan],
) -> None:
    """Its own validation: tick, price band, minimum shares, minimum dollars, decimals and expiration."""
    case, plan = planned
    market, order = exchange_market(case), signed(plan)
    rules = Rules()
    order_type = orders.OrderType(plan.order_type)
    identity = hashing.order_id(order, neg_risk=case.neg_risk)
    terms = terms_of(order, order_type, market, rules, order_id=identity, now_s=int(NOW.timestamp()))
    check_marketable(terms, order_type, rules, crosses=True)
    assert terms.side == plan.side.value
    assert D(terms.limit) / units.PRICE_ONE == plan.limit_price
    spend, shares = plan.amounts.spend_usd, plan.amounts.shares
    assert terms.budget_usd == (None if spend is None else units.micro(spend))
    assert shares is None or terms.shares == units.micro(shares)
    assert str(order_id(struct(order), plan.market.exchange_version)) == identity


def struct(order: orders.SignedOrder) -> OrderStruct:
    """The same order as the worker's own hash takes it."""
    return OrderStruct(
        salt=order.salt,
        maker=order.maker,
        signer=order.signer,
        token_id=TokenId(order.token),
        maker_amount=order.maker_amount,
        taker_amount=order.taker_amount,
        side=Side(order.side),
        signature_type=order.signature_type,
        timestamp_ms=order.timestamp_ms,
    )


@given(plans(Side.BUY), st.data())
def test_no_entry_costs_more_than_it_reserved_at_any_price_and_by_the_exchanges_own_fee(
    planned: tuple[Case, Plan], data: st.DataObject
) -> None:
    case, plan = planned
    market = exchange_market(case)
    limit = units.price_of(plan.limit_price)
    met = market.tick * data.draw(st.integers(1, limit // market.tick), label="ticks of the price met")
    budget = plan.amounts.spend_usd
    if budget is None:
        shares = plan.amounts.taker_base_units
        paid = units.notional(shares, met)
    else:
        paid = units.micro(budget)
        shares = paid * units.PRICE_ONE // met
    assert paid + market.fees.fee(shares, met) <= units.micro(plan.reservation.usd)


@given(cases(Side.BUY))
def test_a_bet_is_raised_to_a_minimum_inside_every_limit_or_it_is_too_small(case: Case) -> None:
    outcome = case.judged()
    wallet = case.strategy.ft_wallet
    assert wallet is not None
    raised = D(outcome.snapshot.get("raise_to_usd", "0"))
    room = min(wallet.max_bet_usd, *limits_of(case))
    if isinstance(outcome, Plan):
        assert outcome.bet_usd == (raised or D(outcome.snapshot["bet_usd"]))
        assert raised <= room
        assert not raised or outcome.reservation.usd == raised > D(outcome.snapshot["bet_usd"])
    elif outcome.reason is SkipReason.BELOW_MIN_SIZE:
        assert raised > room
        assert outcome.snapshot["raise_refused"]
    else:
        assert not raised
