"""The base price of a signal and the worst price that its order accepts, both on the market's tick grid.

The paper side writes `entry_price = min(0.9999, round(p · 1.003, 4))` for the trader's price p. `base_price` takes
that markup off once; `limit_price` adds the strategy's tolerance once. "Never worse than the limit" is judged on
the grid: a tolerance of less than one tick is one tick, if one tick is not too dear.
"""

from decimal import Decimal

from worker.orders.numbers import ceil_to, floor_to, plain
from worker.orders.reasons import SkipReason
from worker.orders.skips import Skip
from worker.orders.terms import Side

PAPER_MARKUP = Decimal("1.003")
PAPER_PRICE_CAP = Decimal("0.9999")

_HALF_QUANTUM = Decimal("0.00005")  # entry_price has four decimals; a tie may have been rounded either way
_PERCENT = Decimal(100)


def base_price(entry_price: Decimal, side: Side, tick: Decimal) -> Decimal | Skip:
    """The on-tick price whose paper markup rounds to `entry_price`.

    At most one grid price qualifies, because 1.003 ticks exceed the rounding quantum. If none does - an average over
    several levels, or a grid that has changed since - the price is rounded to the side that makes our cap stricter.
    At the paper cap of 0.9999 nothing can be told about p. Outside [tick, 1 - tick] it is no price of this market.
    """
    if entry_price >= PAPER_PRICE_CAP:
        return Skip(SkipReason.PRICE_OUT_OF_BAND, value=plain(entry_price), limit=f"below {PAPER_PRICE_CAP}")
    unmarked = entry_price / PAPER_MARKUP
    below, above = floor_to(unmarked, tick), ceil_to(unmarked, tick)
    stricter = below if side is Side.BUY else above
    base = next((p for p in (below, above) if abs(p * PAPER_MARKUP - entry_price) <= _HALF_QUANTUM), stricter)
    if not tick <= base <= 1 - tick:
        return Skip(
            SkipReason.PRICE_OUT_OF_BAND, value=plain(unmarked.quantize(PAPER_PRICE_CAP)), limit=_band(tick)
        )
    return base


def limit_price(
    base: Decimal, side: Side, slippage: Decimal, tick: Decimal, min_tick_max_pct: Decimal
) -> Decimal | Skip:
    """BUY: max(⌊base · (1 + slippage)⌋ on tick, base + 1 tick), within [tick, 1 - tick]. SELL is the mirror image.

    The whole tick is granted only while it is at most `min_tick_max_pct` percent of base, else `no_tick_room`. A
    tolerance of exactly 0 asks for no room and gets none; at the edge of the grid there is none to have.
    """
    lowest, highest = tick, 1 - tick
    if side is Side.BUY:
        tolerated, one_tick_worse = floor_to(base * (1 + slippage), tick), base + tick
    else:
        tolerated, one_tick_worse = ceil_to(base * (1 - slippage), tick), base - tick
    if tolerated != base or slippage == 0:
        return min(max(tolerated, lowest), highest)
    if not lowest <= one_tick_worse <= highest:
        return base
    one_tick_pct = tick / base * _PERCENT
    if one_tick_pct > min_tick_max_pct:
        value = f"{plain(one_tick_pct.quantize(Decimal('0.1')))} %"
        return Skip(SkipReason.NO_TICK_ROOM, value=value, limit=f"{plain(min_tick_max_pct)} %")
    return one_tick_worse


def _band(tick: Decimal) -> str:
    return f"{plain(tick)}..{plain(1 - tick)}"
