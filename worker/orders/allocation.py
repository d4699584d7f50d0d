"""The paper side's eight ways to weigh a signal, each the formula of domain.md 2.4, in one place for both sides.

A method answers in dollars, before any bound: below zero where a formula goes there, since the wallet's `min_bet`
comes after it. A method that is nothing but the edge skips a signal whose edge is unknown; nothing falls through to
another method.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import assert_never

from worker.orders.evidence import Evidence, Input
from worker.orders.pricing import PAPER_MARKUP
from worker.orders.reasons import SkipReason
from worker.orders.skips import Skip
from worker.orders.strategy import AllocationMethod, FtWallet

INPUTS: Mapping[AllocationMethod, frozenset[Input]] = {
    AllocationMethod.FIXED: frozenset(),
    AllocationMethod.KELLY: frozenset({Input.WIN_RATE}),
    AllocationMethod.EDGE_SCALED: frozenset({Input.WIN_RATE}),
    AllocationMethod.TIERED: frozenset({Input.WIN_RATE}),
    AllocationMethod.CONFIDENCE: frozenset({Input.WIN_RATE, Input.CONVICTION}),
    AllocationMethod.CONVICTION: frozenset({Input.CONVICTION}),
    AllocationMethod.ML_SCALED: frozenset({Input.SCORE}),
    AllocationMethod.WHALE: frozenset(Input),
}
"""What each method looks at."""

NEEDS_EDGE = frozenset({AllocationMethod.KELLY, AllocationMethod.EDGE_SCALED, AllocationMethod.TIERED})
"""Methods that have no other basis: an assumed edge would be the bet itself."""

_ZERO, _HALF = Decimal(0), Decimal("0.5")

_KELLY_PRICE_END = Decimal("0.99")  # from here on the odds leave nothing to weigh
_EDGE_MULTIPLE = Decimal(5)
_TIERS = (
    (Decimal("0.15"), Decimal("2.0")),
    (Decimal("0.10"), Decimal("1.5")),
    (Decimal("0.05"), Decimal("1.0")),
)
_BELOW_TIERS = Decimal("0.5")
_CONVICTION_LEAST, _CONVICTION_MOST = Decimal("0.5"), Decimal("3.0")
_SCORE_LEAST, _SCORE_MOST = Decimal("0.5"), Decimal("2.0")
# What counts as a full mark: an edge of 20 points, 2.5 above half an average trade, a win rate of 80 %.
_FULL_EDGE = Decimal("0.20")
_FULL_CONVICTION = Decimal("2.5")
_FULL_SKILL = Decimal("0.30")
_FULL_SCORE = _HALF


def stake_usd(wallet: FtWallet, evidence: Evidence, bankroll_usd: Decimal) -> Decimal | Skip:
    """What the wallet's method would stake, unrounded and unbounded. `bankroll_usd` matters to KELLY alone."""
    method = wallet.allocation_method
    if method in NEEDS_EDGE and not evidence.edge_known:
        return Skip(SkipReason.INPUT_MISSING, value=Input.WIN_RATE, limit=method)
    base = wallet.bet_size_usd * wallet.allocation_weight
    match method:
        case AllocationMethod.FIXED:
            stake = base
        case AllocationMethod.KELLY:
            stake = _kelly(wallet, evidence, bankroll_usd)
        case AllocationMethod.EDGE_SCALED:
            stake = base * (1 + _EDGE_MULTIPLE * evidence.edge)
        case AllocationMethod.TIERED:
            stake = base * next((times for edge, times in _TIERS if evidence.edge >= edge), _BELOW_TIERS)
        case AllocationMethod.CONFIDENCE:
            stake = base * _confidence(evidence)
        case AllocationMethod.CONVICTION:
            stake = base * _clamp(evidence.conviction, _CONVICTION_LEAST, _CONVICTION_MOST)
        case AllocationMethod.ML_SCALED:
            stake = base * _clamp(_HALF + (evidence.score - _HALF), _SCORE_LEAST, _SCORE_MOST)
        case AllocationMethod.WHALE:
            stake = base * _whale(evidence)
        case _:
            assert_never(method)
    return stake


# Every formula multiplies before it divides: a tie of half a cent stays one and is rounded as on the paper side.


def _kelly(wallet: FtWallet, evidence: Evidence, bankroll_usd: Decimal) -> Decimal:
    """Bankroll · edge / (1 - p) · fraction, with p = entry / 1.003 for the odds: the trader's own price."""
    if evidence.entry_price >= _KELLY_PRICE_END * PAPER_MARKUP:
        return wallet.min_bet_usd
    risked = bankroll_usd * evidence.edge * wallet.kelly_fraction
    return risked * PAPER_MARKUP / (PAPER_MARKUP - evidence.entry_price)


def _confidence(evidence: Evidence) -> Decimal:
    """0.5 + 1.5 · (0.4 edge + 0.3 conviction + 0.3 skill), each mark at most 1 and free to be negative."""
    marks = (
        _mark(Decimal("0.4"), evidence.edge, _FULL_EDGE)
        + _mark(Decimal("0.3"), evidence.conviction - _HALF, _FULL_CONVICTION)
        + _mark(Decimal("0.3"), evidence.win_rate - _HALF, _FULL_SKILL)
    )
    return _HALF + Decimal("1.5") * marks


def _whale(evidence: Evidence) -> Decimal:
    """0.5 + 0.35 score + 0.30 conviction + 0.25 skill, each mark within 0..1, + 0.10 edge, at most 1."""
    return (
        _HALF
        + max(_mark(Decimal("0.35"), evidence.score - _HALF, _FULL_SCORE), _ZERO)
        + max(_mark(Decimal("0.30"), evidence.conviction - _HALF, _FULL_CONVICTION), _ZERO)
        + max(_mark(Decimal("0.25"), evidence.win_rate - _HALF, _FULL_SKILL), _ZERO)
        + _mark(Decimal("0.10"), evidence.edge, _FULL_EDGE)
    )


def _mark(weight: Decimal, amount: Decimal, full: Decimal) -> Decimal:
    """The weight's share that the amount has earned, all of it from `full` on."""
    return min(weight * amount / full, weight)


def _clamp(number: Decimal, least: Decimal, most: Decimal) -> Decimal:
    return min(max(number, least), most)
