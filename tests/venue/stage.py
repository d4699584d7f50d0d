"""One production worker beside one simulated exchange: scenes are played on it, each in a market of its own.

What a scene was meant to come to is kept, and judged when all have been played; what the two books say is compared by
`tests/chaos/judge.py`, whoever caused it.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from typing import Any

from tests.chaos.evidence import Evidence
from tests.chaos.judge import disagreements
from tests.e2e.conftest import Town, open_town
from tests.support.deposit_wallets import DEPOSIT_WALLET, deposit_wallet_of
from tests.support.eventually import eventually
from worker.sandbox.exchange.fault_catalogue import FaultName
from worker.sandbox.exchange.remote import RemoteExchange
from worker.sandbox.postgres import Postgres
from worker.sandbox.signals import Trade, signal_row
from worker.sandbox.worker_process import WorkerProcess
from worker.sandbox.world import Follower

# A wallet whose orders the exchange will not take any more is of no use to other scenes: such scenes have their own.
DOOMED = ("KEY", "PLACE", "CLOSED", "VERSION", "ID")
FOLLOWERS = (
    Follower("LT_FAK", "FT_FAK", 0, "FAK", Decimal(3)),
    Follower("LT_FOK", "FT_FOK", 0, "FOK", Decimal(3)),
    Follower("LT_GTC", "FT_GTC", 0, "GTC", Decimal(3)),
    *(Follower(f"LT_{one}", f"FT_{one}", at, "FAK", Decimal(3)) for at, one in enumerate(DOOMED, 1)),
    Follower("LT_DEPOSIT", "FT_DEPOSIT", len(DOOMED) + 1, "FAK", Decimal(3)),
)
# Seconds of production as moments of a test; nothing is tried again but what a scene is about.
SETTINGS: Mapping[str, str] = {
    "POLYCOPY_EXCHANGE__SUBMIT_TIMEOUT_S": "1.5",
    "POLYCOPY_EXCHANGE__READ_TIMEOUT_S": "2",
    "POLYCOPY_PENDING__FIRST_S": "0.1",
    "POLYCOPY_PENDING__MOST_S": "0.5",
    "POLYCOPY_PENDING__REFRESH_EVERY_S": "0.5",
    "POLYCOPY_PENDING__CANCEL_ON_PAUSE": "true",
    "POLYCOPY_RETAKE__MAX": "0",
    "POLYCOPY_BALANCE__REFRESH_EVERY_S": "2",
}
BET_USD = Decimal(10)
ASK = "0.50"
_NUMBERS = count(1)
# The attempt is known to be something, or over.
_DOUBT = ("submitting", "unknown")
_AT_MOST_S = 30


@dataclass(frozen=True)
class Market:
    condition: str
    listed_as: str
    token: str
    other: str
    question: str


@dataclass
class Stage:
    town: Town
    worker: WorkerProcess
    ends: dict[str, tuple[str, ...]] = field(default_factory=dict)  # of signals: the states of their attempts

    @property
    def exchange(self) -> RemoteExchange:
        return self.town.world.exchange

    # --- scenery

    async def market(self, *offers: tuple[str, str], **kind: Any) -> Market:
        """A market of its own, by default with plenty on offer at `ASK`."""
        listed = await self.exchange.call("market", name=f"Will it rain on day {next(_NUMBERS)}?", **kind)
        yes, no = listed["tokens"]
        for price, shares in offers or ((ASK, "1000"),):
            await self.exchange.quote(yes, "SELL", price, shares)
        return Market(listed["condition"], listed["listed_as"], yes, no, listed["question"])

    async def inflict(self, *names: FaultName, **how: Any) -> None:
        for name in names:
            await self.exchange.inflict(name, **how)

    # --- what is played

    async def signals(self, *markets: Market, to: str = "FAK", condition: str | None = None) -> list[str]:
        """A purchase at `ASK` in each of these markets, told to one strategy; returns the signals' ids."""
        rows = []
        for market in markets:
            trade = Trade(condition or market.condition, "Yes", "BUY", Decimal(ASK), market.question)
            rows.append(signal_row(trade, ft_wallet_id=f"FT_{to}", size_usd=BET_USD))
        await self.town.insert(rows)
        return [str(row["order_id"]) for row in rows]

    async def play(self, market: Market, *ends: str, to: str = "FAK", condition: str | None = None) -> str:
        """A signal, and wait until its last attempt is no doubt any more; in the end it is to be as `ends` says."""
        (signal,) = await self.signals(market, to=to, condition=condition)
        await self.known(signal, *ends)
        return signal

    async def play_at_once(self, *markets: Market) -> list[str]:
        """A signal in each, all of which are to be matched in the end."""
        signals = await self.signals(*markets)
        for signal in signals:
            await self.known(signal, "matched")
        return signals

    async def known(self, signal: str, *ends: str) -> None:
        self.ends[signal] = ends

        async def is_known() -> bool:
            states = await self.states(signal)
            return len(states) >= len(ends) and states[-1] not in _DOUBT

        await eventually(is_known, within_s=_AT_MOST_S, every_s=0.03)

    async def states(self, signal: str) -> tuple[str, ...]:
        rows = await self.town.rows(
            "select state from public.lt_order_attempts where ft_order_id = %s::uuid order by attempt_no",
            signal,
        )
        return tuple(row["state"] for row in rows)

    async def reach(self, signal: str, *states: str) -> None:
        async def reached() -> bool:
            return await self.states(signal) == states

        await eventually(reached, within_s=_AT_MOST_S, every_s=0.03)

    async def order_id(self, signal: str) -> str:
        """Of its last attempt."""
        rows = await self.town.rows(
            "select exchange_order_id from public.lt_order_attempts where ft_order_id = %s::uuid"
            " order by attempt_no desc limit 1",
            signal,
        )
        return str(rows[0]["exchange_order_id"])

    async def filled(self, signal: str) -> Decimal:
        """Shares, as the ledger has booked them."""
        rows = await self.town.rows(
            "select coalesce(sum(f.shares), 0) as shares from public.lt_fills f"
            " join public.lt_order_attempts a using (exchange_order_id)"
            " where a.ft_order_id = %s::uuid and f.state <> 'reversed'",
            signal,
        )
        return Decimal(rows[0]["shares"])

    async def struck(self, name: FaultName) -> int:
        return (await self.exchange.faults_struck()).get(name.value, 0)

    # --- the end

    async def wrong(self) -> list[str]:
        """What is not as it was meant to be, and what exchange and database do not agree on."""
        found = [
            f"signal {signal} came to {states}, not to {ends}: {await self.town.decisions(signal)}"
            for signal, ends in self.ends.items()
            if (states := await self.states(signal)) != ends
        ]
        evidence = await Evidence.gathered(self.town.world)
        total = evidence.equation
        if total["undecided"] or total["seen"] != total["executed"] + total["skipped"] + total["deferred"]:
            found.append(f"the equation does not hold: {total}")
        provisional = await self.town.rows("select from public.lt_fills where state = 'provisional'")
        found += [f"{len(provisional)} trades are provisional"] if provisional else []
        return [*found, *disagreements(evidence)]

    async def agrees(self) -> None:
        """Wait until nothing is wrong any more. Raises AssertionError with what still is."""
        wrong: list[str] = []

        async def nothing_wrong() -> bool:
            wrong[:] = await self.wrong()
            return not wrong

        try:
            await eventually(nothing_wrong, within_s=_AT_MOST_S, every_s=0.5)
        except AssertionError:
            raise AssertionError("\n".join(wrong)) from None


