"""What every `Exchange` promises, asked of the real adapter and of paper trading over one simulated exchange."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tests.support.eventually import eventually
from tests.support.exchange_floor import Floor, WallClock, open_floor, polymarket
from tests.support.exchange_plans import plan
from worker.errors import MarketNotFound
from worker.exchange.paper import PaperExchange
from worker.orders.amounts import Amounts
from worker.orders.lifecycle import FillState
from worker.orders.market import Level
from worker.orders.outcomes import OutcomeKind, classify
from worker.orders.ports import Answer, Exchange, Fill, OrderView
from worker.orders.terms import ConditionId, OrderId, OrderType, TokenId

NO_ORDER = OrderId("0x" + "77" * 32)


@dataclass(frozen=True)
class Setup:
    floor: Floor
    exchange: Exchange

    async def settled(self, order_id: OrderId) -> OrderView:
        """The order once all of its fills are final."""

        async def probe() -> OrderView:
            view = await self.exchange.lookup(self.floor.wallet, order_id)
            assert {fill.state for fill in view.fills} == {FillState.FINAL}
            return view

        return await eventually(probe)


@pytest.fixture(params=["polymarket", "paper"])
async def setup(request: pytest.FixtureRequest) -> AsyncIterator[Setup]:
    async with open_floor() as floor:
        if request.param == "polymarket":
            async with polymarket(floor) as exchange:
                yield Setup(floor, exchange)
            return
        paper = PaperExchange(floor.settings, WallClock(), bankroll_usd=Decimal(1000))
        try:
            yield Setup(floor, paper)
        finally:
            await paper.aclose()


async def test_a_market_states_the_rules_that_an_order_must_keep(setup: Setup) -> None:
    market = await setup.exchange.market(setup.floor.condition_id)
    assert (market.tick_size, market.min_order_size_shares) == (Decimal("0.01"), Decimal(5))
    assert (market.fee_rate, market.fee_exponent) == (Decimal("0.05"), 1)
    assert [token.outcome for token in market.tokens] == ["Yes", "No"]
    assert [token.token_id for token in market.tokens] == [setup.floor.yes, setup.floor.no]
    assert market.accepting_orders
    assert not market.closed


async def test_an_unknown_market_is_not_found(setup: Setup) -> None:
    with pytest.raises(MarketNotFound):
        await setup.exchange.market(ConditionId("0x" + "00" * 32))


async def test_an_unknown_token_has_no_book(setup: Setup) -> None:
    with pytest.raises(MarketNotFound):
        await setup.exchange.book(TokenId("12345"))


async def test_a_book_is_sorted_best_price_first_on_both_sides(setup: Setup) -> None:
    for price in ("0.53", "0.51", "0.52"):
        setup.floor.offer(price, "10")
    for price in ("0.47", "0.49", "0.48"):
        setup.floor.bid(price, "20")
    book = await setup.exchange.book(setup.floor.yes)
    assert [level.price for level in book.asks] == [Decimal("0.51"), Decimal("0.52"), Decimal("0.53")]
    assert [level.price for level in book.bids] == [Decimal("0.49"), Decimal("0.48"), Decimal("0.47")]
    assert book.asks[0] == Level(Decimal("0.51"), Decimal(10))


async def test_preparing_asks_the_exchange_nothing_once_the_market_is_warm(setup: Setup) -> None:
    await setup.exchange.warm([setup.floor.wallet], [setup.floor.condition_id])
    asked = setup.floor.calls()
    market = await setup.exchange.market(setup.floor.condition_id)
    await setup.exchange.prepare(setup.floor.wallet, plan(market, limit_price="0.52"))
    assert setup.floor.calls() == asked


async def test_warming_survives_a_market_that_does_not_exist(setup: Setup) -> None:
    await setup.exchange.warm([setup.floor.wallet], [ConditionId("0x" + "00" * 32)])


async def test_two_orders_of_one_plan_have_two_ids(setup: Setup) -> None:
    market = await setup.exchange.market(setup.floor.condition_id)
    wanted = plan(market, limit_price="0.52")
    first = await setup.exchange.prepare(setup.floor.wallet, wanted)
    second = await setup.exchange.prepare(setup.floor.wallet, wanted)
    assert first.order_id != second.order_id
    assert len(first.order_id) == 66


async def test_a_fak_buy_spends_its_dollars_and_keeps_the_better_price(setup: Setup) -> None:
    setup.floor.offer("0.50", "1000")
    answer, view = await _trade(setup, limit_price="0.55", bet_usd="40")
    assert answer.status == "matched"
    spent = answer.making_amount
    assert spent is not None
    assert answer.taking_amount == spent / Decimal("0.50")
    assert _sum(view.fills) == (spent / Decimal("0.50"), spent)
    assert {fill.price for fill in view.fills} == {Decimal("0.50")}


async def test_a_fak_buy_that_crosses_levels_is_filled_level_by_level_up_to_its_limit(setup: Setup) -> None:
    setup.floor.offer("0.50", "20")
    setup.floor.offer("0.51", "10")
    setup.floor.offer("0.53", "500")
    _, view = await _trade(setup, limit_price="0.52", bet_usd="100")
    assert sorted((fill.price, fill.shares) for fill in view.fills) == [
        (Decimal("0.50"), Decimal(20)),
        (Decimal("0.51"), Decimal(10)),
    ]
    assert view.size_matched == Decimal(30)


async def test_a_takers_fee_follows_the_markets_own_formula(setup: Setup) -> None:
    setup.floor.offer("0.40", "100")
    _, view = await _trade(setup, limit_price="0.40", bet_usd="30")
    (fill,) = view.fills
    assert fill.role == "TAKER"
    expected = fill.shares * Decimal("0.05") * Decimal("0.40") * Decimal("0.60")
    assert abs(fill.fee_usd - expected) <= Decimal("0.000005")
    assert fill.fee_usd == fill.fee_usd.quantize(Decimal("0.00001"))


async def test_a_fak_that_meets_nothing_is_killed_in_the_exchanges_words(setup: Setup) -> None:
    setup.floor.offer("0.60", "100")
    _, answer = await _send(setup, limit_price="0.55")
    assert answer.http_status == 400
    assert classify(answer, first_send=True).kind is OutcomeKind.KILLED


async def test_a_fok_that_cannot_be_filled_whole_takes_nothing(setup: Setup) -> None:
    setup.floor.offer("0.50", "10")
    _, answer = await _send(setup, limit_price="0.55", order_type=OrderType.FOK)
    assert answer.http_status == 400
    assert classify(answer, first_send=True).kind is OutcomeKind.KILLED
    assert (await setup.exchange.book(setup.floor.yes)).asks == (Level(Decimal("0.50"), Decimal(10)),)


async def test_a_fok_that_fits_is_filled_whole(setup: Setup) -> None:
    setup.floor.offer("0.50", "30")
    setup.floor.offer("0.51", "300")
    answer, view = await _trade(setup, limit_price="0.55", order_type=OrderType.FOK, bet_usd="60")
    shares, dollars = _sum(view.fills)
    assert answer.making_amount is not None
    assert abs(dollars - answer.making_amount) < Decimal("0.01")
    assert shares == answer.taking_amount


async def test_a_gtc_order_takes_what_crosses_and_rests_with_the_remainder(setup: Setup) -> None:
    setup.floor.offer("0.50", "10")
    answer, view = await _trade(setup, limit_price="0.50", order_type=OrderType.GTC, bet_usd="50")
    assert answer.status in {"matched", "live"}
    assert view.status == "LIVE"
    assert _sum(view.fills) == (Decimal(10), Decimal(5))


async def test_a_resting_order_can_be_cancelled_once(setup: Setup) -> None:
    market = await setup.exchange.market(setup.floor.condition_id)
    envelope = await setup.exchange.prepare(
        setup.floor.wallet, plan(market, limit_price="0.40", order_type=OrderType.GTC)
    )
    assert (await setup.exchange.submit(envelope)).status == "live"
    assert await setup.exchange.cancel(setup.floor.wallet, envelope.order_id)
    assert (await setup.exchange.lookup(setup.floor.wallet, envelope.order_id)).status == "CANCELED"
    assert not await setup.exchange.cancel(setup.floor.wallet, envelope.order_id)


async def test_an_order_that_was_never_sent_is_not_found_and_cannot_be_cancelled(setup: Setup) -> None:
    view = await setup.exchange.lookup(setup.floor.wallet, NO_ORDER)
    assert not view.found
    assert view.fills == ()
    assert not await setup.exchange.cancel(setup.floor.wallet, NO_ORDER)


async def test_the_fills_of_many_orders_are_read_at_once(setup: Setup) -> None:
    setup.floor.offer("0.50", "1000")
    since = datetime.now(UTC)
    first, _ = await _send(setup, limit_price="0.50", bet_usd="10")
    second, _ = await _send(setup, limit_price="0.50", bet_usd="20")
    resting, _ = await _send(setup, limit_price="0.40", order_type=OrderType.GTC)
    fills = await setup.exchange.fills(setup.floor.wallet, [first, resting, NO_ORDER], since=since)
    assert fills.keys() == {first}
    assert {fill.order_id for fill in fills[first]} == {first}
    alone = (await setup.exchange.lookup(setup.floor.wallet, first)).fills
    assert {fill.trade_id for fill in fills[first]} == {fill.trade_id for fill in alone}
    both = await setup.exchange.fills(setup.floor.wallet, [first, second], since=since)
    assert both.keys() == {first, second}


async def test_the_same_envelope_twice_is_a_duplicate_and_trades_once(setup: Setup) -> None:
    setup.floor.offer("0.50", "1000")
    market = await setup.exchange.market(setup.floor.condition_id)
    envelope = await setup.exchange.prepare(setup.floor.wallet, plan(market, limit_price="0.50"))
    first = await setup.exchange.submit(envelope)
    again = await setup.exchange.submit(envelope)
    assert classify(again, first_send=False).kind is OutcomeKind.DUPLICATED
    view = await setup.settled(envelope.order_id)
    assert _sum(view.fills) == (first.taking_amount, first.making_amount)


async def test_an_accepted_answer_carries_the_id_that_was_known_before(setup: Setup) -> None:
    setup.floor.offer("0.50", "1000")
    market = await setup.exchange.market(setup.floor.condition_id)
    envelope = await setup.exchange.prepare(setup.floor.wallet, plan(market, limit_price="0.50"))
    answer = await setup.exchange.submit(envelope)
    assert answer.order_id == envelope.order_id
    assert set(answer.trade_ids) == {fill.trade_id for fill in (await setup.settled(envelope.order_id)).fills}


async def test_an_altered_envelope_is_never_sent(setup: Setup) -> None:
    setup.floor.offer("0.50", "1000")
    market = await setup.exchange.market(setup.floor.condition_id)
    wanted = plan(market, limit_price="0.50", amounts=Amounts(10_000_000, 20_000_000, spend_usd=Decimal(10)))
    dearer = plan(market, limit_price="0.50", amounts=Amounts(90_000_000, 180_000_000, spend_usd=Decimal(90)))
    honest = await setup.exchange.prepare(setup.floor.wallet, wanted)
    other = await setup.exchange.prepare(setup.floor.wallet, dearer)
    answer = await setup.exchange.submit(replace(honest, body=other.body))
    assert (answer.http_status, answer.connected) == (None, False)
    assert setup.floor.venue.journal.orders == []
    assert not (await setup.exchange.lookup(setup.floor.wallet, honest.order_id)).found


async def test_an_order_for_a_market_that_closed_meanwhile_trades_nothing(setup: Setup) -> None:
    market = await setup.exchange.market(setup.floor.condition_id)
    envelope = await setup.exchange.prepare(setup.floor.wallet, plan(market, limit_price="0.50"))
    setup.floor.offer("0.50", "1000")
    setup.floor.venue.backoffice.close(setup.floor.condition_id)
    answer = await setup.exchange.submit(envelope)
    assert answer.http_status in {400, 404}
    assert classify(answer, first_send=True).kind in {OutcomeKind.REFUSED, OutcomeKind.KILLED}


async def test_the_balance_is_stated_in_dollars(setup: Setup) -> None:
    balance = await setup.exchange.balance(setup.floor.wallet)
    assert balance.wallet == setup.floor.wallet
    assert balance.collateral_usd == Decimal(1000)


async def _send(
    setup: Setup, *, limit_price: str, order_type: OrderType = OrderType.FAK, bet_usd: str = "50"
) -> tuple[OrderId, Answer]:
    market = await setup.exchange.market(setup.floor.condition_id)
    wanted = plan(market, limit_price=limit_price, order_type=order_type, bet_usd=bet_usd)
    envelope = await setup.exchange.prepare(setup.floor.wallet, wanted)
    return envelope.order_id, await setup.exchange.submit(envelope)


async def _trade(
    setup: Setup, *, limit_price: str, order_type: OrderType = OrderType.FAK, bet_usd: str = "50"
) -> tuple[Answer, OrderView]:
    """Send an order that trades, and see it settled."""
    order_id, answer = await _send(setup, limit_price=limit_price, order_type=order_type, bet_usd=bet_usd)
    assert answer.http_status == 200, answer
    return answer, await setup.settled(order_id)


def _sum(fills: tuple[Fill, ...]) -> tuple[Decimal, Decimal]:
    """Shares and dollars."""
    return (
        sum((fill.shares for fill in fills), Decimal(0)),
        sum((fill.shares * fill.price for fill in fills), Decimal(0)),
    )
