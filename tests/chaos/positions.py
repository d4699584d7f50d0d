"""What each strategy holds of each token, by the exchange's own trades and its book."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from worker.orders.lifecycle import FillState

Row = Mapping[str, Any]
ON_THE_BOOK = frozenset({"LIVE", "DELAYED"})


@dataclass
class Held:
    """What was sold had cost what the ledger says: the average of a moment that is past."""

    spent_usd: Decimal = Decimal(0)
    resting_usd: Decimal = Decimal(0)  # what its orders on the book may still cost
    bought_shares: Decimal = Decimal(0)
    received_usd: Decimal = Decimal(0)
    sold_shares: Decimal = Decimal(0)
    sold_cost_usd: Decimal = Decimal(0)  # by the ledger
    unit_costs: list[Decimal] = field(default_factory=list)

    @property
    def cost_range(self) -> tuple[Decimal, Decimal]:
        """What the shares that were sold can have cost, at the least and at the most."""
        units = self.unit_costs or [Decimal(0)]
        return self.sold_shares * min(units), self.sold_shares * max(units)

    @property
    def locked_usd(self) -> Decimal:
        """While its market goes on."""
        return self.spent_usd + self.resting_usd - self.sold_cost_usd

    def realised_usd(self, payout: Decimal | None) -> Decimal:
        """What it has made: by its sales, and by what a share pays since its market's end (None: it goes on)."""
        if payout is None:
            return self.received_usd - self.sold_cost_usd
        return self.received_usd + (self.bought_shares - self.sold_shares) * payout - self.spent_usd

    def add(self, attempt: Row, order: Row | None) -> None:
        """One order of the position; None: the exchange does not know it."""
        spent = Decimal(0)
        for fill in order["fills"] if order else ():
            if fill["status"] == "FAILED":
                continue
            shares, fee_usd = Decimal(fill["shares"]), Decimal(fill["fee_usd"])
            usd = shares * Decimal(fill["price"])
            if attempt["side"] == "BUY":
                self.unit_costs.append((usd + fee_usd) / shares)
                self.bought_shares += shares
                spent += usd + fee_usd
            else:
                self.sold_shares += shares
                self.received_usd += usd - fee_usd
        self.spent_usd += spent
        if attempt["side"] == "BUY" and order and order["status"] in ON_THE_BOOK:
            self.resting_usd += max(attempt["reserve_usd"] - spent, Decimal(0))


def gain_usd(side: str, order: Row | None, payout: Decimal) -> Decimal:
    """What one order made, by the exchange's trades, of a token whose shares pay so much. None: it has none."""
    gain = Decimal(0)
    for fill in order["fills"] if order else ():
        if fill["status"] != "FAILED":
            better = payout - Decimal(fill["price"]) if side == "BUY" else Decimal(fill["price"]) - payout
            gain += Decimal(fill["shares"]) * better - Decimal(fill["fee_usd"])
    return gain


def positions(
    attempts: Sequence[Row], orders: Mapping[str, Row], fills: Sequence[Row]
) -> Mapping[tuple[str, str], Held]:
    """(strategy, token) -> position. `orders`: the exchange's, by id; `fills`: the ledger's."""
    held: defaultdict[tuple[str, str], Held] = defaultdict(Held)
    owners = {row["exchange_order_id"]: (row["strategy_id"], row["token_id"]) for row in attempts}
    for row in attempts:
        held[owners[row["exchange_order_id"]]].add(row, orders.get(row["exchange_order_id"]))
    for fill in fills:
        if fill["side"] == "SELL" and fill["state"] != FillState.REVERSED:
            held[owners[fill["exchange_order_id"]]].sold_cost_usd += fill["cost_usd"]
    return held
