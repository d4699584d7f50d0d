"""What both sides say of a chaos run, read once: the exchange's journal and books, and the ledger by SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.rows import dict_row

from worker.sandbox.report import orders_of
from worker.sandbox.world import World

Row = Mapping[str, Any]
Pair = tuple[str, str]
_HALF = Decimal("0.5")

_ATTEMPTS = """
select a.exchange_order_id, a.lt_order_id, a.strategy_id, a.ft_order_id::text, a.wallet_address, a.state, a.side, a.order_type, a.token_id,
       a.amount_usd, a.shares as target_shares,
       a.reserve_usd, a.created_at, a.closed_at, a.barred, a.sends, a.note, t.reserved_usd, t.reserved_shares,
       f.condition_id, f.token_label, f.order_time as traded_at,
       extract(epoch from a.state_changed_at - f.created_at)::float8 as ended_after_s,
       coalesce(f.resolved_time < a.state_changed_at, false) or a.side = 'BUY' and exists (
         select from public.ft_orders sold
         where (sold.wallet_id, sold.condition_id, sold.token_label) = (f.wallet_id, f.condition_id, f.token_label)
           and sold.trader_address = f.trader_address and sold.side = 'SELL' and sold.order_time >= f.order_time
           and sold.created_at < a.state_changed_at) as is_outlived
from public.lt_order_attempts a
join public.lt_attempt_totals t using (exchange_order_id)
join public.ft_orders f on f.order_id = a.ft_order_id
where a.mode = 'live'
order by a.attempt_no
"""
_EXECUTED = """
select strategy_id, ft_order_id::text from public.lt_decisions where mode = 'live' and state = 'executed'
"""
_UNTRADED = """
select d.strategy_id, d.ft_order_id::text, d.state, d.reason, coalesce(d.decided_at, d.updated_at) as decided_at, d.updated_at,
       f.side, f.condition_id, f.token_label, f.order_time as traded_at, s.initial_capital as capital_usd,
       extract(epoch from coalesce(d.decided_at, d.updated_at) - f.created_at)::float8 as age_s,
       extract(epoch from clock_timestamp() - least(d.retry_at, d.expires_at))::float8 as overdue_s,
       f.size / f.entry_price as paper_shares, (
         select coalesce(sum(bought.size / bought.entry_price), 0) from public.ft_orders bought
         where (bought.wallet_id, bought.condition_id, bought.token_label, bought.side)
               = (f.wallet_id, f.condition_id, f.token_label, 'BUY')
           and bought.order_time <= f.order_time) as paper_bought_shares
from public.lt_decisions d
join public.ft_orders f on f.order_id = d.ft_order_id
join public.lt_strategies s using (strategy_id)
where d.mode = 'live' and d.state <> 'executed'
"""
_FILLS = """
select exchange_order_id, trade_id, role, side, price, shares, fee_usd, cost_usd, state from public.lt_fills
"""
_CAPITAL = "select strategy_id, locked_usd, realised_usd from public.lt_capital_now where mode = 'live'"
_OUTCOMES = """
select distinct o.lt_order_id, o.strategy_id, o.token_id, o.outcome
from public.lt_orders o join public.lt_order_attempts a using (lt_order_id)
where a.mode = 'live' and o.outcome <> 'CANCELLED'
"""
_EQUATION = "select public.lt_equation('{\"mode\": \"live\"}') -> 'total' as total"


@dataclass(frozen=True, slots=True)
class Evidence:
    accepted: frozenset[str]
    orders: Mapping[str, Row]  # the exchange's, by id
    attempts: Sequence[Row]
    executed: frozenset[Pair]
    fills: Sequence[Row]
    locked_usd: Mapping[str, Decimal]
    equation: Mapping[str, int]
    outcomes: Sequence[Row]  # of orders that came to something
    payouts: Mapping[
        str, Decimal
    ]  # what a share pays, by the exchange; a token whose market goes on is not in it
    realised_usd: Mapping[str, Decimal] = field(default_factory=dict)
    untraded: Sequence[Row] = ()  # pairs that were skipped or deferred
    ended_markets: frozenset[str] = frozenset()
    faults: Mapping[str, int] = field(default_factory=dict)  # how many requests each has struck

    @property
    def of_pairs(self) -> Mapping[Pair, Sequence[Row]]:
        """The attempts of each executed pair, the first one first; none where there ought to be one."""
        attempts: dict[Pair, list[Row]] = {pair: [] for pair in sorted(self.executed)}
        for row in self.attempts:
            attempts.setdefault(_pair(row), []).append(row)
        return attempts

    @property
    def expected(self) -> int:
        """Orders that the exchange ought to have accepted, were there no excuses."""
        return sum(max(len(attempts), 1) for attempts in self.of_pairs.values())

    @classmethod
    async def gathered(cls, world: World) -> "Evidence":
        async with await psycopg.AsyncConnection.connect(
            world.supabase.dsn, autocommit=True, row_factory=dict_row
        ) as database:

            async def rows(query: str) -> list[dict[str, Any]]:
                return await (await database.execute(query.encode())).fetchall()

            accepted = frozenset(await world.exchange.read("accepted"))
            orders = await orders_of(world)
            markets = await world.exchange.read("markets")
            capital = await rows(_CAPITAL)
            return cls(
                accepted=accepted,
                orders=orders,
                attempts=await rows(_ATTEMPTS),
                executed=frozenset(_pair(row) for row in await rows(_EXECUTED)),
                untraded=await rows(_UNTRADED),
                fills=await rows(_FILLS),
                locked_usd={row["strategy_id"]: row["locked_usd"] for row in capital},
                realised_usd={row["strategy_id"]: row["realised_usd"] for row in capital},
                equation=(await rows(_EQUATION))[0]["total"],
                outcomes=await rows(_OUTCOMES),
                payouts={
                    token: _HALF if market["voided"] else Decimal(token == market["winner"])
                    for market in markets
                    if _has_ended(market)
                    for token in market["tokens"]
                },
                ended_markets=frozenset(market["condition"] for market in markets if _has_ended(market)),
                faults=await world.exchange.faults_struck(),
            )


def _has_ended(market: Row) -> bool:
    return bool(market["winner"] or market["voided"])


def _pair(row: Row) -> Pair:
    return row["strategy_id"], row["ft_order_id"]
