"""A recorded book replayed with nothing of the product: what one FAK purchase would take from it at one moment.

Written from the exchange's rules alone, in whole ten-thousandths of a dollar and millionths of dollars and shares.
"""

import csv
import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

DOLLAR = 10_000
MILLION = 10**6
Fills: TypeAlias = list[tuple[int, int]]  # (price in ten-thousandths of a dollar, millionths of a share)


@dataclass(frozen=True, slots=True)
class Purchase:
    """Dollars to spend, arriving at `at_ms`, at the leader's price or a little more: `tolerance` is a fraction of it."""

    at_ms: int
    asset: str
    leader_price: int
    tolerance: Fraction
    budget: int

    def limit(self, tick: int) -> int:
        """The tolerance down to a whole tick, but a tick at least."""
        ticks = self.leader_price // tick
        return max(int(ticks * (1 + self.tolerance)), ticks + 1) * tick


@dataclass(slots=True)
class _Sides:
    """One market from its first token's side: size by price."""

    bids: dict[int, int] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)


def budget_of(bet: Fraction, fee_rate: Fraction) -> int:
    """Whole cents that leave room for the dearest fee."""
    return int(bet / (1 + fee_rate) * 100) * DOLLAR


def replay(folder: Path, purchases: Iterable[Purchase]) -> Iterator[Fills]:
    """What each would take, in the order of arrival, from the book as the rows stamped before it left it."""
    listed = json.loads((folder / "tokens.json").read_text())["tokens"]
    index_of = {token["asset_id"]: token["i"] for token in listed}
    tick_of = {token["asset_id"]: round(token["tick"] * DOLLAR) for token in listed}
    complement = {token["i"]: token["complement"] for token in listed}
    with gzip.open(folder / "events.csv.gz", "rt", newline="") as lines:
        rows = sorted(csv.DictReader(lines), key=lambda row: int(row["ms"]))
    markets: dict[int, _Sides] = {min(pair): _Sides() for pair in complement.items()}
    upcoming = iter(rows)
    row = next(upcoming, None)
    for purchase in purchases:
        while row is not None and int(row["ms"]) < purchase.at_ms:
            token = int(row["token"])
            if row["type"] == "P":
                _apply(markets[min(token, complement[token])], row, mirrored=token > complement[token])
            row = next(upcoming, None)
        token = index_of[purchase.asset]
        book = markets[min(token, complement[token])]
        mirrored = token > complement[token]
        offers = {DOLLAR - price: size for price, size in book.bids.items()} if mirrored else book.asks
        yield _taken(offers, purchase.limit(tick_of[purchase.asset]), purchase.budget)


def _apply(book: _Sides, row: dict[str, str], *, mirrored: bool) -> None:
    price, size = _scaled(row["price"], DOLLAR), _scaled(row["size"], MILLION)
    bid, ask = _scaled(row["best_bid"], DOLLAR), _scaled(row["best_ask"], DOLLAR)
    is_bid = row["side"] == "B"
    if mirrored:
        price, bid, ask, is_bid = DOLLAR - price, DOLLAR - ask, DOLLAR - bid, not is_bid
    own, other = (book.bids, book.asks) if is_bid else (book.asks, book.bids)
    if size:
        own[price] = size
        for crossed in [each for each in other if (each <= price if is_bid else each >= price)]:
            del other[crossed]
    else:
        own.pop(price, None)
    # What is better than the best prices that the exchange states is left over from a change that was never seen.
    for stale in [each for each in book.bids if each > bid]:
        del book.bids[stale]
    for stale in [each for each in book.asks if each < ask]:
        del book.asks[stale]


def _taken(offers: dict[int, int], limit: int, left: int) -> Fills:
    fills = []
    for price in sorted(price for price in offers if price <= limit):
        shares = min(left * DOLLAR // price, offers[price])
        if not shares:
            break
        fills.append((price, shares))
        if shares < offers[price]:  # the rest is less than a millionth of a share
            break
        left -= shares * price // DOLLAR
    return fills


def _scaled(text: str, unit: int) -> int:
    return int(Decimal(text) * unit)
