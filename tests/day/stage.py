"""The one day on which every situation is staged around one live worker, among its ordinary traffic.

A witness in the database keeps every decision that is ever written, deferrals that were overtaken included. What
does not come about within its time is left out, so that each reason fails by itself.
"""

import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from tests.day import traffic
from tests.day.looks import look_everywhere
from tests.day.situations import MAX_AGE_S, MIN_EDGE, SITUATIONS, Purse, Situation, Venue
from tests.e2e.conftest import QUICK, Town
from tests.support.eventually import eventually
from worker.orders.reasons import SkipReason
from worker.sandbox.exchange.modes import Mode
from worker.sandbox.postgres import Postgres
from worker.sandbox.signals import Trade, signal_row
from worker.sandbox.worker_process import WorkerProcess
from worker.sandbox.world import Follower, open_world

_PATIENCE_S: Final = 60.0  # for each step, on a machine that is busy with other things
_WIN_RATE: Final = "0.99"
BESIDE_INVALID: Final = "LT_BESIDE_INVALID"

_SETTINGS: Final = {
    **QUICK,
    **traffic.SETTINGS,
    "POLYCOPY_PRICE__MIN_EDGE_AFTER_FEES": MIN_EDGE,
    "POLYCOPY_SIGNAL__MAX_AGE_S": str(MAX_AGE_S),
    "POLYCOPY_DATABASE_TIMEOUT_S": "30",
}

_WITNESS: Final = """
create schema witness;
create table witness.decisions (
  strategy_id text, ft_order_id uuid, state text, reason text, value text, limit_value text, snapshot jsonb);
create function witness.note() returns trigger language plpgsql security definer as $$
begin
  insert into witness.decisions
  values (new.strategy_id, new.ft_order_id, new.state, new.reason, new.value, new.limit_value, new.snapshot);
  return null;
end $$;
create trigger witness after insert or update on public.lt_decisions for each row execute function witness.note();
"""

# A claim that waits for a lock of ours waits for as long as a busy machine takes to arrange the rest.
_PATIENT_CLAIMS: Final = "alter function public.lt_claim(jsonb) set lock_timeout = '25s'"

