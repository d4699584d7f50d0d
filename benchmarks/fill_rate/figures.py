"""What came of the copies of one cell of the table: how much of the bets was filled, at what cost, and what it was worth.

Dollars weigh: every copy of a cell has the same bet, so the filled share of the dollars is the mean of the filled
fractions, as `fill_rate_usd` of `audit` has it. Slippage is against the leader's price, a mark-out is the mid so long
after a fill against its price; both in basis points, both weighted by the dollars of the fills.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from benchmarks.fill_rate.copies import MARKED_AFTER_S, Copy
from benchmarks.fill_rate.orders import Bought, Way
from benchmarks.fill_rate.play import Stake
from benchmarks.fill_rate.tape import price_usd
from worker.orders.numbers import plain
from worker.orders.terms import OrderType

LEGEND: Final = """\
columns:
  bet, tol.      dollars of each copy; percent that its price may be above the leader's
  order          the order's type; re-taken, repriced: tried again by the worker's own rules
  any %, full %  percent of the signals: filled at all, filled but for dust
  dollars %      percent of the dollars that were bet: filled
  ±              percentage points: half of a 95 % interval of dollars %, over blocks of half a minute of a token
  slippage       basis points (0.01 %) of the leader's price: so much dearer was what was filled; below 0: cheaper
  fee            basis points of the filled dollars: paid to the exchange
  1 min, 5 min   mark-out, basis points of the fill's price: the middle of the book so long after it; below 0 it was too dear
  later          the 1 min of what was not filled when the order came, but by trying again or by waiting
  marked         percent of the filled dollars: those whose five minutes are recorded
  attempts       orders sent for all the signals together
An empty cell: there is nothing to take the mean of."""
_BPS: Final = 10_000
_PERCENT: Final = 100
_BLOCK_MS: Final = 30_000
_NORMAL_95: Final = 1.96


@dataclass(frozen=True, slots=True)
class Cell:
    """Percentages and basis points, rounded; None: there is nothing to take the mean of."""

    order_type: str
    again: bool
    bet_usd: str
    tolerance_pct: str
    signals: int
    skipped: int  # that the worker would not have ordered at all
    attempts: int
    any_pct: float  # of the signals: filled at all
    full_pct: float  # of the signals: but for dust
    dollars_pct: float  # of the bets
    within_pct: float | None  # 95 % of it: see `_within`
    slippage_bps: float | None
    fee_bps: float | None
    mark_out_1m_bps: float | None
    mark_out_5m_bps: float | None
    later_1m_bps: float | None  # of what was not filled at once
    later_marked: int  # that many fills
    marked_5m_pct: float | None  # of the filled dollars: those whose five minutes are recorded

    @property
    def order(self) -> str:
        further = ", repriced" if OrderType(self.order_type).rests else ", re-taken"
        return self.order_type + (further if self.again else "")


def cell_of(stake: Stake, way: Way, copies: Sequence[Copy]) -> Cell:
    fills = [(copy, fill) for copy in copies for fill in copy.fills]
    one_minute, five_minutes = MARKED_AFTER_S
    later = [fill for _, fill in fills if fill.is_later and one_minute in fill.mids]
    marked = [fill for _, fill in fills if five_minutes in fill.mids]
    return Cell(
        order_type=way.order_type.value,
        again=way.again,
        bet_usd=plain(stake.bet_usd),
        tolerance_pct=plain(stake.tolerance_pct),
        signals=len(copies),
        skipped=sum(copy.skipped is not None for copy in copies),
        attempts=sum(copy.attempts for copy in copies),
        any_pct=_pct(sum(bool(copy.fills) for copy in copies), len(copies)),
        full_pct=_pct(sum(copy.is_complete for copy in copies), len(copies)),
        dollars_pct=_pct(sum(map(filled_fraction, copies), Decimal(0)), len(copies)),
        within_pct=_within(copies),
        slippage_bps=_mean(
            (fill, fill.price / price_usd(copy.given.leader.price) - 1) for copy, fill in fills
        ),
        fee_bps=_mean((fill, fill.fee_usd / fill.usd) for _, fill in fills),
        mark_out_1m_bps=_mark_out((fill for _, fill in fills), one_minute),
        mark_out_5m_bps=_mark_out((fill for _, fill in fills), five_minutes),
        later_1m_bps=_mark_out(later, one_minute),
        later_marked=len(later),
        marked_5m_pct=_pct(_usd(marked), _usd(fill for _, fill in fills)) if fills else None,
    )


def filled_fraction(copy: Copy) -> Decimal:
    """Of the order's target, and so of its bet; whole when no more than dust is left, nothing for a skip."""
    if copy.is_complete:
        return Decimal(1)
    return copy.filled / copy.target if copy.target else Decimal(0)


