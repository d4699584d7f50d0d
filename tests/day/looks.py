"""One day, told four times: by the command, by the API, by the dashboard, and by SQL that is written out by hand.

The queries here read the tables and nothing else: none of the functions that the product counts with. Every number is
a text or an integer, as it was told.
"""

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx
from nicegui.testing import User

from tests.e2e.conftest import Town
from tests.support.eventually import eventually
from tests.support.pages import drawn, open_house, rows, shows, visit, words
from tests.web.conftest import settings_of
from worker.sandbox.second_terminal import way_in
from worker.verbs.looking import open_reports

_MOST: Final = 500  # orders in an answer
_PATIENT: Final = {
    "POLYCOPY_DATABASE_TIMEOUT_S": "60"
}  # all of them ask at once, on a machine that may be busy
COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "audit": ("audit",),
    "orders": ("orders", "--limit", str(_MOST)),
    "open": ("orders", "--open", "--limit", str(_MOST)),
    "status": ("status",),
}
_WITHIN_S: Final = 60.0  # one that did not answer in time is asked again
_TILES: Final = ("executed", "filled", "dollars", "wire", "open", "human")
_TABLES: Final = ("reasons", "by-strategy", "by-order-type", "latency", "live")
_CHARTS: Final = ("execution", "fills", "strategies")

