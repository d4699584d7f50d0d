"""What would have passed in place of the number that failed: the second half of every explanation, pure.

A skip tells its reason, the number and the limit that it met. From these, and from what the decision saw, follows which
number would have been let through, and which setting would have let this one through. A reason without a number is told
as such, with what would have to change.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from worker.orders.numbers import ceil_to, exact_decimal, plain
from worker.orders.reasons import SkipReason, Stage

R = SkipReason

_PERCENT: Final = Decimal(100)
_BPS: Final = Decimal(10_000)
_PCT_STEP: Final = Decimal("0.001")  # of lt_strategies.slippage_tolerance_pct
_QUANTITY: Final = re.compile(r"(-?\d+(?:\.\d+)?)(?: (%|s|USD|shares|paper shares))?")


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
    """`measured` '': no number is involved. `would_pass`: what would have been let through in place of `number`.
    `advice`: what would have let the signal through as it was.
    """

    measured: str = ""
    number: str = ""
    limit: str = ""
    would_pass: str = ""
    advice: str = ""

    def sentence(self) -> str:
        if not self.measured:
            return "No number is involved."
        return f"{self.measured}: {self.number or 'unknown'} failed, {self.would_pass} would have passed."


@dataclass(frozen=True, slots=True)
class _Bound:
    """A number that is compared with a limit; `lever` is the setting that states the limit."""

    measured: str
    sense: Sense
    lever: str = ""
    unit: str = ""


_COST: Final = "worst-case cost of the order"
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

# What is not compared but has to be one of some, or inside something: the limit says what passes.
_EXPECTED: Final[Mapping[SkipReason, tuple[str, str]]] = MappingProxyType(
    {
        R.UNKNOWN_SIDE: ("side", "BUY or SELL"),
        R.BAD_PRICE: ("entry_price", "above 0, below 1"),
        R.BAD_SIZE: ("size", "above 0 USD"),
        R.PRICE_OUT_OF_BAND: ("the trader's price", "a price on the market's grid"),
        R.FT_NOT_OPEN: ("outcome of the paper order", "OPEN"),
        R.TOKEN_LABEL_MISMATCH: ("token_label", "an outcome of the market"),
        R.WALLET_MISMATCH: ("wallet of the order", "the strategy's own"),
        R.SIGNAL_CHANGED: ("the signal in its table", "what was decided on"),
        R.STRATEGY_CHANGED: ("the settings in their tables", "what was decided by"),
    }
)

_ADVICE: Final[Mapping[SkipReason, str]] = MappingProxyType(
    {
        R.MISSING_WALLET: "The row needs its wallet_id.",
        R.MISSING_MARKET: "The row needs its condition_id.",
        R.MISSING_LABEL: "The row needs its token_label.",
        R.UNKNOWN_SIDE: "The row needs a side that can be traded.",
        R.BAD_PRICE: "The row needs the price that the trader paid, with the paper markup.",
        R.BAD_SIZE: "The row needs the dollars of the paper trade.",
        R.BAD_TIME: "The row needs created_at and order_time.",
        R.FT_NOT_OPEN: "Only what the paper side still holds open is traded.",
        R.STRATEGY_INVALID: "Mend the setting of the strategy that is named; `polycopy-worker check` shows it.",
        R.UNKNOWN_WALLET: "Point the strategy's ft_wallet_id at a row of ft_wallets.",
        R.KILL_SWITCH: "`polycopy-worker arm` for the scope that was killed; signals of before stay skipped.",
        R.STRATEGY_PAUSED: "`polycopy-worker resume` for the scope that was paused; signals of before stay skipped.",
        R.STRATEGY_INACTIVE: "Activate the strategy (is_active = true).",
        R.SHADOW_MODE: "Take shadow_mode from the strategy: what is inserted from then on is traded.",
        R.BREAKER_ACTIVE: "`polycopy-worker arm --strategy ID`, once you have seen what was lost.",
        R.SIGNAL_STALE: "A fresh signal (`signal.fresh_for_s`) is sent without a look at the book.",
        R.EDGE_UNKNOWN: 'The signal needs its trader_win_rate, or set price.unknown_edge = "trade".',
        R.MARKET_NOT_FOUND: "The exchange has to list the market while the signal is fresh.",
        R.MARKET_CLOSED: "Nothing: a closed market takes no orders.",
        R.MARKET_NOT_READY: "The exchange has to accept orders while the signal is fresh.",
        R.TOKEN_LABEL_MISMATCH: "The signal's token_label has to be one of the market's outcomes.",
        R.PRICE_OUT_OF_BAND: "The row's entry_price has to be one that the market can have.",
        R.MAX_CONSECUTIVE_LOSSES: "`polycopy-worker arm --strategy ID --forget-losses` counts anew.",
        R.DRAWDOWN_BREAKER: "`polycopy-worker arm --strategy ID` counts from what is left.",
        R.WALLET_NOT_CONFIGURED: "Add a [[wallets]] block with the strategy's wallet and its key.",
        R.WALLET_MISMATCH: "It is decided for the strategy's own wallet the next time.",
        R.WALLET_BALANCE_UNKNOWN: "The exchange has to tell the wallet's balance again; see the worker's log.",
        R.ALREADY_EXECUTED: "Nothing: it is executed once.",
        R.DUPLICATE_SIGNAL: "Nothing: the trade was executed under its other id.",
        R.SIGNAL_CHANGED: "It is decided anew on what the table says.",
        R.STRATEGY_CHANGED: "It is decided anew by the settings of now.",
        R.LEASE_LOST: "The worker that holds the wallet decides it.",
        R.CREDENTIALS_REFUSED: "Mend the wallet's key or its allowance, then start the worker anew.",
        R.GEOBLOCKED: "Run the worker where the exchange allows trading.",
    }
)
_DOOR: Final = "The exchange has to open before the signal expires; it is asked again by itself."


def passing(reason: SkipReason, value: str, limit: str, snapshot: Mapping[str, str]) -> Passing:
    """What would have passed. `value`, `limit` and `snapshot` as they stand in `lt_decisions`; any may be empty."""
    if (special := _SPECIAL.get(reason)) is not None:
        return special(reason, value, limit, snapshot)
    if (bound := _BOUNDS.get(reason)) is not None:
        return _compared(bound, reason, value, limit)
    if (expected := _EXPECTED.get(reason)) is not None:
        measured, else_limit = expected
        would_pass = limit.replace("..", " to ") or else_limit
        return Passing(measured, value, limit or else_limit, would_pass, _advice(reason))
    return Passing("", value, limit, "", _advice(reason))


def _advice(reason: SkipReason) -> str:
    return _ADVICE.get(reason, _DOOR if reason.stage is Stage.VENUE else "")


def _compared(bound: _Bound, reason: SkipReason, value: str, limit: str) -> Passing:
    number, unit = _quantity(value)
    passes, limit_unit = _quantity(limit)
    unit = bound.unit or unit or limit_unit
    advice = _advice(reason)
    if number is not None and bound.lever:
        lever = f"{bound.lever} {bound.sense.turned} {_with(number, bound.unit or unit)}"
        advice = f"{lever}. {advice}".strip() if advice else f"{lever}."
    return Passing(
        bound.measured,
        _with(number, unit) if number is not None else value,
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
        return replace(
            told,
            measured="shares to be sold",
            would_pass="the same once no purchase is open",  # noqa: S106 - no password
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
        return Passing("best price offered", value, limit, f"an offer at {limit} or better", _advice(reason))
    buys = best > cap
    sense = Sense.AT_MOST if buys else Sense.AT_LEAST
    advice = _advice(reason)
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
    armed = "a breaker that has not tripped"
    return replace(
        told, measured="circuit breaker", number=value or "tripped", would_pass=armed, advice=advice
    )


def _unheard(reason: SkipReason, value: str, limit: str, _: Mapping[str, str]) -> Passing:
    """A balance that is not news: its time failed against an age."""
    most = f"a balance seen at most {limit or '60'} s before"
    return Passing("balance last seen", value or "never", f"{limit or '60'} s", most, _advice(reason))


def _input(_: SkipReason, value: str, limit: str, __: Mapping[str, str]) -> Passing:
    advice = f"The signal needs its {value or 'input'}: the paper wallet's method {limit} rests on it."
    return Passing("", value, limit, "", advice)


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
        }
    )
)


def _quantity(text: str) -> tuple[Decimal | None, str]:
    """The number that a text states, and its unit; None for anything else."""
    stated = _QUANTITY.fullmatch(text.strip())
    return (Decimal(stated[1]), stated[2] or "") if stated else (None, "")


def _with(number: Decimal, unit: str) -> str:
    return f"{plain(number)} {unit}".strip()
