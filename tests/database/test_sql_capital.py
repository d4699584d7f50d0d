"""Capital: the equation holds after every step, whoever says what in whatever order, and from zero it is the same."""

from collections import Counter
from decimal import Decimal
from typing import Any, LiteralString

import psycopg
import pytest

from benchmarks.claim_cost import buffers_of_a_claim, settle_in
from tests.database.capital_walk import Walk
from tests.support.desk import CONDITION, TOKEN, WALLET, Desk, Row, fill
from worker.sandbox.postgres import Postgres

# Longer ones are `make capital`'s, and a hundred thousand orders are `make claim-cost`'s.
SEEDS = (1, 2)
STEPS = 150
MOVES = 17

MARKET: Row = {"mode": "paper", "condition_id": CONDITION, "winning_token_id": TOKEN, "winning_label": "Yes"}
FROM_ZERO: LiteralString = (
    "select n.locked_usd - z.locked_usd as locked, n.realised_usd - z.realised_usd as realised,"
    " n.fees_usd - z.fees_usd as fees from public.lt_capital_now n"
    " join public.lt_capital_recomputed z using (strategy_id, mode)"
)


async def bought(desk: Desk, *fills: Row, closed: bool = True) -> Row:
    answer = await desk.claim(await desk.signal())
    await desk.record(answer["exchange_order_id"], "matched", closed=closed, fills=list(fills))
    return answer


async def sold(desk: Desk, shares: str, price: str) -> Row:
    order = {
        "side": "SELL",
        "amount_usd": None,
        "shares": shares,
        "reserve_usd": "0",
        "reserve_shares": shares,
    }
    answer = await desk.claim(await desk.signal(side="SELL"), expected={"side": "SELL"}, order=order)
    assert answer["granted"], answer
    sale = fill(shares, price, side="SELL", state="final")
    await desk.record(answer["exchange_order_id"], "matched", closed=True, fills=[sale])
    return answer


async def resolved_by_the_platform(desk: Desk, order: Row, outcome: str = "WON") -> None:
    await desk.execute(
        "update public.lt_orders set outcome = %(o)s, pnl = 6, resolved_at = now() where lt_order_id = %(id)s",
        o=outcome,
        id=order["lt_order_id"],
    )


async def behind_the_triggers(desk: Desk, statement: LiteralString) -> None:
    """As a broken restore or a hand in the tables would do it."""
    await desk.connection.execute("reset role")
    await desk.connection.execute("set session_replication_role = replica")
    assert await desk.execute(statement)
    await desk.connection.execute("reset session_replication_role")
    await desk.connection.execute("set role service_role")


async def audit(desk: Desk, **keys: Any) -> list[Row]:
    """The differences of one whole round."""
    differences: list[Row] = []
    bookmark: Row | None = None
    while True:
        answer = await desk.call("lt_audit_capital", {"strategy_id": "LT_ONE", "bookmark": bookmark} | keys)
        differences += answer["differences"]
        bookmark = answer["bookmark"]
        if bookmark is None:
            return differences


# --- the equation


async def test_the_equation_holds_after_every_step_of_random_walks(
    cluster: Postgres, migrated_template: str
) -> None:
    taken: Counter[str] = Counter()
    for seed in SEEDS:
        async with cluster.database(template=migrated_template) as name:
            walk = await Walk.begin(cluster.dsn(name), seed)
            try:
                await walk.steps(STEPS)
            finally:
                await walk.end()
            taken += walk.taken
    assert len(taken) == MOVES, taken


async def test_a_sale_frees_the_average_cost_of_what_was_confirmed(trading: Desk) -> None:
    await bought(trading, fill("10", "0.4", state="final", fee_usd="0.1"))
    await bought(trading, fill("10", "0.6", state="final", fee_usd="0.1"))
    await bought(trading, fill("100", "0.01"))  # may still be reversed
    await sold(trading, "5", "0.7")
    capital = await trading.capital()
    # (4.1 + 6.1) / 20 a share
    assert (capital["realised_usd"], capital["locked_usd"]) == ("0.95", "8.65")
    assert (capital["cooldown_usd"], capital["realised_today_usd"]) == ("3.50", "0.95")


