"""What would have passed in place of the number that failed: the second half of every explanation, pure.

A skip tells its reason, the number and the limit that it met. From these, and from what the decision saw, follows which
number would have been let through, and which setting would have let this one through. A reason without a number is told
by the state that was met, and the one that would have passed.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from worker.orders.advice import advice_for
from worker.orders.numbers import ceil_to, exact_decimal, plain, share_count
from worker.orders.reasons import SkipReason
from worker.orders.states import STATES, State

R = SkipReason

_PERCENT: Final = Decimal(100)
_BPS: Final = Decimal(10_000)
_PCT_STEP: Final = Decimal("0.001")  # of lt_strategies.slippage_tolerance_pct
_QUANTITY: Final = re.compile(r"(-?\d+(?:\.\d+)?)(?: (%|s|USD|shares?|paper shares?))?")


class Sense(StrEnum):
    """How a number has to stand to its limit."""

    AT_MOST = "at most"
    BELOW = "below"
    AT_LEAST = "at least"
    ABOVE = "above"

    @property
    def turned(self) -> "Sense":
        """How the limit has to stand to the number."""
        return _TURNED[self]


_TURNED: Final = MappingProxyType(
    {
        Sense.AT_MOST: Sense.AT_LEAST,
        Sense.AT_LEAST: Sense.AT_MOST,
        Sense.BELOW: Sense.ABOVE,
        Sense.ABOVE: Sense.BELOW,
    }
)


@dataclass(frozen=True, slots=True)
class Passing:
    """`measured`: what it is about. `would_pass`: what would have been let through in place of `number`. `advice`: what
    would have let the signal through as it was. `is_number` False: what failed is a state (`states.py`).
    """

    measured: str
    number: str
    limit: str
    would_pass: str
    advice: str = ""
    is_number: bool = True

    def sentence(self) -> str:
        if not self.is_number:
            return f"{self.measured} was {self.number}; {self.would_pass} would have passed."
        return f"{self.measured}: {self.number} failed, {self.would_pass} would have passed."


@dataclass(frozen=True, slots=True)
class _Bound:
    """A number that is compared with a limit; `lever` is the setting that states the limit."""

    measured: str
    sense: Sense
    lever: str = ""
    unit: str = ""


_COST: Final = "worst-case cost of the order"
MISSING: Final = "missing"
SET_BY_THE_PLATFORM: Final = "set by the platform"  # as lt_breaker_refusal says it

_BOUNDS: Final[Mapping[SkipReason, _Bound]] = MappingProxyType(
    {
        R.SIGNAL_TOO_OLD: _Bound("age of the signal", Sense.AT_MOST, "signal.max_age_s"),
        R.BELOW_MIN_SIZE: _Bound("size of the order", Sense.AT_LEAST),
        R.SELL_NO_POSITION: _Bound("shares to be sold", Sense.AT_MOST, unit="shares"),
        R.POSITION_UNSETTLED: _Bound(
            "shares to be sold, of those that are settled", Sense.AT_MOST, unit="shares"
        ),
        R.NO_TICK_ROOM: _Bound("one tick, of the base price", Sense.AT_MOST, "price.min_tick_max_pct"),
        R.EDGE_TOO_SMALL: _Bound(
            "edge after fees, a share", Sense.AT_LEAST, "price.min_edge_after_fees", "USD"
        ),
        R.PRICE_MOVED: _Bound("best price offered", Sense.AT_LEAST),
        R.ABOVE_MAX_ORDER_SIZE: _Bound(_COST, Sense.AT_MOST, "max_order_size_usd", "USD"),
        R.MAX_POSITION_SIZE: _Bound(
            "worst-case cost of the position", Sense.AT_MOST, "max_position_size_usd", "USD"
        ),
        R.MAX_TOTAL_EXPOSURE: _Bound(
            "worst-case cost of all positions", Sense.AT_MOST, "max_total_exposure_usd", "USD"
        ),
        R.DAILY_BUDGET: _Bound("spent today, this order included", Sense.AT_MOST, "daily_budget_usd", "USD"),
        R.DAILY_LOSS_LIMIT: _Bound("lost today", Sense.BELOW, "max_daily_loss_usd", "USD"),
        R.DRAWDOWN_BREAKER: _Bound(
            "lost of the highest equity", Sense.BELOW, "circuit_breaker_loss_pct", "%"
        ),
        R.BREAKER_ACTIVE: _Bound("lost of the highest equity", Sense.BELOW, unit="%"),
        R.MAX_CONSECUTIVE_LOSSES: _Bound("losses in a row", Sense.BELOW, "max_consecutive_losses"),
        R.MAX_OPEN_POSITIONS: _Bound(
            "open positions, this one included", Sense.AT_MOST, "max_open_positions"
        ),
        R.MAX_ORDERS_PER_MINUTE: _Bound(
            "orders within a minute, this one included", Sense.AT_MOST, "max_orders_per_minute"
        ),
        R.INSUFFICIENT_CAPITAL: _Bound(_COST, Sense.AT_MOST, "the strategy's available capital", "USD"),
        R.WALLET_INSUFFICIENT_BALANCE: _Bound(_COST, Sense.AT_MOST, "the wallet's spendable balance", "USD"),
    }
)

# Numbers that are not compared with one bound: the limit says what passes.
_INSIDE: Final[Mapping[SkipReason, tuple[str, str]]] = MappingProxyType(
    {
        R.BAD_PRICE: ("entry_price", "above 0, below 1"),
        R.BAD_SIZE: ("size", "above 0 USD"),
        R.PRICE_OUT_OF_BAND: ("the trader's price", "a price on the market's grid"),
    }
)


def passing(reason: SkipReason, value: str, limit: str, snapshot: Mapping[str, str]) -> Passing:
    """What would have passed. `value`, `limit` and `snapshot` as they stand in `lt_decisions`; any may be empty."""
    if (special := _SPECIAL.get(reason)) is not None:
        return special(reason, value, limit, snapshot)
    if (bound := _BOUNDS.get(reason)) is not None:
        return _compared(bound, reason, value, limit)
    if (inside := _INSIDE.get(reason)) is not None:
        measured, else_limit = inside
        would_pass = limit.replace("..", " to ") or else_limit
        return Passing(measured, value or MISSING, limit or else_limit, would_pass, advice_for(reason))
    return _stopped(STATES[reason], value, limit, advice_for(reason))


def _stopped(state: State, value: str, limit: str, advice: str) -> Passing:
    return Passing(
        state.thing, state.met_with(value, limit), limit, state.passes_with(limit), advice, is_number=False
    )


def _compared(bound: _Bound, reason: SkipReason, value: str, limit: str) -> Passing:
    number, unit = _quantity(value)
    passes, limit_unit = _quantity(limit)
    unit = bound.unit or unit or limit_unit
    advice = advice_for(reason)
    if number is not None and bound.lever:
        lever = f"{bound.lever} {bound.sense.turned} {_with(number, bound.unit or unit)}"
        advice = f"{lever}. {advice}".strip() if advice else f"{lever}."
    return Passing(
        bound.measured,
        _with(number, unit) if number is not None else value or MISSING,
        _with(passes, unit) if passes is not None else limit,
        f"{bound.sense} {_with(passes, unit) if passes is not None else limit or 'its limit'}",
        advice,
    )


def _held(reason: SkipReason, value: str, limit: str, _: Mapping[str, str]) -> Passing:
    """A sale: of more than there is, or of nothing."""
    told = _compared(_BOUNDS[reason], reason, value, limit)
    if limit and _quantity(limit)[0] is not None and (_quantity(value)[0] or 0) > 0:
        return replace(told, advice="Only what this strategy bought and holds is sold.")
    if limit:
        number = told.number if (_quantity(value)[0] or 0) > 0 else "above 0 shares"
        return replace(
            told,
            measured=f"settled shares to be sold, where {limit}",
            would_pass=f"{number}, and no purchase open",
            advice="It is decided again once the purchase is over.",
        )
    held = "settled shares held" if reason is R.POSITION_UNSETTLED else "shares held"
    return replace(
        told,
        measured=held,
        would_pass="above 0 shares",  # noqa: S106 - no password
        advice="There has to be something to sell.",
    )


def _stale(reason: SkipReason, value: str, limit: str, snapshot: Mapping[str, str]) -> Passing:
    """The offer that was met, against the cap; and the tolerance that would have reached it."""
    best, cap = exact_decimal(value), exact_decimal(limit)
    base, allowed = (exact_decimal(snapshot.get(name)) for name in ("base_price", "slippage"))
    if best is None or cap is None:
        offer = f"an offer at {limit or 'the cap'} or better"
        return Passing("best price offered", value or "none", limit, offer, advice_for(reason))
    buys = best > cap
    sense = Sense.AT_MOST if buys else Sense.AT_LEAST
    advice = advice_for(reason)
    if base and allowed is not None:
        off = abs(best / base - 1)
        needed = ceil_to(off * _PERCENT, _PCT_STEP).normalize()
        advice = (
            f"slippage_tolerance_pct at least {plain(needed)}, was {plain((allowed * _PERCENT).normalize())}: the offer "
            f"was {plain((off * _BPS).quantize(Decimal(1)))} bps from the base price {plain(base)}. {advice}"
        )
    return Passing(
        f"best {'ask' if buys else 'bid'}", plain(best), f"cap {plain(cap)}", f"{sense} {plain(cap)}", advice
    )


def _edge(reason: SkipReason, value: str, limit: str, snapshot: Mapping[str, str]) -> Passing:
    told = _compared(_BOUNDS[reason], reason, value, limit)
    left, least, rate = (exact_decimal(text) for text in (value, limit, snapshot.get("win_rate")))
    if left is None or least is None or rate is None:
        return told
    wanted = f"a trader_win_rate of at least {plain(rate + least - left)}, was {plain(rate)}"
    return replace(told, advice=f"{told.advice.removesuffix('.')}, or {wanted}.")


def _small(reason: SkipReason, value: str, limit: str, snapshot: Mapping[str, str]) -> Passing:
    """Below the exchange's minimum: whoever kept the bet from being raised to it is named."""
    told = _compared(_BOUNDS[reason], reason, value, limit)
    raised, (word, _, kept_at) = (
        snapshot.get("raise_to_usd"),
        snapshot.get("raise_refused", "").partition(" "),
    )
    if not raised:
        return replace(told, advice="A larger bet, or for a sale a larger position.")
    lever = next((bound.lever for no, bound in _BOUNDS.items() if no == word), "the paper wallet's max_bet")
    return replace(
        told,
        advice=f"{lever} at least {raised} USD, was {kept_at}: the exchange's smallest order costs so much.",
    )


