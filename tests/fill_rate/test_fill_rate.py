"""What copies fill in a recorded market: never more than stood there when they came, and never the same offer twice."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import cycle
from pathlib import Path

import pytest

from benchmarks.fill_rate.copies import Copy
from benchmarks.fill_rate.figures import LEGEND, cell_of, filled_fraction, table
from benchmarks.fill_rate.orders import Way
from benchmarks.fill_rate.play import Play, Stake, prints_to_copy, sampled
from benchmarks.fill_rate.run import conditions_of, judged, load, main
from tests.fill_rate.plain_replay import DOLLAR, MILLION, Purchase, budget_of, replay
from tests.support.recordings import SHARED, write_recording
from worker.orders.terms import OrderType
from worker.sandbox.exchange.recording import Recording

D = Decimal
CONDITIONS = conditions_of(delay_s=1, reach_s=0.1, follow_s=180, max_age_s=60, retakes=3)
FEE_RATE = D("0.05")
ONCE, RETAKEN = Way(OrderType.FAK, again=False), Way(OrderType.FAK, again=True)
FOK = Way(OrderType.FOK, again=False)
GTC, REPRICED = Way(OrderType.GTC, again=False), Way(OrderType.GTC, again=True)
TEN_AT_3 = Stake(D(10), D(3))
STAKES = [TEN_AT_3, Stake(D(100), D(1)), Stake(D(100), D(3))]
# A small recording: its print comes at T0, after the warm-up, and the copy is on the book a second later.
T0 = 1_000_000
OPENING = [f"{T0 - 200_000},0,{side},10,0.4,0.6,P" for side in ("A,0.6", "B,0.4")]
CLOSING = f"{T0 + 900_000},0,B,0.01,1,0.4,0.6,P"


def played(recording: Recording, ways: Sequence[Way], stakes: Sequence[Stake]) -> Play:
    prints = prints_to_copy(recording, future_ms=2_000, makers=False)
    play = Play(recording, prints, stakes=stakes, conditions=CONDITIONS, fee_rate=FEE_RATE, ways=ways)
    for _ in play.run():
        pass
    return play


def copied(folder: Path, way: Way, rows: Iterable[str], *, leader: str = "0.5") -> Copy:
    """A copy of ten dollars at 3 % (0.51 after 0.50), in a book that begins with 10 shares bid at 0.4, offered at 0.6."""
    recording = load(write_recording(folder, [*OPENING, a_print(leader), *rows, CLOSING]))
    prints = prints_to_copy(recording, future_ms=2_000, makers=False)
    play = Play(recording, prints[:1], stakes=[TEN_AT_3], conditions=CONDITIONS, fee_rate=D(0), ways=[way])
    for _ in play.run():
        pass
    (copy,) = play.copies[TEN_AT_3, way]
    return copy


def a_print(price: str) -> str:
    return f"{T0},0,B,{price},30,0,0,T"


def ask(after_ms: int, price: str, shares: str, best: str) -> str:
    """That the offers at a price are so many, and that the best one is that."""
    return f"{T0 + after_ms},0,A,{price},{shares},0.4,{best},P"


def sale(after_ms: int, price: str, shares: str) -> str:
    return f"{T0 + after_ms},0,A,{price},{shares},0,0,T"


def bought(copy: Copy) -> list[tuple[int, str, Decimal, Decimal]]:
    """When after the print, in what role, at which price, how many shares."""
    return [(fill.at_ms - T0, fill.role, fill.price, fill.shares) for fill in copy.fills]


# --- what was there when it came


def test_an_order_meets_the_book_of_its_arrival_and_nothing_later(tmp_path: Path) -> None:
    rows = [ask(999, "0.5", "4", "0.5"), ask(1_000, "0.51", "100", "0.5")]
    assert bought(copied(tmp_path, ONCE, rows)) == [(1_000, "TAKER", D("0.5"), D(4))]


def test_an_order_takes_nothing_beyond_its_tolerance(tmp_path: Path) -> None:
    copy = copied(tmp_path, ONCE, [ask(10, "0.51", "4", "0.51"), ask(20, "0.52", "100", "0.51")])
    assert bought(copy) == [(1_000, "TAKER", D("0.51"), D(4))]
    assert filled_fraction(copy) == D("2.04") / 10


def test_a_fill_or_kill_takes_all_or_nothing(tmp_path: Path) -> None:
    assert bought(copied(tmp_path, FOK, [ask(10, "0.5", "19", "0.5")])) == []
    assert bought(copied(tmp_path, FOK, [ask(10, "0.5", "20", "0.5")])) == [(1_000, "TAKER", D("0.5"), D(20))]


# --- what is tried again


def test_what_is_left_waits_for_an_offer_and_takes_it_once_it_is_there(tmp_path: Path) -> None:
    rows = [ask(10, "0.5", "4", "0.5"), ask(20_000, "0.5", "0", "0.6"), ask(30_000, "0.51", "100", "0.51")]
    first, second = bought(copied(tmp_path, RETAKEN, rows))
    assert first == (1_000, "TAKER", D("0.5"), D(4))
    assert second[1:] == ("TAKER", D("0.51"), D("15.686274"))
    assert 30_000 < second[0] <= 30_500


def test_what_an_order_took_is_not_there_for_its_next_attempt(tmp_path: Path) -> None:
    rows = [
        ask(10, "0.5", "4", "0.5"),
        ask(20_000, "0.5", "3.5", "0.5"),  # somebody took of the same shares
        ask(40_000, "0.5", "5", "0.5"),  # and a share and a half is new
    ]
    copy = copied(tmp_path, RETAKEN, rows)
    assert [shares for *_, shares in bought(copy)] == [D(4), D("1.5")]
    assert copy.attempts == 2


def test_nothing_is_taken_again_of_a_signal_that_is_not_fresh(tmp_path: Path) -> None:
    copy = copied(tmp_path, RETAKEN, [ask(121_000, "0.5", "100", "0.5")])
    assert (copy.attempts, copy.fills) == (1, [])


def test_a_signal_gets_no_more_attempts_than_the_setting_says(tmp_path: Path) -> None:
    rows = [ask(10_000 * number, "0.5", str(number), "0.5") for number in range(1, 9)]
    copy = copied(tmp_path, RETAKEN, rows)
    assert [shares for *_, shares in bought(copy)] == [D(1)] * 3
    assert copy.attempts == 4


# --- what rests


def test_who_rests_is_filled_by_prints_through_his_price_alone(tmp_path: Path) -> None:
    copy = copied(
        tmp_path, GTC, [sale(5_000, "0.51", "100"), sale(6_000, "0.5", "7"), sale(7_000, "0.45", "90")]
    )
    assert bought(copy) == [(6_000, "MAKER", D("0.51"), D(7)), (7_000, "MAKER", D("0.51"), D("12.6"))]
    assert copy.is_complete


def test_a_purchase_of_the_other_outcome_is_a_sale_of_this_one(tmp_path: Path) -> None:
    copy = copied(tmp_path, GTC, [f"{T0 + 5_000},1,B,0.5,7,0,0,T", f"{T0 + 6_000},1,A,0.3,7,0,0,T"])
    assert bought(copy) == [(5_000, "MAKER", D("0.51"), D(7))]


def test_what_the_market_left_behind_is_priced_anew_and_takes_what_is_offered_there(tmp_path: Path) -> None:
    rows = [ask(10_000, "0.53", "100", "0.53"), ask(90_000, "0.52", "100", "0.52")]
    assert copied(tmp_path, GTC, rows).fills == []
    ((at_ms, role, price, shares),) = bought(copied(tmp_path, REPRICED, rows))
    assert (role, price, shares) == ("TAKER", D("0.52"), D("19.23"))
    assert 90_000 < at_ms <= 90_500


def test_who_is_next_to_the_other_side_rests_on(tmp_path: Path) -> None:
    copy = copied(tmp_path, REPRICED, [ask(10_000, "0.52", "100", "0.52")])
    assert (copy.attempts, copy.fills) == (1, [])


# --- what it cost, and what it was worth


def test_slippage_is_against_the_leader_and_a_mark_out_against_the_fill(tmp_path: Path) -> None:
    rows = [ask(10, "0.51", "100", "0.51"), ask(50_000, "0.51", "0", "0.6"), ask(100_000, "0.6", "0", "0")]
    cell = cell_of(TEN_AT_3, ONCE, [copied(tmp_path, ONCE, rows)])
    assert (cell.any_pct, cell.full_pct, cell.dollars_pct, cell.fee_bps) == (100, 100, 100, 0)
    assert cell.slippage_bps == 200  # 0.51 for 0.50
    assert cell.mark_out_1m_bps == -196.1  # the mid is 0.50
    assert cell.mark_out_5m_bps == 3725.5  # 0.70: nobody offers
    assert cell.marked_5m_pct == 100


def test_every_column_of_the_table_is_explained_under_it(tmp_path: Path) -> None:
    heading, *_ = table([cell_of(TEN_AT_3, ONCE, [copied(tmp_path, ONCE, [])])]).splitlines()
    titles = [title.strip() for title in heading.strip("|").split("|")]
    explained = {name.strip() for line in LEGEND.splitlines() for name in line[:17].split(",")}
    assert len(titles) > 10
    assert set(titles) <= explained


def test_a_signal_without_room_for_a_tick_is_a_bet_that_was_not_filled(tmp_path: Path) -> None:
    copy = copied(tmp_path, ONCE, [ask(10, "0.03", "10000", "0.03")], leader="0.03")
    assert copy.skipped is not None
    cell = cell_of(TEN_AT_3, ONCE, [copy])
    assert (cell.signals, cell.skipped, cell.attempts, cell.dollars_pct) == (1, 1, 0, 0)


# --- the recording


@pytest.fixture(scope="module")
def shared() -> Recording:
    if not SHARED.exists():
        pytest.skip("the shared recording is not on this machine")
    return load(SHARED)


@pytest.fixture(scope="module")
def play(shared: Recording) -> Play:
    return played(shared, [ONCE, RETAKEN], STAKES)


def test_one_attempt_of_a_fak_takes_what_a_plain_replay_of_the_book_finds(play: Play) -> None:
    of_a_print = zip(*(play.copies[stake, ONCE] for stake in STAKES), strict=True)
    copies = [copy for copies in of_a_print for copy in copies]
    found = replay(SHARED, map(purchase, copies, cycle(STAKES)))
    taken = [
        [(int(fill.price * DOLLAR), int(fill.shares * MILLION)) for fill in copy.fills] for copy in copies
    ]
    assert taken == list(found)
    assert 0 < sum(bool(fills) for fills in taken) < len(taken)


def purchase(copy: Copy, stake: Stake) -> Purchase:
    leader = copy.given.leader
    return Purchase(
        at_ms=leader.ms + CONDITIONS.delay_ms,
        asset=leader.token,
        leader_price=leader.price,
        tolerance=Fraction(stake.tolerance_pct) / 100,
        budget=budget_of(Fraction(stake.bet_usd), Fraction(FEE_RATE)),
    )


def test_a_fak_that_is_taken_again_fills_no_less_of_any_signal_and_more_of_all(play: Play) -> None:
    for stake in STAKES:
        once, again = ([filled_fraction(copy) for copy in play.copies[stake, way]] for way in (ONCE, RETAKEN))
        assert all(more >= less for less, more in zip(once, again, strict=True))
        assert sum(again) > sum(once)
        assert all(copy.filled <= copy.target for copy in play.copies[stake, RETAKEN])


def test_a_sample_is_the_same_for_a_seed_and_in_order_of_time(shared: Recording) -> None:
    prints = prints_to_copy(shared, future_ms=2_000, makers=False)
    some = sampled(prints, 20, seed=7)
    assert some == sampled(prints, 20, seed=7) != sampled(prints, 20, seed=8)
    assert (len(some), [row.ms for row in some]) == (20, sorted(row.ms for row in some))
    assert sampled(prints, None, seed=7) == prints


# --- the command


def test_the_command_prints_a_cell_for_every_way_of_every_stake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [*OPENING, a_print("0.5"), ask(10, "0.5", "4", "0.5"), ask(9_000, "0.51", "100", "0.5")]
    folder = write_recording(tmp_path, [*rows, CLOSING])
    arguments = ["--recording", str(folder), "--sizes", "10", "--tolerances", "1", "3"]
    assert main([*arguments, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["signals"], said["holds"], len(said["cells"])) == (1, True, 2 * 6)
    faks = [cell for cell in said["cells"] if cell["order_type"] == "FAK" and cell["tolerance_pct"] == "3"]
    assert [(cell["again"], cell["full_pct"], cell["attempts"]) for cell in faks] == [
        (False, 0, 1),
        (True, 100, 2),
    ]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert "| FAK, re-taken |" in printed.out
    assert "through" in printed.err


def test_a_run_without_a_recording_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--recording", str(tmp_path)])
    assert end.value.code == 1
    assert "holds no recording" in capsys.readouterr().err


def test_a_run_fails_where_a_further_attempt_costs_dollars_or_helps_nowhere(tmp_path: Path) -> None:
    rows = [ask(10, "0.5", "4", "0.5")]
    once, again = (cell_of(TEN_AT_3, way, [copied(tmp_path, way, rows)]) for way in (ONCE, RETAKEN))
    assert judged([once, again], sampled=True) == []
    assert judged([once, again], sampled=False) == ["nowhere did a further attempt fill anything"]
    (wrong,) = judged([once, replace(again, dollars_pct=1.0)], sampled=True)
    assert wrong.startswith("FAK, re-taken, $10 at 3 %: 1.0 % of the dollars")