@asynccontextmanager
async def open_stage(
    cluster: Postgres,
    template: str,
    settings: Mapping[str, str] | None = None,
    *,
    clock_ahead_s: int = 0,
) -> AsyncIterator[Stage]:
    """A world without a crowd, whose trades are final within moments, and a live worker in it.

    `clock_ahead_s`: of the exchange, when the worker starts.
    """
    world = {"markets": 0, "followers": FOLLOWERS, "bet_usd": BET_USD, "deposit_usd": Decimal(1_000_000)}
    async with open_town(cluster, template, mined_after_s=0.1, confirmed_after_s=0.1, **world) as town:
        await town.world.exchange.call("clock", offset_s=clock_ahead_s)
        wallets = await _with_a_deposit_wallet(town)
        async with town.worker({**SETTINGS, **wallets, **(settings or {})}) as worker:
            yield Stage(town, worker)


async def _with_a_deposit_wallet(town: Town) -> dict[str, str]:
    """The last key trades from a contract that holds its funds; returns the setting that says so."""
    owner, exchange = town.world.wallets[-1].address, town.world.exchange
    wallet = deposit_wallet_of(owner)
    await exchange.call("wallet", wallet=wallet, owner=owner, signature_type=DEPOSIT_WALLET)
    await exchange.fund(wallet, 1_000_000)
    await town.database.execute(
        "update public.lt_strategies set wallet_address = %s where strategy_id = 'LT_DEPOSIT'", (wallet,)
    )
    named = json.loads(town.world.worker_environment()["POLYCOPY_WALLETS"])
    named[-1] |= {"address": wallet, "type": "deposit_wallet"}
    return {"POLYCOPY_WALLETS": json.dumps(named)}
