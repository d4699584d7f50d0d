"""Pause, resume, kill, arm: what cannot be meant is refused, and what still holds afterwards is told."""

import os
import re
from collections.abc import AsyncIterator

import pytest

from tests.support.contract import undocumented
from tests.support.desk import WALLET, Desk
from worker.database.client import SupabaseDatabase
from worker.database.controls import ControlAction
from worker.database.keys import DatabaseAccess
from worker.database.reports import Reports
from worker.errors import UsageError
from worker.orders.paper import purse_of
from worker.orders.terms import Mode, StrategyId, WalletAddress
from worker.sandbox.supabase import SupabaseSandbox
from worker.verbs.switches import Order, Turned, scope_options, turn
from worker.verbs.words import laid_out

ONE, TWO = StrategyId("LT_ONE"), StrategyId("LT_TWO")
PAUSE, RESUME, KILL, ARM = ControlAction


@pytest.fixture
async def reports(supabase: SupabaseSandbox) -> AsyncIterator[Reports]:
    access = DatabaseAccess(url=supabase.url, key=supabase.service_role_key)
    async with await SupabaseDatabase.open(access) as database:
        yield Reports(database, Mode.PAPER)


@pytest.fixture
async def desk(supabase: SupabaseSandbox) -> AsyncIterator[Desk]:
    desk = await Desk.open(supabase.dsn)
    await desk.strategy()
    await desk.strategy("LT_TWO", wallet_address="0x" + "cd" * 20)
    await desk.ready()
    yield desk
    await desk.close()


