"""What open feeds cost the worker: `make open-feeds ARGS="--feeds 50 --runs 5"`.

One world, one worker, and `polycopy-worker web` beside it. Runs without and with open feeds take turns, each first in
turn, so that what drifts meanwhile falls upon both. Exit code 0: the median p99 from commit to wire is at most a
twentieth more with the feeds, and each of them was told of every fill; 1: not.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks.open_feeds import listeners
from tests.feed.flow import Flow, Line
from tests.support.tool import SoFar, add_count, add_json, conduct, parser, positive, tell, whole
from worker.sandbox.errors import SandboxError
from worker.sandbox.report import Percentiles, journal_of
from worker.sandbox.worker_process import WorkerProcess
from worker.sandbox.world import Follower, World, open_world

RATIO_MOST: Final = 1.05
_TELLING_MOST_MS: Final = 500.0  # five times what the worker promises at 20 orders a second
_WARM_UP: Final = 40  # signals that nobody counts: markets become known, code paths walked
_SETTLE_WITHIN_S: Final = 120.0
_FOLLOWS_WITHIN_S: Final = 60.0
_LOOK_EVERY_S: Final = 0.1
_MB: Final = 1 << 20
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_FOLLOWER: Final = Follower("LT_FEEDS", "FT_FEEDS", 0, "FAK", Decimal("5.0"))
_ABOUT: Final = f"""\
What open feeds (`/api/lt/feed`) of `polycopy-worker web` cost the worker beside it. Signals come at a steady rate; runs
without and with the feeds take turns, so that what drifts falls upon both. The median of the runs' p99, from the
commit of a signal to the receipt of its order by the exchange, may be {RATIO_MOST:g} times as long with them at most."""
_UNSETTLED: Final = b"""
select (public.lt_equation('{"mode": "live"}') -> 'total' ->> 'undecided')::int
  + (select count(*) from public.lt_order_attempts where closed_at is null)
  + (select count(*) from public.lt_fills where state = 'provisional') as number
"""
_SENT: Final = b"""
select a.exchange_order_id, extract(epoch from pg_xact_commit_timestamp(f.xmin))::float8 * 1000 as committed_ms
from public.lt_order_attempts a join public.ft_orders f on f.order_id = a.ft_order_id
join public.lt_decisions d on (d.strategy_id, d.ft_order_id, d.mode) = (a.strategy_id, a.ft_order_id, a.mode)
where a.ft_order_id = any (%s::uuid[]) and a.attempt_no = 1
  and d.tries = 1   -- a sale that had to wait for its shares tells of the chain, not of the worker