def _moved(reason: SkipReason, value: str, limit: str, snapshot: Mapping[str, str]) -> Passing:
    """The paper wallet's guard against a market that has collapsed."""
    told = _compared(_BOUNDS[reason], reason, value, limit)
    best, base = exact_decimal(value), exact_decimal(snapshot.get("base_price"))
    advice = "The guard is the paper wallet's: dead_market_guard"
    if best is not None and base:
        drift = ceil_to((1 - best / base) * _PERCENT, Decimal("0.01")).normalize()
        advice += (
            f", dead_market_floor at most {plain(best)}, dead_market_max_drift_pct at least {plain(drift)}"
        )
    return replace(told, advice=f"{advice}.")


def _breaker(reason: SkipReason, value: str, limit: str, _: Mapping[str, str]) -> Passing:
    """What tripped it is told in words: it may have been won back since, or only the platform knows."""
    told = _compared(_BOUNDS[reason], reason, value, limit)
    if _quantity(value)[0] is not None and _quantity(limit)[0] is not None:
        return told
    advice = (
        told.advice if value != SET_BY_THE_PLATFORM else "The platform has to clear circuit_breaker_active."
    )
    return _stopped(STATES[reason], value, "", advice)


def _unheard(reason: SkipReason, value: str, limit: str, _: Mapping[str, str]) -> Passing:
    """A balance that is not news: its time failed against an age."""
    most = f"a balance seen at most {limit or '60'} s before"
    return Passing("balance last seen", value or "never", f"{limit or '60'} s", most, advice_for(reason))