def text_of(turned: Turned) -> str:
    return " ".join("\n".join(line.plain for line in laid_out(turned.lines())).split())


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (lambda: Order(PAUSE), "needs its --reason"),
        (lambda: Order(KILL, ONE, reason="  "), "needs its --reason"),
        (lambda: Order(ARM, ONE, WalletAddress(WALLET)), "name no scope"),
        (lambda: Order(ARM, forget_losses=True), "add --strategy"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(asked: object, sentence: str) -> None:
    assert callable(asked)
    with pytest.raises(UsageError, match=sentence):
        asked()


@pytest.mark.parametrize("scope", ["global", "strategy:LT_ONE", "wallet:0xab"])
def test_a_scope_is_written_as_the_options_that_name_it(scope: str) -> None:
    kind, _, name = scope.partition(":")
    assert scope_options(scope) == (f" --{kind} {name}" if name else "")


async def test_a_switch_for_a_name_that_nobody_bears_is_refused_with_those_that_are_borne(
    reports: Reports, desk: Desk
) -> None:
    await desk.strategy("LT_BESIDE")
    for order, known in (
        (
            Order(KILL, StrategyId("lt_on"), reason="why"),
            "did you mean LT_ONE.* There are LT_BESIDE, LT_ONE, LT_TWO.",
        ),
        (Order(PAUSE, wallet=WalletAddress("0xdead"), reason="why"), f"do with {WALLET}, 0x(cd){{20}}\\.$"),
    ):
        with pytest.raises(UsageError, match=known):
            await turn(reports, order)
    assert await desk.rows("select from public.lt_controls") == []

    # --- a switch is set once, and what holds after it is taken back is told
    killed = await turn(reports, Order(KILL, reason="wrong prices"))
    again = await turn(reports, Order(KILL, reason="too slow"))
    assert (killed.switched.changed, again.switched.changed) == (True, False)
    assert "everything killed, in live and paper mode alike" in text_of(killed)
    assert "everything was killed already, in live and paper mode alike" in text_of(again)
    assert re.search(
        r"set before by \w+, \S+ \w+ ago: wrong prices not kept too slow \(.*: arm, then kill", text_of(again)
    )
    assert again.as_json()["stands"]["reason"] == "wrong prices"
    assert undocumented(again.as_json(), "pause, resume, kill, arm") == set()
    same = await turn(reports, Order(KILL, reason="wrong prices"))
    assert "not kept" not in text_of(same)
    await turn(
        reports, Order(PAUSE, wallet=WalletAddress(WALLET.upper().replace("0X", "0x")), reason="upgrade")
    )
    assert text_of(await turn(reports, Order(RESUME))).startswith(
        "nothing to resume: there is no pause of everything"
    )
    armed = await turn(reports, Order(ARM))
    assert {str(one["strategy_id"]): one["standing"] for one in armed.strategies} == {
        "LT_ONE": "paused",
        "LT_BESIDE": "paused",
        "LT_TWO": "no_worker",
    }
    assert f"pause of wallet:{WALLET} (upgrade): polycopy-worker resume --wallet {WALLET}" in text_of(armed)
    await desk.execute("update public.lt_strategies set is_paused = true where strategy_id = 'LT_ONE'")
    resumed = await turn(reports, Order(RESUME, wallet=WalletAddress(WALLET)))
    assert "the platform has paused it" in text_of(resumed)
    row = await desk.row("select actor, cleared_by from public.lt_controls where action = 'pause'")
    assert row["actor"] == row["cleared_by"] != ""

    # --- a breaker that tripped is armed with its strategy, and one that did not is left as it is
    nothing = await turn(reports, Order(ARM, ONE))
    assert nothing.armed == ()
    assert "there is no kill or freeze of LT_ONE, and no breaker of it has tripped" in text_of(nothing)
    breaker = {
        "scope": "strategy:LT_ONE",
        "action": "breaker",
        "mode": "paper",
        "reason": "lost",
        "actor": "ledger",
    }
    await desk.insert("lt_controls", breaker)
    tripped = await turn(reports, Order(ARM))
    assert "breaker of strategy:LT_ONE (lost): polycopy-worker arm --strategy LT_ONE" in text_of(tripped)
    assert (await turn(reports, Order(ARM, ONE))).armed == ((ONE, Mode.PAPER),)
    assert await desk.rows("select from public.lt_controls where cleared_at is null") == []
    assert (await turn(reports, Order(ARM, ONE, forget_losses=True))).armed == ((ONE, Mode.PAPER),)


async def test_a_switch_is_told_in_the_mode_that_is_traded_and_not_in_the_one_that_the_shell_is_set_to(
    reports: Reports, desk: Desk
) -> None:
    """The shell is set to paper; a worker trades LT_TWO live, nobody anything else."""
    live, of_both = "0x" + "cd" * 20, {"scope": "strategy:LT_TWO", "reason": "lost", "actor": "ledger"}
    lease = {"wallet_address": live, "worker": "worker-live", "ttl_s": "120"}
    await desk.call("lt_lease", lease | {"mode": "live"})
    await desk.insert("lt_controls", of_both | {"action": "breaker", "mode": "live"})
    paused = await turn(reports, Order(PAUSE, TWO, reason="upgrade"))
    (one,) = paused.strategies
    assert (one["mode"], one["standing"], one["worker"]) == ("live", "paused", "worker-live")
    assert paused.as_json()["modes"] == ["paper", "live"]
    armed = await turn(reports, Order(ARM, TWO))
    assert armed.armed == ((TWO, Mode.LIVE),)
    assert "breaker LT_TWO (live): armed" in text_of(armed)
    everything = await turn(reports, Order(KILL, reason="why"))
    assert [(each["strategy_id"], each["mode"]) for each in everything.strategies] == [
        ("LT_ONE", "paper"),
        ("LT_TWO", "live"),
    ]
    await desk.call("lt_lease", lease | {"mode": "paper", "wallet_address": purse_of(TWO)})
    both = await turn(reports, Order(KILL, TWO, reason="why"))
    assert {str(each["mode"]): each["standing"] for each in both.strategies} == {
        "live": "killed",
        "paper": "killed",
    }
    assert Order(KILL, TWO, reason="why").question == "kill LT_TWO, in live and paper mode alike?"


async def test_a_user_without_a_name_turns_switches_too(
    reports: Reports, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)  # as in a container: in no passwd
    await turn(reports, Order(KILL, ONE, reason="why"))
    assert await desk.rows("select actor from public.lt_controls") == [{"actor": "uid 4000000000"}]