"""
_FILLS: Final = b"""
select f.fill_seq from public.lt_fills f join public.lt_order_attempts a using (exchange_order_id)
where a.ft_order_id = any (%s::uuid[])
"""


@dataclass(frozen=True, slots=True)
class Plan:
    feeds: int = 50
    runs: int = 5
    signals: int = 300
    rate_per_s: float = 12.0
    seed: int = 0

    def turns(self) -> Sequence[int]:
        """How many feeds are open in each run: 0 N N 0 0 N ..."""
        return [self.feeds * ((number + 1) // 2 % 2) for number in range(2 * self.runs)]


@dataclass(frozen=True, slots=True)
class Run:
    """`latency_ms`: from commit to wire. `web_cpu_pct`: of one core. `lost`, `twice`: fills and events, over all feeds."""

    feeds: int
    executed: int
    latency_ms: Percentiles
    web_cpu_pct: float
    fills: int = 0
    events: int = 0
    lost: int = 0
    twice: int = 0
    came_back: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    plan: Plan
    runs: Sequence[Run]

    def p99s(self, *, open_feeds: bool) -> list[float]:
        return sorted(one.latency_ms.p99 or 0.0 for one in self.runs if bool(one.feeds) is open_feeds)

    @property
    def ratio(self) -> float:
        without = median(self.p99s(open_feeds=False))
        return median(self.p99s(open_feeds=True)) / without if without else 0.0

    def wrong(self) -> list[str]:
        found = []
        if (without := median(self.p99s(open_feeds=False))) > _TELLING_MOST_MS:
            found.append(
                f"the median p99 is {without:g} ms without a feed, above {_TELLING_MOST_MS:g} ms: the machine is too busy to "
                "tell what feeds cost, or the rate is too high for it"
            )
        if self.ratio > RATIO_MOST:
            found.append(
                f"the median p99 is {self.ratio:.3f} times as long with open feeds: {RATIO_MOST:g} is the limit"
            )
        for number, one in enumerate(self.runs, 1):
            if not one.executed or (one.feeds and not one.fills):
                found.append(
                    f"run {number} executed {one.executed} signals, with {one.fills} fills: it tells nothing"
                )
            if one.lost or one.twice:
                found.append(
                    f"run {number}: {one.lost} fills were not told, {one.twice} events were told twice"
                )
        return found

    def as_json(self) -> dict[str, Any]:
        return {
            **asdict(self.plan),
            "p99_ms_without": self.p99s(open_feeds=False),
            "p99_ms_with": self.p99s(open_feeds=True),
            "median_p99_ms_without": median(self.p99s(open_feeds=False)),
            "median_p99_ms_with": median(self.p99s(open_feeds=True)),
            "ratio": round(self.ratio, 4),
            "ratio_most": RATIO_MOST,
            "each": [asdict(one) for one in self.runs],
            "holds": not self.wrong(),
            "wrong": self.wrong(),
        }


class Listeners:
    """The feeds' process, from outside."""

    def __init__(self, asking: asyncio.StreamWriter, answers: asyncio.StreamReader) -> None:
        self._asking = asking
        self._answers = answers

    @classmethod
    @asynccontextmanager
    async def start(cls, address: str, count: int) -> AsyncIterator["Listeners"]:
        """They follow when the block begins."""
        site = urlsplit(address)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", listeners.__name__, site.hostname or "", str(site.port), str(count),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_MB, start_new_session=True,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        try:
            if process.stdin is None or process.stdout is None:
                raise SandboxError("The process of the open feeds cannot be talked to: it has no pipes.")
            those = cls(process.stdin, process.stdout)
            async with asyncio.timeout(_FOLLOWS_WITHIN_S):
                await those._answer()
            yield those
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def told(self, fills: Sequence[int]) -> Mapping[str, int]:
        """What they make of the run in which those were the fills."""
        self._asking.write(json.dumps(fills).encode() + b"\n")
        async with asyncio.timeout(_FOLLOWS_WITHIN_S):
            return await self._answer()

    async def _answer(self) -> dict[str, int]:
        line = await self._answers.readline()
        if not line:
            raise SandboxError("The process of the open feeds ended before it was asked to.")
        answer: dict[str, int] = json.loads(line)
        return answer


async def measure(plan: Plan, so_far: SoFar) -> Outcome:
    """The whole of it. `so_far` is told of the runs that are over."""
    so_far["each"] = told = []
    runs = []
    async with open_world(
        seed=plan.seed, followers=[_FOLLOWER], deposit_usd=Decimal(2_000_000), mined_after_s=0.5, confirmed_after_s=0.5,
        say=tell,
    ) as world:  # fmt: skip
        environment = world.worker_environment()
        async with (
            WorkerProcess.start({**environment, "POLYCOPY_WEB__PORT": "0"}, verb="web") as web,
            WorkerProcess.start(environment, "--live") as worker,
            Line.open(world.supabase.dsn) as line,
        ):
            scene = _Scene(world, web, worker, line)
            tell("warming up ...")
            await scene.run(0, _WARM_UP, plan.rate_per_s, seed=plan.seed)
            for number, feeds in enumerate(plan.turns(), 1):
                run = await scene.run(feeds, plan.signals, plan.rate_per_s, seed=plan.seed + number)
                tell(
                    f"run {number} of {2 * plan.runs}, {feeds} feeds: p50 {run.latency_ms.p50} ms, p99 {run.latency_ms.p99} ms, "
                    f"web {run.web_cpu_pct:g} % of a core"
                )
                runs.append(run)
                told.append(asdict(run))
    return Outcome(plan, runs)


