"""What one claim costs behind so many past orders: `make claim-cost ARGS="--orders 1000 100000 --open 20 1000"`.

Every limit of the strategy is set, so that every claim looks at everything. Past orders are settled, and older than a
day; five more were settled today. Open orders are filled and wait for their market to end, one in twenty rests on the
book. Exit code 0: behind more past orders no claim touches more than a fifth more buffers than behind the fewest; 1:
one does.
"""

import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final, LiteralString

import psycopg

from tests.support.desk import USER, WALLET, Desk, Row
from tests.support.tool import SoFar, add_count, add_json, conduct, parser, tell, whole
from worker.sandbox.migrations import apply_migrations
from worker.sandbox.postgres import Postgres

_GROWTH_MOST: Final = 1.2
_ORDERS_LEAST: Final = 100
_TODAY: Final = 5
_WARM_UP: Final = 3  # until the session knows its catalogs, and its plans are the generic ones
_EXPLAINED: Final = 5
_ABOUT: Final = f"""\
What one claim costs behind different numbers of past orders, and with different numbers of open ones: milliseconds of
the call, and the buffers (pages of 8 KiB) that it touches. Behind more past orders it may touch at most
{_GROWTH_MOST:g} times the buffers that it touches behind the fewest."""

# Loaded as a restored backup would be: without the triggers, and entered afterwards.
_LOAD: Final[tuple[LiteralString, ...]] = (
    "set session_replication_role = replica",
    # One signal, decision and order for each; past ones before yesterday, in as many markets as a day has hours.
    """
    insert into public.ft_orders (order_id, wallet_id, side, condition_id, token_label, source_trade_id, trader_address,
      entry_price, size, order_time, created_at, outcome)
    select md5(%(kind)s || n)::uuid, 'FT_ONE', 'BUY', '0x' || %(kind)s || n / 24, 'Yes', '0x' || md5(%(kind)s || n),
      '0xtrader', 0.5015, 6, moment, moment, 'WON'
    from generate_series(1, %(orders)s) n cross join lateral (
      select now() - %(since)s::interval - n * (%(over)s::interval / %(orders)s) as moment) t
    """,
    """
    insert into public.lt_decisions (strategy_id, ft_order_id, mode, state, reason, signal_at)
    select 'LT_ONE', order_id, 'paper', 'executed', 'executed', created_at
    from public.ft_orders where condition_id like '0x' || %(kind)s || '%%'
    """,
    """
    insert into public.lt_orders (lt_order_id, strategy_id, user_id, ft_order_id, ft_wallet_id, source_trade_id,
      condition_id, token_id, token_label, signal_price, signal_size_usd, order_id, status, outcome, resolved_at, pnl,
      is_shadow, created_at)
    select md5(order_id::text), 'LT_ONE', %(user)s, order_id::text, wallet_id, source_trade_id, condition_id,
      condition_id || '-yes', 'Yes', 0.5, 6, order_id::text, 'FILLED',
      case when not %(resolved)s then 'OPEN' when get_byte(uuid_send(order_id), 0) < 140 then 'WON' else 'LOST' end,
      case when %(resolved)s then created_at end, 0, true, created_at
    from public.ft_orders where condition_id like '0x' || %(kind)s || '%%'
    """,
    """
    insert into public.lt_order_attempts (exchange_order_id, lt_order_id, strategy_id, ft_order_id, wallet_address, mode,
      attempt_no, state, order_type, side, token_id, condition_id, limit_price, amount_usd, reserve_usd, reserve_shares,
      exchange_version, signed_body, worker, fence, created_at, closed_at)
    select o.order_id, o.lt_order_id, 'LT_ONE', o.ft_order_id::uuid, %(wallet)s, 'paper', 1,
      case when rests then 'live' else 'matched' end, 'FAK', 'BUY', o.token_id, o.condition_id, 0.51, 6, 6.2, 0, 'std',
      '{}', 'worker-a', 1, o.created_at, case when not rests then o.created_at end
    from public.lt_orders o
    cross join lateral (select not %(resolved)s and get_byte(decode(o.lt_order_id, 'hex'), 0) < 13 as rests) r
    where o.condition_id like '0x' || %(kind)s || '%%'
    """,
    """
    insert into public.lt_fills (trade_id, exchange_order_id, role, side, token_id, price, shares, fee_usd, state,
      matched_at, settled_at)
    select 'trade ' || exchange_order_id, exchange_order_id, 'TAKER', 'BUY', token_id, 0.5, 11, 0.02, 'final', created_at,
      created_at
    from public.lt_order_attempts where condition_id like '0x' || %(kind)s || '%%'
    """,
    "analyze",
    "select public.lt_enter_history()",
    "reset session_replication_role",
)
_LIMITS: Final = dict.fromkeys(
    (
        "initial_capital",
        "max_position_size_usd",
        "max_total_exposure_usd",
        "daily_budget_usd",
        "max_daily_loss_usd",
    ),
    "9000000",
) | {
    "circuit_breaker_loss_pct": "99",
    "max_consecutive_losses": 5,
    "max_open_positions": 100_000,
    "max_orders_per_minute": 100_000,
}


