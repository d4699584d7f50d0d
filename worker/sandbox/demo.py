"""The demo: a small world, a stream of signals, the production worker, and a picture of what happens.

On a terminal a live table; otherwise the worker's own log lines. Both go to stderr: stdout is for the summary. Whatever is
interrupted is summed up as well, unless it is interrupted twice.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from time import monotonic

import psycopg
from rich.console import Console
from rich.live import Live
from supabase import AsyncClient, acreate_client

from worker.errors import UsageError
from worker.sandbox.demo_table import Progress, latest_orders, picture_of, rows_of, tally
from worker.sandbox.exchange.recording import Recording
from worker.sandbox.gateway.pacing import DeliveryMode
from worker.sandbox.interrupts import Interrupts
from worker.sandbox.processes import free_port
from worker.sandbox.report import Report, report_on
from worker.sandbox.second_terminal import how_to_look, how_to_monitor, way_in
from worker.sandbox.signals import Trade, random_trades, recorded_trades, signal_row
from worker.sandbox.web_beside import web_beside
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
    dashboard: bool = True
    bet_usd: Decimal = Decimal(10)


async def run_demo(plan: DemoPlan, console: Console) -> Report:
    """Run the whole of it; Ctrl-C or SIGTERM ends the stream, or the wait for fills behind it; a second one everything.

    Raises `UsageError` for what is not a recording, `SandboxError` with one clear sentence if this machine cannot run
    it, CancelledError if it was interrupted before there was anything to report.
    """
    with Interrupts.listening() as interrupts, contextlib.ExitStack() as ways:
        folder, speed = _replay(plan)
        async with open_world(
            seed=plan.seed,
            recording=folder,
            replay_speed=speed,
            delivery=DeliveryMode.HOSTED if plan.hosted else DeliveryMode.IMMEDIATE,
            bet_usd=plan.bet_usd,
            say=console.print,
        ) as world:
            console.print("starting the worker ...")
            environment = world.worker_environment()
            monitored = {"POLYCOPY_ENDPOINTS__PORT": str(port := free_port())}
            async with (
                web_beside(environment, wanted=plan.dashboard) as web,
                WorkerProcess.start(environment | monitored, "--live") as worker,
            ):
                looking = ways.enter_context(way_in(environment))
                told = "\n".join((*await web.lines(), how_to_monitor(port), *how_to_look(looking)))
                console.print(told, markup=False, highlight=False, soft_wrap=True)
                try:
                    return await _Run(plan, world, worker, console).to_the_end(interrupts)
                except asyncio.CancelledError:
                    worker.kill()  # whoever asks twice does not want to wait for its drain
                    raise


class _Run:
    """One stream of signals and its picture."""

    def __init__(self, plan: DemoPlan, world: World, worker: WorkerProcess, console: Console) -> None:
        self._plan = plan
        self._world = world
        self._worker = worker
        self._console = console
        self._began_s = monotonic()
        self._phase = ""

    async def to_the_end(self, interrupts: Interrupts) -> Report:
        async with asyncio.TaskGroup() as group:
            showing = group.create_task(self._show())
            inserting = group.create_task(_insert(self._world, self._plan))
            interrupts.end_first(inserting)
            await asyncio.wait([inserting])
            self._phase = "waiting for fills to settle ..."
            if not self._console.is_terminal:
                self._console.print(self._phase)
            settling = group.create_task(_until_settled(self._world, self._worker))
            if not interrupts.heard:
                interrupts.end_first(settling)
            await asyncio.wait([settling])
            showing.cancel()
        return await report_on(self._world, interrupted=interrupts.heard)

    async def _show(self) -> None:
        if self._console.is_terminal:
            await self._show_picture()
        else:
            await self._show_log()

    async def _show_log(self) -> None:
        try:
            while True:
                self._print_log()
                await asyncio.sleep(_REFRESH_S)
        finally:
            self._print_log()

    def _print_log(self) -> None:
        for line in self._worker.new_lines():
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    async def _show_picture(self) -> None:
        console = self._console
        async with await psycopg.AsyncConnection.connect(
            self._world.supabase.dsn, autocommit=True
        ) as database:

            async def draw() -> None:
                lines = await latest_orders(database, rows_of(console))
                now = await tally(database)
                progress = Progress(
                    signals=now.signals,
                    planned=self._plan.signals,
                    elapsed_s=monotonic() - self._began_s,
                    executed=now.executed,
                    skipped=now.skipped,
                    filled=now.filled,
                    phase=self._phase,
                )
                live.update(picture_of(progress, lines, width=console.width), refresh=True)

            with Live(console=console, auto_refresh=False) as live:
                try:
                    while True:
                        await draw()
                        await asyncio.sleep(_REFRESH_S)
                except asyncio.CancelledError:
                    self._phase = ""
                    await draw()  # the last picture is the final one
                    raise


def _replay(plan: DemoPlan) -> tuple[Path | None, float]:
    """The recording's folder, and how many times real time makes its prints come at the plan's rate."""
    if plan.recording is None:
        return None, 1.0
    given = plan.recording
    if not given.exists():
        raise UsageError(
            f"There is no {given}: give --recording an {Recording.EVENTS} that exists, or the folder it lies in."
        )
    folder = given if given.is_dir() else given.parent
    if given != folder and given.name != Recording.EVENTS:
        raise UsageError(
            f"{given} is not a recording: give --recording a file that is named {Recording.EVENTS}, or its folder."
        )
    for name in (Recording.EVENTS, Recording.TOKENS):
        if not (folder / name).is_file():
            raise UsageError(
                f"{given} is not a recording, for there is no {folder / name}: put {Recording.EVENTS} and "
                f"{Recording.TOKENS} into one folder."
            )
    try:
        recording = Recording.load(folder)
        rate_per_s = recording.prints_per_s
    except (OSError, EOFError, ValueError, LookupError, TypeError, StopIteration, ArithmeticError) as error:
        raise UsageError(
            f"{given} is not a recording that can be read ({error!r}): give --recording an {Recording.EVENTS} with the "
            f"{Recording.TOKENS} that was recorded with it."
        ) from error
    # The exchange is a child that starts in another directory.
    return folder.absolute(), plan.rate_per_s / rate_per_s


async def _insert(world: World, plan: DemoPlan) -> None:
    """Write signals the way the platform does: through the gateway, with the service key."""
    database = await acreate_client(world.supabase.url, world.supabase.service_role_key)
    ft_wallets = list(dict.fromkeys(follower.ft_wallet_id for follower in world.followers))
    trades = _trades(world, plan)
    try:
        async with asyncio.TaskGroup() as group:
            number = 0
            with contextlib.suppress(asyncio.CancelledError):  # cut short: what is on its way still arrives
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
