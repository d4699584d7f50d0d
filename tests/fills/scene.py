"""One strategy with a market of its own, and what may befall its order: the worker's own parts do the rest."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal

from tests.support.desk import Row
from tests.support.eventually import eventually
from tests.support.exchange_floor import prepared
from tests.support.trading_room import POLICY, TradingRoom
from worker.handlers.judge import Case as Question
from worker.handlers.judge import Judge
from worker.handlers.settlement import Settlement, SettlementPace
from worker.observe.health import Health
from worker.orders.decide import Plan
from worker.orders.reprice import CallOff
from worker.orders.signal import Signal, parse_signal
from worker.orders.terms import FtOrderId, OrderId
from worker.sandbox.exchange.accounts import USD
from worker.sandbox.exchange.fault_catalogue import FaultName, scripted
from worker.sandbox.exchange.trades import Fate, FateOf, always_settles

_AT_ONCE = SettlementPace(round_every_s=0.05, least_s=0.001, most_s=0.001, markets_per_minute=100_000)


@dataclass
class Scene:
    """`room`: one that many scenes share, with a market of this one's own on its floor."""

    room: TradingRoom
    strategy_id: str
    order_ids: list[OrderId] = field(default_factory=list)
    wallet_before: int = 0  # in millionths of a dollar

    @classmethod
    @asynccontextmanager
    async def open(
        cls, room: TradingRoom, name: str, *, order_type: str, bet_usd: str
    ) -> AsyncIterator["Scene"]:
        own = replace(room, floor=room.floor.with_market())
        await room.wallets.refresh()  # nobody renews the lease of a room
        await own.desk.ft_wallet(f"FT_{name}")
        await own.desk.execute(
            "update public.ft_wallets set bet_size = %(bet)s, max_bet = 1000 where wallet_id = %(id)s",
            bet=bet_usd,
            id=f"FT_{name}",
        )
        await own.desk.strategy(
            f"LT_{name}", ft_wallet_id=f"FT_{name}", wallet_address=own.floor.wallet, order_type=order_type
        )
        scene = cls(own, f"LT_{name}")
        scene.wallet_before = scene._wallet()
        try:
            yield scene
        finally:
            scene.show()
            scene.fate(always_settles)

    # --- what happens

    def offer(self, price: str, shares: str) -> None:
        self.room.floor.offer(price, shares)

    def bid(self, price: str, shares: str) -> None:
        self.room.floor.bid(price, shares)

    def bid_for_the_other(self, price: str, shares: str) -> None:
        self.room.floor.bid(price, shares, token=self.room.floor.no)

    def fate(self, fate_of: FateOf) -> None:
        self.room.floor.venue.engine.settlement.fate_of = fate_of

    def goes_on(self, fate: Fate) -> None:
        """What was stuck is not any more."""
        self.fate(lambda _: fate)
        engine = self.room.floor.venue.engine
        for trade in engine.trades.values():
            if trade.market.tokens[0] == str(self.room.floor.yes):
                engine.settlement.begin(trade)

    def hide(self) -> None:
        """From now on the exchange says that it knows no order and no trade."""
        for fault in (FaultName.LOOKUP_NOT_FOUND, FaultName.LOOKUP_NO_TRADES):
            self.room.floor.venue.faults.add(scripted(fault, times=None))

    def show(self) -> None:
        self.room.floor.venue.faults.clear()

    def resolve(self, *, won: bool = True) -> None:
        floor = self.room.floor
        floor.venue.backoffice.resolve(floor.condition_id, floor.yes if won else floor.no)

    def void(self) -> None:
        self.room.floor.venue.backoffice.void(self.room.floor.condition_id)

    async def trade_by_hand(self, usd: str) -> None:
        """The human who owns the wallet buys, with his own client, fee included."""
        envelope = await prepared(self.room.floor, self.room.exchange, bet_usd=usd)
        assert (await self.room.exchange.submit(envelope)).status == "matched"

    # --- what the worker does

    async def order(self) -> None:
        """A signal comes, and is executed."""
        await self._execute(
            await self.room.plan(self.strategy_id, wallet_id=self.strategy_id.replace("LT_", "FT_", 1))
        )

    async def sell(self) -> None:
        """Its trader sells all that he had bought."""
        room = self.room
        wallet_id = self.strategy_id.replace("LT_", "FT_", 1)
        sale = await room.signal(wallet_id=wallet_id, side="SELL", order_time=datetime.now(UTC))
        signal = parse_signal(await room.row(FtOrderId(sale)))
        assert isinstance(signal, Signal), signal
        judge = Judge(room.exchange, room.ledger, POLICY, has_key=room.wallets.watches)
        question = Question(signal, await room.strategy(self.strategy_id), None)
        plan = await judge.verdict(question, room.clock.now())
        assert isinstance(plan, Plan), plan
        await self._execute(plan)

    async def cancel(self) -> None:
        assert await self.room.exchange.cancel(self.room.floor.wallet, self.order_ids[-1])

    async def call_off(self, *, and_meanwhile: Callable[[], None]) -> None:
        """As a reprice would do it; the exchange is asked too late."""
        assert await self.room.ledger.call_off(self.order_ids[-1], CallOff.REPRICE)
        and_meanwhile()
        assert not await self.room.exchange.cancel(self.room.floor.wallet, self.order_ids[-1])

    async def settle_markets(self) -> None:
        """Two rounds: a market that nobody won is believed when it is told again."""
        room = self.room
        settlement = Settlement(
            exchange=room.exchange,
            ledger=room.ledger,
            wallets=room.wallets,
            clock=room.clock,
            metrics=room.metrics,
            health=Health(room.clock),
            pace=_AT_ONCE,
        )
        for _ in range(2):
            await settlement.round()

    async def _execute(self, plan: Plan) -> None:
        self.order_ids.append((await self.room.executed(plan)).envelope.order_id)

    # --- what has become of it

    async def booked(self, shares: str) -> None:
        async def so_many() -> bool:
            return sum((fill["shares"] for fill in await self.fills()), Decimal(0)) == Decimal(shares)

        await eventually(so_many)

    async def is_in(self, state: str) -> None:
        async def is_so() -> bool:
            return bool(await self._attempts()) and (await self._attempts())[-1]["state"] == state

        await eventually(is_so)

    async def still(self, outcome: str) -> None:
        assert (await self.row())["outcome"] == outcome

    async def all_final(self) -> None:
        async def settled() -> bool:
            return await self.is_over() and bool(await self.fills())

        await eventually(settled)

    async def is_over(self) -> bool:
        """Every attempt is closed, and no trade of it may still turn."""
        attempts, fills = await self._attempts(), await self.fills()
        return all(each["closed_at"] for each in attempts) and all(
            fill["state"] != "provisional" for fill in fills
        )

    async def fills(self) -> list[Row]:
        return await self.room.desk.rows(
            "select f.* from public.lt_fills f join public.lt_order_attempts a using (exchange_order_id)"
            " where a.strategy_id = %(s)s order by f.price, f.role",
            s=self.strategy_id,
        )

    async def row(self) -> Row:
        """The platform's row of its last order."""
        rows = await self.room.desk.rows(
            "select * from public.lt_orders where strategy_id = %(s)s order by created_at", s=self.strategy_id
        )
        return rows[-1]

    async def capital(self) -> Row:
        answer = await self.room.desk.call("lt_capital", {"mode": "live", "strategy_id": self.strategy_id})
        return dict(answer["capital"])

    def wallet_usd(self) -> Decimal:
        """By how much the wallet's own dollars have changed, by the exchange's books."""
        return Decimal(self._wallet() - self.wallet_before).scaleb(-6)

    def _wallet(self) -> int:
        return self.room.floor.venue.engine.accounts.holding(self.room.floor.wallet, USD).balance

    async def _attempts(self) -> list[Row]:
        return await self.room.desk.rows(
            "select * from public.lt_order_attempts where strategy_id = %(s)s order by created_at",
            s=self.strategy_id,
        )
