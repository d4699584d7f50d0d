"""What looks systematic, and what does not: each pattern at its edge, whatever the order of things, and held to an
independent count.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.orders.lifecycle import AttemptState
from worker.orders.patterns import BY_HAND, Event, Finding, PatternKind, Subject, Thresholds, find
from worker.orders.reasons import SkipReason
from worker.orders.terms import FtOrderId, Mode, OrderType, StrategyId

THRESHOLDS = Thresholds(
    one_reason_share=0.5,
    one_reason_least=6,
    killed_in_a_row=5,
    paper_ahead_share=0.4,
    paper_ahead_least=5,
    feed_silent_s=300,
    feed_silent_least=4,
)
ONE, TWO = StrategyId("LT_ONE"), StrategyId("LT_TWO")
MATCHED, KILLED = AttemptState.MATCHED, AttemptState.KILLED

finals = [reason for reason in SkipReason if reason.final]
reasons = st.sampled_from([SkipReason.PRICE_MOVED, SkipReason.SIGNAL_TOO_OLD, *sorted(BY_HAND)])


def skip(reason: SkipReason, at_s: float = 0) -> Event:
    return Event(at_s, FtOrderId(f"signal at {at_s}"), ONE, Mode.LIVE, is_fresh=True, reason=reason)


def order(
    state: AttemptState,
    *,
    strategy_id: StrategyId = ONE,
    mode: Mode = Mode.LIVE,
    order_type: OrderType = OrderType.FAK,
) -> Event:
    return Event(0, FtOrderId("signal"), strategy_id, mode, is_fresh=True, state=state, order_type=order_type)


def found(
    events: Sequence[Event],
    *,
    now_s: float = 0,
    feed_silent_since_s: float | None = None,
    known: Sequence[tuple[PatternKind, str]] = (),
) -> dict[tuple[PatternKind, str], Finding]:
    keys = {(kind, Subject(subject)) for kind, subject in known}
    findings = find(events, THRESHOLDS, now_s=now_s, feed_silent_since_s=feed_silent_since_s, known=keys)
    by_key: dict[tuple[PatternKind, str], Finding] = {one.key: one for one in findings}
    assert len(by_key) == len(findings)
    return by_key


states = st.sampled_from(list(AttemptState))
orders = st.builds(
    order,
    states,
    strategy_id=st.sampled_from([ONE, TWO]),
    mode=st.sampled_from(list(Mode)),
    order_type=st.sampled_from(list(OrderType)),
)


# --- one reason


@given(st.lists(reasons, max_size=40))
def test_one_reason_is_found_when_it_is_most_of_what_nobody_did_by_hand(said: list[SkipReason]) -> None:
    counts = Counter(reason for reason in said if reason not in BY_HAND)
    expected = {
        (PatternKind.ONE_REASON, reason.value)
        for reason, count in counts.items()
        if count >= 6 and 2 * count > counts.total()
    }
    told = found([skip(reason) for reason in said])
    assert {(kind, str(subject)) for kind, subject in told} == expected
    for finding in told.values():
        assert (finding.count, finding.of) == (counts[SkipReason(finding.subject)], counts.total())


@given(st.lists(reasons, max_size=30), st.randoms())
def test_the_order_of_skips_does_not_matter(said: list[SkipReason], chance: object) -> None:
    events = [skip(reason) for reason in said]
    chance.shuffle(events)  # type: ignore[attr-defined]  # hypothesis' own kind of random
    assert found(events).keys() == found([skip(reason) for reason in said]).keys()


@pytest.mark.parametrize("reason", finals)
def test_every_reason_is_explained_in_its_own_words(reason: SkipReason) -> None:
    events = [skip(reason, at_s) for at_s in range(8)]
    told = found(events)
    if reason in BY_HAND:
        assert told == {}
        return
    (finding,) = told.values()
    assert reason.sentence in finding.why
    assert "8 of the last 8" in finding.why
    assert "signal at 7" in finding.fix


# --- killed in a row


@given(st.lists(orders, max_size=40))
def test_orders_that_find_nothing_are_counted_since_the_last_that_did(events: list[Event]) -> None:
    expected = {}
    for pair in {(one.strategy_id, one.mode) for one in events}:
        row = 0
        for one in events:
            if (one.strategy_id, one.mode) == pair and one.order_type in {OrderType.FAK, OrderType.FOK}:
                row = 0 if one.state is MATCHED else row + (one.state is KILLED)
        if row >= 5:
            expected[PatternKind.KILLED_IN_A_ROW, f"{pair[0]} {pair[1]}"] = row
    told = {key: one.count for key, one in found(events).items() if key[0] is PatternKind.KILLED_IN_A_ROW}
    assert told == expected


def test_one_fill_ends_a_row_of_killed_orders() -> None:
    key = (PatternKind.KILLED_IN_A_ROW, "LT_ONE live")
    row = [order(KILLED)] * 5
    assert key in found(row)
    assert key not in found([*row, order(MATCHED)])
    assert key in found([order(KILLED)] * 2, known=[key])


# --- paper ahead of live


def of_both(paper: tuple[int, int], live: tuple[int, int]) -> list[Event]:
    """(filled, killed) of each."""
    return [
        order(state, mode=mode)
        for mode, counts in ((Mode.PAPER, paper), (Mode.LIVE, live))
        for state, count in zip((MATCHED, KILLED), counts, strict=True)
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("paper", "live", "ahead"),
    [
        ((10, 0), (5, 5), True),
        ((10, 0), (6, 4), False),  # exactly the share that may be
        ((5, 5), (10, 0), False),  # live is better: no fault
        ((4, 0), (0, 10), False),  # too few to say
        ((10, 0), (0, 4), False),
    ],
)
def test_paper_is_ahead_when_it_fills_much_more_than_money_does(
    paper: tuple[int, int],
    live: tuple[int, int],
    ahead: bool,  # noqa: FBT001 - a case's expectation
) -> None:
    told = found(of_both(paper, live))
    assert ((PatternKind.PAPER_AHEAD, "") in told) is ahead


def test_paper_ahead_tells_both_sides_figures() -> None:
    finding = found(of_both((9, 1), (2, 6)))[PatternKind.PAPER_AHEAD, ""]
    assert "9 of its last 10" in finding.why
    assert "2 of 8" in finding.why


# --- a silent feed


@pytest.mark.parametrize(
    ("now_s", "since_s", "silent"),
    [(300, 0, True), (299, 0, False), (300, None, False), (400, 90, True), (400, 97, False)],
)
def test_a_feed_is_silent_when_fresh_signals_come_for_long_and_none_over_it(
    now_s: float,
    since_s: float | None,
    silent: bool,  # noqa: FBT001 - a case's expectation
) -> None:
    events = [skip(SkipReason.PRICE_MOVED, at_s) for at_s in range(95, 100)]
    told = found(events, now_s=now_s, feed_silent_since_s=since_s)
    assert ((PatternKind.FEED_SILENT, "") in told) is silent


def test_backlog_and_the_pairs_of_one_signal_say_nothing_of_the_feed() -> None:
    fresh = skip(SkipReason.PRICE_MOVED, 1)
    of_one_signal = [replace(fresh, strategy_id=StrategyId(str(number))) for number in range(9)]
    backlog = [replace(skip(SkipReason.PRICE_MOVED, at_s), is_fresh=False) for at_s in range(1, 9)]
    assert (PatternKind.FEED_SILENT, "") not in found(
        of_one_signal + backlog, now_s=999, feed_silent_since_s=0
    )


# --- what is known


@given(st.lists(st.one_of(orders, st.builds(skip, reasons)), max_size=40))
def test_what_is_found_anew_would_be_found_all_the_more_if_it_were_known(events: list[Event]) -> None:
    anew = found(events, now_s=1000, feed_silent_since_s=0)
    again = found(events, now_s=1000, feed_silent_since_s=0, known=list(anew))
    assert anew.keys() <= again.keys()


def test_a_known_reason_stays_on_the_edge_and_goes_when_it_is_no_longer_near() -> None:
    key = (PatternKind.ONE_REASON, SkipReason.PRICE_MOVED.value)
    on_the_edge = [skip(SkipReason.PRICE_MOVED)] * 9 + [skip(SkipReason.MARKET_CLOSED)] * 11
    assert key not in found(on_the_edge)
    assert key in found(on_the_edge, known=[key])
    assert key not in found([*on_the_edge, *[skip(SkipReason.MARKET_CLOSED)] * 4], known=[key])
