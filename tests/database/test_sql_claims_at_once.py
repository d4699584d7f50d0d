"""Claims that run beside each other, and beside a takeover: the same dollar is never judged twice."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.desk import WALLET, Desk, Row, order_id
from tests.support.eventually import eventually

ROOT = Path(__file__).parents[2]


async def test_two_parallel_reservations_of_6_on_10_dollars_grant_exactly_one(
    trading: Desk, database: str
) -> None:
    await trading.execute("update public.lt_strategies set initial_capital = 10")
    answers = await claims_at_once(trading, database, [await trading.signal() for _ in range(2)])
    assert sorted(answer["granted"] for answer in answers) == [False, True]
    (lost,) = (answer for answer in answers if not answer["granted"])
    assert (lost["reason"], lost["value"], lost["limit"]) == ("insufficient_capital", "6.00", "4.00")


async def test_two_strategies_cannot_spend_the_same_dollars_of_their_wallet(
    trading: Desk, database: str
) -> None:
    await trading.strategy("LT_TWO")
    await trading.balance("10")
    signal = await trading.signal()
    other = await Desk.open(database)
    other.fence = trading.fence
    answers = await asyncio.gather(trading.claim(signal), other.claim(signal, "LT_TWO"))
    assert sorted(answer["granted"] for answer in answers) == [False, True]
    assert {answer.get("reason") for answer in answers} == {None, "wallet_insufficient_balance"}
    await other.close()


async def test_ten_claims_of_one_pair_at_once_make_one_order(trading: Desk, database: str) -> None:
    signal = await trading.signal()
    answers = await claims_at_once(trading, database, [signal] * 10)
    assert sum(answer["granted"] for answer in answers) == 1
    assert {answer.get("reason") for answer in answers} == {None, "already_executed"}
    assert len(await trading.rows("select 1 from public.lt_order_attempts")) == 1


async def test_a_claim_told_twice_at_once_is_granted_once_and_replayed_once(
    trading: Desk, database: str
) -> None:
    signal, exchange_order_id = await trading.signal(), order_id()
    other = await Desk.open(database)
    other.fence = trading.fence
    answers = await asyncio.gather(
        *(desk.claim(signal, exchange_order_id=exchange_order_id) for desk in (trading, other))
    )
    assert [answer["granted"] for answer in answers] == [True, True]
    assert sorted(answer["replayed"] for answer in answers) == [False, True]
    await other.close()


async def claims_at_once(trading: Desk, database: str, signals: list[str]) -> list[Row]:
    desks = [await Desk.open(database) for _ in signals]
    for desk in desks:
        desk.fence = trading.fence
    try:
        return await asyncio.gather(
            *(desk.claim(signal) for desk, signal in zip(desks, signals, strict=True))
        )
    finally:
        for desk in desks:
            await desk.close()


@asynccontextmanager
async def claimants(count: int, dsn: str, fence: int) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """Processes that claim, and wait for their first volley."""
    command = (sys.executable, "-m", "tests.support.claimants", dsn, str(fence))
    running = [
        await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT
        )
        for _ in range(count)
    ]
    try:
        yield running
        for each in running:
            assert each.stdin is not None
            each.stdin.close()
            assert await each.wait() == 0
    finally:
        for each in running:
            if each.returncode is None:
                each.kill()
                await each.wait()


async def volley(
    processes: list[asyncio.subprocess.Process], desk: Desk, claims: int
) -> Counter[tuple[str, str | None]]:
    """So many claims at once of two strategies in turn, a signal for each: how many of which came to which reason."""
    shares: list[dict[str, list[str]]] = [{"LT_ONE": [], "LT_TWO": []} for _ in processes]
    for nth in range(claims):
        shares[nth % len(shares)][("LT_ONE", "LT_TWO")[nth // len(shares) % 2]].append(await desk.signal())
    for process, share in zip(processes, shares, strict=True):
        assert process.stdin is not None
        process.stdin.write(json.dumps(share).encode() + b"\n")
    answered: Counter[tuple[str, str | None]] = Counter()
    for process in processes:
        assert process.stdout is not None
        for strategy_id, reason in json.loads(await process.stdout.readline()):
            answered[strategy_id, reason] += 1
    return answered


async def test_50_claims_of_three_processes_keep_exposure_and_wallet_to_the_order(
    trading: Desk, database: str
) -> None:
    await trading.execute("update public.lt_strategies set max_total_exposure_usd = 60")
    await trading.strategy("LT_TWO", max_total_exposure_usd=41.99)
    await trading.lease(ttl_s="60")
    async with claimants(3, database, trading.fence) as processes:
        assert await volley(processes, trading, 50) == {
            ("LT_ONE", None): 10,
            ("LT_ONE", "max_total_exposure"): 16,
            ("LT_TWO", None): 6,
            ("LT_TWO", "max_total_exposure"): 18,
        }
        assert (await trading.capital())["exposure_usd"] == "60.00"
        assert (await trading.capital("LT_TWO"))["exposure_usd"] == "36.00"

        # 96 dollars are reserved, and seven orders more fit in the wallet: whose they are is chance.
        await trading.execute("update public.lt_strategies set max_total_exposure_usd = null")
        await trading.balance("143.99")
        answered = await volley(processes, trading, 50)
        assert {reason for _, reason in answered} == {None, "wallet_insufficient_balance"}
        assert sum(count for (_, reason), count in answered.items() if reason is None) == 7
    assert len(await trading.rows("select from public.lt_order_attempts")) == 23


async def test_a_takeover_of_the_lease_waits_for_a_claim_and_then_sees_its_attempt(
    trading: Desk, database: str
) -> None:
    signal = await trading.signal()
    other = await Desk.open(database)
    await trading.execute(
        "update public.lt_leases set expires_at = clock_timestamp() + interval '300 milliseconds'"
    )

    async def lapsed() -> bool:
        return bool(await trading.rows("select from public.lt_leases where expires_at < clock_timestamp()"))

    async with trading.connection.transaction():
        assert (await trading.claim(signal))["granted"]
        takeover = asyncio.create_task(other.lease(worker="worker-b"))
        await eventually(trading.somebody_waits)
        await eventually(lapsed)
        assert not takeover.done()
    assert (await takeover)["fence"] == 2
    attempts = await other.call("lt_open_attempts", {"mode": "paper", "wallets": [WALLET], "limit": 10})
    assert [attempt["state"] for attempt in attempts["attempts"]] == ["submitting"]
    await other.close()