def table(cells: Iterable[Cell]) -> str:
    columns: tuple[tuple[str, Callable[[Cell], str]], ...] = (
        ("bet", lambda cell: f"${cell.bet_usd}"),
        ("tol.", lambda cell: f"{cell.tolerance_pct} %"),
        ("order", lambda cell: cell.order),
        ("any %", lambda cell: f"{cell.any_pct:.1f}"),
        ("full %", lambda cell: f"{cell.full_pct:.1f}"),
        ("dollars %", lambda cell: f"{cell.dollars_pct:.1f}"),
        ("±", lambda cell: "" if cell.within_pct is None else f"{cell.within_pct:.1f}"),
        ("slippage", lambda cell: _bps(cell.slippage_bps)),
        ("fee", lambda cell: _bps(cell.fee_bps)),
        ("1 min", lambda cell: _bps(cell.mark_out_1m_bps)),
        ("5 min", lambda cell: _bps(cell.mark_out_5m_bps)),
        ("later", lambda cell: _bps(cell.later_1m_bps)),
        ("marked", lambda cell: "" if cell.marked_5m_pct is None else f"{cell.marked_5m_pct:.0f} %"),
        ("attempts", lambda cell: str(cell.attempts)),
    )
    rows = [[heading for heading, _ in columns], *([read(cell) for _, read in columns] for cell in cells)]
    widths = [max(len(row[number]) for row in rows) for number in range(len(columns))]
    rows.insert(1, ["-" * width for width in widths])
    lines = (" | ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(f"| {line} |" for line in lines)


def _within(copies: Sequence[Copy]) -> float | None:
    """Half of a 95 % interval about the filled share of the dollars; None for a single block.

    Prints come in bursts that meet one and the same book, so what counts is how much the blocks of half a minute of a
    token differ: the jackknife that leaves out each of them in turn.
    """
    blocks: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
    for copy in copies:
        leader = copy.given.leader
        blocks[leader.token, leader.ms // _BLOCK_MS].append(float(filled_fraction(copy)))
    if len(blocks) < 2:
        return None
    total = sum(map(sum, blocks.values()))
    without = [(total - sum(block)) / (len(copies) - len(block)) for block in blocks.values()]
    mean = statistics.fmean(without)
    variance = (len(without) - 1) / len(without) * sum((one - mean) ** 2 for one in without)
    return round(_NORMAL_95 * math.sqrt(variance) * _PERCENT, 1)


def _mark_out(fills: Iterable[Bought], after_s: int) -> float | None:
    return _mean((fill, fill.mids[after_s] / fill.price - 1) for fill in fills if after_s in fill.mids)


def _mean(weighed: Iterable[tuple[Bought, Decimal]]) -> float | None:
    """In basis points, each fraction weighted by the dollars of its fill."""
    total = weight_usd = Decimal(0)
    for fill, fraction in weighed:
        total += fill.usd * fraction
        weight_usd += fill.usd
    return round(float(total / weight_usd * _BPS), 1) if weight_usd else None


def _usd(fills: Iterable[Bought]) -> Decimal:
    return sum((fill.usd for fill in fills), Decimal(0))


def _pct(part: Decimal | int, whole: Decimal | int) -> float:
    return round(float(part / whole * _PERCENT), 1) if whole else 0.0


def _bps(value: float | None) -> str:
    return "" if value is None else f"{value:+.0f}"
