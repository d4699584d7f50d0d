"""What a signal says for its bet: the trader's win rate, the edge over the price paid, the conviction, the model's score.

A number that the signal lacks is derived if another one states it; else its neutral value stands in and is named in
`assumed`. A neutral value is never 0 by accident: `docs/decisions/0009-missing-inputs.md` says why each is what it is.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from worker.orders.signal import Signal


class Input(StrEnum):
    """The columns of `ft_orders` that a bet may rest on."""

    WIN_RATE = "trader_win_rate"
    CONVICTION = "conviction"
    SCORE = "model_probability"


NEUTRAL_WIN_RATE = Decimal("0.5")  # a coin: no skill is claimed
NEUTRAL_EDGE = Decimal(0)  # with an unknown win rate no edge is claimed either
NEUTRAL_CONVICTION = Decimal(1)  # the trader's average trade
NEUTRAL_SCORE = Decimal("0.55")  # the paper side's own default


@dataclass(frozen=True, slots=True)
class Evidence:
    """Fractions of 1, but `conviction`: how many of the trader's average trades this one is worth."""

    entry_price: Decimal  # with the paper markup: what the edge is measured against
    win_rate: Decimal
    edge: Decimal
    conviction: Decimal
    score: Decimal
    assumed: frozenset[Input]

    @property
    def edge_known(self) -> bool:
        return Input.WIN_RATE not in self.assumed


def evidence_of(signal: Signal) -> Evidence:
    """With edge = win rate - entry_price (domain.md 2.3), a signal that states only its edge states the win rate too."""
    win_rate = signal.trader_win_rate
    if win_rate is None and signal.edge_pct is not None:
        stated = signal.entry_price + signal.edge_pct
        win_rate = stated if 0 <= stated <= 1 else None
    known = {
        Input.WIN_RATE: win_rate,
        Input.CONVICTION: signal.conviction,
        Input.SCORE: signal.model_probability,
    }
    return Evidence(
        entry_price=signal.entry_price,
        win_rate=NEUTRAL_WIN_RATE if win_rate is None else win_rate,
        edge=NEUTRAL_EDGE if win_rate is None else win_rate - signal.entry_price,
        conviction=NEUTRAL_CONVICTION if signal.conviction is None else signal.conviction,
        score=NEUTRAL_SCORE if signal.model_probability is None else signal.model_probability,
        assumed=frozenset(name for name, value in known.items() if value is None),
    )