_VIEWS: Final = """
create temporary view last as
  select distinct on (lt_order_id) lt_order_id, order_type from public.lt_order_attempts
  order by lt_order_id, attempt_no desc;
create temporary view bought as
  select a.lt_order_id, sum(f.shares) as shares, round(sum(f.price * f.shares), 2) as usd
  from public.lt_fills f join public.lt_order_attempts a using (exchange_order_id)
  where f.state <> 'reversed' group by 1;
create temporary view timed as
  select d.strategy_id, d.ft_order_id, d.tries, o.order_time, d.signal_at, d.received_at, d.decided_at, d.claimed_at,
    a.sent_times[1] as sent_at, a.answered_at, traded.filled_at, traded.settled_at
  from public.lt_decisions d
  left join public.ft_orders o on o.order_id = d.ft_order_id
  left join public.lt_order_attempts a
    on (a.strategy_id, a.ft_order_id, a.mode) = (d.strategy_id, d.ft_order_id, d.mode) and a.attempt_no = 1
  left join lateral (
    select min(f.booked_at) as filled_at,
      case when bool_and(f.state = 'final' and b.closed_at is not null) then max(f.settled_at) end as settled_at
    from public.lt_order_attempts b join public.lt_fills f using (exchange_order_id)
    where (b.strategy_id, b.ft_order_id, b.mode) = (d.strategy_id, d.ft_order_id, d.mode) and f.state <> 'reversed'
  ) traded on true
  where d.state = 'executed';
create function pg_temp.ms(took interval) returns text language sql as $$
  select round(extract(epoch from took) * 1000, 1)::text
$$;
create temporary view span as
  select 'inserted' as word, signal_at - order_time as took from timed where isfinite(order_time)
  union all select 'received', received_at - signal_at from timed
  union all select case when tries > 1 then 'decided_late' else 'decided' end, decided_at - received_at from timed
  union all select 'claimed', claimed_at - decided_at from timed
  union all select 'sent', sent_at - claimed_at from timed
  union all select 'answered', answered_at - sent_at from timed
  union all select 'filled', filled_at - sent_at from timed
  union all select 'settled', settled_at - filled_at from timed
  union all
  select case when tries > 1 then 'insert_to_sent_late' else 'insert_to_sent' end, sent_at - signal_at from timed;
create temporary view marked as
  select a.order_type, m.after_s, round((b.mid - f.price) / f.price * case f.side when 'BUY' then 10000 else -10000 end, 1) as bps
  from public.lt_fills f join public.lt_order_attempts a using (exchange_order_id)
  cross join (values (60), (300)) m (after_s)
  join public.lt_market_snapshots b
    on b.token_id = f.token_id and b.taken_at = f.matched_at + m.after_s * interval '1 second'
  where f.state <> 'reversed';
create temporary view purses as
  select s.strategy_id, e.mode, s.initial_capital, sum(e.locked_usd) as locked, sum(e.realised_usd) as realised,
    coalesce(sum(e.proceeds_usd) filter (
      where e.at > now() - coalesce(s.cooldown_hours, 3) * interval '1 hour'), 0) as cooling,
    coalesce(sum(e.realised_usd) filter (where (e.at at time zone 'UTC')::date = (now() at time zone 'UTC')::date), 0) as today
  from public.lt_strategies s join public.lt_entries e using (strategy_id) group by s.strategy_id, e.mode;
"""
# What the market did after each trade, long after the day is over: the book of its token at just that time.
_MARKS: Final = """
insert into public.lt_market_snapshots (token_id, taken_at, best_bid, best_ask)
select f.token_id, at.taken_at, 0.40 + extract(second from at.taken_at)::integer % 7 / 100.0, 0.52
from public.lt_fills f
cross join (values (60), (300)) m (after_s)
cross join lateral (select f.matched_at + m.after_s * interval '1 second' as taken_at) at
on conflict do nothing
"""
BY_HAND: Final[Mapping[str, str]] = {
    "signals": "select count(*) as n from public.ft_orders",
    "timeless": "select count(*) as n from public.ft_orders where created_at is null",
    "seen": """
        select s.strategy_id as word, count(*) as n from public.ft_orders o
        join public.lt_strategies s on s.ft_wallet_id = o.wallet_id where o.created_at is not null group by 1""",
    "seen_lately": """
        select count(*) as n from public.ft_orders o join public.lt_strategies s on s.ft_wallet_id = o.wallet_id
        where o.created_at > now() - interval '1 hour'""",
    "states": "select state as word, count(*) as n from public.lt_decisions group by 1",
    "decisions": "select strategy_id || ' ' || ft_order_id as word, reason as n from public.lt_decisions",
    "executed": "select strategy_id as word, count(*) as n from public.lt_decisions where state = 'executed' group by 1",
    "skipped": "select strategy_id as word, count(*) as n from public.lt_decisions where state = 'skipped' group by 1",
    "reasons": "select reason as word, count(*) as n from public.lt_decisions where state = 'skipped' group by 1",
    "deferred_for": "select reason as word, count(*) as n from public.lt_decisions where state = 'deferred' group by 1",
    "placed": "select strategy_id as word, count(*) as n from public.lt_orders group by 1",
    "status": "select status as word, count(*) as n from public.lt_orders group by 1",
    "orders": "select lt_order_id as word, status as n from public.lt_orders",
    "types": """
        select coalesce(last.order_type, 'unknown') as word, count(*) as n
        from public.lt_orders left join last using (lt_order_id) group by 1""",
    "filled_types": """
        select coalesce(last.order_type, 'unknown') as word,
          round(sum(signal_size_usd * coalesce(fill_rate, 0)), 2)::text as n
        from public.lt_orders left join last using (lt_order_id) group by 1""",
    "attempts": """
        select state as word, count(*) as n from public.lt_order_attempts where closed_at is null group by 1""",
    "ends": "select state as word, count(*) as n from public.lt_order_attempts group by 1",
    "bet_usd": "select sum(signal_size_usd)::text as n from public.lt_orders",
    "filled_usd": "select round(sum(signal_size_usd * coalesce(fill_rate, 0)), 2)::text as n from public.lt_orders",
    "bought_usd": "select sum(usd)::text as n from bought",
    "bought_shares": "select sum(shares)::text as n from bought",
    "fill_minutes": """
        select round(avg(extract(epoch from greatest(fully_filled_at, order_placed_at) - order_placed_at) / 60), 2)::text as n
        from public.lt_orders where fully_filled_at is not null""",
    "sent": """
        select count(*) as n from public.lt_decisions d join public.lt_order_attempts a
          on (a.strategy_id, a.ft_order_id, a.mode) = (d.strategy_id, d.ft_order_id, d.mode) and a.attempt_no = 1
        where d.state = 'executed' and cardinality(a.sent_times) > 0""",
    "fills": "select state as word, count(*) as n from public.lt_fills group by 1",
    "timed": "select span.word as word, count(*) as n from span where took is not null group by 1",
    "latency": """
        select span.word as word, array[
          pg_temp.ms(percentile_cont(0.5) within group (order by took)),
          pg_temp.ms(percentile_cont(0.95) within group (order by took)),
          pg_temp.ms(percentile_cont(0.99) within group (order by took)), pg_temp.ms(max(took))] as n
        from span where took is not null group by 1""",
    "slippage": """
        select part.word as word, array[
          round((percentile_cont(0.5) within group (order by slippage_bps))::numeric, 1)::text,
          round((percentile_cont(0.95) within group (order by slippage_bps))::numeric, 1)::text] as n
        from public.lt_orders left join last using (lt_order_id)
        cross join lateral (values
          (strategy_id || case when is_shadow then ' (paper)' else ' (live)' end),
          (coalesce(last.order_type, 'unknown'))) part (word)
        group by 1""",
    "percent_slippage": """
        select strategy_id as word, array[
          round((percentile_cont(0.5) within group (order by slippage_bps))::numeric / 100, 3)::text,
          round(max(slippage_bps) / 100.0, 3)::text] as n
        from public.lt_orders group by 1""",
    "markout": """
        select order_type || ' ' || after_s as word,
          round((percentile_cont(0.5) within group (order by bps))::numeric, 1)::text as n
        from marked group by order_type, after_s""",
    "capital": """
        select strategy_id || ' (' || mode || ')' as word, array[
          initial_capital + realised - locked - cooling, locked, cooling, realised, today]::text[] as n
        from purses""",
}