async def test_what_was_there_before_the_entries_is_entered_as_it_happened(trading: Desk) -> None:
    await behind_the_triggers(
        trading,
        "insert into public.lt_orders (strategy_id, user_id, ft_wallet_id, source_trade_id, condition_id, token_id,"
        " token_label, signal_price, signal_size_usd, status, outcome, executed_size_usd, pnl, resolved_at, is_shadow)"
        " select 'LT_ONE', gen_random_uuid(), 'FT_ONE', n, '0xc0', '1', 'Yes', 0.5, 10, 'FILLED',"
        " case n when 3 then 'OPEN' else 'WON' end, 9.5, case n when 1 then 20 when 2 then -8 end,"
        " now() - (3 - n) * interval '2 days', true from generate_series(1, 3) n",
    )
    assert await trading.rows("select public.lt_enter_history()")
    capital = await trading.capital()
    assert (capital["realised_usd"], capital["locked_usd"]) == ("12.00", "9.50")
    assert (capital["peak_equity_usd"], capital["realised_today_usd"]) == ("1020.00", "0.00")
    assert await audit(trading) == []


# --- resolution


@pytest.mark.parametrize("platform_first", [True, False])
async def test_both_resolvers_give_the_same_capital_in_either_order(
    trading: Desk,
    platform_first: bool,  # noqa: FBT001 - a column of the table above
) -> None:
    orders = [await bought(trading, fill("12", state="final")) for _ in range(2)]
    orders.append(await sold(trading, "4", "0.6"))
    for turn in range(2):
        if (turn == 0) == platform_first:
            for order in orders:
                await resolved_by_the_platform(trading, order)
        else:
            await trading.call("lt_settle_market", MARKET)
    capital = await trading.capital()
    # 24 shares for $12: 4 were sold for $2.40, 20 paid $20.
    assert (capital["realised_usd"], capital["cooldown_usd"]) == ("10.40", "22.40")
    assert (capital["locked_usd"], capital["available_usd"]) == ("0.00", "988.00")
    assert await audit(trading) == []


async def test_a_market_is_settled_once_with_label_and_pnl(trading: Desk) -> None:
    won = await bought(trading, fill("12", state="final", fee_usd="0.05"))
    answers = [await trading.call("lt_settle_market", MARKET) for _ in range(2)]
    assert [(answer["won"], answer["lost"], answer["waiting"]) for answer in answers] == [
        (1, 0, 0),
        (0, 0, 0),
    ]
    order = await trading.order(won["lt_order_id"])
    assert (order["outcome"], order["winning_label"], order["pnl"]) == ("WON", "Yes", Decimal("5.95"))
    other = await trading.call("lt_settle_market", MARKET | {"winning_token_id": "1"})
    assert (other["won"], other["lost"], other["contradicted"]) == (0, 0, [won["lt_order_id"]])


async def test_a_position_waits_until_its_fills_are_final_and_nothing_of_it_is_alive(trading: Desk) -> None:
    first = await bought(trading, provisional := fill("6"), closed=False)
    assert (await trading.call("lt_settle_market", MARKET))["waiting"] == 1
    await trading.record(first["exchange_order_id"], "matched", closed=True)
    assert (await trading.call("lt_settle_market", MARKET))["waiting"] == 1
    await trading.record(first["exchange_order_id"], "matched", fills=[provisional | {"state": "final"}])
    assert (await trading.call("lt_settle_market", MARKET))["won"] == 1


