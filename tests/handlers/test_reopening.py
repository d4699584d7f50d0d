"""What was put off for a door of the exchange is due when the door opens, and one of it while nobody knocks."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.desk import ago
from tests.support.trading_room import TradingRoom
from worker.handlers.reopening import Reopening
from worker.handlers.strategies import Strategies
from worker.observe.health import Health
from worker.orders.outcomes import classify
from worker.orders.ports import Answer
from worker.orders.terms import FtOrderId, OrderId, WalletAddress

FRESH_FOR_S = 120.0


@dataclass
class Porch:
    """The doors of a room, what was put off for them, and who hurries it."""

    room: TradingRoom
    strategies: Strategies
    reopening: Reopening
    told: list[str]

    async def put_off(
        self, *, age_s: float, strategy_id: str = "LT_ONE", wallet_id: str = "FT_ONE"
    ) -> FtOrderId:
        later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        signal = await self.room.signal(created_at=ago(seconds=age_s), wallet_id=wallet_id)
        await self.room.desk.decide(
            signal,
            strategy_id,
            state="deferred",
            reason="exchange_restarting",
            retry_at=later,
            expires_at=later,
        )
        return signal

    async def due(self) -> set[str]:
        work = (await self.room.ledger.work(limit=100)).work
        return {str(one.signal_row["order_id"]) for one in work}

    def hear(self, answer: Answer, wallet: WalletAddress | None = None) -> None:
        outcome = classify(answer, first_send=True)
        now_s = self.room.clock.monotonic()
        wallet = wallet or self.room.floor.wallet
        self.room.sender.doors.heard(
            wallet, outcome, order_id=OrderId("0xanother"), sent_s=now_s, words=outcome.reason
        )


@pytest.fixture
async def porch(room: TradingRoom) -> Porch:
    strategies = Strategies(room.ledger, Health(room.clock), refresh_every_s=3600, on_wallets=lambda _: None)
    await strategies.load()
    told: list[str] = []
    reopening = Reopening(
        doors=room.sender.doors,
        strategies=strategies,
        ledger=room.ledger,
        clock=room.clock,
        metrics=room.metrics,
        fresh_for_s=FRESH_FOR_S,
        on_due=lambda: told.append("due"),
    )
    return Porch(room, strategies, reopening, told)


async def test_everything_that_waited_is_due_when_the_door_opens(porch: Porch) -> None:
    waiting = {await porch.put_off(age_s=age_s) for age_s in (5, 50, 500)}
    await porch.reopening.turn()
    porch.hear(Answer(425))
    assert await porch.due() == set()
    porch.hear(Answer(200, status="matched"))
    await porch.reopening.turn()
    assert await porch.due() == waiting
    assert porch.told == ["due"]


async def test_what_was_put_off_while_the_door_opened_is_not_forgotten(porch: Porch) -> None:
    porch.hear(Answer(425))
    porch.hear(Answer(200, status="matched"))
    await porch.reopening.turn()
    late = await porch.put_off(age_s=5)
    await porch.reopening.turn()
    assert await porch.due() == {late}


async def test_while_nobody_knocks_the_youngest_is_asked_and_none_that_is_old(porch: Porch) -> None:
    old, _, young = [await porch.put_off(age_s=age_s) for age_s in (500, 50, 5)]
    porch.hear(Answer(425))
    porch.room.watch.slept_s += 1
    with porch.room.sender.doors.visit(porch.room.floor.wallet) as visit:
        visit.claimed()
        await porch.reopening.turn()
        assert await porch.due() == set()
    await porch.reopening.turn()
    assert await porch.due() == {young}
    calls = porch.room.line.calls
    await porch.reopening.turn()
    assert old not in await porch.due()
    asked = calls["lt_make_due"]
    for _ in range(20):  # nobody else is young: it is not asked all the time
        await porch.reopening.turn()
    assert calls["lt_make_due"] <= asked + 2


async def test_each_door_has_a_knocker_however_young_the_signals_of_another_wallet_are(porch: Porch) -> None:
    other = WalletAddress("0x" + "cd" * 20)
    await porch.room.desk.strategy("LT_TWO", ft_wallet_id="FT_TWO", wallet_address=other)
    await porch.strategies.load()
    older = await porch.put_off(age_s=60, strategy_id="LT_TWO", wallet_id="FT_TWO")
    _, _, youngest = [await porch.put_off(age_s=age_s) for age_s in (30, 20, 10)]
    for wallet in (None, other):
        porch.hear(Answer(425), wallet)
    porch.room.watch.slept_s += 1
    await porch.reopening.turn()
    due = await porch.room.desk.rows("select ft_order_id from public.lt_decisions where retry_at <= now()")
    assert {str(one["ft_order_id"]) for one in due} == {older, youngest}


async def test_a_database_that_is_away_for_a_moment_only_delays_it(porch: Porch) -> None:
    waiting = await porch.put_off(age_s=5)
    porch.hear(Answer(425))
    porch.hear(Answer(200, status="matched"))
    porch.room.line.cut = True
    await porch.reopening.turn()
    porch.room.line.cut = False
    await porch.reopening.turn()
    assert await porch.due() == {waiting}