@dataclass(frozen=True, slots=True)
class Cost:
    orders: int
    open_orders: int
    buffers: int
    median_ms: float
    p99_ms: float


async def settle_in(desk: Desk, *, orders: int, open_orders: int) -> None:
    """One strategy with every limit set, and its past. The connection comes back as service_role."""
    await desk.strategy(**_LIMITS)
    await desk.connection.execute("reset role")
    await _load(desk.connection, "past", orders, since="1 day", over="180 days", resolved=True)
    await _load(desk.connection, "today", _TODAY, since="0", over="10 seconds", resolved=True)
    if open_orders:
        await _load(desk.connection, "open", open_orders, since="1 day", over="20 days", resolved=False)
    while (await desk.call("lt_checkpoint", {"least": 1}))["written"]:
        continue
    await desk.connection.execute("vacuum analyze")
    await desk.connection.execute("set role service_role")
    await desk.lease(ttl_s="3600")
    await desk.balance("9000000")


async def _load(connection: psycopg.AsyncConnection[Any], kind: str, orders: int, **values: object) -> None:
    values |= {"kind": kind, "orders": orders, "user": USER, "wallet": WALLET}
    for statement in _LOAD:
        await connection.execute(statement, values if "%(" in statement else None)


async def buffers_of_a_claim(desk: Desk) -> int:
    """The median of some claims, once the session knows its way."""
    for _ in range(_WARM_UP):
        claimed = await desk.claim(await desk.signal(), balance_max_age_s="3600")
        _granted(claimed)
        await desk.record(claimed["exchange_order_id"], "killed")
    touched = []
    for _ in range(_EXPLAINED):
        asked = desk.claim_params(await desk.signal(), balance_max_age_s="3600")
        explained = await desk.row(
            "explain (analyze, buffers, format json) select public.lt_claim(%(p)s::jsonb)",
            p=json.dumps(asked),
        )
        plan = explained["QUERY PLAN"][0]["Plan"]
        touched.append(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
        await desk.record(asked["attempt"]["exchange_order_id"], "killed")
    return int(statistics.median(touched))


def _granted(answer: Row) -> None:
    if not answer["granted"]:
        raise RuntimeError(f"A claim was refused, so there is nothing to measure: {answer}.")


async def measure(server: Postgres, *, orders: int, open_orders: int, claims: int) -> Cost:
    name = await server.create_project(with_auth_users=False)
    await apply_migrations(server.dsn(name))
    desk = await Desk.open(server.dsn(name))
    await settle_in(desk, orders=orders, open_orders=open_orders)
    buffers = await buffers_of_a_claim(desk)
    durations_ms = []
    for _ in range(claims):
        asked = desk.claim_params(await desk.signal(), balance_max_age_s="3600")
        began_s = time.perf_counter()
        answer = await desk.call("lt_claim", asked)
        durations_ms.append((time.perf_counter() - began_s) * 1000)
        _granted(answer)
        # So that each claim finds as many open orders as the one before it.
        await desk.record(asked["attempt"]["exchange_order_id"], "killed")
    await desk.close()
    await server.drop_database(name)
    return Cost(
        orders,
        open_orders,
        buffers,
        round(statistics.median(durations_ms), 2),
        round(statistics.quantiles(durations_ms, n=100)[98], 2),
    )


async def compare(sizes: Sequence[int], open_sizes: Sequence[int], claims: int, so_far: SoFar) -> list[Cost]:
    costs: list[Cost] = []
    so_far["costs"] = told = []
    async with Postgres.start() as server:
        for open_orders in open_sizes:
            for orders in sizes:
                tell(f"{orders} past orders, {open_orders} open ...")
                costs.append(await measure(server, orders=orders, open_orders=open_orders, claims=claims))
                told.append(asdict(costs[-1]))
    return costs


def judged(costs: Sequence[Cost]) -> list[str]:
    """What is wrong, in a sentence each: behind each number of open orders the fewest past ones are the measure."""
    wrong = []
    for cost in costs:
        least = next(one for one in costs if one.open_orders == cost.open_orders)
        limit = int(least.buffers * _GROWTH_MOST)
        if cost.buffers > limit:
            wrong.append(
                f"with {cost.open_orders} open orders a claim touches {cost.buffers} buffers behind {cost.orders} past "
                f"orders, and {least.buffers} behind {least.orders}: the limit is {limit} ({_GROWTH_MOST:g} times as many)"
            )
    return wrong


def _report(costs: Sequence[Cost], wrong: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        said = {"costs": [asdict(cost) for cost in costs], "holds": not wrong, "wrong": wrong}
        sys.stdout.write(json.dumps(said) + "\n")
        return
    for cost in costs:
        sys.stdout.write(
            f"{cost.orders:>9} past orders, {cost.open_orders:>5} open: a claim {cost.buffers} buffers, "
            f"{cost.median_ms:g} ms (p99 {cost.p99_ms:g} ms)\n"
        )
    sys.stdout.write(
        ("\n".join(f"FAILED: {one}" for one in wrong) or "ok: past orders cost a claim nothing") + "\n"
    )


def main(given: Sequence[str] | None = None) -> int:
    options = parser(
        "claim-cost",
        _ABOUT,
        module="benchmarks.claim_cost",
        lasts="about 3 min with 100000 orders (2 cores)",
        holds="past orders cost a claim nothing",
        examples=("--orders 1000 100000", "--orders 1000 20000 --open 20 --json"),
    )
    options.add_argument(
        "--orders",
        type=whole(least=_ORDERS_LEAST),
        nargs="+",
        default=[1_000, 100_000],
        metavar="N",
        help=f"Measure behind so many past orders, in two numbers or more of at least {_ORDERS_LEAST} each "
        "(default: 1000 100000).",
    )
    options.add_argument(
        "--open",
        type=whole(least=0),
        nargs="+",
        default=[20, 1_000, 5_000],
        metavar="N",
        help="With so many orders open at the time (default: 20 1000 5000).",
    )
    add_count(options, "--claims", "Time so many claims of each", least=10, default=200)
    add_json(options)
    asked = options.parse_args(given)
    sizes = sorted(set(asked.orders))
    if len(sizes) < 2:
        options.error(
            f"argument --orders: '{sizes[0]}' is not allowed alone: it takes two different numbers or more"
        )
    work = partial(compare, sizes, sorted(set(asked.open)), asked.claims)
    costs = conduct(work, as_json=asked.json, costs=[])
    wrong = judged(costs)
    _report(costs, wrong, as_json=asked.json)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