async def test_markets_with_open_orders_of_a_wallet_are_told_in_pages_and_with_their_end(
    trading: Desk,
) -> None:
    conditions = ["0x" + digit * 64 for digit in "321"]
    for condition in conditions:
        signal = await trading.signal(condition_id=condition, market_end_time="2026-06-01T00:00:00Z")
        await trading.claim(signal, expected={"condition_id": condition})
    asked = {"mode": "paper", "wallets": [WALLET.upper().replace("X", "x")], "limit": 2}
    first = (await trading.call("lt_unsettled_markets", asked))["markets"]
    assert [market["condition_id"] for market in first] == sorted(conditions)[:2]
    assert (first[0]["token_id"], first[0]["orders"], first[0]["ends_at"]) == (
        TOKEN,
        1,
        "2026-06-01T00:00:00+00:00",
    )
    rest = await trading.call("lt_unsettled_markets", asked | {"after": first[-1]["condition_id"]})
    assert [market["condition_id"] for market in rest["markets"]] == [conditions[0]]
    strangers: tuple[Row, ...] = ({"mode": "live"}, {"wallets": ["0x" + "cd" * 20]}, {"wallets": []})
    for others in strangers:
        assert (await trading.call("lt_unsettled_markets", asked | others))["markets"] == []


async def test_a_market_without_a_winner_is_not_settled(trading: Desk) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="without a winner"):
        await trading.call("lt_settle_market", MARKET | {"winning_token_id": None})


async def test_the_first_resolution_sets_the_clock_and_a_second_one_does_not_move_it(trading: Desk) -> None:
    order = await bought(trading, fill("12", state="final"))
    await resolved_by_the_platform(trading, order)
    await trading.execute("update public.lt_strategies set cooldown_hours = 0")
    free = await trading.capital()
    resolved_at = (await trading.order(order["lt_order_id"]))["resolved_at"]
    await resolved_by_the_platform(trading, order)
    assert (await trading.order(order["lt_order_id"]))["resolved_at"] == resolved_at
    assert (await trading.capital(), free["available_usd"]) == (free, "1006.00")


async def test_a_fill_that_is_reversed_after_the_resolution_takes_its_money_back(trading: Desk) -> None:
    order = await bought(trading, fill("6", state="final"), doubted := fill("6"))
    await resolved_by_the_platform(trading, order)
    assert (await trading.capital())["realised_usd"] == "6.00"
    await trading.record(order["exchange_order_id"], "matched", fills=[doubted | {"state": "reversed"}])
    capital = await trading.capital()
    assert (capital["realised_usd"], capital["cooldown_usd"]) == ("3.00", "6.00")
    assert await audit(trading) == []


async def test_winners_await_their_redemption_where_redemptions_are_recorded(database: str) -> None:
    desk = await Desk.open(database, mode="live")
    await desk.strategy(cooldown_hours=0)
    await desk.ready()
    await desk.execute("update public.lt_config set value = 'recorded' where key = 'redemption'")
    await bought(desk, fill("12", state="final"))
    await desk.call("lt_settle_market", MARKET | {"mode": "live"})
    before = await desk.capital()
    told = {"wallet_address": WALLET, "condition_id": CONDITION, "redeemed_at": "2026-11-22T00:00:00Z"}
    redeemed = [await desk.call("lt_redeemed", told | {"reference": "0xtx"}) for _ in range(2)]
    after = await desk.capital()
    assert [answer["redeemed"] for answer in redeemed] == [1, 0]
    assert (before["awaiting_redeem_usd"], before["available_usd"]) == ("12.00", "994.00")
    assert (after["awaiting_redeem_usd"], after["available_usd"]) == ("0.00", "1006.00")
    await desk.close()


# --- checkpoints and the audit


PLANTS: dict[str, LiteralString] = {
    "checkpoint": "update public.lt_checkpoints set realised_usd = realised_usd - 1",
    "peak": "update public.lt_checkpoints set peak_realised_usd = peak_realised_usd + 1",
    "entry": "update public.lt_entries set locked_usd = locked_usd + 0.01 where entry_seq = 1",
    "entries": "delete from public.lt_entries where entry_seq = 1",
    "fill": "update public.lt_fills set shares = shares + 1",
    "outcome": "update public.lt_orders set outcome = 'LOST'",
}