@dataclass(frozen=True, slots=True)
class _Scene:
    world: World
    web: WorkerProcess
    worker: WorkerProcess
    line: Line

    async def run(self, feeds: int, signals: int, rate_per_s: float, *, seed: int) -> Run:
        async with AsyncExitStack() as stack:
            opened = None
            if feeds:
                address = self.web.status.removeprefix("listening on ")
                opened = await stack.enter_async_context(Listeners.start(address, feeds))
            began_s, spent_s = monotonic(), _cpu_s(self.web.pid)
            written = await self._pour(signals, rate_per_s, seed)
            web_cpu_pct = 100 * (_cpu_s(self.web.pid) - spent_s) / (monotonic() - began_s)
            await self._settled()
            fills = [one["fill_seq"] for one in await self.line.insist(_FILLS, [written])]
            told = await opened.told(fills) if opened else {}
        sent = await self.line.insist(_SENT, [written])
        arrivals, _ = await journal_of(self.world)
        latencies = [
            arrivals[one["exchange_order_id"]] - one["committed_ms"]
            for one in sent
            if one["exchange_order_id"] in arrivals
        ]
        return Run(
            feeds, len(latencies), Percentiles.of(latencies), round(web_cpu_pct, 1), len(fills), **told
        )

    async def _pour(self, signals: int, rate_per_s: float, seed: int) -> list[str]:
        """Ids of the signals, each committed before the next one is."""
        flow = Flow(self.world, rate_per_s=rate_per_s, seed=seed)
        async with asyncio.TaskGroup() as group:
            flowing = group.create_task(flow.run())
            while len(flow.written) < signals:
                self._check()
                await asyncio.sleep(_LOOK_EVERY_S)
            flowing.cancel()
        return [ft_order_id for _, ft_order_id in flow.written]

    async def _settled(self) -> None:
        """Until every trade is final. Raises SandboxError where that does not come."""
        deadline_s = monotonic() + _SETTLE_WITHIN_S
        while (await self.line.insist(_UNSETTLED))[0]["number"]:
            self._check()
            if monotonic() > deadline_s:
                raise SandboxError(
                    f"Not everything was settled within {_SETTLE_WITHIN_S:g} s ({self.worker.status}): this machine is too "
                    "busy with something else, or the rate is too high for it."
                )
            await asyncio.sleep(_LOOK_EVERY_S)

    def _check(self) -> None:
        for process in (self.web, self.worker):
            if process.exit_code is not None:
                raise SandboxError(f"A process ended with code {process.exit_code}:\n{process.log()[-2000:]}")


def _cpu_s(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def _report(outcome: Outcome) -> str:
    wrong = outcome.wrong()
    lines = []
    for name, open_feeds in (("without", False), (f"{outcome.plan.feeds} feeds", True)):
        p99s = outcome.p99s(open_feeds=open_feeds)
        those = [one for one in outcome.runs if bool(one.feeds) is open_feeds]
        lines.append(
            f"{name:>10}: p99 {median(p99s):g} ms (runs: {', '.join(f'{one:g}' for one in p99s)}), "
            f"p50 {median(one.latency_ms.p50 or 0.0 for one in those):g} ms, "
            f"the web's process {median(one.web_cpu_pct for one in those):g} % of a core"
        )
    fills, events = (
        sum(getattr(one, name) for one in outcome.runs if one.feeds) for name in ("fills", "events")
    )
    lines.append(
        f"      told: {fills} fills to each of {outcome.plan.feeds} feeds, in {events} events altogether"
    )
    lines += [f"FAILED: {one}" for one in wrong] or [
        f"ok: {outcome.ratio:.3f} times as long with open feeds, {RATIO_MOST:g} is the limit"
    ]
    return "\n".join(lines) + "\n"


def main(given: Sequence[str] | None = None) -> int:
    options = parser(
        "open-feeds",
        _ABOUT,
        module="benchmarks.open_feeds.run",
        lasts="about 5 min (2 cores, and nothing else to do)",
        holds="the feeds cost no more than that, and each was told of every fill",
        examples=("", "--runs 1 --signals 50 --feeds 10", "--signals 500 --rate 20 --json"),
    )
    default = Plan()
    add_count(options, "--feeds", "Open so many feeds", least=1, default=default.feeds)
    add_count(options, "--runs", "So many runs without, and as many with them", least=1, default=default.runs)
    add_count(options, "--signals", "So many signals in each run", least=10, default=default.signals)
    options.add_argument(
        "--rate", type=positive("signals a second"), default=default.rate_per_s, metavar="PER_S",
        help="Signals a second (default: %(default)g).",
    )  # fmt: skip
    options.add_argument(
        "--seed",
        type=whole(least=0),
        default=0,
        metavar="N",
        help="Makes the same trades again (default: 0).",
    )
    add_json(options)
    asked = options.parse_args(given)
    plan = Plan(asked.feeds, asked.runs, asked.signals, asked.rate, asked.seed)
    outcome = conduct(partial(measure, plan), as_json=asked.json, **asdict(plan))
    sys.stdout.write(json.dumps(outcome.as_json()) + "\n" if asked.json else _report(outcome))
    return 0 if not outcome.wrong() else 1


if __name__ == "__main__":
    sys.exit(main())
