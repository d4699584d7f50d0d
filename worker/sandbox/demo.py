"""The demo: a small world, a stream of signals, the production worker, and a picture of what happens.

On a terminal a live table; otherwise the worker's own log lines. Both go to stderr: stdout is for the summary.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import psycopg
from rich.console import Console
from rich.live import Live
from supabase import AsyncClient, acreate_client

from worker.sandbox.demo_table import latest_orders, table_of
from worker.sandbox.errors import SandboxError
from worker.sandbox.exchange.recording import Recording
from worker.sandbox.gateway.pacing import DeliveryMode
from worker.sandbox.report import Report, report_on
from worker.sandbox.signals import Trade, random_trades, recorded_trades, signal_row
from worker.sandbox.worker_process import WorkerProcess
from worker.sandbox.world import World, open_world

_REFRESH_S = 0.25
_SETTLE_WITHIN_S = 20.0
_UNSETTLED = """
select (select (public.lt_equation('{"mode": "live"}') -> 'total' ->> 'undecided')::int)
     + (select count(*) from public.lt_order_attempts where state in ('submitting', 'unknown'))
     + (select count(*) from public.lt_fills where state = 'provisional')
     + (select count(*) from public.lt_order_attempts where state = 'matched' and closed_at is null)
"""


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """`signals` 0: until Ctrl-C. `recording`: the events file of a recording, or its folder."""

    signals: int = 60
    rate_per_s: float = 4.0
    seed: int = 0
    recording: Path | None = None
    hosted: bool = False
    bet_usd: Decimal = Decimal(10)


async def run_demo(plan: DemoPlan, console: Console) -> Report:
    """Run the whole of it. Raises `SandboxError` with one clear sentence if this machine cannot."""
    folder, speed = _replay(plan)
    async with open_world(
        seed=plan.seed,
        recording=folder,
        replay_speed=speed,
        delivery=DeliveryMode.HOSTED if plan.hosted else DeliveryMode.IMMEDIATE,
        bet_usd=plan.bet_usd,
    ) as world:
        console.print("A Supabase project, an exchange and three followers are up; starting the worker ...")
        async with WorkerProcess.start(world.worker_environment(), "--live") as worker:
            with contextlib.suppress(asyncio.CancelledError):
                async with asyncio.TaskGroup() as group:
                    shown = group.create_task(_show(world, worker, console))
                    await _insert(world, plan)
                    await _until_settled(world, worker)
                    shown.cancel()
            return await report_on(world)


def _replay(plan: DemoPlan) -> tuple[Path | None, float]:
    """The recording's folder, and how many times real time makes its prints come at the plan's rate."""
    if plan.recording is None:
        return None, 1.0
    folder = plan.recording if plan.recording.is_dir() else plan.recording.parent
    try:
        recording = Recording.load(folder)
    except (OSError, ValueError, KeyError) as error:
        raise SandboxError(
            f"{plan.recording} is not a recording (an events.csv.gz with a tokens.json beside it): {error}."
        ) from error
    return folder, plan.rate_per_s / recording.prints_per_s


async def _insert(world: World, plan: DemoPlan) -> None:
    """Write signals the way the platform does: through the gateway, with the service key."""
    database = await acreate_client(world.supabase.url, world.supabase.service_role_key)
    ft_wallets = list(dict.fromkeys(follower.ft_wallet_id for follower in world.followers))
    trades = _trades(world, plan)
    try:
        async with asyncio.TaskGroup() as group:
            number = 0
            async for trade in trades:
                row = signal_row(
                    trade, ft_wallet_id=ft_wallets[number % len(ft_wallets)], size_usd=plan.bet_usd
                )
                # A slow insert must not hold up the next trade: traders don't wait for each other.
                group.create_task(_insert_one(database, row))
                number += 1
                if number == plan.signals:
                    break
    finally:
        await trades.aclose()
        await database.postgrest.aclose()


def _trades(world: World, plan: DemoPlan) -> AsyncGenerator[Trade, None]:
    if plan.recording is not None:
        return recorded_trades(world.exchange)
    return random_trades(world.exchange, rate_per_s=plan.rate_per_s, seed=plan.seed)


async def _insert_one(database: AsyncClient, row: dict[str, str]) -> None:
    await database.table("ft_orders").insert(row, returning="minimal").execute()  # type: ignore[arg-type]


async def _until_settled(world: World, worker: WorkerProcess) -> None:
    """Wait until every signal is decided and every trade is final, but not for ever: the report says what is not."""
    async with await psycopg.AsyncConnection.connect(world.supabase.dsn, autocommit=True) as database:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_WITHIN_S):
                while worker.exit_code is None:
                    row = await (await database.execute(_UNSETTLED)).fetchone()
                    if row is not None and row[0] == 0:
                        return
                    await asyncio.sleep(_REFRESH_S)


async def _show(world: World, worker: WorkerProcess, console: Console) -> None:
    if not console.is_terminal:
        while True:
            for line in worker.new_lines():
                console.print(line, markup=False, highlight=False, soft_wrap=True)
            await asyncio.sleep(_REFRESH_S)
    async with await psycopg.AsyncConnection.connect(world.supabase.dsn, autocommit=True) as database:
        with Live(console=console, refresh_per_second=4, transient=False) as live:
            while True:
                live.update(table_of(await latest_orders(database)))
                await asyncio.sleep(_REFRESH_S)