@pytest.mark.parametrize("plant", PLANTS)
async def test_whatever_does_not_add_up_is_named_and_pauses_the_strategy(trading: Desk, plant: str) -> None:
    order = await bought(trading, fill("12", state="final"))
    await resolved_by_the_platform(trading, order)
    assert (await trading.call("lt_checkpoint", {"least": 1}))["written"] == 1
    assert await audit(trading) == []
    await behind_the_triggers(trading, PLANTS[plant])
    (first, *_) = found = await audit(trading)
    assert first["missing"]
    assert {difference["mode"] for difference in found} == {"paper"}
    assert first["what"].split()[0] == ("checkpoint" if plant in {"checkpoint", "peak"} else "order")
    refused = await trading.claim(await trading.signal())
    assert (refused["reason"], refused["value"]) == ("strategy_paused", "strategy:LT_ONE")
    assert refused["limit"].startswith(f"capital does not add up: {first['what'].split()[0]}")


async def test_the_audit_comes_to_its_end_in_parts(trading: Desk) -> None:
    for _ in range(5):
        await bought(trading, fill("12", state="final"))
        await trading.call("lt_checkpoint", {"least": 1})
    await behind_the_triggers(
        trading, "update public.lt_checkpoints set fees_usd = 7 where checkpoint_id = 4"
    )
    found = await audit(trading, orders=2)
    # A checkpoint is what the one before it says, and more: both its neighbours tell of it.
    assert [difference["what"] for difference in found] == ["checkpoint 4", "checkpoint 5"]


async def test_a_checkpoint_passes_nothing_that_is_still_being_written(trading: Desk, database: str) -> None:
    await bought(trading, fill("12", state="final"))
    slow = await Desk.open(database)
    slow.fence = trading.fence
    signal = await slow.signal()
    await slow.connection.set_autocommit(False)
    await slow.claim(signal)
    assert (await trading.call("lt_checkpoint", {"least": 1}))["written"] == 0
    await slow.connection.commit()
    assert (await trading.call("lt_checkpoint", {"least": 1}))["written"] == 1
    assert (await trading.capital())["locked_usd"] == "12.00"
    assert await audit(trading) == []
    await slow.close()


async def test_checkpoints_come_in_bounded_parts_and_only_where_enough_has_happened(trading: Desk) -> None:
    for _ in range(4):
        await bought(trading, fill("12", state="final"))
    assert (await trading.call("lt_checkpoint", {"least": 5}))["written"] == 0
    written = [(await trading.call("lt_checkpoint", {"least": 1, "most": 3}))["written"] for _ in range(3)]
    assert written == [1, 1, 0]


APPENDED = {
    "lt_entries": "strategy_id",
    "lt_checkpoints": "strategy_id",
    "lt_redeemed_orders": "reference",
    "lt_void_markets": "condition_id",
}


@pytest.mark.parametrize("table", APPENDED)
async def test_what_capital_rests_on_is_only_ever_appended(desk: Desk, table: str) -> None:
    await desk.connection.execute("reset role")
    for statement in ("update {} set {} = ''", "delete from {}", "truncate {}"):
        with pytest.raises(psycopg.errors.RaiseException, match="are kept"):
            await desk.connection.execute(statement.format(f"public.{table}", APPENDED[table]))


# --- what it costs


async def test_a_claim_touches_as_much_behind_many_past_orders_as_behind_few(
    cluster: Postgres, migrated_template: str
) -> None:
    touched = []
    for orders in (1_000, 10_000):
        async with cluster.database(template=migrated_template) as name:
            desk = await Desk.open(cluster.dsn(name))
            await settle_in(desk, orders=orders, open_orders=20)
            touched.append(await buffers_of_a_claim(desk))
            assert await desk.rows(FROM_ZERO + " where n.mode = 'paper'") == [
                {"locked": Decimal(0), "realised": Decimal(0), "fees": Decimal(0)}
            ]
            await desk.close()
    few, many = touched
    assert 0.8 * few <= many <= 1.2 * few