_BLIND: Final = """
create function witness.look_away() returns trigger language plpgsql as $$
begin
  new.as_of := clock_timestamp() - interval '1 hour';
  return new;
end $$;
create trigger look_away before insert or update on public.lt_wallets for each row
  when (new.wallet_address = {wallet}) execute function witness.look_away();
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """One decision, as it was written."""

    strategy_id: str
    state: str
    reason: str
    value: str
    limit: str
    snapshot: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Day:
    """`seen`: every decision over the signals that are to meet a reason, whether all of them came about or not.
    `told`: of `look_everywhere`, when nobody traded any more.
    """

    seen: Sequence[Seen]
    told: Mapping[str, Any]


@dataclass(slots=True)
class Stage:
    town: Town
    worker: WorkerProcess
    markets: Mapping[Venue, tuple[str, str]]  # condition and label
    signals: dict[SkipReason, str] = field(default_factory=dict)  # what is to meet each reason
    knocking: set[Purse] = field(default_factory=set)  # an order of theirs stands before a closed door
    lines: list[str] = field(default_factory=list)

    async def play(self) -> None:
        plain = [one for one in SITUATIONS if not one.meanwhile and one.door is None]
        races = [one for one in SITUATIONS if one.meanwhile]
        with _told("what goes before"):
            await self._go_before([one for one in plain if one.earlier is not None])
        for one in plain:
            await self._signal(one)
        with _told("the races"):
            await self._race(races)
        # Nothing else may be on its way to the exchange once it is closed.
        with _told("the answers"):
            await eventually(self._all_answered, within_s=_PATIENCE_S)
        for one in (each for each in SITUATIONS if each.door is not None):
            with _told(f"the door of {one.strategy_id}"):
                await self._close_door(one)
        with _told("the end"):
            await eventually(self._all_reached, every_s=0.1, within_s=_PATIENCE_S)

    async def _go_before(self, situations: Sequence[Situation]) -> None:
        for one in situations:
            await self._insert(
                one, replace(one, signal=one.earlier or {}, venue=Venue.OPEN), str(uuid.uuid4())
            )
        ids = [one.strategy_id for one in situations]
        await eventually(lambda: self._executed(ids), within_s=_PATIENCE_S)
        await eventually(self._all_answered, within_s=_PATIENCE_S)

    async def _executed(self, strategy_ids: Sequence[str]) -> bool:
        rows = await self.town.rows("select strategy_id from witness.decisions where state = 'executed'")
        return {row["strategy_id"] for row in rows} >= set(strategy_ids)

    async def _all_answered(self) -> bool:
        rows = await self.town.rows(
            "select from public.lt_order_attempts where answered_at is null and state <> 'abandoned'"
        )
        return not rows

    async def _signal(self, one: Situation) -> str:
        """Insert the signal that is to meet the reason, and what belongs to it."""
        signal = self.signals[one.reason] = str(uuid.uuid4())
        if one.given:
            await self.town.database.execute(one.given.encode(), self._names(one))
        await self._insert(one, one, signal)
        return signal

    async def _insert(self, one: Situation, as_in: Situation, signal: str) -> None:
        async with self.town.database.transaction():
            await self.town.insert([self._row(as_in, signal)])
            if as_in.along:
                await self.town.database.execute(as_in.along.encode(), {**self._names(one), "signal": signal})

    def _row(self, one: Situation, signal: str) -> dict[str, Any]:
        condition, label = self.markets[one.venue]
        trade = Trade(condition, label, "BUY", Decimal(one.price), one.reason)
        row = signal_row(trade, ft_wallet_id=one.ft_wallet_id, size_usd=Decimal(10))
        age = timedelta(seconds=one.age_s)
        return {
            **row,
            "order_id": signal,
            "trader_win_rate": _WIN_RATE,
            "created_at": datetime.now(UTC) - age,
            **one.signal,
        }

    def _names(self, one: Situation) -> dict[str, str]:
        return {
            "strategy": one.strategy_id,
            "paper": one.ft_wallet_id,
            "signal": self.signals[one.reason],
            "wallet": self.town.world.wallets[one.purse.value].address,
        }

    async def _race(self, races: Sequence[Situation]) -> None:
        """Every one of these signals is planned, and changed under the hand of its waiting claim."""
        async with (
            await psycopg.AsyncConnection.connect(self.town.world.supabase.dsn) as holder,
            holder.transaction(),
        ):
            await holder.execute(
                "select from public.lt_strategies where strategy_id = any(%s) for no key update",
                ([one.strategy_id for one in races],),
            )
            for one in races:
                await self._signal(one)
            await eventually(lambda: self._claims_wait(len(races)))
            for one in races:
                await holder.execute(one.meanwhile.encode(), self._names(one))

    async def _claims_wait(self, count: int) -> bool:
        rows = await self.town.rows(
            "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' "
            "and query like '%%lt_claim%%'"
        )
        return len(rows) == count

    async def _close_door(self, one: Situation) -> None:
        """An order that was claimed stands before the closed door; the signal behind it is put off."""
        exchange = self.town.world.exchange
        if isinstance(one.door, Mode):
            await exchange.enter(one.door)
        elif one.door is not None:
            await exchange.inflict(one.door, times=one.door_times)
        wallet = self.town.world.wallets[one.purse.value].address
        if one.purse not in self.knocking:
            self.knocking.add(one.purse)
            await self._insert(one, replace(one, paper=_knocker(one.purse)), str(uuid.uuid4()))
        await eventually(lambda: self._is_shut(wallet, one.reason), within_s=_PATIENCE_S)
        await self._signal(one)
        await eventually(lambda: self._reached(one), within_s=_PATIENCE_S)

    def _is_shut(self, wallet: str, reason: SkipReason) -> bool:
        self.lines += [line for line in self.worker.new_lines() if "door.shut" in line]
        return any(wallet in line and reason in line for line in self.lines)

    async def _reached(self, one: Situation) -> bool:
        rows = await self.town.rows(
            "select from witness.decisions where strategy_id = %s and ft_order_id::text = %s and reason = %s",
            one.strategy_id,
            self.signals.get(one.reason),
            one.reason.value,
        )
        return bool(rows)

    async def _all_reached(self) -> bool:
        return all([await self._reached(one) for one in SITUATIONS])

    async def seen(self) -> list[Seen]:
        rows = await self.town.rows("select * from witness.decisions")
        return [
            Seen(
                row["strategy_id"],
                row["state"],
                row["reason"],
                row["value"] or "",
                row["limit_value"] or "",
                row["snapshot"],
            )
            for row in rows
            if str(row["ft_order_id"]) in self.signals.values()
        ]


async def play_everything(cluster: Postgres, template: str) -> Day:
    async with (
        open_world(
            markets=1,
            followers=_followers(),
            mined_after_s=0.1,
            confirmed_after_s=0.1,
            postgres=cluster,
            template=template,
        ) as world,
        await psycopg.AsyncConnection.connect(
            world.supabase.dsn, autocommit=True, row_factory=dict_row
        ) as database,
    ):
        town = Town(world, database)
        markets = await _open_markets(town)
        await _set_up(town)
        async with town.worker(_SETTINGS) as worker:
            await traffic.play_traffic(town)
            await world.exchange.call("fates", stuck=1.0)
            stage = Stage(town, worker, markets)
            await stage.play()
            with _told("the traffic's end"):
                await eventually(lambda: traffic.all_ends(town), every_s=0.1, within_s=_PATIENCE_S)
            worker.kill()  # what still stands before a closed door need not be waited for
        return Day(await stage.seen(), await look_everywhere(town))


@contextmanager
def _told(step: str) -> Iterator[None]:
    """A step that does not come to its end is told beside the tests that fail for it; the day goes on."""
    try:
        yield
    except AssertionError as error:
        sys.stdout.write(f"not in time: {step}: {error}\n")


def _followers() -> list[Follower]:
    """A strategy for each situation, one beside the invalid one, and those whose orders knock at closed doors."""
    own = [_follower(one.strategy_id, one.ft_wallet_id, one.purse) for one in SITUATIONS]
    beside = _follower(BESIDE_INVALID, f"FT_{SkipReason.STRATEGY_INVALID.name}", Purse.MAIN)
    closed = dict.fromkeys(one.purse for one in SITUATIONS if one.door is not None)
    knockers = [_follower(f"LT_KNOCKER_{purse.name}", _knocker(purse), purse) for purse in closed]
    return [*own, beside, *knockers, *traffic.FOLLOWERS]


def _knocker(purse: Purse) -> str:
    """The paper wallet whose signals become the orders that stand before the purse's closed door."""
    return f"FT_KNOCKER_{purse.name}"