async def look_everywhere(town: Town) -> dict[str, Any]:
    """Answers by who was asked. Nobody trades meanwhile, or they could not be equal."""
    await eventually(lambda: _quiet(town), within_s=_WITHIN_S)
    await _time_passes(town)
    api, pages = await _over_the_web(town)
    return {
        "api": api,
        "pages": pages,
        "command": await _commands(town),
        "sql": await _by_hand(town),
        "struck": await town.world.exchange.faults_struck(),
    }


async def _quiet(town: Town) -> bool:
    """What a worker had asked for when it ended may still be written."""
    asked = await town.rows(
        "select from pg_stat_activity where datname = current_database() and backend_type = 'client backend' "
        "and state <> 'idle' and pid <> pg_backend_pid()"
    )
    return not asked


async def _time_passes(town: Town) -> None:
    """Whoever looks first and whoever looks last are told that the worker is gone, what it has left under way, and what
    the market did since.
    """
    await town.outlives_leases()
    async with town.database.transaction():
        await town.database.execute(
            b"set local session_replication_role = replica"
        )  # no guard of what never changes
        await town.database.execute(
            b"update public.lt_order_attempts set state_changed_at = now() - interval '1 hour', sent_at = null "
            b"where state in ('submitting', 'unknown', 'cancelling')"
        )
        await town.database.execute(_MARKS.encode())


async def _by_hand(town: Town) -> dict[str, Any]:
    """A number; or {word: number}."""
    await town.database.execute(_VIEWS.encode())
    told: dict[str, Any] = {}
    for name, query in BY_HAND.items():
        found = await town.rows(query)
        told[name] = {row["word"]: row["n"] for row in found} if "as word" in query else found[0]["n"]
    return told


async def _commands(town: Town) -> dict[str, Any]:
    with way_in(town.world.worker_environment()) as script:
        answers = await asyncio.gather(
            *(
                eventually(lambda asked=words: _printed(script, *asked), within_s=_WITHIN_S)  # type: ignore[misc]
                for words in COMMANDS.values()
            )
        )
    return dict(zip(COMMANDS, answers, strict=True))


async def _printed(script: Path, *words: str) -> Any:
    """What `polycopy-worker ... --json` prints."""
    process = await asyncio.create_subprocess_exec(
        script, *words, "--json", stdout=asyncio.subprocess.PIPE, env={**os.environ, **_PATIENT}
    )
    printed, _ = await process.communicate()
    assert printed  # else the database did not answer in time
    return json.loads(printed)


async def _over_the_web(town: Town) -> tuple[dict[str, Any], dict[str, Any]]:
    settings = settings_of(town.world.supabase, POLYCOPY_MODE="live", **_PATIENT)
    async with open_reports(settings) as reports, open_house(settings, reports) as app:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            api = await _api(town, client)
        seen = api["execution-audit"]["summary"]["total_ft_orders"]
        return api, await _pages(await visit(app), seen)


async def _api(town: Town, client: httpx.AsyncClient) -> dict[str, Any]:
    async def get(path: str, **params: Any) -> Any:
        async def answered() -> Any:
            answer = await client.get(f"/api/lt/{path}", params=params)
            assert answer.status_code == httpx.codes.OK, answer.text
            return answer.json()

        return await eventually(answered, within_s=_WITHIN_S)

    traders = await town.rows("select distinct strategy_id from public.lt_orders")
    return {
        "execution-audit": await get("execution-audit"),
        "diagnostic": await get("diagnostic"),
        "recent-activity": await get("recent-activity", limit=_MOST),
        "strategies": {
            row["strategy_id"]: await get(f"strategies/{row['strategy_id']}/orders", limit=_MOST)
            for row in traders
        },
    }


async def _pages(user: User, seen: int) -> dict[str, Any]:
    """The first page, once its figures have been read and its live orders heard."""
    await eventually(lambda: shows(user, "tile-executed", f"of {seen} signals"), within_s=_WITHIN_S)
    await eventually(lambda: len(rows(user, "live")) > 1, within_s=_WITHIN_S)
    return {
        "tiles": {name: words(user, f"tile-{name}") for name in _TILES},
        "tables": {name: rows(user, name) for name in _TABLES},
        "charts": {name: drawn(user, name) for name in _CHARTS},
        "strategies": words(user, "strategies"),
    }
