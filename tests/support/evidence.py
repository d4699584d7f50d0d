"""Everything that may be heard of one order: drawn as a history of the exchange, told in any order, judged at the end.

The history is what happened; the evidence is what answers, look-ups and the user stream say of it, each piece as the
worker would hear it. `OrderNews` hears the pieces that decide and any of the others, in whatever order hypothesis
likes, some twice, and in the end whatever was not told yet: then attempt and fills must be what the history came to.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.desk import TOKEN
from worker.orders.findings import Finding, absent, found, told
from worker.orders.lifecycle import ALIVE, FILL_TRANSITIONS, AttemptState, FillState, adopted, transition
from worker.orders.outcomes import classify
from worker.orders.ports import Answer, Attempt, Envelope, Fill, OrderView
from worker.orders.terms import (
    ExchangeVersion,
    LtOrderId,
    Mode,
    OrderId,
    OrderType,
    Side,
    StrategyId,
    TokenId,
    TradeId,
    WalletAddress,
)

A = AttemptState
F = FillState
START = datetime(2026, 6, 1, tzinfo=UTC)
WANTED_SHARES = Decimal(10)

NO_ANSWER = Answer(None)
DUPLICATED = Answer(400, error="order 0x1 is invalid. Duplicated.")
KILLED = Answer(400, error="no orders found to match with FAK order.")
REFUSED = Answer(400, error="not enough balance / allowance")
RESTARTING = Answer(425, error="service not ready")


@dataclass(frozen=True)
class Moment:
    """What the exchange says of the order at one time; `traded`: how many of its trades have happened."""

    status: str
    traded: int = 0


@dataclass(frozen=True)
class History:
    order_type: OrderType
    answer: Answer  # the true one, to the first POST
    moments: tuple[Moment, ...]  # empty: the exchange never took it
    trades: tuple[Decimal, ...]  # shares
    fates: tuple[FillState, ...]  # what each trade comes to
    end: AttemptState


def _accepted(status: str) -> Answer:
    return Answer(200, status=status, order_id=OrderId("0x1"))


@st.composite
def histories(draw: st.DrawFn) -> History:
    part, two = (Decimal(4),), (Decimal(4), Decimal(6))
    trades = draw(st.sampled_from([(), part, part, two, two, (WANTED_SHARES,)]))
    fates = tuple(draw(st.sampled_from([F.FINAL, F.FINAL, F.REVERSED])) for _ in trades)
    whole = sum(trades) == WANTED_SHARES
    count = len(trades)

    def history(order_type: OrderType, answer: Answer, end: AttemptState, *moments: Moment) -> History:
        return History(order_type, answer, moments, trades, fates, end)

    if draw(st.booleans()):  # it rests: met by one after the other, and perhaps called off
        growing = [Moment("LIVE", seen) for seen in range(1 if count > 1 else 0, count + (not whole))]
        first = draw(
            st.sampled_from(["live", "matched", "matched"] if count else ["live", "delayed", "unmatched"])
        )
        if first in {"delayed", "unmatched"}:
            growing.insert(0, Moment(first.upper()))
        ends: list[tuple[AttemptState, tuple[Moment, ...]]]
        if whole:
            ends = [(A.MATCHED, (Moment("MATCHED", count),))]
        else:
            ends = [(A.LIVE, ()), (A.CANCELLED, (Moment("CANCELED", count),))]
        end, closing = draw(st.sampled_from(ends))
        return history(OrderType.GTC, _accepted(first), end, *growing, *closing)
    if trades:
        held = draw(st.sampled_from([(), (Moment("DELAYED"),), (Moment("DELAYED"), Moment("UNMATCHED"))]))
        last = draw(st.sampled_from(["MATCHED", "CANCELED"]))  # the rest of it is killed: either word
        answer = _accepted("delayed" if held else "matched")
        return history(OrderType.FAK, answer, A.MATCHED, *held, Moment(last, count))
    return draw(
        st.sampled_from(
            [
                history(OrderType.FAK, _accepted("unmatched"), A.CANCELLED, Moment("CANCELED")),
                history(
                    OrderType.FAK, _accepted("delayed"), A.CANCELLED, Moment("DELAYED"), Moment("CANCELED")
                ),
                history(OrderType.FAK, _accepted("live"), A.LIVE, Moment("LIVE")),
                history(OrderType.FAK, KILLED, A.KILLED),
                history(OrderType.FAK, REFUSED, A.REJECTED),
                history(OrderType.FAK, NO_ANSWER, A.UNKNOWN),
            ]
        )
    )


@dataclass(frozen=True)
class Piece:
    """One thing that is heard. `tell` makes the next attempt of the last.

    `decides`: it is heard sooner or later. Everything else may get lost, and mostly does.
    """

    name: str
    tell: Callable[["OrderNews"], None] = field(compare=False, repr=False)
    decides: bool = False


def fill_of(history: History, number: int, state: FillState) -> Fill:
    return Fill(
        trade_id=TradeId(f"trade-{number}"),
        order_id=OrderId("0x1"),
        role="TAKER",
        side=Side.BUY,
        token_id=TokenId(TOKEN),
        price=Decimal("0.5"),
        shares=history.trades[number],
        fee_usd=Decimal(0),
        state=state,
        matched_at=START,
    )


def _looked_up(view: OrderView) -> Callable[["OrderNews"], None]:
    return lambda news: news.looked_up(view)


def _streamed(fill: Fill) -> Callable[["OrderNews"], None]:
    return lambda news: news.streamed(fill)


def pieces_of(history: History) -> list[Piece]:
    """All evidence there is, in the order of time."""
    said = history.answer.status or history.answer.error
    # A process may die with the answer; only where the exchange has nothing to look up must it be heard.
    pieces = [Piece(f"answer: {said}", lambda news: news.answered(), decides=not history.moments)]
    for moment in history.moments:
        seen = range(moment.traded)
        matched = sum((history.trades[number] for number in seen), Decimal(0))
        order = OrderView(OrderId("0x1"), found=True, status=moment.status, size_matched=matched)
        young = tuple(fill_of(history, number, F.PROVISIONAL) for number in seen)
        settled = tuple(fill_of(history, number, history.fates[number]) for number in seen)
        views = [
            ("stream: the order", order),  # its event tells what a look-up of the order alone would
            ("look-up: order, its trades not listed yet", order),
            ("look-up: order and trades", replace(order, fills=young)),
            ("look-up: order and settled trades", replace(order, fills=settled)),
        ]
        pieces += [Piece(f"{name}, {moment}", _looked_up(view)) for name, view in views[:-1]]
        name, view = views[-1]
        at_last = moment == history.moments[-1]
        pieces.append(Piece(f"{name}, {moment}", _looked_up(view), decides=at_last))
    last = len(history.trades)
    unlisted = OrderView(OrderId("0x1"), found=False)
    if history.moments:
        all_settled = tuple(fill_of(history, number, history.fates[number]) for number in range(last))
        trades_alone = replace(unlisted, fills=all_settled)
        pieces.append(Piece("look-up: trades alone", lambda news: news.looked_up(trades_alone)))
        # Not listed all at once, but long before any of them is settled: they were made in one match.
        first = replace(
            unlisted, fills=tuple(fill_of(history, number, F.PROVISIONAL) for number in range(last)[:1])
        )
        pieces.append(
            Piece("look-up: the first trade alone", lambda news: news.looked_up(first), decides=last > 1)
        )
    for number in range(last):
        for state in (
            F.PROVISIONAL,
            F.PROVISIONAL,
            history.fates[number],
        ):  # MATCHED, MINED, CONFIRMED or FAILED
            fill = fill_of(history, number, state)
            pieces.append(Piece(f"stream: trade {number} {state}", _streamed(fill)))
    pieces.append(Piece("look-up: not found", lambda news: news.looked_up(unlisted)))
    return pieces


class OrderNews(RuleBasedStateMachine):
    """One attempt, told everything in any order. The worker's own functions say what it becomes."""

    @initialize(history=histories(), data=st.data())
    def begin(self, history: History, data: st.DataObject) -> None:
        self.history = history
        answer, *others = pieces_of(history)
        heard = {answer.name} if data.draw(st.booleans(), label="the answer arrives") else set()
        most = data.draw(st.sampled_from([0, 2, len(others)]), label="at most so much besides")
        names = st.sets(st.sampled_from([piece.name for piece in others]), max_size=most)
        heard |= data.draw(names, label="heard beside what decides")
        self.pieces = [piece for piece in pieces_of(history) if piece.decides or piece.name in heard]
        self.untold = data.draw(st.permutations(self.pieces), label="told in this order")
        self.fills: dict[TradeId, Fill] = {}
        self.was_lost = False
        self.failed = False
        self.attempt = Attempt(
            envelope=Envelope(
                order_id=OrderId("0x1"),
                wallet=WalletAddress("0x2"),
                token_id=TokenId(TOKEN),
                side=Side.BUY,
                order_type=history.order_type,
                exchange_version=ExchangeVersion.STANDARD,
                body="{}",
            ),
            mode=Mode.LIVE,
            strategy_id=StrategyId("LT_ONE"),
            lt_order_id=LtOrderId("lt"),
            state=A.SUBMITTING,
            created_at=START,
            lookups=0,
            closed=False,
            stated_shares=None,
            filled_shares=Decimal(0),
            final_shares=Decimal(0),
            shares=WANTED_SHARES if history.order_type.rests else None,
        )
        if data.draw(st.booleans(), label="given up before anything but its answer was heard"):
            for piece in [piece for piece in self.untold if piece.name.startswith("answer")]:
                self.untold.remove(piece)
                piece.tell(self)
            self.give_up()

    # --- what is heard

    @precondition(lambda self: self.untold)
    @rule()
    def hear(self) -> None:
        self.untold.pop(0).tell(self)

    @rule(data=st.data())
    def hear_again(self, data: st.DataObject) -> None:
        heard = [piece for piece in self.pieces if piece not in self.untold]
        if heard:
            data.draw(st.sampled_from(heard), label="heard again").tell(self)

    @rule(answer=st.sampled_from([NO_ANSWER, DUPLICATED, KILLED, REFUSED, RESTARTING]))
    def send_again(self, answer: Answer) -> None:
        """Whatever the exchange says to the same body, it says nothing about the first."""
        self.record_answer(answer, first_send=False)

    @precondition(lambda self: not self.fills and not self.answer_is_due())
    @rule()
    def give_up(self) -> None:
        """The exchange has said "not found" often enough, and for long enough, for two steps of the rule."""
        for _ in range(2):
            view = OrderView(OrderId("0x1"), found=False)
            self.record(absent(self.attempt, view, by_rule=True), (), by_rule=True)
        self.was_lost = self.was_lost or self.attempt.state is A.LOST
        # It is watched for another day: whatever the exchange knows is looked up once more.
        self.untold += [piece for piece in self.pieces if piece.name.startswith("look-up: order and settled")]

    def answer_is_due(self) -> bool:
        """No answer takes as long as the rule."""
        return any(piece.name.startswith("answer") for piece in self.untold)

    def answered(self) -> None:
        self.record_answer(self.history.answer, first_send=True)

    def looked_up(self, view: OrderView) -> None:
        finding = found(self.attempt, view) if view.found else absent(self.attempt, view, by_rule=False)
        self.record(finding, view.fills)
        if finding.call_off:
            self.call_off()

    def streamed(self, fill: Fill) -> None:
        """An event tells of one trade and never that there are no others."""
        view = OrderView(OrderId("0x1"), found=False, fills=(fill,))
        lost = self.attempt.state is A.LOST  # and watched until a look-up says that it knows all of it
        state = A.LOST if lost else found(self.attempt, view).state
        self.record(Finding(state), (fill,))

    def call_off(self) -> None:
        """What stands on the book and must not is cancelled: the history goes on, and so does what is said of it."""
        history = self.history
        if history.end is not A.LIVE:
            return  # old news: the exchange refuses to cancel what is over
        before = pieces_of(history)
        last = Moment("CANCELED", history.moments[-1].traded)
        traded = last.traded > 0 and not history.order_type.rests
        self.history = replace(
            history, moments=(*history.moments, last), end=A.MATCHED if traded else A.CANCELLED
        )
        new = [piece for piece in pieces_of(self.history) if piece.name not in {old.name for old in before}]
        self.pieces += new
        self.untold += new

    # --- what is written down

    def record_answer(self, answer: Answer, *, first_send: bool) -> None:
        outcome = classify(answer, first_send=first_send)
        state = adopted(self.attempt.state, told(outcome, self.history.order_type))
        self.record(Finding(state), ())

    def record(self, finding: Finding, fills: Sequence[Fill], *, by_rule: bool = False) -> None:
        """As the ledger does: a step that is not in the table raises, a trade only moves forward."""
        del by_rule
        self.failed = True  # until it is known otherwise: what is told after a failure would hide how it came
        was = self.attempt.state
        state = transition(was, finding.state)
        assert was in ALIVE or state not in ALIVE, f"{was} came to life again as {state}"
        assert was is not A.LOST or state is A.LOST or finding.closed, "nobody watches it any more"
        for fill in fills:
            kept = self.fills.get(fill.trade_id)
            if kept is None or fill.state in FILL_TRANSITIONS[kept.state]:
                self.fills[fill.trade_id] = fill
        assert not finding.closed or len(self.fills) == len(self.history.trades), (
            "closed before its last trade"
        )
        self.attempt = replace(
            self.attempt,
            state=state,
            closed=self.attempt.closed or finding.closed or state in {A.KILLED, A.REJECTED, A.LOST},
            filled_shares=self.filled_shares(),
        )
        self.failed = False

    def filled_shares(self) -> Decimal:
        standing = [fill.shares for fill in self.fills.values() if fill.state is not F.REVERSED]
        return sum(standing, Decimal(0))

    # --- what must hold

    @invariant()
    def nothing_is_made_up(self) -> None:
        if hasattr(self, "attempt"):
            assert self.filled_shares() <= sum(self.history.trades, Decimal(0))

    def teardown(self) -> None:
        if not hasattr(self, "attempt") or self.failed:
            return
        while self.untold:
            self.untold.pop(0).tell(self)
        self.judge()

    def judge(self) -> None:
        history = self.history
        state = self.attempt.state
        if self.was_lost and history.end in {A.UNKNOWN, A.KILLED, A.REJECTED}:
            assert state is A.LOST
        else:
            assert state is history.end, f"Expected {history.end}, was {state}"
        standing = [
            shares for shares, fate in zip(history.trades, history.fates, strict=True) if fate is F.FINAL
        ]
        assert self.filled_shares() == sum(standing, Decimal(0))
        assert self.attempt.closed == (state not in ALIVE)
        assert all(fill.state is not F.PROVISIONAL for fill in self.fills.values())