def _input(reason: SkipReason, value: str, limit: str, _: Mapping[str, str]) -> Passing:
    advice = f"The signal needs its {value or 'input'}: the paper wallet's method {limit} rests on it."
    return _stopped(STATES[reason], value, limit, advice)


def _edgeless(reason: SkipReason, value: str, limit: str, _: Mapping[str, str]) -> Passing:
    told = _stopped(STATES[reason], value, limit, advice_for(reason))
    return replace(told, would_pass=f"a win rate that leaves {limit} USD a share") if limit else told


def _changed(reason: SkipReason, value: str, limit: str, _: Mapping[str, str]) -> Passing:
    """Of all that it was decided on, only what changed."""
    told = _stopped(STATES[reason], value, limit, advice_for(reason))
    now, before = _columns(value), _columns(limit)
    if not now or not before:
        return told
    return replace(
        told,
        number=", ".join(f"{name} {each}" for name, each in now.items()),
        would_pass=", ".join(f"{name} {before.get(name, MISSING)}" for name in now),
    )


def _columns(text: str) -> Mapping[str, object]:
    """Columns and their values, as the claim states them."""
    try:
        told = json.loads(text)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


_SPECIAL: Final[Mapping[SkipReason, Callable[[SkipReason, str, str, Mapping[str, str]], Passing]]] = (
    MappingProxyType(
        {
            R.SELL_NO_POSITION: _held,
            R.POSITION_UNSETTLED: _held,
            R.SIGNAL_STALE: _stale,
            R.EDGE_TOO_SMALL: _edge,
            R.BELOW_MIN_SIZE: _small,
            R.PRICE_MOVED: _moved,
            R.BREAKER_ACTIVE: _breaker,
            R.WALLET_BALANCE_UNKNOWN: _unheard,
            R.INPUT_MISSING: _input,
            R.EDGE_UNKNOWN: _edgeless,
            R.SIGNAL_CHANGED: _changed,
            R.STRATEGY_CHANGED: _changed,
        }
    )
)


def _quantity(text: str) -> tuple[Decimal | None, str]:
    """The number that a text states, and its unit; None for anything else."""
    stated = _QUANTITY.fullmatch(text.strip())
    if stated is None:
        return None, ""
    unit = stated[2] or ""
    return Decimal(stated[1]), f"{unit}s" if unit.endswith("share") else unit


def _with(number: Decimal, unit: str) -> str:
    if unit.endswith("shares"):
        return share_count(number, unit.removesuffix("s"))
    return f"{plain(number)} {unit}".strip()