def _follower(strategy_id: str, ft_wallet_id: str, purse: Purse) -> Follower:
    return Follower(strategy_id, ft_wallet_id, purse.value, "FAK", Decimal("3.0"))


async def _open_markets(town: Town) -> dict[Venue, tuple[str, str]]:
    exchange = town.world.exchange
    markets = {Venue.UNKNOWN: ("0x" + "77" * 32, "Yes")}
    for venue in (one for one in Venue if one is not Venue.UNKNOWN):
        listed = await exchange.call("market", name=venue.name)
        token, condition = listed["tokens"][0], listed["condition"]
        await exchange.quote(token, "SELL", "0.50", "100000")
        await exchange.quote(token, "BUY", "0.48", "100000")
        markets[venue] = (condition, listed["outcomes"][0])
    await exchange.call("close", condition=markets[Venue.CLOSED][0])
    await exchange.call("pause", condition=markets[Venue.PAUSED][0])
    silent = f"/clob-markets/{markets[Venue.SILENT][0]}"
    await exchange.call("fault", action="drop_before", method="GET", path=silent, times=None)
    return markets


async def _set_up(town: Town) -> None:
    """What must be so before the worker starts."""
    database = town.database
    for statement in (_WITNESS, _PATIENT_CLAIMS):
        await database.execute(statement.encode())
    blind = sql.Literal(town.world.wallets[Purse.BLIND.value].address)
    await database.execute(sql.SQL(_BLIND).format(wallet=blind))
    for one in SITUATIONS:
        await _change(town, "lt_strategies", "strategy_id", one.strategy_id, one.strategy)
        await _change(town, "ft_wallets", "wallet_id", one.ft_wallet_id, one.paper_wallet)
    await _change(town, "lt_strategies", "strategy_id", traffic.SHADOW, {"shadow_mode": True})
    await town.drop_keys_to_ft_wallets()
    await database.execute(
        "delete from public.ft_wallets where wallet_id = %s", (f"FT_{SkipReason.UNKNOWN_WALLET.name}",)
    )


async def _change(town: Town, table: str, key: str, value: str, changes: Mapping[str, Any]) -> None:
    for column, wanted in changes.items():
        await town.database.execute(
            sql.SQL("update public.{} set {} = %s where {} = %s").format(
                sql.Identifier(table), sql.Identifier(column), sql.Identifier(key)
            ),
            (wanted, value),
        )
