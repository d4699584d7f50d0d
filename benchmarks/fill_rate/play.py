"""Copies of every print of a stretch of a recording, each in every way, sent all at once into one replay of it."""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from itertools import product
from typing import Final

from benchmarks.fill_rate.copies import Copy
from benchmarks.fill_rate.orders import Assignment, Conditions, Way
from benchmarks.fill_rate.tape import WARM_UP_S, Tape, moment, price_usd
from tests.orders.builders import a_signal, a_strategy, ft_wallet_row
from worker.orders.market import Market
from worker.orders.numbers import plain
from worker.orders.pricing import PAPER_MARKUP, PAPER_PRICE_CAP
from worker.orders.signal import Signal
from worker.orders.strategy import Strategy
from worker.orders.terms import OrderType, TokenId
from worker.sandbox.exchange.orders import Side
from worker.sandbox.exchange.recording import LevelChange, Print, Recording
from worker.sandbox.exchange.units import PRICE_ONE

WAYS: Final = tuple(
    Way(kind, again) for kind in (OrderType.FAK, OrderType.FOK, OrderType.GTC) for again in (False, True)
)
LEADER_PRICES: Final = (Decimal("0.03"), Decimal("0.97"))  # beyond, there is nothing left to copy
_PAPER_PRICE_STEP: Final = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Stake:
    """Dollars of a bet, and the strategy's tolerance in percent."""

    bet_usd: Decimal
    tolerance_pct: Decimal


def prints_to_copy(recording: Recording, *, future_ms: int, makers: bool) -> list[Print]:
    """Purchases that takers made, once the books are whole and with so much of the recording after them.

    `makers`: what takers sold as well, as the purchases of whoever rested there.
    """
    lowest, highest = LEADER_PRICES
    from_ms = recording.start_ms + WARM_UP_S * 1000
    until_ms = recording.rows[-1].ms - future_ms
    return [
        row
        for row in recording.rows
        if isinstance(row, Print)
        and from_ms <= row.ms <= until_ms
        and (makers or row.side is Side.BUY)
        and lowest <= price_usd(row.price) <= highest
    ]


def sampled(prints: Sequence[Print], size: int | None, seed: int) -> list[Print]:
    """So many of them, in their order; None: all."""
    if size is None or size >= len(prints):
        return list(prints)
    chosen = sorted(random.Random(seed).sample(range(len(prints)), size))  # noqa: S311 - a sample of a recording
    return [prints[number] for number in chosen]


class Play:
    """`copies` are complete when `run` is through."""

    def __init__(
        self,
        recording: Recording,
        prints: Sequence[Print],
        *,
        stakes: Sequence[Stake],
        conditions: Conditions,
        fee_rate: Decimal,
        ways: Sequence[Way] = WAYS,
    ) -> None:
        self._tape = Tape(recording, fee_rate=fee_rate)
        self._open: defaultdict[str, list[Copy]] = defaultdict(list)
        self.copies: dict[tuple[Stake, Way], list[Copy]] = {}
        for stake, way in product(stakes, ways):
            strategy = _strategy(stake, way)
            self.copies[stake, way] = [
                Copy(self._assignment(leader, strategy, way), self._tape, conditions, self._watch)
                for leader in prints
            ]

    def run(self) -> Iterator[int]:
        """Replays the recording; yields the seconds of it that are through, each once."""
        began_ms, through_s = self._tape.now_ms, 0
        for row in self._tape.rows():
            if isinstance(row, LevelChange):
                for copy in self._open[row.token]:
                    copy.changed(row)
            else:
                self._tell_sale(row)
            if (row.ms - began_ms) // 1000 > through_s:
                through_s = (row.ms - began_ms) // 1000
                for token, copies in self._open.items():
                    self._open[token] = [copy for copy in copies if not copy.is_over]
                yield through_s

    def _watch(self, copy: Copy) -> None:
        self._open[copy.given.token].append(copy)

    def _tell_sale(self, row: Print) -> None:
        """Whoever buys one outcome sells the other: the two are one book."""
        token, other = self._tape.tokens_beside(row.token)
        if TokenId(row.token) != token:
            token, other = other, token
        sold, price = (token, row.price) if row.side is Side.SELL else (other, PRICE_ONE - row.price)
        for copy in self._open[sold]:
            copy.sold(price, row.shares)

    def _assignment(self, leader: Print, strategy: Strategy, way: Way) -> Assignment:
        market = self._tape.market(leader.token)
        return Assignment(leader, _signal(leader, market), market, strategy, way)


def _strategy(stake: Stake, way: Way) -> Strategy:
    return a_strategy(
        order_type=way.order_type.value,
        slippage_tolerance_pct=plain(stake.tolerance_pct),
        max_order_size_usd=plain(stake.bet_usd),
        ft_wallet=ft_wallet_row(bet_size=plain(stake.bet_usd), max_bet=plain(stake.bet_usd)),
    )


def _signal(leader: Print, market: Market) -> Signal:
    """As the paper side writes it: its price is the leader's with the paper markup (worker/orders/pricing.py)."""
    marked_up = (price_usd(leader.price) * PAPER_MARKUP).quantize(_PAPER_PRICE_STEP, ROUND_HALF_UP)
    label = next(token.outcome for token in market.tokens if token.token_id == TokenId(leader.token))
    at = moment(leader.ms).isoformat()
    return a_signal(
        condition_id=market.condition_id,
        token_label=label,
        entry_price=plain(min(marked_up, PAPER_PRICE_CAP)),
        created_at=at,
        order_time=at,
    )
